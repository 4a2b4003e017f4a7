cdef class Changes:
    cdef tuple views                 # dicts: name -> view
    cdef tuple memories              # of which they are views
    cdef bint lent
    # Each has one writer at a time: the thread that trains the model, whoever holds the GIL.
    cdef unsigned long long steps, returns

    cdef unsigned long long state(self)
    cdef bint held(self)
