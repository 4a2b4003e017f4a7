"""Sequences of unequal lengths: B rows, padded to T steps; lengths (B,)."""
from nncore._kernels.op cimport Op, Run, Tensor, share
from nncore._kernels.simd cimport isize, real


cdef class StepWeights(Op):
    """y (B,T) = the weights that make a mean over all B T steps one over the steps there are:
    B T / sum(lengths) for t < length, else 0; times the sample's weight (B,) or (B,T), if given.
    y may be (B,T,k): k positions to a step.
    """
    cdef Tensor lengths, weight, y
    cdef isize T

    def __init__(self, Tensor lengths, Tensor weight, Tensor y):
        self.connect((lengths,) if weight is None else (lengths, weight), (y,))
        self.lengths, self.weight, self.y = lengths, weight, y
        self.T = y.shape[0]
        if weight is not None and weight.size not in (1, y.size):
            raise ValueError(f"sample_weight of {weight.shape} for {y.size} steps")
        self.forward_by_rows = False  # the sum is over all rows
        self.backward_reads_x = False
        self.work = 2.0 * y.size

    cdef void forward(self, Run *run) noexcept nogil:
        if self.is_double:
            step_weights[double](self, run, NULL)
        else:
            step_weights[float](self, run, NULL)


cdef void step_weights(StepWeights op, Run *run, real *_) noexcept nogil:
    cdef const real *lengths = <const real *> op.lengths.data
    cdef const real *weight = <const real *> op.weight.data if op.weight is not None else NULL
    cdef real *y = <real *> op.y.data
    cdef isize begin, end, r, t, size = op.y.size, T = op.T, k = size // T
    cdef double steps = 0, scale
    for r in range(run.rows):
        steps += lengths[r]
    scale = run.rows * T / steps
    share(run.rows, 1, run, &begin, &end)
    for r in range(begin, end):
        for t in range(size):
            y[r * size + t] = <real> scale if t // k < lengths[r] else 0
            if weight != NULL:
                y[r * size + t] *= weight[r if op.weight.size == 1 else r * size + t]
