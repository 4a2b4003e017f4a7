"""Batch normalization: y = (x - mean) / sqrt(var + epsilon) weight + bias, channel by channel.

B rows of P positions (pixels, time steps) with C channels; x (B,P,C). In training mean and var
are those of the batch, all its rows and positions: members add up fixed pieces of it, or some of a
piece's channels, so the sums depend on neither their number nor that of the threads. In inference
they are the running ones.
"""
from libc.math cimport isfinite, sqrt
from libc.string cimport memset
from nncore._kernels cimport threads
from nncore._kernels.op cimport UNIT, Op, Run, Tensor, adds, share
from nncore._kernels.simd cimport f32, f64, isize, real

cdef enum:
    PIECES = 16     # of the batch, at most
    RUN = 128       # positions that a piece has at least: each costs C additions of doubles
    CHANNELS = 64   # members share pieces, and within a piece so many channels


cdef class BatchNormalization(Op):
    """Training: with the batch's mean and var, which the running ones follow.

    sums: a workspace of (PIECES, 2, C) doubles; batch_mean, batch_var: workspaces of C.
    """
    cdef Tensor x, weight, bias, y, running_mean, running_var, sums, mean, var
    cdef double epsilon, momentum
    cdef isize C, P

    def __init__(self, Tensor x, Tensor weight, Tensor bias, Tensor running_mean,
                 Tensor running_var, Tensor y, Tensor sums, Tensor mean, Tensor var, double epsilon,
                 double momentum):
        self.connect((x, weight, bias), (y,), (sums, mean, var))
        self.x, self.weight, self.bias, self.y = x, weight, bias, y
        self.running_mean, self.running_var = running_mean, running_var
        self.sums, self.mean, self.var = sums, mean, var
        self.epsilon, self.momentum = epsilon, momentum
        self.C = weight.size
        self.P = x.size // self.C
        self.forward_by_rows = self.backward_by_rows = False
        self.commits = True
        self.work = 8.0 * x.size
        self.scratch_size = 3 * self.C * x.itemsize

    cdef void forward(self, Run *run) noexcept nogil:
        if self.is_double:
            forward[double](self, run, NULL)
        else:
            forward[float](self, run, NULL)

    cdef void backward(self, Run *run) noexcept nogil:
        if self.is_double:
            backward[double](self, run, NULL)
        else:
            backward[float](self, run, NULL)

    cdef void commit(self, Py_ssize_t rows) noexcept nogil:
        if self.is_double:
            follow(<double *> self.running_mean.data, <double *> self.running_var.data,
                   <double *> self.mean.data, <double *> self.var.data, self.momentum, self.C)
        else:
            follow(<float *> self.running_mean.data, <float *> self.running_var.data,
                   <float *> self.mean.data, <float *> self.var.data, self.momentum, self.C)


cdef void follow(real *running_mean, real *running_var, const real *mean, const real *var,
                 double momentum, isize C) noexcept nogil:
    """running = momentum running + (1 - momentum) batch; where a batch overflowed, as it was"""
    cdef isize c
    for c in range(C):
        if isfinite(mean[c]) and isfinite(var[c]):
            running_mean[c] = <real> (momentum * running_mean[c] + (1 - momentum) * mean[c])
            running_var[c] = <real> (momentum * running_var[c] + (1 - momentum) * var[c])


