"""Merging two tensors into one: sum, product, concatenation. Several are merged two by two.

n: numbers in a row.
"""
from libc.string cimport memcpy
from nncore._kernels.op cimport Op, Run, Tensor, adds, share
from nncore._kernels.simd cimport isize, real


cdef class Merge(Op):
    """What the ops here share: y from a and b, number by number except in Concatenate."""

    def __init__(self, Tensor a, Tensor b, Tensor y):
        self.connect((a, b), (y,))
        self.a, self.b, self.y = a, b, y
        self.work = y.size

    cdef void forward(self, Run *run) noexcept nogil:
        if self.is_double:
            elementwise_forward[double](self, run, NULL)
        else:
            elementwise_forward[float](self, run, NULL)

    cdef void backward(self, Run *run) noexcept nogil:
        if self.is_double:
            elementwise_backward[double](self, run, NULL)
        else:
            elementwise_backward[float](self, run, NULL)


cdef class Add(Merge):
    """y = a + b; da = db = dy"""

    def __init__(self, Tensor a, Tensor b, Tensor y):
        super().__init__(a, b, y)
        self.kind = ADD
        self.backward_reads_x = False
        self.in_place = True


cdef class Average(Merge):
    """y = (a + b) / 2; da = db = dy / 2"""

    def __init__(self, Tensor a, Tensor b, Tensor y):
        super().__init__(a, b, y)
        self.kind = AVERAGE
        self.backward_reads_x = False


cdef class Multiply(Merge):
    """y = a b, number by number; da = dy b, db = dy a"""

    def __init__(self, Tensor a, Tensor b, Tensor y):
        super().__init__(a, b, y)
        self.kind = MULTIPLY


cdef void elementwise_forward(Merge op, Run *run, real *_) noexcept nogil:
    cdef isize begin, end, i, n = op.y.size
    cdef const real *a = <const real *> op.a.data
    cdef const real *b = <const real *> op.b.data
    cdef real *y = <real *> op.y.data
    share(run.rows, 1, run, &begin, &end)
    if op.kind == ADD:
        for i in range(begin * n, end * n):
            y[i] = a[i] + b[i]
    elif op.kind == AVERAGE:
        for i in range(begin * n, end * n):
            y[i] = <real> 0.5 * (a[i] + b[i])
    else:
        for i in range(begin * n, end * n):
            y[i] = a[i] * b[i]


cdef void elementwise_backward(Merge op, Run *run, real *_) noexcept nogil:
    cdef isize begin, end, n = op.y.size
    cdef const real *dy = <const real *> op.y.grad
    cdef const real *a = <const real *> op.a.data
    cdef const real *b = <const real *> op.b.data
    share(run.rows, 1, run, &begin, &end)
    gradient(op.kind, <real *> op.a.grad, dy, b, begin * n, end * n, adds(op, 0))
    gradient(op.kind, <real *> op.b.grad, dy, a, begin * n, end * n, adds(op, 1))


cdef void gradient(Elements kind, real *dx, const real *dy, const real *factor, isize begin,
                   isize end, bint add) noexcept nogil:
    """dx = dy, dy / 2 or dy factor [+ dx] for the numbers begin..end."""
    cdef isize i
    if dx == NULL:
        return
    if kind == ADD:
        copy(dx, dy, begin, end, add)
    elif kind == AVERAGE:
        for i in range(begin, end):
            dx[i] = <real> 0.5 * dy[i] + (dx[i] if add else 0)
    elif add:
        for i in range(begin, end):
            dx[i] += dy[i] * factor[i]
    else:
        for i in range(begin, end):
            dx[i] = dy[i] * factor[i]


cdef void copy(real *dx, const real *dy, isize begin, isize end, bint add) noexcept nogil:
    """dx = dy [+ dx] for the numbers begin..end; dx may be NULL: nobody wants it, or dy itself."""
    cdef isize i
    if dx == NULL:
        return
    if add:
        for i in range(begin, end):
            dx[i] += dy[i]
    elif dx != dy:
        memcpy(dx + begin, dy + begin, (end - begin) * sizeof(real))


cdef class Concatenate(Merge):
    """y = (a, b) along one axis: in y, stretches of a and b take turns."""
    cdef isize stretches, from_a, from_b   # in a row: their number and their lengths

    def __init__(self, Tensor a, Tensor b, Tensor y, int axis):
        super().__init__(a, b, y)
        self.backward_reads_x = False
        self.stretches = 1
        for n in y.shape[:axis]:
            self.stretches *= n
        self.from_a = a.size // max(1, self.stretches)
        self.from_b = b.size // max(1, self.stretches)

    cdef void forward(self, Run *run) noexcept nogil:
        cdef isize begin, end, i, a = self.from_a * self.y.itemsize
        cdef isize b = self.from_b * self.y.itemsize
        share(run.rows, 1, run, &begin, &end)
        for i in range(begin * self.stretches, end * self.stretches):
            memcpy(self.y.data + i * (a + b), self.a.data + i * a, a)
            memcpy(self.y.data + i * (a + b) + a, self.b.data + i * b, b)

    cdef void backward(self, Run *run) noexcept nogil:
        if self.is_double:
            concatenate_backward[double](self, run, NULL)
        else:
            concatenate_backward[float](self, run, NULL)


cdef void concatenate_backward(Concatenate op, Run *run, real *_) noexcept nogil:
    cdef isize begin, end, i, a = op.from_a, b = op.from_b
    cdef const real *dy
    share(run.rows, 1, run, &begin, &end)
    for i in range(begin * op.stretches, end * op.stretches):
        dy = <const real *> op.y.grad + i * (a + b)
        if op.a.grad != NULL:
            copy(<real *> op.a.grad + i * a, dy, 0, a, adds(op, 0))
        if op.b.grad != NULL:
            copy(<real *> op.b.grad + i * b, dy + a, 0, b, adds(op, 1))


cdef class Copy(Op):
    """y = x, where a network's output would be its own input."""
    cdef Tensor x, y

    def __init__(self, Tensor x, Tensor y):
        self.connect((x,), (y,))
        self.x, self.y = x, y
        self.backward_reads_x = False

    cdef void forward(self, Run *run) noexcept nogil:
        cdef isize begin, end, bytes = self.y.size * self.y.itemsize
        share(run.rows, 1, run, &begin, &end)
        memcpy(self.y.data + begin * bytes, self.x.data + begin * bytes, (end - begin) * bytes)

    cdef void backward(self, Run *run) noexcept nogil:
        cdef isize begin, end
        share(run.rows, 1, run, &begin, &end)
        begin *= self.y.size
        end *= self.y.size
        if self.is_double:
            copy(<double *> self.x.grad, <const double *> self.y.grad, begin, end, adds(self, 0))
        else:
            copy(<float *> self.x.grad, <const float *> self.y.grad, begin, end, adds(self, 0))
