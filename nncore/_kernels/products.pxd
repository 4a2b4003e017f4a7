# Functions of the tables for both types: real is float or double. Inline, so there is no module.
from nncore._kernels.simd cimport (ROWS_TOGETHER, conv_pass, f32, f64, far, finish, isize, near,
                                   real)

cdef enum:
    FAR = 4 << 20  # bytes of a matrix from which on it is not in L2


# A dense layer's three products: y = x W^T forward, dx = dy W and dW = dy^T x backward.

cdef inline void gemm(real *c, isize ldc, const real *a, isize ars, isize acs, const real *b,
                      isize brs, isize bcs, isize M, isize N, isize K, int add,
                      const real *bias, void *scratch) noexcept nogil:
    if real is float:
        f32.gemm(c, ldc, a, ars, acs, b, brs, bcs, M, N, K, add, bias, <float *> scratch)
    else:
        f64.gemm(c, ldc, a, ars, acs, b, brs, bcs, M, N, K, add, bias, <double *> scratch)


cdef inline isize gemm_scratch(bint is_double, isize M, isize N, isize K) noexcept nogil:
    return f64.gemm_scratch(M, N, K) if is_double else f32.gemm_scratch(M, N, K)


cdef inline void gemm_dot(real *c, isize ldc, const real *a, isize lda, const real *b, isize ldb,
                          isize M, isize N, isize K, int add, const real *bias) noexcept nogil:
    if real is float:
        f32.gemm_dot(c, ldc, a, lda, b, ldb, M, N, K, add, bias)
    else:
        f64.gemm_dot(c, ldc, a, lda, b, ldb, M, N, K, add, bias)


cdef inline void gemm_short(real *c, isize ldc, const real *a, isize lda, const real *b, isize ldb,
                            isize M, isize N, isize K, const real *bias) noexcept nogil:
    if real is float:
        f32.gemm_short(c, ldc, a, lda, b, ldb, M, N, K, bias)
    else:
        f64.gemm_short(c, ldc, a, lda, b, ldb, M, N, K, bias)


cdef inline void gemv(real *y, const real *x, const real *b, isize ldb, isize N, isize K,
                      const real *bias, isize bytes, bint again=False,
                      bint from_end=False) noexcept nogil:
    """bytes: of the whole matrix, of which b may be a member's part. again: it is read again and
    again, so that a cache has some of it, wherever the rest comes from."""
    cdef int order = near if bytes < FAR else ROWS_TOGETHER if again else far
    if real is float:
        f32.gemv(y, x, b, ldb, N, K, bias, order, from_end)
    else:
        f64.gemv(y, x, b, ldb, N, K, bias, order, from_end)


cdef inline void sum_rows(real *d, const real *x, isize ldx, isize M, isize N,
                          int add) noexcept nogil:
    if real is float:
        f32.sum_rows(d, x, ldx, M, N, add)
    else:
        f64.sum_rows(d, x, ldx, M, N, add)


cdef inline void finish_piece(const finish *f, real *y, isize at, isize n) noexcept nogil:
    if real is float:
        f32.finish_piece(f, y, at, n)
    else:
        f64.finish_piece(f, y, at, n)


cdef inline void winograd_weight(const conv_pass *p, real *dw, const real *dy, const real *x,
                                 isize first, isize last, isize begin, isize end, int add,
                                 void *scratch) noexcept nogil:
    if real is float:
        f32.winograd_weight(p, dw, dy, x, first, last, begin, end, add, <float *> scratch)
    else:
        f64.winograd_weight(p, dw, dy, x, first, last, begin, end, add, <double *> scratch)


# Products with a B that is packed once and used often: of recurrent layers at each step, of others
# in inference.

cdef inline isize gemm_packed_size(bint is_double, isize N, isize K) noexcept nogil:
    return f64.gemm_packed_size(N, K) if is_double else f32.gemm_packed_size(N, K)


cdef inline void gemm_pack(real *packed, const real *b, isize brs, isize bcs, isize N, isize K,
                           isize most, isize part, isize parts) noexcept nogil:
    if real is float:
        f32.gemm_pack(packed, b, brs, bcs, N, K, most, part, parts)
    else:
        f64.gemm_pack(packed, b, brs, bcs, N, K, most, part, parts)


cdef inline void gemm_packed(real *c, isize ldc, const real *a, isize lda, const real *packed,
                             isize most, isize M, isize N, isize K, int add,
                             const real *bias, void *scratch) noexcept nogil:
    """scratch: that of gemm, or NULL."""
    if real is float:
        f32.gemm_packed(c, ldc, a, lda, packed, most, M, N, K, add, bias, <float *> scratch)
    else:
        f64.gemm_packed(c, ldc, a, lda, packed, most, M, N, K, add, bias, <double *> scratch)
