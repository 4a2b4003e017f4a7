"""Dropout (Srivastava et al. 2014): in training each number is zeroed with probability `rate`
and the others are scaled by 1 / (1 - rate), so that nothing changes in the mean.

The mask is a function of (seed, op, step, position): Philox's counter-based generator, so that
it does not depend on the number of threads, and a training run can be resumed to the bit.
"""
from libc.stdint cimport uint8_t
from nncore._kernels.op cimport Op, Run, Tensor, adds, share
from nncore._kernels.simd cimport f32, f64, isize


cdef class Dropout(Op):
    """y = x keep / (1 - rate)"""
    cdef Tensor x, y, keep
    cdef double rate
    cdef unsigned long long stream  # tells this op's numbers from another's

    def __init__(self, Tensor x, Tensor keep, Tensor y, double rate, unsigned long long stream):
        self.connect((x,), (y,), (keep,))
        self.x, self.y, self.keep, self.rate, self.stream = x, y, keep, rate, stream
        self.backward_reads_x = False
        self.in_place = True
        self.work = 10.0 * x.size

    cdef void forward(self, Run *run) noexcept nogil:
        cdef isize begin, end, n = self.x.size
        cdef uint8_t *keep = <uint8_t *> self.keep.data
        share(run.rows, 1, run, &begin, &end)
        begin *= n
        n = end * n - begin
        f32.dropout_mask(keep + begin, begin, n, self.rate,
                         run.key + self.stream * 0x9E3779B97F4A7C15ULL, run.step)
        if self.is_double:
            f64.dropout_apply(<double *> self.y.data + begin, <double *> self.x.data + begin,
                              keep + begin, n, 1.0 / (1.0 - self.rate), False)
        else:
            f32.dropout_apply(<float *> self.y.data + begin, <float *> self.x.data + begin,
                              keep + begin, n, 1.0 / (1.0 - self.rate), False)

    cdef void backward(self, Run *run) noexcept nogil:
        cdef isize begin, end, n = self.x.size
        cdef uint8_t *keep = <uint8_t *> self.keep.data
        if self.x.grad == NULL:
            return
        share(run.rows, 1, run, &begin, &end)
        begin *= n
        n = end * n - begin
        if self.is_double:
            f64.dropout_apply(<double *> self.x.grad + begin, <double *> self.y.grad + begin,
                              keep + begin, n, 1.0 / (1.0 - self.rate), adds(self, 0))
        else:
            f32.dropout_apply(<float *> self.x.grad + begin, <float *> self.y.grad + begin,
                              keep + begin, n, 1.0 / (1.0 - self.rate), adds(self, 0))
