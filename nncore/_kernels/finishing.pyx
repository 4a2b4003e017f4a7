"""Finishing: ops that take on what would follow them, in plans that do not train.

y = sigma(normalize(x * weight + b) + plus), where x * weight is a product or a convolution. The
normalization, by running statistics, disappears in the weights:

    scale = gamma / sqrt(var + epsilon)
    folded weight = scale weight,  folded b = (b - mean) scale + beta

and plus and sigma, an activation of single numbers, are applied to what is still in a cache.
"""
from libc.math cimport sqrt
from nncore._kernels.activation cimport Activation
from nncore._kernels.batch_normalization cimport RunningNormalization
from nncore._kernels.merging cimport Add
from nncore._kernels.op cimport Op, Tensor
from nncore._kernels.simd cimport isize, real


cdef class Finishing(Op):
    """An op with weight (O, ...), bias (O) or None, and y (..., O)."""

    def takes(self, Op op):
        """Whether this op can do what op, the only reader of its y, does."""
        if self.takes_none or self.last.sigma != NULL:
            return False
        if isinstance(op, RunningNormalization):
            return self.folds and self.plus is None and self.normalization is None
        if isinstance(op, Add):
            return self.plus is None and op.inputs[0] is not op.inputs[1]
        return isinstance(op, Activation) and not (<Activation> op).sigma.rowwise

    def take(self, Op op):
        """Does what op does, too."""
        cdef Tensor x
        if isinstance(op, RunningNormalization):
            self.normalization = op
            x = self.weight
            self.folded_weight = Tensor(x.shape, x.itemsize, None, None, False)
            self.folded_bias = Tensor((x.shape[0],), x.itemsize, None, None, False)
            self.kept += (self.folded_weight, self.folded_bias)
            self.inputs += op.inputs[1:]
            self.prepares = True
        elif isinstance(op, Add):
            self.plus = op.inputs[op.inputs[0] is self.y]
            self.inputs += (self.plus,)
        else:
            self.last.sigma = ((<Activation> op).sigma_double if self.is_double
                               else <const void *> (<Activation> op).sigma)
        self.y = op.outputs[0]
        self.y.producer = self
        self.outputs = (self.y,)

    cdef void fold(self) noexcept nogil:
        if self.folded_weight is None:
            return
        if self.is_double:
            fold[double](self, self.normalization, NULL)
        else:
            fold[float](self, self.normalization, NULL)

    cdef void prepare(self) noexcept nogil:
        self.fold()


cdef void fold(Finishing op, RunningNormalization normalization, real *_) noexcept nogil:
    cdef isize O = op.folded_bias.size, n = op.weight.size // O, o, i
    cdef const real *weight = <const real *> op.weight.data
    cdef const real *bias = <const real *> op.bias.data if op.bias is not None else NULL
    cdef const real *gamma = <const real *> normalization.weight.data
    cdef const real *beta = <const real *> normalization.bias.data
    cdef const real *mean = <const real *> normalization.mean.data
    cdef const real *var = <const real *> normalization.var.data
    cdef real *folded = <real *> op.folded_weight.data
    cdef real *offset = <real *> op.folded_bias.data
    cdef real scale
    for o in range(O):
        scale = <real> (gamma[o] / sqrt(var[o] + normalization.epsilon))
        offset[o] = ((bias[o] if bias != NULL else 0) - mean[o]) * scale + beta[o]
        for i in range(o * n, (o + 1) * n):
            folded[i] = weight[i] * scale
