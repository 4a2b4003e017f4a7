"""The fully connected layer: y = x W^T + b, the tutorial's W h + b for a batch of rows h.

B rows, I inputs, O units. x (B,I), weight (O,I), bias (O,), y (B,O).

Members share the units in the forward pass and for dW, and the inputs for dx; where there are few
they share the rows. Each element is one sum in a fixed order, so results do not depend on that
(BLAS, where it is called, promises no order).
"""
from nncore._kernels cimport blas
from nncore._kernels.finishing cimport Finishing, finishing
from nncore._kernels.op cimport UNIT, Run, Tensor, adds, share
from nncore._kernels.products cimport (finish_piece, gemm, gemm_dot, gemm_pack, gemm_packed,
                                       gemm_packed_size, gemm_scratch, gemm_short, gemv,
                                       sum_rows)
from nncore._kernels.simd cimport finish, isize, real, vector_bytes

cdef enum:
    FEW_COLUMNS = 64    # below, sharing columns would leave vectors half empty
    BLAS_ROWS = 128     # from here on, where the layer is so wide, BLAS is as fast in float64
    BLAS_WIDTH = 1024
    KEPT_ROWS = 16      # from here on packed weights are worth keeping, and for fewer rows
    KEPT_INPUTS = 256   # of at most so many inputs: 8 rows of 33, 1000 units: 5 us, as dots 14


cdef enum Form:  # of the product x W^T
    PLAIN        # the formula
    BLAS         # of scipy
    ONE_ROW      # W x
    PACKED       # tiles, the weights laid out for them each time that they have changed
    SHORT        # each x and each row of W is at most a vector
    DOTS         # along the inputs
    TILES        # W is packed on the way

cdef bint plain = False


def force_plain(bint on):
    """For tests: whether all layers compute the formula, or each the form that is the fastest."""
    global plain
    plain = on


cdef void dense_plain(real *y, const real *x, const real *weight, const real *bias, isize rows,
                      isize units, isize I, isize O) noexcept nogil:
    """The formula: y[r, o] = bias[o] + sum over i of weight[o, i] x[r, i]."""
    cdef isize r, o, i
    cdef real sum
    for r in range(rows):
        for o in range(units):
            sum = bias[o] if bias != NULL else 0
            for i in range(I):
                sum += weight[o * I + i] * x[r * I + i]
            y[r * O + o] = sum


cdef Form form_of(Dense op, isize B) noexcept nogil:
    """The fastest form for B rows; the whole layer decides, not a member's share."""
    if plain:
        return PLAIN
    if B == 1:
        return ONE_ROW
    if op.uses_blas:
        return BLAS
    if op.packed_weight is not None:
        return PACKED
    if op.O < op.lanes and op.I <= op.lanes:
        return SHORT
    return DOTS if by_dots(B, op.I, op.O, op.lanes) else TILES


cdef inline bint by_dots(isize B, isize I, isize O, isize lanes) noexcept nogil:
    """Whether dot products are faster than tiles: for few rows, which do not repay the packing of
    W, and for few units, which do not fill a vector. More rows than one tile of dots has read W
    again: that takes longer vectors. Measured over 33 pairs (I,O), 14 values of B, with AVX2 and
    AVX-512; `most` rows ever repay it."""
    cdef isize most = 128 if vector_bytes() == 64 else 32
    return (O < lanes and I >= 4 * O) or (
        B <= most and I >= min(4 * B, 256) and (B <= 6 or I >= 112))


