from nncore._kernels.arrays cimport Array
from nncore._kernels.op cimport Op, Tensor


cdef class Gather(Op):
    cdef readonly Tensor x
    cdef char *home               # x's own memory in the arena
    cdef list aliases             # the tensors in that memory: x and views of it
    cdef void **alias
    cdef int aliases_count
    cdef object owner             # the array that is being read: its memory, bytes a row, numbers
    cdef char *data
    cdef Py_ssize_t row_bytes
    cdef int kind
    cdef readonly Py_ssize_t rows  # that can be read
    cdef const Py_ssize_t *order  # row numbers, or NULL: rows in sequence
    cdef object order_owner
    cdef readonly bint direct     # the plan reads the array's own memory
    cdef public bint strict, check, copy

    cdef bint open(self, object array) except -1
    cdef bint take(self, object array, const Array *found) except -1
    cdef void close(self) noexcept
    cdef void locate(self, Py_ssize_t first) noexcept nogil
