cdef extern from * nogil:
    unsigned long long atomic_add "__atomic_fetch_add"(unsigned long long *number,
                                                       unsigned long long more, int order)
    unsigned long long atomic_load "__atomic_load_n"(unsigned long long *number, int order)
    int RELEASE "__ATOMIC_RELEASE"
    int ACQUIRE "__ATOMIC_ACQUIRE"


cdef class Changes:
    cdef tuple views                 # dicts: name -> view
    cdef tuple memories              # of which they are views
    cdef bint lent
    # Each has one writer at a time. The thread that trains the model does so without the GIL: who
    # reads that number sees the weights that were written before it.
    cdef unsigned long long steps
    cdef unsigned long long others   # whoever holds the GIL

    cdef unsigned long long state(self)
    cdef bint held(self)
