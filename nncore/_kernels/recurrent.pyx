"""Recurrent layers: h_t = cell(x_t W_ih^T + b_ih, h_{t-1} W_hh^T + b_hh), step after step.

B rows, T steps, I inputs, H units, G gates. x (B,T,I), weight_ih (G H,I), weight_hh (G H,H), biases
(G H); y (B,T,H), the last h and c (B,H). recurrence.pyx says in which order rows and steps lie in
memory, simd/recurrent.h what a cell is.

Forward: the products of x for a chunk of steps at once, then for each step the product of h, and
the cell. Backward: the cell and the product for each step in reverse, then dx; dW and db are one
sum over all steps. Weights are packed for their products once a run, or when they change; but one
row reads W_hh as it is.

Members take rows, and need not meet between steps; where those are few, they take units and meet
once a step, or leave the steps to one: streams of few rows always do. Which, depends on the members
asked for, and on whether the op is dealt out to one (op.pyx); the sums of y and dx on neither.
"""
from libc.stdint cimport uint8_t
from libc.string cimport memcpy, memset
from nncore._kernels cimport threads
from nncore._kernels.op cimport Run, adds, share
from nncore._kernels.recurrence cimport (Recurrence, Shard, active, add_gradient, get_shard,
                                         multiply_transposed, multiply_weights, pack_backward,
                                         pack_forward, place_in_y, row_of, shard_count, sort_rows,
                                         state_at, step_of, stored)
from nncore._kernels.recurrent_gradients cimport input_gradient, weight_gradients
from nncore._kernels.simd cimport (CELL_GRU, CELL_GRU_BEFORE, CELL_GRU_RESET, CELL_LSTM, f32,
                                   f32_cell, f64, f64_cell, isize, real)

cdef class Recurrent(Recurrence):
    cdef void prepare(self) noexcept nogil:
        cdef Shard s
        s.begin, s.end, s.whole = 0, self.H, True
        if self.is_double:
            pack_forward[double](self, &s, 0, 1, NULL)
        else:
            pack_forward[float](self, &s, 0, 1, NULL)

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


cdef inline void cell(int kind, bint back, isize H, isize n, real *z, real *h, real *c,
                      real *dh, real *dc, const real *h_prev, const real *c_prev) noexcept nogil:
    """One row's n units; which arguments a cell has, simd/recurrent.h says."""
    cdef f32_cell single
    cdef f64_cell double_
    if real is float:
        single.H, single.n, single.z, single.h, single.c = H, n, z, h, c
        single.dh, single.dc, single.h_prev, single.c_prev = dh, dc, h_prev, c_prev
        if back:
            f32.cell_backward(kind, &single)
        else:
            f32.cell_forward(kind, &single)
    else:
        double_.H, double_.n, double_.z, double_.h, double_.c = H, n, z, h, c
        double_.dh, double_.dc, double_.h_prev, double_.c_prev = dh, dc, h_prev, c_prev
        if back:
            f64.cell_backward(kind, &double_)
        else:
            f64.cell_forward(kind, &double_)


# ---- forward -------------------------------------------------------------------------------------


cdef void forward(Recurrent op, Run *run, real *_) noexcept nogil:
    cdef int count = shard_count(op, run), number = run.member
    cdef Shard s = get_shard(op, run, 0, count)
    while number < count:
        s = get_shard(op, run, number, count)
        sort_rows(op, run, &s)
        number += run.members
    if run.member == 0:
        add_biases(op, _)
    if op.packs and not op.prepares:
        pack_forward(op, &s, run.member, run.members, _)
    if run.members > 1:
        threads.barrier(run.members)
    number = run.member if s.whole else 0
    while number < count:
        s = get_shard(op, run, number, count)
        s.steps = s.length[0]
        forward_shard(op, run, &s, _)
        number += run.members


cdef void add_biases(Recurrent op, real *_) noexcept nogil:
    """bias (columns of z) = b_ih + b_hh, each where its product goes."""
    cdef real *bias = <real *> op.bias.data
    cdef isize g, j
    memset(bias, 0, op.ldz * sizeof(real))
    if op.bias_ih is None:
        return
    for g in range(op.G):
        for j in range(op.H):
            bias[op.x_at[g] + j] += (<real *> op.bias_ih.data)[g * op.H + j]
            bias[op.h_at[g] + j] += (<real *> op.bias_hh.data)[g * op.H + j]


