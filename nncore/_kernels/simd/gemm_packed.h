/* Template: C (M,N) = A (M,K) B (K,N) [+ C] [+ bias (N)] for a B that is multiplied many times, as
 * the weights of a recurrent layer are once a step: B is brought into the order in which the tiles
 * read it, once. The depths, and so the sums, are those of gemm.h.
 *
 * A B that does not stay in L2 is asked for a panel ahead: 2048 x 2048 with 256 rows, 138 GFLOP/s
 * become 148 (Sapphire Rapids, peak 176); where it stays there, asking would cost 1 %.
 *
 * Packed, B is one depth after the other, each of them panel after panel; how wide panels are
 * depends on `most`, the most rows that A may have. */

#define PACKED_A_ROWS 96

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

/* C (M,N) = A (M,K) B (K,N) [+ C] [+ bias] for one depth and one block of rows; t has all but B.
 * Returns where B's next depth begins. */
ALWAYS_INLINE const REAL *NAME(packed_block)(NAME(tiles) *t, const REAL *packed, isize N,
                                             int widest, int far)
{
    isize vectors = (N + LANES - 1) / LANES, panels = pieces(vectors, widest);
    for (isize n = 0; n < N; panels--) {
        const isize W = pieces(vectors, panels), columns = MIN(N - n, W * LANES);
        NAME(cut_rows)(t, TILE_ROWS(W));
        t->last = columns - (W - 1) * LANES;
        t->b = packed;
        t->brs = W * LANES;
        packed += t->K * W * LANES;
        if (far && t->M > 2 * t->rows) {
            t->ahead = (NAME(stretch)){packed, t->K, W * LANES, W * LANES, 0};
            t->ahead.share = t->K * t->rows / t->M + 1;
        }
        NAME(tile_columns)(t, W);
        vectors -= W;
        n += columns;
        t->c += columns;
        if (t->bias) t->bias += columns;
    }
    return packed;
}

/* A is copied where gemm.h would, if the copy is large: rows that share a cache set do not stay in
 * L2 either, and 256 of them are read once per panel (2048 x 2048: 92 GFLOP/s instead of 87; Zen 3,
 * peak 104). With no scratch it never is. */
static void NAME(gemm_packed)(REAL *c, isize ldc, const REAL *a, isize lda, const REAL *packed,
                              isize most, isize M, isize N, isize K, int add, const REAL *bias,
                              REAL *scratch)
{
    if (M <= 0) return;
    const int pack = scratch && M >= PACKED_A_ROWS && NAME(packs_a)(M, N, K, lda, 1);
    const int far = N * K * (isize)sizeof(REAL) > BEYOND_L2;
    const isize depth = NAME(gemm_depth)(K), height = NAME(gemm_height)(M, depth);
    for (isize k = 0; k < K; k += depth) {
        const REAL *next = packed;
        for (isize m = 0; m < M; m += height) {
            NAME(tiles) t;
            NAME(begin)(&t, c + m * ldc, ldc, a + m * lda + k, lda, 1, MIN(height, M - m),
                        MIN(depth, K - k), add || k > 0, k > 0 ? NULL : bias);
            if (pack) {
                REAL *const block = NAME(aligned)(scratch);
                t.ars = NAME(pack_rows_a)(block, t.a, lda, 1, t.M, t.K);
                t.a = block;
            }
            next = NAME(packed_block)(&t, packed, N, NAME(widest)(most), far);
        }
        packed = next;
    }
}
