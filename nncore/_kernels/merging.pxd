from nncore._kernels.op cimport Op, Tensor


cdef class Merge(Op):
    cdef Tensor a, b, y


cdef class Add(Merge):
    pass