cdef void forward_shard(Recurrent op, Run *run, Shard *s, real *_) noexcept nogil:
    cdef isize start, end, t, row, r
    cdef real *z
    begin_states(op, run, s, _)
    end = 0
    while end < s.steps:
        start, end = end, min(end + op.chunk, s.steps)
        row = stored(op, s, start, start)
        z = row_of(op.zs.data, row, op.ldz, _)
        take_inputs(op, run, s, start, end, _)
        if not s.whole:
            threads.barrier(run.members)
        multiply_weights(op, s, z, row_of(op.xs.data, row, op.ldx, _), op.ldx,
                         s.first[end] - s.first[start], True, 0, op.G, False, run.scratch)
        if op.kind == CELL_GRU:  # m begins with its bias
            for r in range(s.first[end] - s.first[start]):
                memcpy(z + r * op.ldz + 3 * op.H + s.begin,
                       <real *> op.bias.data + 3 * op.H + s.begin,
                       (s.end - s.begin) * sizeof(real))
        for t in range(start, end):
            forward_step(op, run, s, t, row_of(op.zs.data, stored(op, s, t, start), op.ldz, _))
    end_sequences(op, s, _)


cdef void begin_states(Recurrent op, Run *run, Shard *s, real *_) noexcept nogil:
    """h and c before the first step, this member's units; and what recurrent dropout keeps."""
    cdef isize r, b, n = s.end - s.begin
    cdef real *h = row_of(op.hs.data, state_at(op, s, 0), op.ldh, _) + s.begin
    cdef real *c
    for r in range(s.rows):
        b = s.order[r] * op.H + s.begin
        if op.h0 is None:
            memset(h + r * op.ldh, 0, n * sizeof(real))
        else:
            memcpy(h + r * op.ldh, <real *> op.h0.data + b, n * sizeof(real))
        if op.kind == CELL_LSTM:
            c = row_of(op.cs.data, state_at(op, s, 0) + r, op.ldh, _) + s.begin
            if op.c0 is None:
                memset(c, 0, n * sizeof(real))
            else:
                memcpy(c, <real *> op.c0.data + b, n * sizeof(real))
        if op.rate > 0:
            f32.dropout_mask(<uint8_t *> op.keep.data + b, b, n, op.rate,
                             run.key + op.stream * 0x9E3779B97F4A7C15ULL, run.step)


cdef void take_inputs(Recurrent op, Run *run, Shard *s, isize start, isize end,
                      real *_) noexcept nogil:
    """xs = x for the steps start..end; members that share the units share the rows of this."""
    cdef isize t, r, r0 = 0, r1 = s.rows, step
    cdef real *xs
    if not s.whole:
        share(s.rows, 1, run, &r0, &r1)
    for t in range(start, end):
        xs = row_of(op.xs.data, stored(op, s, t, start), op.ldx, _)
        for r in range(r0, min(r1, active(s, t))):
            step = s.order[r] * op.T + step_of(op, s.length[r], t)
            memcpy(xs + r * op.ldx, <real *> op.x.data + step * op.I, op.I * sizeof(real))


