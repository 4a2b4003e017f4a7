"""Pooling: the maximum or the mean of windows over an image. x (H,W,C) gives y (P,Q,C).

Members share the examples of the batch; forward, where examples would not keep all of them busy,
the rows of windows. A signal (T,C) is an image of one row.
"""
from nncore._kernels.activation cimport Activation
from nncore._kernels.op cimport Op, Run, Tensor, adds, share
from nncore._kernels.simd cimport f32, f64, isize, pool_windows

from nncore._kernels.threads import fills


cdef class Pool(Op):
    """What the ops here share: y from windows over x. ``image``: (H,W,C); ``outputs``: (P,Q);
    ``window``, ``strides``: (rows, columns); ``before``: how far the first window begins above and
    to the left of the image; ``rows``: examples at most."""
    cdef Tensor x, y
    cdef pool_windows s
    cdef isize unit  # rows of windows, forward, that members share multiples of

    def __init__(self, Tensor x, Tensor y, image, outputs, window, strides, before, rows, saved=()):
        self.connect((x,), (y,), saved)
        self.x, self.y = x, y
        self.s.H, self.s.W, self.s.C = image
        self.s.P, self.s.Q = outputs
        self.s.kh, self.s.kw = window
        self.s.sh, self.s.sw = strides
        self.s.top, self.s.left = before
        self.backward_reads_x = False
        self.work = 2.0 * y.size * self.s.kh * self.s.kw
        self.unit = self.s.P if fills(rows) else 1
        self.forward_by_rows = self.unit == self.s.P
        self.undivided = rows == self.s.P == 1

    cdef void forward(self, Run *run) noexcept nogil:
        cdef isize begin, end, P = self.s.P
        cdef pool_windows s = self.s
        share(run.rows * P, self.unit, run, &begin, &end)
        while begin < end:
            s.P = min(P - begin % P, end - begin)
            s.top = self.s.top - begin % P * s.sh
            self.pool(begin // P * self.x.size, begin * (self.y.size // P), &s)
            begin += s.P

    cdef void pool(self, isize x, isize y, const pool_windows *s) noexcept nogil:
        """From element x on of the input to element y on of the output."""


cdef class MaxPool(Pool):
    """y = max over a window; dx gets dy at the first cell that has the maximum.

    ``cell``, like y, keeps the number of that cell, an integer as large as a number of y; None in
    inference. Bytes would be 5 % faster with AVX-512 and slower without; to find the cells again
    would read x once more, which takes three times as long as writing them ((64,28,28,32), 2x2).

    With ``relu``, y = max(relu(x)) = relu(max(x)), so that nothing as large as x has to be made for
    it, nor for its gradient.
    """
    cdef Tensor cell
    cdef bint relu

    def __init__(self, Tensor x, Tensor y, Tensor cell, *geometry):
        super().__init__(x, y, *geometry, saved=() if cell is None else (cell,))
        self.cell = cell

    def takes(self, Op op):
        """Whether this op can do what op, which makes x for it alone, does."""
        return isinstance(op, Activation) and (<Activation> op).name == "relu"

    def take(self, Op op):
        """Does what op does, too."""
        self.relu = True
        self.inputs = op.inputs
        self.x = op.inputs[0]

    cdef void pool(self, isize x, isize y, const pool_windows *s) noexcept nogil:
        cdef char *cell = self.cell.data if self.cell is not None else NULL
        if self.is_double:
            f64.max_pool(<double *> self.y.data + y, <double *> cell + y if cell != NULL else NULL,
                         <const double *> self.x.data + x, s, self.relu)
        else:
            f32.max_pool(<float *> self.y.data + y, <float *> cell + y if cell != NULL else NULL,
                         <const float *> self.x.data + x, s, self.relu)

    cdef void backward(self, Run *run) noexcept nogil:
        cdef isize begin, end, i, size = self.x.size, to = self.y.size
        if self.x.grad == NULL:
            return
        share(run.rows, 1, run, &begin, &end)
        for i in range(begin, end):
            if self.is_double:
                f64.max_pool_backward(<double *> self.x.grad + i * size,
                                      <const double *> self.y.grad + i * to,
                                      <const double *> self.cell.data + i * to, &self.s,
                                      adds(self, 0))
            else:
                f32.max_pool_backward(<float *> self.x.grad + i * size,
                                      <const float *> self.y.grad + i * to,
                                      <const float *> self.cell.data + i * to, &self.s,
                                      adds(self, 0))


cdef class MeanPool(Pool):
    """y = the mean over the cells of a window that are in the image; each gets its part of dy."""

    cdef void pool(self, isize x, isize y, const pool_windows *s) noexcept nogil:
        if self.is_double:
            f64.sum_pool(<double *> self.y.data + y, <const double *> self.x.data + x, s, True,
                         False)
        else:
            f32.sum_pool(<float *> self.y.data + y, <const float *> self.x.data + x, s, True, False)

    cdef void backward(self, Run *run) noexcept nogil:
        cdef isize begin, end, i, size = self.x.size, to = self.y.size
        if self.x.grad == NULL:
            return
        share(run.rows, 1, run, &begin, &end)
        for i in range(begin, end):
            if self.is_double:
                f64.sum_pool_backward(<double *> self.x.grad + i * size,
                                      <const double *> self.y.grad + i * to, &self.s, True,
                                      adds(self, 0))
            else:
                f32.sum_pool_backward(<float *> self.x.grad + i * size,
                                      <const float *> self.y.grad + i * to, &self.s, True,
                                      adds(self, 0))
