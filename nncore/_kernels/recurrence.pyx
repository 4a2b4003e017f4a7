"""What the passes of a recurrent layer share: the order of rows and steps, and the products.

Inside, a batch is laid out step after step, in each step the rows whose sequence has not ended,
the longest first. So the rows of a step are neighbours, every product is one over dense rows, and
what is beyond a sequence's end costs nothing. In this order there are, for each (step, row),

  xs   x_t, the operand of weight_ih and of its gradient
  zs   the gates: what the products add up to, then their values; backward, their gradients
  hs   h_{t-1}, the operand of weight_hh and of its gradient
  cs   c_{t-1}

Inference keeps a few steps of them, training all. Rows are an odd number of cache lines apart, so
that they do not compete for one set of a cache. Sizes are those of recurrent.pyx.
"""
from nncore._kernels.op cimport UNIT, Op, Run, Tensor, filled, share
from nncore._kernels.products cimport (gemm, gemm_dot, gemm_pack, gemm_packed, gemm_scratch,
                                       gemv)
from nncore._kernels.simd cimport (CELL_GRU, CELL_GRU_BEFORE, CELL_LSTM, CELL_RNN_RELU,
                                   CELL_RNN_TANH, isize, real)

from nncore._kernels import threads

cdef enum:
    FEW_ROWS = 2         # rows of a member that repay its reading all of W_hh: up to IN_CACHE,
    FEW_NEAR_ROWS = 3    # up to NEAR,
    FEW_FAR_ROWS = 8     # and beyond; with fewer rows, members share the units
    SPLIT_WORK = 60000   # operations of a step below which one member does all of it
    CHUNK_ROWS = 128     # rows of one product of x: enough to be fast, few enough for a cache
    PACKED_ROWS = 24     # of all steps, from which packing for one run gains more than it costs
    NEAR = 1 << 20       # bytes of weights that a cache has much of; beyond, two rows do not pack
    IN_CACHE = 1 << 19   # bytes of weights that a member keeps in a cache of its own
    STEP_ROWS = 4        # of a single step, that are worth a member
    DOT_ROWS = 8         # of a product with weights that are not packed: the faster as dots

CELLS = {"rnn_tanh": (CELL_RNN_TANH, 1), "rnn_relu": (CELL_RNN_RELU, 1), "lstm": (CELL_LSTM, 4),
         "gru": (CELL_GRU, 3), "gru_before": (CELL_GRU_BEFORE, 3)}