cdef inline int pieces_of(isize N) noexcept nogil:
    return <int> max(1, min(PIECES, N // RUN))


cdef void add_up(double *sums, isize N, isize C, isize begin, isize end) noexcept nogil:
    """The sums of the channels begin..end over the pieces, in order, in the first piece's place."""
    cdef isize c
    cdef int i
    for i in range(1, pieces_of(N)):
        for c in range(begin, end):
            sums[c] += sums[2 * i * C + c]
            sums[C + c] += sums[(2 * i + 1) * C + c]


cdef void forward(BatchNormalization op, Run *run, real *_) noexcept nogil:
    """y = (x - mean) scale + bias, scale = weight / sqrt(var + epsilon)"""
    cdef isize C = op.C, N = run.rows * op.P, begin, end, c
    cdef const real *x = <const real *> op.x.data
    cdef const real *weight = <const real *> op.weight.data
    cdef real *mean = <real *> op.mean.data
    cdef real *var = <real *> op.var.data
    cdef real *scale = <real *> run.scratch
    cdef double *sums = <double *> op.sums.data
    cdef double first, second
    add_pieces(sums, x, <const real *> NULL, x, N, C, run)
    threads.barrier(run.members)

    share(C, UNIT, run, &begin, &end)
    add_up(sums, N, C, begin, end)
    for c in range(begin, end):  # sums are of x - shift, where shift is the batch's first position
        first, second = sums[c] / N, sums[C + c] / N
        mean[c] = <real> (x[c] + first)
        var[c] = <real> max(0.0, second - first * first)
    threads.barrier(run.members)

    for c in range(C):
        scale[c] = <real> (weight[c] / sqrt(var[c] + op.epsilon))
    share(run.rows, 1, run, &begin, &end)
    if real is float:
        f32.channel_affine(<real *> op.y.data + begin * op.P * C, x + begin * op.P * C, mean,
                           scale, <const real *> op.bias.data, (end - begin) * op.P, C)
    else:
        f64.channel_affine(<real *> op.y.data + begin * op.P * C, x + begin * op.P * C, mean,
                           scale, <const real *> op.bias.data, (end - begin) * op.P, C)


cdef void backward(BatchNormalization op, Run *run, real *_) noexcept nogil:
    """With x' = (x - mean) / sqrt(var + epsilon) and N values to a channel:
    dbias = sum dy; dweight = sum dy x'; dx = scale (dy - dbias / N - x' dweight / N)."""
    cdef isize C = op.C, N = run.rows * op.P, begin, end, c
    cdef const real *x = <const real *> op.x.data
    cdef const real *dy = <const real *> op.y.grad
    cdef const real *weight = <const real *> op.weight.data
    cdef const real *mean = <const real *> op.mean.data
    cdef const real *var = <const real *> op.var.data
    cdef real *scale = <real *> run.scratch
    cdef real *slope = scale + C
    cdef real *offset = slope + C
    cdef real *dx = <real *> op.x.grad
    cdef double *sums = <double *> op.sums.data
    cdef double inverse
    add_pieces(sums, x, dy, mean, N, C, run)
    threads.barrier(run.members)

    share(C, UNIT, run, &begin, &end)
    add_up(sums, N, C, begin, end)
    for c in range(begin, end):
        put(<real *> op.bias.grad, c, sums[c], adds(op, 2))
        inverse = 1 / sqrt(var[c] + op.epsilon)
        put(<real *> op.weight.grad, c, sums[C + c] * inverse, adds(op, 1))
    if dx == NULL:
        return
    threads.barrier(run.members)

    for c in range(C):
        inverse = 1 / sqrt(var[c] + op.epsilon)
        scale[c] = <real> (weight[c] * inverse)
        slope[c] = <real> (weight[c] * inverse * inverse * inverse * sums[C + c] / N)
        offset[c] = <real> (weight[c] * inverse * sums[c] / N)
    if N == 1:  # y = bias whatever x is: not scale times a rounding error
        memset(scale, 0, 3 * C * sizeof(real))
    share(run.rows, 1, run, &begin, &end)
    dx += begin * op.P * C
    dy += begin * op.P * C
    x += begin * op.P * C
    if real is float:
        f32.channel_affine_backward(dx, dy, x, mean, scale, slope, offset, (end - begin) * op.P, C,
                                    adds(op, 0))
    else:
        f64.channel_affine_backward(dx, dy, x, mean, scale, slope, offset, (end - begin) * op.P, C,
                                    adds(op, 0))


cdef void put(real *gradient, isize c, double value, bint add) noexcept nogil:
    if gradient != NULL:
        gradient[c] = <real> (gradient[c] + value if add else value)


cdef void add_pieces(double *sums, const real *x, const real *dy, const real *shift, isize N,
                     isize C, Run *run) noexcept nogil:
    """This member's share of the sums: of x - shift and its square or, with dy, of dy and
    dy (x - shift)."""
    cdef isize blocks = (C + CHANNELS - 1) // CHANNELS, pieces = pieces_of(N)
    cdef isize begin, end, stop, piece, first, n, c, width
    cdef double *s
    share(pieces * blocks, 1, run, &begin, &end)
    while begin < end:
        piece = begin // blocks
        stop = min(end, (piece + 1) * blocks)
        c = (begin - piece * blocks) * CHANNELS
        width = min(C, (stop - piece * blocks) * CHANNELS) - c
        begin = stop
        s = sums + 2 * piece * C + c
        memset(s, 0, width * sizeof(double))
        memset(s + C, 0, width * sizeof(double))
        first = N * piece // pieces
        n = N * (piece + 1) // pieces - first
        first = first * C + c
        if dy == NULL:
            if real is float:
                f32.channel_moments(s, s + C, x + first, shift + c, n, width, C)
            else:
                f64.channel_moments(s, s + C, x + first, shift + c, n, width, C)
        else:
            if real is float:
                f32.channel_products(s, s + C, dy + first, x + first, shift + c, n, width, C)
            else:
                f64.channel_products(s, s + C, dy + first, x + first, shift + c, n, width, C)


cdef class RunningNormalization(Op):
    """Inference: the same with the running mean and var."""

    def __init__(self, Tensor x, Tensor weight, Tensor bias, Tensor mean, Tensor var, Tensor y,
                 double epsilon):
        self.connect((x, weight, bias, mean, var), (y,))
        self.x, self.weight, self.bias, self.mean, self.var = x, weight, bias, mean, var
        self.y, self.epsilon = y, epsilon
        self.C = weight.size
        self.P = x.size // self.C
        self.in_place = True
        self.work = 4.0 * x.size
        self.scratch_size = self.C * x.itemsize

    cdef void forward(self, Run *run) noexcept nogil:
        if self.is_double:
            normalize[double](self, run, NULL)
        else:
            normalize[float](self, run, NULL)


cdef void normalize(RunningNormalization op, Run *run, real *_) noexcept nogil:
    cdef isize begin, end, c, n = op.P * op.C
    cdef const real *weight = <const real *> op.weight.data
    cdef const real *mean = <const real *> op.mean.data
    cdef const real *var = <const real *> op.var.data
    cdef const real *bias = <const real *> op.bias.data
    cdef real *scale = <real *> run.scratch
    for c in range(op.C):
        scale[c] = <real> (weight[c] / sqrt(var[c] + op.epsilon))
    share(run.rows, 1, run, &begin, &end)
    if real is float:
        f32.channel_affine(<real *> op.y.data + begin * n, <const real *> op.x.data + begin * n,
                           mean, scale, bias, (end - begin) * op.P, op.C)
    else:
        f64.channel_affine(<real *> op.y.data + begin * n, <const real *> op.x.data + begin * n,
                           mean, scale, bias, (end - begin) * op.P, op.C)


PIECES_OF_SUMS = PIECES
