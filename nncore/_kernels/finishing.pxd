from nncore._kernels.batch_normalization cimport RunningNormalization
from nncore._kernels.op cimport Op, Tensor
from nncore._kernels.simd cimport finish, isize


cdef class Finishing(Op):
    cdef Tensor weight, bias, y
    cdef bint takes_none, folds          # no ops at all; a normalization, too
    cdef finish last                     # but for where `plus` lies
    cdef Tensor plus
    cdef Tensor folded_weight, folded_bias
    cdef RunningNormalization normalization  # that is folded in

    cdef void fold(self) noexcept nogil


cdef inline const finish *finishing(Finishing op, finish *f) noexcept nogil:
    """What is left to do once x * weight + b is known, in f; NULL: nothing."""
    f[0] = op.last
    if op.plus is not None:
        f.plus = op.plus.data
    return NULL if f.plus == NULL and f.sigma == NULL else f


cdef inline char *weight_data(Finishing op) noexcept nogil:
    return op.weight.data if op.folded_weight is None else op.folded_weight.data


cdef inline char *bias_data(Finishing op) noexcept nogil:
    """NULL: none"""
    if op.folded_bias is not None:
        return op.folded_bias.data
    return op.bias.data if op.bias is not None else NULL
