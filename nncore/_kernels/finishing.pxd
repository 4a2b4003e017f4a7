from nncore._kernels.batch_normalization cimport RunningNormalization
from nncore._kernels.op cimport Op, Tensor
from nncore._kernels.simd cimport finish, isize


cdef class Finishing(Op):
    cdef Tensor weight, bias, y
    cdef bint alone                      # takes on nothing
    cdef finish last                     # but for where `plus` lies
    cdef Tensor plus
    cdef Tensor folded_weight, folded_bias
    cdef RunningNormalization normalization  # that is folded in

    cdef const finish *finishing(self, finish *f) noexcept nogil
    cdef char *weights(self) noexcept nogil
    cdef char *biases(self) noexcept nogil
    cdef void fold(self) noexcept nogil