cdef isize odd_lines(isize n, isize itemsize):
    """n numbers, filled up to an odd number of cache lines."""
    return ((n * itemsize + 63) // 64 | 1) * 64 // itemsize


cdef class Recurrence(Op):
    """The description of the layer and the memory that it works in."""

    def __init__(self, plan, str cell, Tensor x, weights, states, Tensor lengths, outputs,
                 bint reverse=False, bint aligned=False, double recurrent_dropout=0):
        """weights: weight_ih, weight_hh and, or not, bias_ih, bias_hh; states: h0 and c0, or none;
        outputs: y, the last h, the last c, each of them or None.

        reverse: the last step comes first; aligned: y has its steps in the order of x still.
        """
        cdef isize itemsize = x.itemsize, g, rows = plan.most_rows
        # The states come first, for so do their gradients: x may lie in the same memory.
        self.connect((*states, x, *weights, *([] if lengths is None else [lengths])),
                     [y for y in outputs if y is not None])
        self.x, self.lengths = x, lengths
        self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh = (*weights, None, None)[:4]
        self.h0, self.c0 = (*states, None, None)[:2]
        self.place_of_x = <int> len(states)
        self.y, self.last_h, self.last_c = outputs
        self.kind, self.G = CELLS[cell]
        self.T, self.I = x.shape
        self.H = self.weight_hh.shape[1]
        self.training, self.reverse, self.aligned = plan.training, reverse, aligned
        self.rate = recurrent_dropout if plan.training else 0
        # z: GRU has its columns as n r z m, so that what h is multiplied for is side by side
        columns = 4 if self.G == 3 else self.G
        for g in range(self.G):
            self.x_at[g] = self.h_at[g] = g * self.H
        if self.G == 3:
            self.x_at[0] = self.h_at[0] = self.H
            self.x_at[1] = self.h_at[1] = 2 * self.H
            self.x_at[2] = 0
            self.h_at[2] = 3 * self.H if self.kind == CELL_GRU else 0
        self.ldx = odd_lines(self.I, itemsize)
        self.ldz = odd_lines(columns * self.H, itemsize)
        self.ldh = odd_lines(self.H, itemsize)
        self.most = rows
        cdef isize size = self.G * self.H * self.H * itemsize
        # Streams of several rows keep what they packed, too, unless it is so much that members
        # had better share it: a step then adds up as a whole sequence that packs does.
        self.one_step = self.T == 1 and rows > 1 and size <= NEAR and not plan.training
        self.packs = self.one_step or rows * self.T >= PACKED_ROWS and (rows != 2 or size <= NEAR)
        self.packs_hh = self.packs and rows > 1  # one row reads them once a step as they are
        self.fewest = (FEW_ROWS if size <= IN_CACHE else FEW_NEAR_ROWS if size <= NEAR
                       else FEW_FAR_ROWS)
        # Inference packs when the weights change, not once a run, if members will not share units.
        most = threads.largest()
        self.prepares = self.packs and not plan.training and (
            self.one_step or most == 1 or rows // 2 + 1 >= self.fewest * most
            or 2 * self.G * self.H * self.H * rows < SPLIT_WORK)
        self.chunk = max(1, min(self.T, CHUNK_ROWS // rows))
        self.most_of_x = self.chunk * rows
        self.find_memory(plan, itemsize)
        self.forward_by_rows = self.backward_by_rows = False
        self.backward_reads_x = False
        self.steps = self.T
        self.work = 2.0 * self.T * self.G * self.H * (self.I + self.H) + 50.0 * self.T * self.H
        self.undivided = (rows == 1 and not plan.training
                          and 2 * self.G * self.H * self.H < SPLIT_WORK)
        self.dealt = not plan.training and rows < self.fewest * most  # else members share rows
        cdef isize chunk_rows = self.chunk * rows, gates = self.G * self.H
        self.scratch_size = max(gemm_scratch(self.is_double, gates, self.I, self.T * rows),
                                gemm_scratch(self.is_double, gates, self.H, self.T * rows),
                                gemm_scratch(self.is_double, chunk_rows, gates,
                                             max(self.I, self.H)))
        self.scratch_size = max(self.scratch_size, DX_ROWS * self.I) * itemsize

    def find_memory(self, plan, isize itemsize):
        cdef isize kept = self.T if self.training else self.chunk
        cdef isize states = self.T if self.training else 2
        cdef isize gates = self.G * filled(self.H)
        self.xs, self.zs = plan.tensor((kept, self.ldx)), plan.tensor((kept, self.ldz))
        self.hs = plan.tensor((states, self.ldh))
        self.order = plan.tensor((2,), itemsize=sizeof(isize))
        self.first = plan.workspace((threads.largest() * 2 * (self.T + 2),), itemsize=sizeof(isize))
        self.bias = plan.workspace((self.ldz,))
        saved = [self.xs, self.zs, self.hs, self.order, self.first, self.bias]
        if self.kind == CELL_LSTM:
            self.cs, self.c_end = plan.tensor((states, self.ldh)), plan.tensor((self.H,))
            saved += [self.cs, self.c_end]
        if self.packs or self.training:
            size = max(gates * self.I, self.G * self.H * filled(self.I))
            self.packed_ih = plan.workspace((size,))
            packed = [self.packed_ih]
            if self.packs_hh or self.training:
                self.packed_hh = plan.workspace((gates * self.H,))
                packed += [self.packed_hh]
            if self.prepares:
                self.kept = tuple(packed)
            else:
                saved += packed
        if self.training:
            self.dh = plan.tensor((self.ldh,))
            saved += [self.dh]
        if self.training and (self.kind in (CELL_LSTM, CELL_GRU_BEFORE)):
            self.dc = plan.tensor((self.ldh,))
            saved += [self.dc]
        if self.rate > 0:
            self.keep, self.masked = plan.tensor((self.H,), itemsize=1), plan.tensor((self.ldh,))
            self.stream = plan.next_stream()
            saved += [self.keep, self.masked]
        self.saved = tuple(saved)


# ---- rows and steps ------------------------------------------------------------------------------


cdef int shard_count(Recurrence op, Run *run) noexcept nogil:
    """Into how many shards the rows are cut; one: members may share its units."""
    if op.one_step:
        return <int> max(1, min(run.asked, run.rows // STEP_ROWS))
    if op.prepares or op.packs and (run.rows >= op.fewest * run.asked
                                    or op.H < UNIT * run.asked):
        return <int> min(run.asked, run.rows)
    return 1


cdef Shard get_shard(Recurrence op, Run *run, int number, int count) noexcept nogil:
    cdef Shard s
    s.row = run.rows * number // count
    s.rows = run.rows * (number + 1) // count - s.row
    s.whole = (count > 1 or run.members == 1 or op.prepares
               or 2 * op.G * op.H * op.H * run.rows < SPLIT_WORK)
    s.begin, s.end = 0, op.H
    if not s.whole:
        share(op.H, UNIT, run, &s.begin, &s.end)
    s.order = <isize *> op.order.data + 2 * s.row
    s.length = s.order + s.rows
    s.first = <isize *> op.first.data + number * 2 * (op.T + 2)
    s.steps = 0  # once sorted: the longest length
    return s


cdef isize length_of(Recurrence op, isize row) noexcept nogil:
    """From 1 to T whatever the tensor holds: it is an index."""
    cdef double length
    if op.lengths is None:
        return op.T
    length = ((<double *> op.lengths.data)[row] if op.is_double
              else (<float *> op.lengths.data)[row])
    return <isize> length if 1 <= length <= op.T else op.T


cdef void sort_rows(Recurrence op, Run *run, Shard *s) noexcept nogil:
    """Finds order, length and first; rows of one length stay in their order."""
    cdef isize *next_place = s.first + op.T + 2  # by length
    cdef isize r, t, length, count
    for t in range(op.T + 2):
        s.first[t] = next_place[t] = 0
    for r in range(s.rows):
        next_place[length_of(op, s.row + r)] += 1
    count = 0
    for t in range(op.T, -1, -1):  # the longest first
        length, next_place[t] = next_place[t], count
        count += length
    for t in range(op.T):  # those longer than t come before those of length t
        s.first[t + 1] = s.first[t] + next_place[t]
    s.first[op.T + 1] = s.first[op.T]
    for r in range(s.rows):
        length = length_of(op, s.row + r)
        s.order[next_place[length]] = s.row + r
        s.length[next_place[length]] = length
        next_place[length] += 1


cdef isize stored(Recurrence op, Shard *s, isize t, isize chunk_start) noexcept nogil:
    """The row of xs and zs that step t begins with."""
    if op.training:
        return s.row * op.T + s.first[t]
    return s.row * op.chunk + s.first[t] - s.first[chunk_start]


cdef isize state_at(Recurrence op, Shard *s, isize t) noexcept nogil:
    """The row of hs and cs that step t begins with; in inference two steps take turns."""
    return s.row * op.T + s.first[t] if op.training else s.row * 2 + (t & 1) * s.rows


# ---- products ------------------------------------------------------------------------------------

# z's columns for gates that follow one another there are computed by one product, unless members
# share the units. Packed, gate g's weights begin where g gates of `filled` units would end.

cdef isize gates_together(Recurrence op, const isize *at, isize g, isize end,
                          bint whole) noexcept nogil:
    """How many gates from g on, before end, have neighbouring columns."""
    cdef isize n = 1
    while whole and g + n < end and at[g + n] == at[g] + n * op.H:
        n += 1
    return n


cdef void pack_forward(Recurrence op, Shard *s, int part, int parts, real *_) noexcept nogil:
    """W_ih^T and W_hh^T for the shard's units; if they are all of them, a part of these."""
    pack_gates(op, s, part, parts, <real *> op.packed_ih.data,
               <const real *> op.weight_ih.data, op.I, op.most_of_x, op.x_at)
    if op.packs_hh:
        pack_gates(op, s, part, parts, <real *> op.packed_hh.data,
                   <const real *> op.weight_hh.data, op.H, op.most, op.h_at)


cdef void pack_gates(Recurrence op, Shard *s, int part, int parts, real *packed,
                     const real *weight, isize K, isize most, const isize *at) noexcept nogil:
    cdef isize g = 0, n, units
    while g < op.G:
        n = gates_together(op, at, g, op.G, s.whole)
        units = n * op.H if s.whole else s.end - s.begin
        if units > 0:
            gemm_pack(packed + (g * filled(op.H) + s.begin) * K,
                      weight + (g * op.H + s.begin) * K, 1, K, units, K, most,
                      part if s.whole else 0, parts if s.whole else 1)
        g += n


cdef void multiply_weights(Recurrence op, Shard *s, real *z, const real *a, isize lda, isize rows,
                           bint of_x, isize gate, isize end, bint from_end,
                           char *scratch) noexcept nogil:
    """z = a W_ih^T + b, or z += a W_hh^T, for the gates gate..end and this member's units.

    from_end: one row reads the weights from their end. Steps that take turns in this find in the
    cache what the step before read last; all in one direction would find nothing in a cache that
    is smaller than the weights.
    """
    cdef const isize *at = &op.x_at[0] if of_x else &op.h_at[0]
    cdef isize n
    while gate < end:
        n = gates_together(op, at, gate, end, s.whole)
        if from_end and not s.whole:  # then each gate is alone
            end -= 1
            multiply_gates(op, s, z, a, lda, rows, of_x, end, 1, True, scratch)
        else:
            multiply_gates(op, s, z, a, lda, rows, of_x, gate, n, from_end, scratch)
            gate += n


cdef void multiply_gates(Recurrence op, Shard *s, real *z, const real *a, isize lda, isize rows,
                         bint of_x, isize gate, isize n, bint from_end,
                         char *scratch) noexcept nogil:
    """The same for n gates whose columns are neighbours in z."""
    cdef const real *weight = <const real *> (op.weight_ih.data if of_x else op.weight_hh.data)
    cdef const real *bias = <const real *> op.bias.data
    cdef const real *packed
    cdef const real *addend
    cdef isize K = op.I if of_x else op.H
    cdef isize units = n * op.H if s.whole else s.end - s.begin
    cdef isize column = (op.x_at[gate] if of_x else op.h_at[gate]) + s.begin
    z += column
    addend = bias + column if of_x else NULL
    if units <= 0:
        return
    if op.packs if of_x else op.packs_hh:
        packed = <const real *> (op.packed_ih.data if of_x else op.packed_hh.data)
        gemm_packed(z, op.ldz, a, lda, packed + (gate * filled(op.H) + s.begin) * K,
                    op.most_of_x if of_x else op.most, rows, units, K, not of_x, addend, scratch)
        return
    weight += (gate * op.H + s.begin) * K
    if rows == 1:
        gemv(z, a, weight, K, units, K, addend if of_x else z, op.G * op.H * K * sizeof(real),
             True, from_end)
    elif rows <= DOT_ROWS:
        gemm_dot(z, op.ldz, a, lda, weight, K, rows, units, K, not of_x, addend)
    else:
        gemm(z, op.ldz, a, lda, 1, weight, 1, K, rows, units, K, not of_x, addend, scratch)


cdef void pack_backward(Recurrence op, Run *run, Shard *s, real *_) noexcept nogil:
    """This member's part of W_hh and, if dx is wanted, of W_ih."""
    cdef real *packed = <real *> op.packed_hh.data
    cdef isize g = 0, n, units = s.end - s.begin
    while g < op.G:
        n = gates_together(op, op.h_at, g, op.G, True)
        if units > 0:
            gemm_pack(packed + g * op.H * filled(op.H) + s.begin * n * op.H,
                      <const real *> op.weight_hh.data + g * op.H * op.H + s.begin, op.H, 1,
                      units, n * op.H, op.most, run.member if s.whole else 0,
                      run.members if s.whole else 1)
        g += n
    packed = <real *> op.packed_ih.data
    g = 0
    while g < op.G and op.x.grad != NULL:
        n = gates_together(op, op.x_at, g, op.G, True)
        gemm_pack(packed + g * op.H * filled(op.I),
                  <const real *> op.weight_ih.data + g * op.H * op.I, op.I, 1, op.I, n * op.H,
                  op.most_of_x, run.member, run.members)
        g += n


cdef void multiply_transposed(Recurrence op, Shard *s, real *dh, isize ldd, const real *dz,
                              isize rows, isize gate, isize end, bint add) noexcept nogil:
    """dh = dz W_hh [+ dh] over the gates gate..end, for this member's units."""
    cdef const real *packed = <const real *> op.packed_hh.data
    cdef isize n
    while gate < end:
        n = gates_together(op, op.h_at, gate, op.G, True)
        if s.end > s.begin:
            gemm_packed(dh + s.begin, ldd, dz + op.h_at[gate], op.ldz,
                        packed + gate * op.H * filled(op.H) + s.begin * n * op.H, op.most,
                        rows, s.end - s.begin, n * op.H, add, <const real *> NULL, NULL)
        gate += n
        add = True
