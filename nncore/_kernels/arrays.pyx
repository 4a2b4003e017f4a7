"""ndarrays as C sees them: NumPy's binary interface, without its headers.

Reading an ndarray's fields costs a hundredth of the buffer protocol, making one through the table
of C functions half of `numpy.empty`. Both parts of the interface have been the same since NumPy
1.0; importing this module compares each with what Python says, and falls back to that.
"""
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBuffer_Release, PyObject_GetBuffer
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_GetPointer
from libc.string cimport memcpy

import numpy


cdef struct Fields:  # how an ndarray begins
    char ob_base[16]
    char *data
    int axes
    Py_ssize_t *shape
    Py_ssize_t *strides
    void *base
    void *dtype
    int flags

cdef enum:
    C_CONTIGUOUS = 1
    ALIGNED = 0x100
    READABLE = C_CONTIGUOUS | ALIGNED

cdef Py_ssize_t *ITEMSIZE = [4, 8, 1, 2, 4, 8, 1, 2, 4, 8]

# The kinds in order: their dtypes (each is one object for the whole process) and a spare, bool.
cdef tuple DTYPES = tuple(map(numpy.dtype, "f d i1 i2 i4 i8 u1 u2 u4 u8 ?".split()))
cdef type ndarray = numpy.ndarray
cdef object empty = numpy.empty

# An unpickled array has a dtype object of its own.
cdef dict KINDS = {dtype: (<int> UINT8 if i == 10 else i) for i, dtype in enumerate(DTYPES)}

# PyArray_New(type, axes, lengths, number of the dtype, strides, data, itemsize, flags, base)
ctypedef object (*new_t)(void *, int, const Py_ssize_t *, int, void *, void *, int, int, void *)
cdef enum:
    NEW = 93          # its place in the table
    NPY_FLOAT = 11
    NPY_DOUBLE = 12
    MOST_AXES = 64    # NumPy's own limit

cdef bint layout_known = False
cdef new_t new = NULL


cdef bint compare_layout() except -1:
    """Whether the fields are where this file expects them."""
    cdef Py_buffer view
    cdef Fields *fields
    cdef bint same
    array = numpy.zeros((3, 5), "f")
    transposed = array.T
    PyObject_GetBuffer(array, &view, PyBUF_ND | PyBUF_FORMAT)
    fields = <Fields *> <void *> array
    same = (sizeof(PyObject) == 16 and fields.data == view.buf and fields.axes == 2
            and fields.shape[0] == 3 and fields.shape[1] == 5 and fields.strides[0] == 20
            and fields.dtype == <void *> DTYPES[FLOAT] and fields.flags & C_CONTIGUOUS
            and fields.flags & ALIGNED
            and not (<Fields *> <void *> transposed).flags & C_CONTIGUOUS)
    PyBuffer_Release(&view)
    return same


cdef new_t find_new():
    """PyArray_New, from the table that NumPy shows to extension modules."""
    cdef void **table
    cdef new_t found
    cdef Py_ssize_t *lengths = [2, 3]
    if not layout_known:
        return NULL
    try:
        from numpy._core._multiarray_umath import _ARRAY_API
    except ImportError:
        return NULL
    table = <void **> PyCapsule_GetPointer(_ARRAY_API, NULL)
    found = <new_t> table[NEW]
    array = found(<void *> ndarray, 2, lengths, NPY_DOUBLE, NULL, NULL, 0, 0, NULL)
    same = (type(array) is ndarray and array.shape == (2, 3) and array.dtype is DTYPES[DOUBLE]
            and array.flags.c_contiguous and array.flags.owndata)
    return found if same else NULL


layout_known = compare_layout()
new = find_new()


cdef int kind_of(void *dtype) noexcept:
    """The kind, -1 for those that NumPy must convert first."""
    cdef int i
    for i in range(11):
        if <void *> (<tuple> DTYPES)[i] == dtype:
            return UINT8 if i == 10 else i
    return -1


cdef bint look(object array, Array *found) except -1:
    cdef Fields *fields = <Fields *> <void *> array
    cdef Py_ssize_t size = 1
    cdef int i
    if type(array) is not ndarray:
        return False
    if layout_known:
        if fields.axes < 1 or fields.flags & READABLE != READABLE:
            return False
        found.data, found.axes, found.shape = fields.data, fields.axes, fields.shape
        found.kind = kind_of(fields.dtype)
    else:
        flags = array.flags
        if not 1 <= array.ndim <= MOST_AXES or not flags.c_contiguous or not flags.aligned:
            return False
        found.data, found.axes, found.shape = array_data(array), array.ndim, found.lengths
        for i in range(found.axes):
            found.lengths[i] = array.shape[i]
        found.kind = -1
    if found.kind < 0:
        found.kind = KINDS.get(array.dtype, -1)
        if found.kind < 0:
            return False
    for i in range(1, found.axes):
        size *= found.shape[i]
    found.row_bytes = size * ITEMSIZE[found.kind]
    return True


cdef int look_at_vector(object array, int kind, Array *found) except -1:
    if not look(array, found) or found.axes != 1 or found.kind != kind:
        raise TypeError(f"received {array!r}; expected a vector of {DTYPES[kind]}")
    return 0


cdef char *array_data(object array):
    if layout_known:
        return (<Fields *> <void *> array).data
    return <char *> <size_t> array.__array_interface__["data"][0]


cdef object copied(object array):
    cdef Array found
    if new == NULL or not look(array, &found) or found.kind > DOUBLE:
        return array.copy()
    copy = new(<void *> ndarray, found.axes, found.shape,
               NPY_DOUBLE if found.kind == DOUBLE else NPY_FLOAT, NULL, NULL, 0, 0, NULL)
    memcpy(array_data(copy), found.data, found.shape[0] * found.row_bytes)
    return copy


cdef object new_array(Py_ssize_t rows, tuple shape, bint is_double):
    cdef Py_ssize_t lengths[MOST_AXES]
    cdef int axes = <int> len(shape) + 1, i
    if new == NULL or axes > MOST_AXES:
        return empty((rows, *shape), DTYPES[DOUBLE] if is_double else DTYPES[FLOAT])
    lengths[0] = rows
    for i in range(1, axes):
        lengths[i] = shape[i - 1]
    return new(<void *> ndarray, axes, lengths, NPY_DOUBLE if is_double else NPY_FLOAT,
               NULL, NULL, 0, 0, NULL)
