/* Template: C (M,N) = A (M,K) B (N,K)^T [+ C] [+ bias (N)] as dot products, nothing packed.
 *
 * Each element is summed in LANES lanes along k, and the lanes are added by one fixed tree
 * (add_lanes), so its bits do not depend on M, N or the tile it falls in. */

#define DOT_ROWS (VECTOR_REGISTERS == 32 ? 6 : 3)
#define DOT_COLUMNS 4
/* Bytes that stay in L1, in L2, while the tiles pass over them several times. */
#define DOT_L1 (24 * 1024)
#define DOT_L2 (256 * 1024)

typedef struct {
    REAL *c;
    const REAL *a, *b, *bias;
    isize ldc, lda, ldb, K;
    int add;
} NAME(dots);

/* The first n of a block of dots go to c [+ c] [+ bias]. */
ALWAYS_INLINE void NAME(store_dots)(REAL *c, NAME(block) dot, isize n, const REAL *bias, int add)
{
    if (n >= BLOCK) {
        if (bias) dot += *(const NAME(block_mem) *)bias;
        if (add) dot += *(const NAME(block_mem) *)c;
        *(NAME(block_mem) *)c = dot;
        return;
    }
    for (int i = 0; i < BLOCK - 1 && i < n; i++) {
        REAL d = dot[i];
        if (bias) d += bias[i];
        if (add) d += c[i];
        c[i] = d;
    }
}

/* C (R, n) = A (R,K) B (n,K)^T [+ C] [+ bias], n <= S = DOT_COLUMNS. R is a
 * constant wherever this is inlined, so `sum` is registers. */
ALWAYS_INLINE void NAME(dots_run)(const NAME(dots) *t, isize n, const int R)
{
    enum { S = DOT_COLUMNS };
#define EACH_ROW _Pragma("GCC unroll 6") for (int r = 0; r < R; r++)
#define EACH_COLUMN _Pragma("GCC unroll 6") for (int s = 0; s < S; s++)
    NAME(vec) sum[DOT_ROWS][S], x[DOT_ROWS];
    EACH_ROW EACH_COLUMN sum[r][s] = (NAME(vec)){0};

    const isize K = t->K, lda = t->lda;
    const REAL *a = t->a, *b[S]; /* columns that do not exist repeat the last one */
    EACH_COLUMN b[s] = t->b + MIN(s, n - 1) * t->ldb;
    isize k = 0;
    for (; k + LANES <= K; k += LANES) {
        EACH_ROW x[r] = NAME(load)(a + r * lda + k);
        EACH_COLUMN {
            NAME(vec) y = NAME(load)(b[s] + k);
            EACH_ROW sum[r][s] += x[r] * y;
        }
    }
    if (k < K) {
        const NAME(mask) last = NAME(mask_first)(K - k);
        EACH_ROW x[r] = NAME(load_part)(a + r * lda + k, last);
        EACH_COLUMN {
            NAME(vec) y = NAME(load_part)(b[s] + k, last);
            EACH_ROW sum[r][s] += x[r] * y;
        }
    }

    EACH_ROW {
        REAL *c = t->c + r * t->ldc;
#pragma GCC unroll 6
        for (int s = 0; s < S; s += BLOCK)
            NAME(store_dots)(c + s, NAME(add_lanes)(&sum[r][s]), n - s,
                             t->bias ? t->bias + s : NULL, t->add);
    }
#undef EACH_ROW
#undef EACH_COLUMN
}

NEVER_INLINE void NAME(dots_row)(const NAME(dots) *dots, isize N)
{
    NAME(dots) t = *dots;
    for (isize n = 0; n < N; n += DOT_COLUMNS) {
        NAME(dots_run)(&t, MIN(DOT_COLUMNS, N - n), 1);
        t.b += DOT_COLUMNS * t.ldb;
        t.c += DOT_COLUMNS;
        if (t.bias) t.bias += DOT_COLUMNS;
    }
}

