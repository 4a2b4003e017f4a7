# What losses of other modules need of loss.pyx.
from nncore._kernels.op cimport Op, Run, Tensor
from nncore._kernels.simd cimport isize, real


cdef class Loss(Op):
    cdef Tensor x, target, weight, sums, prediction
    cdef readonly isize positions, n

    cdef char *weights(self) noexcept nogil
    cdef double sum_of_rows(self, Run *run, isize begin, isize end) noexcept nogil
    cdef isize numbers(self) noexcept nogil


cdef inline double weight_at(const real *weight, isize weights, isize position,
                             isize P) noexcept nogil:
    """The weight of position ``position`` of all rows': 1 where there are no weights."""
    if weight == NULL:
        return 1.0
    return weight[position if weights > 1 else position // P]


cdef isize span(Loss op, bint weighted, isize begin, isize end, isize *count,
                isize *n) noexcept nogil
