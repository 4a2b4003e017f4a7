from libc.string cimport memcpy
from nncore._kernels.op cimport Op, Run, Tensor
from nncore._kernels.simd cimport isize, real

cdef enum:
    DX_ROWS = 64         # rows of dx that are computed at a time


cdef class Recurrence(Op):
    cdef Tensor x, weight_ih, weight_hh, bias_ih, bias_hh, h0, c0, lengths
    cdef Tensor y, last_h, last_c        # what is given; each may be None
    cdef Tensor xs, zs, hs, cs, c_end, dh, dc, keep, masked
    cdef Tensor order, first, bias, packed_ih, packed_hh
    cdef int kind, place_of_x
    cdef isize T, I, H, G, chunk, most, most_of_x, fewest
    cdef isize ldx, ldz, ldh
    cdef isize x_at[4]                   # the column of z where gate g gets x's product
    cdef isize h_at[4]                   # and h's
    cdef bint training, packs, packs_hh, one_step, reverse, aligned
    cdef double rate
    cdef unsigned long long stream


cdef struct Shard:
    # Rows of the batch whose steps are run together, and the units that this member sees to: all
    # of them or, where the rows are too few to share, some.
    isize row, rows, steps
    isize begin, end
    bint whole
    isize *order                         # place -> row of the batch, the longest sequence first
    isize *length                        # place -> length
    isize *first                         # step -> how many (step, place) are before it


cdef int shard_count(Recurrence op, Run *run) noexcept nogil
cdef Shard get_shard(Recurrence op, Run *run, int number, int count) noexcept nogil
cdef void sort_rows(Recurrence op, Run *run, Shard *s) noexcept nogil
cdef isize stored(Recurrence op, Shard *s, isize t, isize chunk_start) noexcept nogil
cdef isize state_at(Recurrence op, Shard *s, isize t) noexcept nogil
cdef isize gates_together(Recurrence op, const isize *at, isize g, isize end,
                          bint whole) noexcept nogil
cdef void pack_forward(Recurrence op, Shard *s, int part, int parts, real *_) noexcept nogil
cdef void pack_backward(Recurrence op, Run *run, Shard *s, real *_) noexcept nogil
cdef void multiply_weights(Recurrence op, Shard *s, real *z, const real *a, isize lda, isize rows,
                           bint of_x, isize gate, isize end, bint from_end,
                           char *scratch) noexcept nogil
cdef void multiply_transposed(Recurrence op, Shard *s, real *dh, isize ldd, const real *dz,
                              isize rows, isize gate, isize end, bint add) noexcept nogil


cdef inline isize active(const Shard *s, isize t) noexcept nogil:
    """Rows that have a step t."""
    return s.first[t + 1] - s.first[t]


cdef inline isize step_of(Recurrence op, isize length, isize t) noexcept nogil:
    """Which step of x is taken t-th."""
    return length - 1 - t if op.reverse else t


cdef inline isize place_in_y(Recurrence op, isize length, isize t) noexcept nogil:
    """Where in y the t-th h goes: to its x, or in the order in which they come."""
    return length - 1 - t if op.reverse and op.aligned else t


cdef inline real *row_of(char *data, isize row, isize width, real *_) noexcept nogil:
    return <real *> data + row * width


cdef inline void add_gradient(real *target, const real *d, isize n, bint add) noexcept nogil:
    """target = d [+ target], n numbers"""
    cdef isize j
    if not add:
        memcpy(target, d, n * sizeof(real))
    else:
        for j in range(n):
            target[j] += d[j]
