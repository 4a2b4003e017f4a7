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
        for (int s = 0; s < S; s += BLOCK) {
            NAME(block) dot = NAME(add_lanes)(&sum[r][s]);
            if (s + BLOCK <= n) {
                if (t->bias) dot += *(const NAME(block_mem) *)(t->bias + s);
                if (t->add) dot += *(const NAME(block_mem) *)(c + s);
                *(NAME(block_mem) *)(c + s) = dot;
            } else {
                for (int i = 0; i < BLOCK - 1 && s + i < n; i++) {
                    REAL d = dot[i];
                    if (t->bias) d += t->bias[s + i];
                    if (t->add) d += c[s + i];
                    c[s + i] = d;
                }
            }
        }
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
