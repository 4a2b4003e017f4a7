from nncore._kernels.op cimport Op, Tensor
from nncore._kernels.simd cimport finish


cdef class Finishing(Op):
    cdef Tensor weight, bias, y
    cdef finish last                     # but for where `plus` lies
    cdef Tensor plus


cdef inline const finish *finishing(Finishing op, finish *f) noexcept nogil:
    """What is left to do once x * weight + b is known, in f; NULL: nothing."""
    f[0] = op.last
    if op.plus is not None:
        f.plus = op.plus.data
    return NULL if f.plus == NULL and f.sigma == NULL else f
