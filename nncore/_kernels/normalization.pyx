"""Normalization: R vectors of C numbers, brought to mean 0 and variance 1, then scaled."""
from libc.string cimport memset
from nncore._kernels.op cimport UNIT, Op, Run, Tensor, adds, share
from nncore._kernels.simd cimport f32, f64, isize, real


cdef class LayerNorm(Op):
    """y = (x - mean) / sqrt(variance + epsilon) * weight + bias over the last axis of x.

    Members share the rows of y and dx, and the columns of dweight and dbias, which are sums over
    all rows; a member that is alone does both in one pass. ``moments`` (positions, 3) keeps what
    the backward pass needs of each vector; None in inference.
    """
    cdef Tensor x, weight, bias, moments, y
    cdef isize C, positions
    cdef double epsilon

    def __init__(self, Tensor x, Tensor weight, Tensor bias, Tensor moments, Tensor y,
                 double epsilon):
        self.connect((x, weight, bias), (y,), () if moments is None else (moments,))
        self.x, self.weight, self.bias, self.moments, self.y = x, weight, bias, moments, y
        self.C, self.epsilon = weight.size, epsilon
        self.positions = x.size // self.C
        self.backward_by_rows = False
        self.work = 10.0 * x.size

    cdef void forward(self, Run *run) noexcept nogil:
        if self.is_double:
            layer_norm_forward[double](self, run, NULL)
        else:
            layer_norm_forward[float](self, run, NULL)

    cdef void backward(self, Run *run) noexcept nogil:
        if self.is_double:
            layer_norm_backward[double](self, run, NULL)
        else:
            layer_norm_backward[float](self, run, NULL)


cdef void layer_norm_forward(LayerNorm op, Run *run, real *_) noexcept nogil:
    cdef isize begin, end, C = op.C
    cdef const real *x = <const real *> op.x.data
    cdef const real *weight = <const real *> op.weight.data
    cdef const real *bias = <const real *> op.bias.data
    cdef real *moments = <real *> op.moments.data if op.moments is not None else NULL
    cdef real *y = <real *> op.y.data
    share(run.rows, 1, run, &begin, &end)
    begin *= op.positions
    end *= op.positions
    if moments != NULL:
        moments += 3 * begin
    if real is float:
        f32.layer_norm(y + begin * C, moments, x + begin * C, weight, bias, end - begin, C,
                       op.epsilon)
    else:
        f64.layer_norm(y + begin * C, moments, x + begin * C, weight, bias, end - begin, C,
                       op.epsilon)


cdef void layer_norm_backward(LayerNorm op, Run *run, real *_) noexcept nogil:
    cdef isize begin, end, rows = run.rows * op.positions, C = op.C
    cdef const real *x = <const real *> op.x.data
    cdef const real *dy = <const real *> op.y.grad
    cdef const real *weight = <const real *> op.weight.data
    cdef const real *moments = <const real *> op.moments.data
    cdef real *dx = <real *> op.x.grad
    cdef real *dweight = <real *> op.weight.grad
    cdef real *dbias = <real *> op.bias.grad
    cdef bint at_once = run.members == 1 and dx != NULL
    share(C, UNIT, run, &begin, &end)
    if not adds(op, 1):
        memset(dweight + begin, 0, (end - begin) * sizeof(real))
    if not adds(op, 2):
        memset(dbias + begin, 0, (end - begin) * sizeof(real))
    if not at_once:
        layer_norm_sums(dweight + begin, dbias + begin, dy + begin, x + begin, moments, rows, C,
                        end - begin)
    if dx != NULL:
        share(run.rows, 1, run, &begin, &end)
        begin *= op.positions
        end *= op.positions
        layer_norm_dx(dx + begin * C, dweight if at_once else NULL, dbias, dy + begin * C,
                      x + begin * C, moments + 3 * begin, weight, end - begin, C, adds(op, 0))


cdef void layer_norm_sums(real *dweight, real *dbias, const real *dy, const real *x,
                          const real *moments, isize rows, isize C, isize columns) noexcept nogil:
    if real is float:
        f32.layer_norm_sums(dweight, dbias, dy, x, moments, rows, C, columns)
    else:
        f64.layer_norm_sums(dweight, dbias, dy, x, moments, rows, C, columns)


cdef void layer_norm_dx(real *dx, real *dweight, real *dbias, const real *dy, const real *x,
                        const real *moments, const real *weight, isize rows, isize C,
                        bint add) noexcept nogil:
    """dx, and the sums unless dweight is NULL."""
    if real is float:
        f32.layer_norm_backward(dx, dweight, dbias, dy, x, moments, weight, rows, C, add)
    else:
        f64.layer_norm_backward(dx, dweight, dbias, dy, x, moments, weight, rows, C, add)