cdef void forward_step(Recurrent op, Run *run, Shard *s, isize t, real *z) noexcept nogil:
    """From h_{t-1} to h_t; z has the products of x."""
    cdef isize rows = active(s, t), longer = active(s, t + 1), r, b, n = s.end - s.begin
    cdef isize state = state_at(op, s, t), later = state_at(op, s, t + 1)
    cdef bint moves = t > 0 or op.h0 is not None  # else h is 0, and so are its products
    cdef real *h = row_of(op.hs.data, state, op.ldh, z)
    cdef real *h_next
    cdef real *y
    cdef real *c = NULL
    cdef real *c_next = NULL
    cdef const real *operand = h
    if op.rate > 0:
        operand = row_of(op.masked.data, s.row, op.ldh, z)
        for r in range(rows):
            drop(op, <real *> operand + r * op.ldh + s.begin, h + r * op.ldh + s.begin,
                 s.order[r] * op.H + s.begin, n, False)
        if not s.whole:
            threads.barrier(run.members)
    if moves:
        multiply_weights(op, s, z, operand, op.ldh, rows, False, 0,
                         2 if op.kind == CELL_GRU_BEFORE else op.G, t & 1, run.scratch)
    if op.kind == CELL_GRU_BEFORE:
        for r in range(rows):
            cell(CELL_GRU_RESET, False, op.H, n, z + r * op.ldz + s.begin, <real *> NULL,
                 <real *> NULL, <real *> NULL, <real *> NULL, operand + r * op.ldh + s.begin,
                 <real *> NULL)
        if not s.whole:
            threads.barrier(run.members)
        if moves:
            multiply_weights(op, s, z, z + 3 * op.H, op.ldz, rows, False, 2, 3, t & 1,
                             run.scratch)
    for r in range(rows):
        b = s.order[r]
        y = NULL
        if op.y is not None:
            y = row_of(op.y.data, b * op.T + place_in_y(op, s.length[r], t), op.H, z) + s.begin
        if r < longer:
            h_next = row_of(op.hs.data, later + r, op.ldh, z) + s.begin
        elif op.last_h is not None:
            h_next = row_of(op.last_h.data, b, op.H, z) + s.begin
        else:
            h_next = y
        if op.kind == CELL_LSTM:
            c = row_of(op.cs.data, state + r, op.ldh, z) + s.begin
            c_next = (row_of(op.cs.data, later + r, op.ldh, z) if r < longer
                      else row_of(op.c_end.data, b, op.H, z)) + s.begin
        cell(op.kind, False, op.H, n, z + r * op.ldz + s.begin, h_next, c_next, <real *> NULL,
             <real *> NULL, h + r * op.ldh + s.begin, c)
        if y != NULL and y != h_next:
            memcpy(y, h_next, n * sizeof(real))
    if not s.whole:
        threads.barrier(run.members)


cdef inline void drop(Recurrent op, real *y, const real *x, isize at, isize n,
                      bint add) noexcept nogil:
    """y = x keep / (1 - rate) [+ y], for n units of a row: h, or its gradient."""
    cdef uint8_t *keep = <uint8_t *> op.keep.data + at
    if real is float:
        f32.dropout_apply(y, x, keep, n, 1.0 / (1.0 - op.rate), add)
    else:
        f64.dropout_apply(y, x, keep, n, 1.0 / (1.0 - op.rate), add)


cdef void end_sequences(Recurrent op, Shard *s, real *_) noexcept nogil:
    """The last c; and zeros for the steps beyond a sequence's end."""
    cdef isize r, t, b, n = s.end - s.begin
    for r in range(s.rows):
        b = s.order[r]
        if op.last_c is not None:
            memcpy(row_of(op.last_c.data, b, op.H, _) + s.begin,
                   row_of(op.c_end.data, b, op.H, _) + s.begin, n * sizeof(real))
        if op.y is not None:
            for t in range(s.length[r], op.T):
                memset(row_of(op.y.data, b * op.T + t, op.H, _) + s.begin, 0, n * sizeof(real))


# ---- backward ------------------------------------------------------------------------------------


cdef void backward(Recurrent op, Run *run, real *_) noexcept nogil:
    cdef int count = shard_count(op, run), number
    cdef Shard s = get_shard(op, run, 0, count)
    cdef bint whole = s.whole
    pack_backward(op, run, &s, _)
    if run.members > 1:
        threads.barrier(run.members)
    number = run.member if whole else 0
    while number < count:
        s = get_shard(op, run, number, count)
        s.steps = s.length[0]
        backward_shard(op, run, &s, _)
        if whole and op.x.grad != NULL:
            input_gradient(op, run, &s, _)
        number += run.members
    if run.members > 1:
        threads.barrier(run.members)
    if not whole and op.x.grad != NULL:
        input_gradient(op, run, &s, _)
    weight_gradients(op, run, count, _)


