/* Template: C (M,N) = A (M,K) B (K,N) [+ C] [+ bias (N)] for a B that is multiplied many times, as
 * the weights of a recurrent layer are once a step: B is brought into the order in which the tiles
 * read it, once. The depths, and so the sums, are those of gemm.h.
 *
 * A B that does not stay in L2 is asked for a panel ahead: 2048 x 2048 with 256 rows, 138 GFLOP/s
 * become 148 (Sapphire Rapids, peak 176); where it stays there, asking would cost 1 %.
 *
 * Packed, B is one depth after the other, each of them panel after panel; how wide panels are
 * depends on `most`, the most rows that A may have. */

#define PACKED_FAR (1024 * 1024) /* bytes */

/* The elements of a packed B: columns are filled up to whole vectors. */
static isize NAME(gemm_packed_size)(isize N, isize K)
{
    return (N + LANES - 1) / LANES * LANES * K;
}

/* The `part`-th of `parts` shares of the panels. */
static void NAME(gemm_pack)(REAL *packed, const REAL *b, isize brs, isize bcs, isize N, isize K,
                            isize most, isize part, isize parts)
{
    const isize depth = NAME(gemm_depth)(K);
    isize number = 0; /* of the panel: the shares take turns */
    for (isize k = 0; k < K; k += depth) {
        const isize deep = MIN(depth, K - k);
        isize vectors = (N + LANES - 1) / LANES, panels = pieces(vectors, NAME(widest)(most));
        for (isize n = 0; n < N; panels--, number++) {
            const isize W = pieces(vectors, panels), columns = MIN(N - n, W * LANES);
            if (number % parts == part)
                NAME(pack_panel)(packed, W * LANES, b + k * brs + n * bcs, brs, bcs, deep, columns);
            packed += deep * W * LANES;
            vectors -= W;
            n += columns;
        }
    }
}

static void NAME(gemm_packed)(REAL *c, isize ldc, const REAL *a, isize lda, const REAL *packed,
                              isize most, isize M, isize N, isize K, int add,
                              const REAL *bias)
{
    if (M <= 0) return;
    const isize depth = NAME(gemm_depth)(K);
    const int far = N * K * (isize)sizeof(REAL) > PACKED_FAR;
    for (isize k = 0; k < K; k += depth) {
        NAME(tiles) t = {.ldc = ldc, .a = a + k, .ars = lda, .acs = 1, .M = M,
                         .K = MIN(depth, K - k), .add = add || k > 0};
        isize vectors = (N + LANES - 1) / LANES, panels = pieces(vectors, NAME(widest)(most));
        for (isize n = 0; n < N; panels--) {
            const isize W = pieces(vectors, panels), columns = MIN(N - n, W * LANES);
            const isize tiles = pieces(M, TILE_ROWS(W));
            t.rows = pieces(M, tiles);
            t.longer = M - tiles * (t.rows - 1);
            t.last = columns - (W - 1) * LANES;
            t.c = c + n;
            t.b = packed;
            t.brs = W * LANES;
            t.bias = bias && k == 0 ? bias + n : NULL;
            if (far && M > 2 * t.rows) {
                t.ahead = (NAME(stretch)){packed + t.K * W * LANES, t.K, W * LANES, W * LANES, 0};
                t.ahead.share = t.K * t.rows / M + 1;
            }
            NAME(tile_columns)(&t, W);
            packed += t.K * W * LANES;
            vectors -= W;
            n += columns;
        }
    }
}
