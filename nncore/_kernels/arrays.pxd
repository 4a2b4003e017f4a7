# ndarrays as C sees them: see arrays.pyx.

cdef enum:  # kinds of numbers
    FLOAT, DOUBLE, INT8, INT16, INT32, INT64, UINT8, UINT16, UINT32, UINT64

cdef struct Array:
    char *data
    int axes
    const Py_ssize_t *shape   # the ndarray's own, or `lengths`
    Py_ssize_t row_bytes      # a row is what the first index names
    int kind
    Py_ssize_t lengths[64]

# Looks at an ndarray of real numbers, contiguous and aligned; False where it is anything else.
cdef bint look(object array, Array *found) except -1
# Looks at a vector of numbers of this kind; TypeError where it is anything else.
cdef int look_at_vector(object array, int kind, Array *found) except -1
cdef char *array_data(object array)  # where an ndarray's memory is
cdef object copied(object array)     # an ndarray of the same numbers
# An uninitialised ndarray (rows, *shape) of float64 or float32.
cdef object new_array(Py_ssize_t rows, tuple shape, bint is_double)
