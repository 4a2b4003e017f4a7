from nncore._kernels.op cimport Op, Tensor

cdef enum Elements:
    ADD, AVERAGE, MULTIPLY


cdef class Merge(Op):
    cdef Tensor a, b, y
    cdef Elements kind


cdef class Add(Merge):
    pass
