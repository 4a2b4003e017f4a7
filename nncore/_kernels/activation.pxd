from nncore._kernels.op cimport Op, Tensor
from nncore._kernels.simd cimport f32_activation, f64_activation, isize


cdef class Activation(Op):
    cdef Tensor x, y
    cdef readonly str name
    cdef const f32_activation *sigma
    cdef const f64_activation *sigma_double
    cdef bint uses_x
    cdef isize n, positions   # a row has `positions` vectors of n elements