NEVER_INLINE void NAME(dots_rows)(const NAME(dots) *dots, isize rows, isize N)
{
    NAME(dots) t = *dots;
    for (isize n = 0; n < N; n += DOT_COLUMNS) {
        const isize columns = MIN(DOT_COLUMNS, N - n);
#define CASE(R)                                                                                    \
    case R:                                                                                        \
        if (R <= DOT_ROWS) NAME(dots_run)(&t, columns, R);                                         \
        break;
        switch (rows) {
            CASE(2) CASE(3) CASE(4) CASE(5) CASE(6)
        }
#undef CASE
        t.b += DOT_COLUMNS * t.ldb;
        t.c += DOT_COLUMNS;
        if (t.bias) t.bias += DOT_COLUMNS;
    }
}

static void NAME(gemm_dot)(REAL *c, isize ldc, const REAL *a, isize lda, const REAL *b, isize ldb,
                           isize M, isize N, isize K, int add, const REAL *bias)
{
    /* Several tiles read the same rows of B. If A stays in L1, they do so in turn; if not, as many
     * rows of B as stay in L2 are passed over by each row of tiles. */
    isize columns = N;
    if (M > DOT_ROWS && M * K <= DOT_L1 / (isize)sizeof(REAL))
        columns = DOT_COLUMNS;
    else if (M > DOT_ROWS && N * K > DOT_L2 / (isize)sizeof(REAL))
        columns = MAX(DOT_L2 / (isize)sizeof(REAL) / K / DOT_COLUMNS, 4) * DOT_COLUMNS;
    const isize tiles = pieces(M, DOT_ROWS);
    for (isize n = 0; n < N; n += columns) {
        NAME(dots) t = {.c = c + n, .ldc = ldc, .a = a, .lda = lda, .b = b + n * ldb, .ldb = ldb,
                        .K = K, .add = add, .bias = bias ? bias + n : NULL};
        isize left = tiles;
        for (isize m = 0; m < M; left--) {
            const isize rows = pieces(M - m, left);
            if (rows == 1)
                NAME(dots_row)(&t, MIN(columns, N - n));
            else
                NAME(dots_rows)(&t, rows, MIN(columns, N - n));
            m += rows;
            t.a += rows * lda;
            t.c += rows * ldc;
        }
    }
}

/* C (M,N) = A (M,K) B (N,K)^T [+ bias (N)] for rows so short that adding up the lanes would take
 * longer than the products: K <= LANES, N < LANES. LANES rows of A at a time are turned, and an
 * element is one sum in order of k. (200 x 8 -> 2, Zen 3: 1.0 -> 0.5 us.) */
static void NAME(gemm_short)(REAL *c, isize ldc, const REAL *a, isize lda, const REAL *b, isize ldb,
                             isize M, isize N, isize K, const REAL *bias)
{
    REAL turned[LANES * LANES];
    for (isize m = 0; m < M; m += LANES, a += LANES * lda, c += LANES * ldc) {
        const isize rows = MIN(LANES, M - m);
        NAME(pack_columns)(turned, LANES, a, lda, K, rows);
        for (isize n = 0; n < N; n++) {
            const REAL *row = b + n * ldb;
            NAME(vec) sum = row[0] * NAME(load)(turned);
            for (isize k = 1; k < K; k++) sum += row[k] * NAME(load)(turned + k * LANES);
            if (bias) sum += bias[n];
            REAL *to = c + n;
#pragma GCC unroll 16
            for (int r = 0; r < LANES; r++, to += ldc)
                if (r < rows) *to = sum[r];
        }
    }
}

/* y (N) = B (N,K) x [+ bias]: one row. B is read once, so the time is that of its way here: the
 * fastest order of its rows depends on the processor. GB/s, row after row asked for GEMV_AHEAD
 * bytes before it is needed, and eight rows together, not asked for: Zen 5, from L2 238 and 127,
 * from memory 62 and 74; Zen 4, from L2 75 and 118, from L3 75 and 85; Sapphire Rapids, from L2 93
 * and 130, from L3 29 and 30. Zen 4 with AVX2, those and row after row not asked for: from L2 61,
 * 74 and 64, from L3 57, 61 and 69, from memory 28, 31 and 38. */
