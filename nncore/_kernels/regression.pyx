"""Losses of regression: distances of numbers. What all losses share is in loss.pyx."""
from libc.math cimport fabs
from nncore._kernels.loss cimport Loss, span, weight_at
from nncore._kernels.op cimport Run, adds, share
from nncore._kernels.simd cimport f32, f64, isize, real


cdef enum Distance:
    SQUARED, ABSOLUTE, HUBER


cdef class Regression(Loss):
    """The mean over all numbers of a distance of d = x - t: d^2, |d|, or Huber's (1964):
    d^2 / 2 up to delta and delta (|d| - delta / 2) beyond."""
    cdef int distance
    cdef double delta

    def set_options(self, str distance, double delta=1.0):
        self.distance = {"mse": SQUARED, "mae": ABSOLUTE, "huber": HUBER}[distance]
        self.delta = delta
        self.backward_reads_x = True

    cdef double sum_of_rows(self, Run *run, isize begin, isize end) noexcept nogil:
        if self.is_double:
            return regression_forward[double](self, run, begin, end, NULL)
        return regression_forward[float](self, run, begin, end, NULL)

    cdef void backward(self, Run *run) noexcept nogil:
        if self.is_double:
            regression_backward[double](self, run, NULL)
        else:
            regression_backward[float](self, run, NULL)


cdef inline double distance(double d, int kind, double delta) noexcept nogil:
    """All but the square, which has a kernel of its own."""
    d = fabs(d)
    if kind == ABSOLUTE:
        return d
    return 0.5 * d * d if d <= delta else delta * (d - 0.5 * delta)


cdef double total_distance(const real *x, const real *t, isize n, int kind,
                           double delta) noexcept nogil:
    """The sum of the distances of n numbers: four sums, that none waits for another's."""
    cdef double a = 0, b = 0, c = 0, d = 0
    cdef isize i, fours = n - n % 4
    if kind == SQUARED:
        return f32.sum_squares(x, t, n) if real is float else f64.sum_squares(x, t, n)
    for i in range(0, fours, 4):
        a += distance(x[i] - t[i], kind, delta)
        b += distance(x[i + 1] - t[i + 1], kind, delta)
        c += distance(x[i + 2] - t[i + 2], kind, delta)
        d += distance(x[i + 3] - t[i + 3], kind, delta)
    for i in range(fours, n):
        a += distance(x[i] - t[i], kind, delta)
    return (a + b) + (c + d)


cdef inline real slope(real d, int distance, real delta) noexcept nogil:
    """The derivative of the distance; NaN stays NaN."""
    if distance == SQUARED:
        return 2 * d
    if distance == ABSOLUTE:
        return <real> ((d > 0) - (d < 0)) if d == d else d
    return max(-delta, min(delta, d)) if d == d else d


cdef double regression_forward(Regression op, Run *run, isize begin, isize end,
                               real *_) noexcept nogil:
    cdef isize count, n, r, P = op.positions
    cdef const real *weight = <const real *> op.weights()
    cdef isize weights = op.weight.size if weight != NULL else 0
    cdef isize first = span(op, weight != NULL, begin, end, &count, &n)
    cdef const real *x = <const real *> op.x.data + first * op.n
    cdef const real *t = <const real *> op.target.data + first * op.n
    cdef double loss = 0
    for r in range(count):
        loss += (weight_at(weight, weights, first + r, P)
                 * total_distance(x + r * n, t + r * n, n, op.distance, op.delta))
    return loss


cdef void regression_backward(Regression op, Run *run, real *_) noexcept nogil:
    """dx = weight / (B n) times 2 d, sign(d), or d cut to -delta..delta"""
    cdef isize count, n, r, i, P = op.positions
    cdef const real *weight = <const real *> op.weights()
    cdef isize weights = op.weight.size if weight != NULL else 0
    cdef isize begin, end
    share(run.rows, 1, run, &begin, &end)
    cdef isize first = span(op, weight != NULL, begin, end, &count, &n)
    cdef const real *x = <const real *> op.x.data + first * op.n
    cdef const real *t = <const real *> op.target.data + first * op.n
    cdef real *dx = <real *> op.x.grad + first * op.n
    cdef real scale, delta = <real> op.delta
    if op.x.grad == NULL:
        return
    for r in range(count):
        scale = <real> (weight_at(weight, weights, first + r, P) / (run.rows * op.x.size))
        if adds(op, 0):
            for i in range(r * n, (r + 1) * n):
                dx[i] += scale * slope(x[i] - t[i], op.distance, delta)
        elif op.distance == SQUARED:  # the common one, a vector loop
            for i in range(r * n, (r + 1) * n):
                dx[i] = 2 * scale * (x[i] - t[i])
        else:
            for i in range(r * n, (r + 1) * n):
                dx[i] = scale * slope(x[i] - t[i], op.distance, delta)
