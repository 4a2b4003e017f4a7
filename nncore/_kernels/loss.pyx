"""Losses: the mean over the batch, and its gradient with respect to the network's output. What all
of them share, and those of classification; regression.pyx has the others.

B rows of P positions (time steps; 1 without them) with C classes, or n numbers to a row.
weight (B,) or (B,P) scales each row's or position's part; it may be absent.

Classification losses work on logits x, the values before a closing softmax or sigmoid, because
log(softmax(x)) and its gradient p - t are accurate there for every x. `prediction` receives p.
"""
from libc.math cimport fabs
from nncore._kernels.op cimport Op, Run, Tensor, adds, share
from nncore._kernels.simd cimport f32, f64, isize, real

cdef enum:
    BLOCK = 16  # rows whose losses are added up together, so that no rounding depends on the team

SUM_TOLERANCE = 0.01  # by how much the sum of a row's probabilities may differ from 1,
cdef double SLACK = SUM_TOLERANCE + 1e-4  # and when they are rounded


cdef class Loss(Op):
    """What all losses share: x, the network's output; target; weight; sums, one double for each
    BLOCK of rows."""

    def __init__(self, Tensor x, Tensor target, Tensor weight, Tensor sums, Tensor prediction=None,
                 **options):
        saved = [t for t in (target, weight, sums, prediction) if t is not None]
        self.connect((x,), (), saved)
        self.x, self.target, self.weight = x, target, weight
        self.sums, self.prediction = sums, prediction
        self.n = x.shape[len(x.shape) - 1] if x.shape else 1
        self.positions = x.size // max(1, self.n)
        if weight is not None and weight.size not in (1, self.positions):
            raise ValueError(f"sample_weight of {weight.shape} for an output of {x.shape}")
        self.work = 10.0 * x.size
        self.forward_by_rows = False  # by blocks of rows
        self.backward_reads_x = prediction is None
        self.set_options(**options)

    def set_options(self):
        pass

    def refusal(self):
        return (f"y: received targets that {self.layer} cannot take; expected class labels that "
                f"are integers 0 <= y < {self.n}, or probabilities from 0 to 1 (of classes: that "
                "sum to 1)")

    cdef char *weights(self) noexcept nogil:
        return self.weight.data if self.weight is not None else NULL

    cdef void forward(self, Run *run) noexcept nogil:
        cdef double *sums = <double *> self.sums.data
        cdef isize begin, end, stop
        share(run.rows, BLOCK, run, &begin, &end)
        while begin < end:
            stop = min(begin + BLOCK, end)
            sums[begin // BLOCK] = self.sum_of_rows(run, begin, stop)
            begin = stop

    cdef double loss(self, Py_ssize_t rows) noexcept nogil:
        """The mean of what `forward` added up."""
        cdef double *sums = <double *> self.sums.data
        cdef double total = 0
        cdef isize i
        for i in range((rows + BLOCK - 1) // BLOCK):
            total += sums[i]
        return total / (rows * self.numbers())

    cdef double sum_of_rows(self, Run *run, isize begin, isize end) noexcept nogil:
        """The weighted loss of some rows, not yet divided by anything."""
        return 0

    cdef isize numbers(self) noexcept nogil:
        """Over how many losses of a row the mean goes: its numbers, or its positions."""
        return self.x.size


cdef isize label_at(Loss op, const real *target, isize at) noexcept nogil:
    """The class number, or -1: C is never indexed by what a user passed."""
    cdef double label = target[at]
    if not 0 <= label < op.n:  # NaN neither
        return -1
    return <isize> label if label == <double> (<isize> label) else -1


cdef class CrossEntropy(Loss):
    """-sum_c t_c log softmax(x)_c, t: class labels or probabilities, smoothed by s:
    t_c <- (1 - s) t_c + s / C (Szegedy et al. 2016)."""
    cdef double smoothing
    cdef bint labels
    cdef Tensor log_sum

    def set_options(self, double smoothing, Tensor log_sum):
        self.smoothing, self.log_sum = smoothing, log_sum
        self.labels = self.target.size != self.x.size or self.n == 1
        self.saved = self.saved + (log_sum,)

    cdef isize numbers(self) noexcept nogil:
        return self.positions

    cdef double sum_of_rows(self, Run *run, isize begin, isize end) noexcept nogil:
        if self.is_double:
            return cross_entropy_forward[double](self, run, begin, end, NULL)
        return cross_entropy_forward[float](self, run, begin, end, NULL)

    cdef void backward(self, Run *run) noexcept nogil:
        if self.is_double:
            cross_entropy_backward[double](self, run, NULL)
        else:
            cross_entropy_backward[float](self, run, NULL)


cdef double cross_entropy_forward(CrossEntropy op, Run *run, isize begin, isize end,
                               real *_) noexcept nogil:
    """loss = sum_c t_c (rest + (top - x_c)), top = max_c x_c, rest = log sum_c exp(x_c - top), for
    t summing to one."""
    cdef isize r, c, C = op.n, P = op.positions, label
    cdef const real *x = <const real *> op.x.data
    cdef const real *target = <const real *> op.target.data
    cdef const real *weight = <const real *> op.weights()
    cdef isize weights = op.weight.size if weight != NULL else 0
    cdef real *log_sum = <real *> op.log_sum.data
    cdef real *p = <real *> op.prediction.data
    cdef double s = op.smoothing, loss = 0, part, t, total, top, rest
    begin *= P
    end *= P
    if real is float:
        f32.softmax(p + begin * C, x + begin * C, log_sum + 2 * begin, end - begin, C)
    else:
        f64.softmax(p + begin * C, x + begin * C, log_sum + 2 * begin, end - begin, C)
    for r in range(begin, end):
        part, top, rest = 0, log_sum[2 * r], log_sum[2 * r + 1]
        if op.labels:
            label = label_at(op, target, r)
            if label < 0:
                run.bad = run.bad or op.number
                continue
            part = (1 - s) * (rest + (top - x[r * C + label]))
        else:
            total = 0
            for c in range(C):
                t = target[r * C + c]
                if not t >= 0:
                    run.bad = run.bad or op.number
                if t != 0:
                    part += (1 - s) * t * (rest + (top - x[r * C + c]))
                total += t
            if fabs(total - 1) > SLACK:
                run.bad = run.bad or op.number
        if s > 0:
            for c in range(C):
                part += s / C * (rest + (top - x[r * C + c]))
        loss += weight_at(weight, weights, r, P) * part
    return loss


cdef void cross_entropy_backward(CrossEntropy op, Run *run, real *_) noexcept nogil:
    """dx = (softmax(x) sum_c t_c - t) weight / (B P)"""
    cdef isize begin, end, r, c, C = op.n, P = op.positions, label
    cdef const real *target = <const real *> op.target.data
    cdef const real *p = <const real *> op.prediction.data
    cdef const real *weight = <const real *> op.weights()
    cdef isize weights = op.weight.size if weight != NULL else 0
    cdef real *dx = <real *> op.x.grad
    cdef bint add = adds(op, 0)
    cdef double s = op.smoothing, mean = 1.0 / (run.rows * P)
    cdef real scale, uniform, total
    if dx == NULL:
        return
    share(run.rows, 1, run, &begin, &end)
    for r in range(begin * P, end * P):
        scale = <real> (mean * weight_at(weight, weights, r, P))
        uniform = <real> (s / C)
        total = 1
        if not op.labels:
            total = 0
            for c in range(C):
                total += target[r * C + c]
            total = <real> ((1 - s) * total + s)
        if not add:
            for c in range(C):
                dx[r * C + c] = scale * (total * p[r * C + c] - uniform)
        else:
            for c in range(C):
                dx[r * C + c] += scale * (total * p[r * C + c] - uniform)
        if op.labels:
            label = label_at(op, target, r)
            if label >= 0:
                dx[r * C + label] -= <real> (scale * (1 - s))
        else:
            for c in range(C):
                dx[r * C + c] -= <real> (scale * (1 - s) * target[r * C + c])


cdef isize span(Loss op, bint weighted, isize begin, isize end, isize *count,
                isize *n) noexcept nogil:
    """The numbers of rows begin..end as `count` stretches of n with one weight each: positions,
    or all of them at once where there are no weights. Returns the first position."""
    count[0] = (end - begin) * op.positions
    n[0] = op.n
    if not weighted:
        n[0] *= count[0]
        count[0] = 1
    return begin * op.positions


cdef class BinaryCrossEntropy(Loss):
    """log(1 + exp(x)) - t x for logits x and targets t in 0..1, mean over all numbers, in the form
    log(1 + exp(-|x|)) + max(x, 0) - t x; smoothed: t <- (1 - s) t + s / 2."""
    cdef double smoothing
    cdef Tensor logs

    def set_options(self, double smoothing, Tensor logs):
        self.smoothing, self.logs = smoothing, logs
        self.saved = self.saved + (logs,)

    cdef double sum_of_rows(self, Run *run, isize begin, isize end) noexcept nogil:
        if self.is_double:
            return binary_forward[double](self, run, begin, end, NULL)
        return binary_forward[float](self, run, begin, end, NULL)

    cdef void backward(self, Run *run) noexcept nogil:
        if self.is_double:
            binary_backward[double](self, run, NULL)
        else:
            binary_backward[float](self, run, NULL)


cdef double binary_forward(BinaryCrossEntropy op, Run *run, isize begin, isize end,
                               real *_) noexcept nogil:
    cdef isize count, n, r, i, k, P = op.positions
    cdef const real *x = <const real *> op.x.data
    cdef const real *target = <const real *> op.target.data
    cdef const real *weight = <const real *> op.weights()
    cdef isize weights = op.weight.size if weight != NULL else 0
    cdef real *p = <real *> op.prediction.data
    cdef real *logs = <real *> op.logs.data
    cdef double s = op.smoothing, loss = 0, part, t
    cdef isize first = span(op, weight != NULL, begin, end, &count, &n)
    k = first * op.n
    if real is float:
        f32.sigmoid_log(p + k, logs + k, x + k, count * n)
    else:
        f64.sigmoid_log(p + k, logs + k, x + k, count * n)
    for r in range(count):
        part = 0
        for i in range(n):
            k = first * op.n + r * n + i
            t = target[k]
            if not 0 <= t <= 1:
                run.bad = run.bad or op.number
            t = (1 - s) * t + s / 2
            part += logs[k] + ((1 - t) * x[k] if x[k] > 0 else -t * x[k])
        loss += weight_at(weight, weights, first + r, P) * part
    return loss


cdef void binary_backward(BinaryCrossEntropy op, Run *run, real *_) noexcept nogil:
    """dx = (sigmoid(x) - t) weight / (B n)"""
    cdef isize count, n, r, i, k, P = op.positions
    cdef const real *target = <const real *> op.target.data
    cdef const real *p = <const real *> op.prediction.data
    cdef const real *weight = <const real *> op.weights()
    cdef isize weights = op.weight.size if weight != NULL else 0
    cdef real *dx = <real *> op.x.grad
    cdef bint add = adds(op, 0)
    cdef real scale, d, s = <real> op.smoothing
    if dx == NULL:
        return
    cdef isize begin, end
    share(run.rows, 1, run, &begin, &end)
    cdef isize first = span(op, weight != NULL, begin, end, &count, &n)
    for r in range(count):
        scale = <real> (weight_at(weight, weights, first + r, P) / (run.rows * op.x.size))
        for i in range(n):
            k = first * op.n + r * n + i
            d = scale * (p[k] - (1 - s) * target[k] - s / 2)
            dx[k] = dx[k] + d if add else d