#define GEMV_AHEAD 2048

/* sum[0..R) = R rows of B times x, in lanes, each in P parts (k modulo P vectors): R * P sums at a
 * time hide the latency of additions. Rows from n on repeat the last one. asks: for B, in time. */
ALWAYS_INLINE void NAME(gemv_rows)(NAME(vec) *sum, const REAL *b, isize ldb, isize n,
                                   const REAL *x, isize K, const int R, const int P,
                                   const int asks)
{
#define EACH _Pragma("GCC unroll 8") for (int i = 0; i < R * P; i++)
    NAME(vec) part[8];
    const REAL *row[8];
    EACH part[i] = (NAME(vec)){0};
    EACH if (i < R) row[i] = b + MIN(i, n - 1) * ldb;
    isize k = 0;
    for (; k + P * LANES <= K; k += P * LANES) {
        EACH {
            const REAL *at = row[i / P] + k + i % P * LANES;
            part[i] += NAME(load)(at) * NAME(load)(x + k + i % P * LANES);
            if (asks && i * VECTOR_BYTES % 64 == 0)
                __builtin_prefetch((const char *)at + GEMV_AHEAD);
        }
    }
    for (; k < K; k += LANES) {
        const NAME(mask) last = NAME(mask_first)(MIN(K - k, LANES));
        EACH if (i % P == 0)
            part[i] += NAME(load_part)(row[i / P] + k, last) * NAME(load_part)(x + k, last);
    }
    for (int r = 0; r < R; r++)
        sum[r] = P == 1 ? part[r] : (part[0] + part[1]) + (part[2] + part[3]);
#undef EACH
}

/* The first n of eight elements of y: what follows from n is known where n is a constant. */
ALWAYS_INLINE void NAME(gemv_eight)(REAL *y, const REAL *x, const REAL *b, isize ldb, isize n,
                                    isize K, const REAL *bias, int order)
{
    NAME(vec) sum[8];
    if (order == ROWS_TOGETHER)
        NAME(gemv_rows)(sum, b, ldb, n, x, K, 8, 1, 0);
    else if (order == ROWS_IN_TURN)
        for (isize r = 0; r < 8; r++)
            NAME(gemv_rows)(sum + r, b + MIN(r, n - 1) * ldb, ldb, 1, x, K, 1, 4, 0);
    else
        for (isize r = 0; r < 8; r++)
            NAME(gemv_rows)(sum + r, b + MIN(r, n - 1) * ldb, ldb, 1, x, K, 1, 4, 1);
    for (isize r = 0; r < n; r += BLOCK)
        NAME(store_dots)(y + r, NAME(add_lanes)(sum + r), n - r, bias ? bias + r : NULL, 0);
}

/* from_end: the last elements first, so that what was read last is read next, from the cache. */
static void NAME(gemv)(REAL *y, const REAL *x, const REAL *b, isize ldb, isize N, isize K,
                       const REAL *bias, int order, int from_end)
{
    const isize eights = pieces(N, 8);
    if (N <= 0) return; /* a member may have none */
    if (K < 4 * LANES) order = ROWS_TOGETHER; /* too short for parts */
    for (isize i = 0; i < eights; i++) {
        const isize n = 8 * (from_end ? eights - 1 - i : i);
        const REAL *const addend = bias ? bias + n : NULL;
        if (order == ROWS_TOGETHER && n + 8 <= N)
            NAME(gemv_eight)(y + n, x, b + n * ldb, ldb, 8, K, addend, ROWS_TOGETHER);
        else
            NAME(gemv_eight)(y + n, x, b + n * ldb, ldb, MIN(N - n, 8), K, addend, order);
    }
}
