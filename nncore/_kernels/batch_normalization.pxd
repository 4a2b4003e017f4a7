from nncore._kernels.op cimport Op, Tensor
from nncore._kernels.simd cimport isize


cdef class RunningNormalization(Op):
    cdef Tensor x, weight, bias, mean, var, y
    cdef double epsilon
    cdef isize C, P