cdef void backward_shard(Recurrent op, Run *run, Shard *s, real *_) noexcept nogil:
    """zs = the gradients of the gates, for all steps; dh0, dc0."""
    cdef isize r, t, b, n = s.end - s.begin
    cdef real *dh = row_of(op.dh.data, s.row, op.ldh, _) + s.begin
    cdef real *dc = NULL
    cdef real *h
    if op.dc is not None:
        dc = row_of(op.dc.data, s.row, op.ldh, _) + s.begin
    for r in range(s.rows):
        begin_gradient(dh + r * op.ldh, op.last_h.grad if op.last_h is not None else NULL,
                       s.order[r] * op.H + s.begin, n)
        if op.kind == CELL_LSTM:
            begin_gradient(dc + r * op.ldh, op.last_c.grad if op.last_c is not None else NULL,
                           s.order[r] * op.H + s.begin, n)
    for t in range(s.steps - 1, -1, -1):
        backward_step(op, run, s, t, row_of(op.zs.data, stored(op, s, t, 0), op.ldz, _))
    for r in range(s.rows):
        b = s.order[r] * op.H + s.begin
        if op.h0 is not None and op.h0.grad != NULL:
            add_gradient(<real *> op.h0.grad + b, dh + r * op.ldh, n, adds(op, 0))
        if op.c0 is not None and op.c0.grad != NULL:
            add_gradient(<real *> op.c0.grad + b, dc + r * op.ldh, n, adds(op, 1))
    if op.rate > 0:  # hs becomes the operand of the gradient of weight_hh
        for t in range(s.steps):
            for r in range(active(s, t)):
                h = row_of(op.hs.data, state_at(op, s, t) + r, op.ldh, _) + s.begin
                drop(op, h, h, s.order[r] * op.H + s.begin, n, False)


cdef inline void begin_gradient(real *d, const char *given, isize at, isize n) noexcept nogil:
    if given == NULL:
        memset(d, 0, n * sizeof(real))
    else:
        memcpy(d, <const real *> given + at, n * sizeof(real))


cdef void backward_step(Recurrent op, Run *run, Shard *s, isize t, real *z) noexcept nogil:
    """From the gradients of h_t and c_t to those of the gates, and of h_{t-1} and c_{t-1}."""
    cdef isize rows = active(s, t), longer = active(s, t + 1), r, b, n = s.end - s.begin
    cdef isize state = state_at(op, s, t), later = state_at(op, s, t + 1), gates = op.G
    cdef real *dh = row_of(op.dh.data, s.row, op.ldh, z)
    cdef real *dc = NULL
    cdef real *h = row_of(op.hs.data, state, op.ldh, z) + s.begin
    cdef real *c = NULL
    cdef real *c_next = NULL
    cdef real *masked
    cdef const real *dy
    if op.dc is not None:
        dc = row_of(op.dc.data, s.row, op.ldh, z)
    for r in range(rows):
        b = s.order[r]
        if op.y is not None and op.y.grad != NULL:
            dy = <const real *> op.y.grad + (b * op.T + place_in_y(op, s.length[r], t)) * op.H
            add_gradient(dh + r * op.ldh + s.begin, dy + s.begin, n, True)
        if op.kind == CELL_LSTM:
            c = row_of(op.cs.data, state + r, op.ldh, z) + s.begin
            c_next = (row_of(op.cs.data, later + r, op.ldh, z) if r < longer
                      else row_of(op.c_end.data, b, op.H, z)) + s.begin
        cell(op.kind, True, op.H, n, z + r * op.ldz + s.begin, <real *> NULL, c_next,
             dh + r * op.ldh + s.begin, dc + r * op.ldh + s.begin, h + r * op.ldh, c)
    if not s.whole:
        threads.barrier(run.members)
    if op.kind == CELL_GRU_BEFORE:
        multiply_transposed(op, s, dc, op.ldh, z, rows, 2, 3, False)
        for r in range(rows):
            if op.rate > 0:  # m = r keep h: what is kept of its gradient serves both, r and h
                drop(op, dc + r * op.ldh + s.begin, dc + r * op.ldh + s.begin,
                     s.order[r] * op.H + s.begin, n, False)
            cell(CELL_GRU_RESET, True, op.H, n, z + r * op.ldz + s.begin, <real *> NULL,
                 <real *> NULL, dh + r * op.ldh + s.begin, dc + r * op.ldh + s.begin,
                 h + r * op.ldh, <real *> NULL)
        if not s.whole:
            threads.barrier(run.members)
        gates = 2
    if t == 0 and op.h0 is None:
        return
    if op.rate > 0:
        masked = row_of(op.masked.data, s.row, op.ldh, z)
        multiply_transposed(op, s, masked, op.ldh, z, rows, 0, gates, False)
        for r in range(rows):
            drop(op, dh + r * op.ldh + s.begin, masked + r * op.ldh + s.begin,
                 s.order[r] * op.H + s.begin, n, True)
    else:
        multiply_transposed(op, s, dh, op.ldh, z, rows, 0, gates, True)
