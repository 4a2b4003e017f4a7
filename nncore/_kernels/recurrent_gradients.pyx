"""The end of a recurrent layer's backward pass, once the gradients dz of the gates of all steps are
there: dx, and the sums over all steps dW and db. Sizes and names are those of recurrent.pyx and
recurrence.pyx."""
from libc.string cimport memset
from nncore._kernels.op cimport UNIT, Run, adds, filled, share
from nncore._kernels.products cimport gemm, gemm_packed, sum_rows
from nncore._kernels.recurrence cimport (DX_ROWS, Recurrence, Shard, add_gradient, gates_together,
                                         get_shard, row_of, step_of, stored)
from nncore._kernels.simd cimport CELL_GRU_BEFORE, isize, real


cdef void input_gradient(Recurrence op, Run *run, Shard *s, real *_) noexcept nogil:
    """dx = dz W_ih, a few rows of it at a time, each then brought to its place."""
    cdef isize begin = 0, end = s.first[s.steps], row, t, r, g, n, b
    cdef real *found = <real *> run.scratch
    cdef real *dx = <real *> op.x.grad
    cdef real *z
    if not s.whole:
        share(end, 1, run, &begin, &end)
    t = 0
    while begin < end:
        z = row_of(op.zs.data, stored(op, s, 0, 0) + begin, op.ldz, _)
        row = min(begin + DX_ROWS, end)
        g = 0
        while g < op.G:
            n = gates_together(op, op.x_at, g, op.G, True)
            gemm_packed(found, op.I, z + op.x_at[g], op.ldz,
                        <const real *> op.packed_ih.data + g * op.H * filled(op.I), op.most_of_x,
                        row - begin, op.I, n * op.H, g > 0, <const real *> NULL, NULL)
            g += n
        for r in range(begin, row):
            while r >= s.first[t + 1]:
                t += 1
            n = r - s.first[t]
            b = s.order[n] * op.T + step_of(op, s.length[n], t)
            add_gradient(dx + b * op.I, found + (r - begin) * op.I, op.I, adds(op, op.place_of_x))
        begin = row
    if not adds(op, op.place_of_x):  # what is beyond a sequence's end
        begin, end = 0, s.rows
        if not s.whole:
            share(s.rows, 1, run, &begin, &end)
        for r in range(begin, end):
            memset(dx + (s.order[r] * op.T + s.length[r]) * op.I, 0,
                   (op.T - s.length[r]) * op.I * sizeof(real))


cdef void weight_gradients(Recurrence op, Run *run, int count, real *_) noexcept nogil:
    """dW = dz^T x or dz^T h and db = the sum of dz, over all steps, for this member's units."""
    cdef isize first, last, g, n, begin, end, row, rows
    cdef Shard s
    cdef int number
    cdef const real *z
    cdef const real *h
    share(op.G * op.H, UNIT, run, &first, &last)
    for number in range(count):
        s = get_shard(op, run, number, count)
        row, rows = stored(op, &s, 0, 0), s.first[s.length[0]]
        z = row_of(op.zs.data, row, op.ldz, _)
        h = row_of(op.hs.data, row, op.ldh, _)
        for g in range(op.G):
            begin, end = max(first, g * op.H), min(last, (g + 1) * op.H)
            n = end - begin
            if n <= 0:
                continue
            gate_gradients(op, run, begin, n, number > 0, z + op.x_at[g] + begin - g * op.H, 1,
                           row_of(op.xs.data, row, op.ldx, _), op.ldx, rows)
            if op.kind == CELL_GRU_BEFORE and g == 2:  # n's operand is m
                gate_gradients(op, run, begin, n, number > 0, z + op.h_at[g] + begin - g * op.H,
                               2, z + 3 * op.H, op.ldz, rows)
            else:
                gate_gradients(op, run, begin, n, number > 0, z + op.h_at[g] + begin - g * op.H,
                               2, h, op.ldh, rows)


cdef void gate_gradients(Recurrence op, Run *run, isize unit, isize units, bint again,
                         const real *dz, int place, const real *operand, isize ld,
                         isize rows) noexcept nogil:
    """The gradients of weight_ih (the first input behind x) or weight_hh (the second), and of the
    bias with it."""
    cdef isize K = op.I if place == 1 else op.H
    cdef char *weight = op.weight_ih.grad if place == 1 else op.weight_hh.grad
    cdef char *bias = NULL
    if op.bias_ih is not None:
        bias = op.bias_ih.grad if place == 1 else op.bias_hh.grad
    if weight != NULL:
        gemm(<real *> weight + unit * K, K, dz, 1, op.ldz, operand, ld, 1, units, K, rows,
             again or adds(op, op.place_of_x + place), <const real *> NULL, run.scratch)
    if bias != NULL:
        sum_rows(<real *> bias + unit, dz, op.ldz, rows, units,
                 again or adds(op, op.place_of_x + place + 2))