cdef void dense_forward(Dense op, Run *run, real *_) noexcept nogil:
    """y = x W^T + b, this member's rows or units, finished while they are in a cache."""
    cdef isize B = run.rows * op.positions, I = op.I, O = op.O, r, o
    cdef isize row = 0, rows = B, unit = 0, units = O, end
    if op.units_by_rows:
        share(B, op.positions, run, &row, &end)
        rows = end - row
    else:
        share(O, UNIT, run, &unit, &end)
        units = end - unit
    cdef isize at = row * O + unit
    cdef real *y = <real *> op.y.data + at
    cdef const real *x = <const real *> op.x.data + row * I
    cdef const real *weight = <const real *> op.weight.data + unit * I
    cdef const real *bias = NULL
    if op.bias is not None:
        bias = <const real *> op.bias.data + unit
    cdef Form form = form_of(op, B)
    if form == PLAIN:
        dense_plain(y, x, weight, bias, rows, units, I, O)
    elif form == BLAS:
        if bias != NULL:
            for r in range(rows):
                for o in range(units):
                    y[r * O + o] = bias[o]
        blas.blas_gemm(y, O, x, I, False, weight, I, True, rows, units, I, bias != NULL)
    elif form == ONE_ROW:
        if rows == 1:  # a member may have none
            gemv(y, x, weight, I, units, I, bias, I * O * sizeof(real))
    elif form == PACKED:
        gemm_packed(y, O, x, I, <const real *> op.packed_weight.data, op.most, rows, O, I, 0,
                    bias, run.scratch)
    elif form == SHORT:
        gemm_short(y, O, x, I, weight, I, rows, units, I, bias)
    elif form == DOTS:
        gemm_dot(y, O, x, I, weight, I, rows, units, I, 0, bias)
    else:
        gemm(y, O, x, I, 1, weight, 1, I, rows, units, I, 0, bias, run.scratch)
    cdef finish storage
    cdef const finish *f = finishing(op, &storage)
    if f != NULL:
        if units == O:
            finish_piece(f, <real *> op.y.data, at, rows * O)
        else:
            for r in range(rows):
                finish_piece(f, <real *> op.y.data, at + r * O, units)


cdef void dense_backward_input(real *dx, const real *dy, const real *weight, isize B, isize I,
                               isize O, isize begin, isize end, bint by_rows, bint use_blas,
                               bint add, void *scratch) noexcept nogil:
    """dx = dy W for the rows or inputs begin..end."""
    cdef isize row = begin if by_rows else 0, rows = end - begin if by_rows else B
    cdef isize column = 0 if by_rows else begin, columns = I if by_rows else end - begin
    dx += row * I + column
    dy += row * O
    weight += column
    if use_blas:
        blas.blas_gemm(dx, I, dy, O, False, weight, I, False, rows, columns, O, add)
    else:
        gemm(dx, I, dy, O, 1, weight, I, 1, rows, columns, O, add, <real *> NULL, scratch)


cdef void dense_backward_weight(real *dweight, const real *dy, const real *x, isize B, isize I,
                                isize O, isize begin, isize end, bint by_units, bint use_blas,
                                bint add, void *scratch) noexcept nogil:
    """dW = dy^T x for the units or inputs begin..end, over the whole batch."""
    cdef isize unit = begin if by_units else 0, units = end - begin if by_units else O
    cdef isize column = 0 if by_units else begin, columns = I if by_units else end - begin
    dweight += unit * I + column
    dy += unit
    x += column
    if use_blas:
        blas.blas_gemm(dweight, I, dy, O, True, x, I, False, units, columns, B, add)
    else:
        gemm(dweight, I, dy, 1, O, x, I, 1, units, columns, B, add, <real *> NULL, scratch)


cdef bint prefers_blas(isize B, isize I, isize O, bint is_double):
    """Whether BLAS is at least as fast as the kernels here: in wide layers of float64; without
    256-bit vectors BLAS may have an instruction set that simd/ has no kernels for."""
    if vector_bytes() == 16:
        return I * O >= 4096
    return is_double and B >= BLAS_ROWS and min(I, O) >= BLAS_WIDTH


