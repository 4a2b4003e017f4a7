"""Changing the size of an image (H,W,C): zeros around it, a part of it, or more pixels.

Members share the examples of the batch. A signal (T,C) is an image of one row.
"""
from libc.string cimport memcpy, memset
from nncore._kernels.op cimport Op, Run, Tensor, adds, share
from nncore._kernels.simd cimport f32, f64, isize, pool_windows, real


cdef class Pad(Op):
    """y (H + top + bottom, W + left + right, C) = x with zeros around it; dx = the inside of dy.

    The edges may be negative: then y is the part of x that is left.
    """
    cdef Tensor x, y
    cdef isize H, W, C, P, Q, top, left

    def __init__(self, Tensor x, Tensor y, image, edges):
        self.connect((x,), (y,))
        self.x, self.y = x, y
        self.H, self.W, self.C = image
        (self.top, bottom), (self.left, right) = edges
        self.P, self.Q = self.H + self.top + bottom, self.W + self.left + right
        self.backward_reads_x = False
        self.work = y.size

    cdef void forward(self, Run *run) noexcept nogil:
        if self.is_double:
            pad_forward[double](self, run, NULL)
        else:
            pad_forward[float](self, run, NULL)

    cdef void backward(self, Run *run) noexcept nogil:
        if self.x.grad == NULL:
            return
        if self.is_double:
            pad_backward[double](self, run, NULL)
        else:
            pad_backward[float](self, run, NULL)


cdef void pad_forward(Pad op, Run *run, real *_) noexcept nogil:
    cdef isize begin, end, i
    share(run.rows, 1, run, &begin, &end)
    for i in range(begin, end):
        move(<real *> op.y.data + i * op.y.size, <const real *> op.x.data + i * op.x.size,
             op.H, op.W, op.P, op.Q, op.C, op.top, op.left, False)


cdef void pad_backward(Pad op, Run *run, real *_) noexcept nogil:
    cdef isize begin, end, i
    share(run.rows, 1, run, &begin, &end)
    for i in range(begin, end):
        move(<real *> op.x.grad + i * op.x.size, <const real *> op.y.grad + i * op.y.size,
             op.P, op.Q, op.H, op.W, op.C, -op.top, -op.left, adds(op, 0))


cdef void move(real *y, const real *x, isize H, isize W, isize P, isize Q, isize C, isize top,
               isize left, bint add) noexcept nogil:
    """y (P,Q,C) = what x (H,W,C) has at (p - top, q - left), else 0 [+ y]"""
    cdef isize p, i, from_q = max(0, left), to_q = min(Q, left + W)
    cdef isize length = (to_q - from_q) * C
    for p in range(P):
        if not add:
            memset(y, 0, Q * C * sizeof(real))
        if top <= p < top + H:
            if add:
                for i in range(length):
                    y[from_q * C + i] += x[((p - top) * W + from_q - left) * C + i]
            else:
                memcpy(y + from_q * C, x + ((p - top) * W + from_q - left) * C,
                       length * sizeof(real))
        y += Q * C


cdef class Upsample(Op):
    """y (H sh, W sw, C): each pixel of x as sh x sw equal ones, or interpolated between them."""
    cdef Tensor x, y
    cdef isize H, W, C, sh, sw
    cdef bint bilinear
    cdef pool_windows s  # of y, one for each pixel of x

    def __init__(self, Tensor x, Tensor y, image, factors, bint bilinear):
        self.connect((x,), (y,))
        self.x, self.y, self.bilinear = x, y, bilinear
        self.H, self.W, self.C = image
        self.sh, self.sw = factors
        self.s.H, self.s.W, self.s.C = self.H * self.sh, self.W * self.sw, self.C
        self.s.P, self.s.Q = self.H, self.W
        self.s.kh = self.s.sh = self.sh
        self.s.kw = self.s.sw = self.sw
        self.s.top = self.s.left = 0
        self.backward_reads_x = False
        self.work = (6.0 if bilinear else 1.0) * y.size

    cdef void forward(self, Run *run) noexcept nogil:
        cdef isize begin, end, i
        share(run.rows, 1, run, &begin, &end)
        for i in range(begin, end):
            if self.is_double:
                (f64.bilinear if self.bilinear else f64.repeat)(
                    <double *> self.y.data + i * self.y.size,
                    <const double *> self.x.data + i * self.x.size,
                    self.H, self.W, self.C, self.sh, self.sw)
            else:
                (f32.bilinear if self.bilinear else f32.repeat)(
                    <float *> self.y.data + i * self.y.size,
                    <const float *> self.x.data + i * self.x.size,
                    self.H, self.W, self.C, self.sh, self.sw)

    cdef void backward(self, Run *run) noexcept nogil:
        if self.x.grad == NULL:
            return
        if self.is_double:
            upsample_backward[double](self, run, NULL)
        else:
            upsample_backward[float](self, run, NULL)


cdef void upsample_backward(Upsample op, Run *run, real *_) noexcept nogil:
    cdef isize begin, end, i
    cdef real *dx
    cdef const real *dy
    share(run.rows, 1, run, &begin, &end)
    for i in range(begin, end):
        dx = <real *> op.x.grad + i * op.x.size
        dy = <const real *> op.y.grad + i * op.y.size
        if op.bilinear:
            if real is float:
                f32.bilinear_backward(dx, dy, op.H, op.W, op.C, op.sh, op.sw, adds(op, 0))
            else:
                f64.bilinear_backward(dx, dy, op.H, op.W, op.C, op.sh, op.sw, adds(op, 0))
        elif real is float:
            f32.sum_pool(dx, dy, &op.s, False, adds(op, 0))
        else:
            f64.sum_pool(dx, dy, &op.s, False, adds(op, 0))
