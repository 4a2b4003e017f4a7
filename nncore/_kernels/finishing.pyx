"""Finishing: ops that take on what would follow them, in plans that do not train.

y = sigma(x * weight + b + plus), where x * weight is a product or a convolution: plus and sigma, an
activation of single numbers, are applied to what is still in a cache. A convolution also takes a
normalization into its weights (convolution_choice.pyx).
"""
from nncore._kernels.activation cimport Activation
from nncore._kernels.merging cimport Add
from nncore._kernels.op cimport Op


cdef class Finishing(Op):
    """An op with weight (O, ...), bias (O) or None, and y (..., O)."""

    def takes(self, Op op):
        """Whether this op can do what op, the only reader of its y, does."""
        if self.last.sigma != NULL:
            return False
        if isinstance(op, Add):
            return self.plus is None and op.inputs[0] is not op.inputs[1]
        return isinstance(op, Activation) and not (<Activation> op).sigma.rowwise

    def take(self, Op op):
        """Does what op does, too."""
        if isinstance(op, Add):
            self.plus = op.inputs[op.inputs[0] is self.y]
            self.inputs += (self.plus,)
        elif isinstance(op, Activation):
            self.last.sigma = ((<Activation> op).sigma_double if self.is_double
                               else <const void *> (<Activation> op).sigma)
        self.y = op.outputs[0]
        self.y.producer = self
        self.outputs = (self.y,)