cdef class Dense(Finishing):
    """y = x W^T + b over the last axis of x; axes between the batch and it count as rows."""
    cdef Tensor x, packed_weight
    cdef isize I, O, positions, lanes, most
    cdef bint units_by_rows, inputs_by_rows

    def __init__(self, Tensor x, Tensor weight, Tensor bias, Tensor y, rows=1, keeps=None):
        self.connect((x, weight) if bias is None else (x, weight, bias), (y,))
        self.x, self.weight, self.bias, self.y = x, weight, bias, y
        self.O, self.I = weight.shape
        self.positions = y.size // self.O
        self.units_by_rows = self.O < FEW_COLUMNS
        self.inputs_by_rows = self.I < FEW_COLUMNS
        self.backward_by_rows = False
        self.work = 2.0 * self.I * self.O * self.positions
        self.lanes = vector_bytes() // y.itemsize
        cdef isize B = rows * self.positions, elements
        self.uses_blas = prefers_blas(B, self.I, self.O, self.is_double)
        self.most = B
        if (B > 1 and (B >= KEPT_ROWS or self.I <= KEPT_INPUTS) and self.O >= self.lanes
                and not self.uses_blas and keeps is not None and keeps(weight.size * y.itemsize)):
            self.keep()
        # BLAS gets its pieces dealt out, not a member's own rows
        self.forward_by_rows = self.units_by_rows and not self.uses_blas
        elements = max(gemm_scratch(self.is_double, B, self.O, self.I),
                       gemm_scratch(self.is_double, B, self.I, self.O),
                       gemm_scratch(self.is_double, self.O, self.I, B))
        self.scratch_size = elements * y.itemsize

    def keep(self):
        cdef isize size = gemm_packed_size(self.is_double, self.O, self.I)
        self.packed_weight = Tensor((size,), self.y.itemsize, None, None, False)
        self.kept = (self.packed_weight,)
        self.prepares = self.units_by_rows = True

    cdef void prepare(self) noexcept nogil:
        if self.is_double:
            gemm_pack(<double *> self.packed_weight.data, <const double *> self.weight.data, 1,
                      self.I, self.O, self.I, self.most, 0, 1)
        else:
            gemm_pack(<float *> self.packed_weight.data, <const float *> self.weight.data, 1,
                      self.I, self.O, self.I, self.most, 0, 1)

    cdef void forward(self, Run *run) noexcept nogil:
        cdef Run piece = run[0]
        if not self.uses_blas:
            self.forward_share(run)
            return
        # BLAS rounds by the shapes it gets: these must depend on the number of threads asked for
        # only, not on how many members there happen to be.
        piece.members = run.asked
        while piece.member < piece.members:
            self.forward_share(&piece)
            piece.member += run.members

    cdef void backward(self, Run *run) noexcept nogil:
        cdef Run piece = run[0]
        if not self.uses_blas:
            self.backward_share(run)
            return
        piece.members = run.asked
        while piece.member < piece.members:
            self.backward_share(&piece)
            piece.member += run.members

    cdef void forward_share(self, Run *run) noexcept nogil:
        if self.is_double:
            dense_forward[double](self, run, NULL)
        else:
            dense_forward[float](self, run, NULL)

    cdef void backward_share(self, Run *run) noexcept nogil:
        if self.is_double:
            dense_backward[double](self, run, NULL)
        else:
            dense_backward[float](self, run, NULL)


cdef void dense_backward(Dense op, Run *run, real *_) noexcept nogil:
    """dx, dW and db of y = x W^T + b; the columns of dW go to the members where units are few."""
    cdef isize B = run.rows * op.positions, begin, end
    cdef const real *dy = <const real *> op.y.grad
    cdef bint by_units = op.O >= run.members * UNIT or op.O >= op.I
    if op.x.grad != NULL:
        if op.inputs_by_rows:
            share(B, op.positions, run, &begin, &end)
        else:
            share(op.I, UNIT, run, &begin, &end)
        dense_backward_input(<real *> op.x.grad, dy, <const real *> op.weight.data, B, op.I,
                             op.O, begin, end, op.inputs_by_rows, op.uses_blas, adds(op, 0),
                             run.scratch)
    if op.weight.grad != NULL:
        share(op.O if by_units else op.I, 1 if by_units else UNIT, run, &begin, &end)
        dense_backward_weight(<real *> op.weight.grad, dy, <const real *> op.x.data, B, op.I,
                              op.O, begin, end, by_units, op.uses_blas, adds(op, 1), run.scratch)
    if op.bias is not None and op.bias.grad != NULL:
        share(op.O, UNIT, run, &begin, &end)
        sum_rows(<real *> op.bias.grad + begin, dy + begin, op.O, B, end - begin, adds(op, 2))
