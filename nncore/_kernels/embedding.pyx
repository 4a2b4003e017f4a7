"""Embedding: row numbers become the rows of a table. P numbers to a row of the batch, table (V,D).
"""
from libc.string cimport memcpy, memset
from nncore._kernels.op cimport UNIT, Op, Run, Tensor, adds, share
from nncore._kernels.simd cimport isize, real


cdef class Embedding(Op):
    """y = weight[x]; dweight[x] += dy; dx = 0. Members share the columns of dweight."""
    cdef Tensor x, weight, y
    cdef isize V, D
    cdef double wrong   # what was no row of the table, for the message

    def __init__(self, Tensor x, Tensor weight, Tensor y):
        self.connect((x, weight), (y,))
        self.x, self.weight, self.y = x, weight, y
        self.V, self.D = weight.shape
        self.backward_by_rows = False
        self.work = y.size

    def refusal(self):
        return (f"layer {self.layer!r}: received {self.wrong:.10g}, which is no row of the table; "
                f"expected integers 0 <= x < {self.V}")

    cdef void forward(self, Run *run) noexcept nogil:
        if self.is_double:
            embedding_forward[double](self, run, NULL)
        else:
            embedding_forward[float](self, run, NULL)

    cdef void backward(self, Run *run) noexcept nogil:
        if self.is_double:
            embedding_backward[double](self, run, NULL)
        else:
            embedding_backward[float](self, run, NULL)


cdef inline isize row_number(double number, isize V) noexcept nogil:
    """-1 for what is not a row of the table: it is never indexed by what a user passed."""
    if not 0 <= number < V:  # NaN neither
        return -1
    return <isize> number if number == <double> (<isize> number) else -1


cdef void embedding_forward(Embedding op, Run *run, real *_) noexcept nogil:
    cdef isize begin, end, i, row, D = op.D
    cdef const real *x = <const real *> op.x.data
    cdef const real *weight = <const real *> op.weight.data
    cdef real *y = <real *> op.y.data
    share(run.rows, 1, run, &begin, &end)
    for i in range(begin * op.x.size, end * op.x.size):
        row = row_number(x[i], op.V)
        if row < 0:
            run.bad = run.bad or op.number
            op.wrong = x[i]
            memset(y + i * D, 0, D * sizeof(real))
        else:
            memcpy(y + i * D, weight + row * D, D * sizeof(real))


cdef void embedding_backward(Embedding op, Run *run, real *_) noexcept nogil:
    cdef isize begin, end, i, c, row, D = op.D
    cdef const real *x = <const real *> op.x.data
    cdef const real *dy = <const real *> op.y.grad
    cdef real *dweight = <real *> op.weight.grad
    cdef real *dx = <real *> op.x.grad
    if dx != NULL and not adds(op, 0):
        share(run.rows, 1, run, &begin, &end)
        memset(dx + begin * op.x.size, 0, (end - begin) * op.x.size * sizeof(real))
    if dweight == NULL:
        return
    share(D, UNIT, run, &begin, &end)
    if not adds(op, 1):
        for i in range(op.V):
            memset(dweight + i * D + begin, 0, (end - begin) * sizeof(real))
    for i in range(run.rows * op.x.size):
        row = row_number(x[i], op.V)
        if row >= 0:
            for c in range(begin, end):
                dweight[row * D + c] += dy[i * D + c]
