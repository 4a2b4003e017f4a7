/* Template: C (M,N) = A (M,K) B (K,N) [+ C] [+ bias (N)], any strides in A and B.
 *
 * C is computed in the tiles of gemm_tiles.h. All else here feeds these from cache (Goto & van de
 * Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008): K is cut into depths, M into
 * blocks whose A stays in L2, N into panels of W vectors whose B stays in L1 while the tiles go
 * down the block.
 *
 * An element of C is the sum over the depths, in order, of the sum over k within the depth, in
 * order; the depths depend on K alone. So its bits do not depend on M, N, strides or packing. */

/* A panel of B (DEPTH, WIDTH vectors) takes 48 KB or less, half as much with AVX2, a block of A
 * 256 KB. */
#define DEPTH (VECTOR_BYTES == 16 ? 384 : 256)
#define BLOCK_ELEMENTS ((isize)(256 * 1024 / sizeof(REAL)))
#define BLOCK_ROWS 1024
#define BEYOND_L2 (1024 * 1024) /* bytes that do not stay there */

/* Rows of C from which it pays to copy B, (K,N) with rows `bytes` apart, that could be read in
 * place. It is read once per tile. With AVX2 a tile's 12 products wait for it where it does not
 * stay in L1, and a few tiles repay the copy: rows a multiple of 4 KB apart share one set of the
 * cache, others a few, and vectors that straddle its lines take two (Zen 3, 128 rows of 512 x 512:
 * 91 GFLOP/s instead of 75; 100 x 300: 4/3), as do those of NumPy's arrays, which begin 16 bytes
 * into a line (Zen 4, a training step of 784-128-10: 210 us instead of 230). With AVX-512 the 27
 * products hide it, but for many lines in one set (Zen 4: a copy costs 13 % at 36 rows, 7 % at 72,
 * 2 % at 216). */
ALWAYS_INLINE isize NAME(pack_b_rows)(const REAL *b, isize bytes, isize K)
{
    const int deep = K > 128; /* fewer rows stay in more of the sets */
    if (MASKS) return (bytes % 4096 ? 24 : 12) * TILE_ROWS(WIDTH);
    if (bytes % 4096 == 0) return 18;
    if (bytes % 512 == 0) return 7 * TILE_ROWS(WIDTH);
    if ((bytes | (intptr_t)b) % VECTOR_BYTES) return (deep ? 6 : 12) * TILE_ROWS(WIDTH);
    return (!deep ? 48 : bytes % 256 ? 24 : 8) * TILE_ROWS(WIDTH);
}

/* How many vectors wide panels are for products of M rows. Five or six are one tile of two vectors
 * and would be two of three (AVX2). */
ALWAYS_INLINE int NAME(widest)(isize M)
{
    const int one_tile = PAIRED && M > TILE_ROWS(WIDTH) && M <= TILE_ROWS(2);
    return M <= TILE_ROWS(WIDE) ? WIDE : one_tile ? 2 : WIDTH;
}

/* What the tiles of one depth and block have in common, but for B. (An initializer would clear all
 * of it with "rep stos": 20 ns, a tenth of a product of 16 x 16 x 16.) */
ALWAYS_INLINE void NAME(begin)(NAME(tiles) *t, REAL *c, isize ldc, const REAL *a, isize ars,
                               isize acs, isize M, isize K, int add, const REAL *bias)
{
    t->c = c;
    t->ldc = ldc;
    t->a = a;
    t->ars = ars;
    t->acs = acs;
    t->M = M;
    t->K = K;
    t->add = add;
    t->bias = bias;
    t->cut = t->a_packed = 0;
    t->ahead.rows = t->ahead.share = 0;
}

/* Cut the rows of C into tiles of equal height. */
ALWAYS_INLINE void NAME(cut_rows)(NAME(tiles) *t, isize most)
{
    const isize tiles = pieces(t->M, most);
    t->rows = pieces(t->M, tiles);
    t->longer = t->M - tiles * (t->rows - 1);
}

/* C (M,N) = A (M,K) B (K,N) [+ C] [+ bias] for one depth and one block of rows; t has all but b:
 * panel by panel of B, (K, at most `widest` vectors). */
static void NAME(gemm_block)(NAME(tiles) *t, const REAL *b, isize brs, isize bcs, isize N,
                             REAL *panel, int widest)
{
    const int pack = bcs != 1 || t->M >= NAME(pack_b_rows)(b, brs * (isize)sizeof(REAL), t->K);
    isize vectors = (N + LANES - 1) / LANES, panels = pieces(vectors, widest);
    for (isize n = 0; n < N; panels--) {
        const isize W = pieces(vectors, panels);
        const isize columns = MIN(N - n, W * LANES);
        t->last = columns - (W - 1) * LANES;
        const isize beyond = W * LANES - columns;
        if (pack || (beyond && !MASKS)) {
            NAME(pack_panel)(panel, W * LANES, b, brs, bcs, t->K, columns);
            t->b = panel;
            t->brs = W * LANES;
            t->cut = 0;
        } else {
            t->b = b;
            t->brs = brs;
            t->cut = beyond > 0;
        }
        vectors -= W;
        n += columns;
        b += columns * bcs;
        if (!t->a_packed) NAME(cut_rows)(t, TILE_ROWS(W));
        if (pack && t->M > 2 * t->rows) {
            t->ahead = bcs == 1
                           ? (NAME(stretch)){b, t->K, brs, MIN(columns, N - n), 0}
                           : (NAME(stretch)){b, MIN(columns, N - n), bcs, brs == 1 ? t->K : 0, 0};
            t->ahead.share = t->ahead.rows * t->rows / t->M + 1;
        }
        NAME(tile_columns)(t, W);
        t->c += columns;
        if (t->bias) t->bias += columns;
    }
}

/* Is a copy of A ever worth while, whatever its strides? */
ALWAYS_INLINE int NAME(may_pack_a)(isize M, isize N, isize K)
{
    return M > TILE_ROWS(2) && K >= 64 && N >= 8 * LANES;
}

/* Is a copy of A worth while? It is read once per panel of B. Rows are read well in place, unless
 * they share a cache set. Columns are as many scattered lines as there are k: a copy pays when
 * there are many panels (Zen 4, A 512 x 256: with 256 columns of B it costs 7 %, with 128 13 %).
 * With AVX-512 it also does where columns share sets of L2 and A does not stay there: in place the
 * time depends on which pages A got (A 512 x 1600, 128 columns: 68 to 107 GFLOP/s, copied 94). */
static int NAME(packs_a)(isize M, isize N, isize K, isize ars, isize acs)
{
    const isize stride = (acs == 1 ? ars : acs) * (isize)sizeof(REAL);
    if (!NAME(may_pack_a)(M, N, K)) return 0;
    if (acs == 1) return stride % 4096 == 0;
    const int scattered = MASKS && stride % 2048 == 0 && K * stride > BEYOND_L2;
    return N >= (scattered ? 8 : MASKS ? 32 : PAIRED ? 24 : 16) * LANES;
}

/* K in pieces of equal size; several of them are a multiple of 8. */
ALWAYS_INLINE isize NAME(gemm_depth)(isize K)
{
    const isize depths = pieces(K, DEPTH);
    return depths == 1 ? K : pieces(K, 8 * depths) * 8;
}

/* Rows of a block of A. */
ALWAYS_INLINE isize NAME(gemm_height)(isize M, isize depth)
{
    const isize most = depth <= BLOCK_ELEMENTS / BLOCK_ROWS ? BLOCK_ROWS : BLOCK_ELEMENTS / depth;
    return M <= most ? M : pieces(M, pieces(M, most));
}

ALWAYS_INLINE REAL *NAME(aligned)(REAL *scratch)
{
    return (REAL *)(((uintptr_t)scratch + 63) / 64 * 64);
}

static isize NAME(gemm_scratch)(isize M, isize N, isize K)
{
    const isize line = 64 / sizeof(REAL), k = MIN(K, DEPTH);
    const isize panel = k * MIN((N + LANES - 1) / LANES * LANES, WIDE * LANES);
    const isize block = MIN(M * (k + 2 * line), BLOCK_ELEMENTS + BLOCK_ROWS * 2 * line);
    return panel + (NAME(may_pack_a)(M, N, K) ? block : 0) + line; /* to align */
}

static void NAME(gemm)(REAL *c, isize ldc, const REAL *a, isize ars, isize acs, const REAL *b,
                       isize brs, isize bcs, isize M, isize N, isize K, int add, const REAL *bias,
                       REAL *scratch)
{
    if (M <= 0 || N <= 0) return;
    REAL *const panel = NAME(aligned)(scratch);
    const int widest = NAME(widest)(M);
    const int pack = NAME(packs_a)(M, N, K, ars, acs);
    REAL *const block = panel + MIN(K, DEPTH) * widest * LANES;

    const isize depth = NAME(gemm_depth)(K);
    const isize height = NAME(gemm_height)(M, depth);
    const isize vectors = (N + LANES - 1) / LANES;
    isize k = 0;
    do {
        for (isize m = 0; m < M; m += height) {
            NAME(tiles) t;
            NAME(begin)(&t, c + m * ldc, ldc, a + m * ars + k * acs, ars, acs, MIN(height, M - m),
                        MIN(depth, K - k), add || k > 0, k > 0 ? NULL : bias);
            if (pack) {
                if (ars == 1) {
                    NAME(cut_rows)(&t, TILE_ROWS(pieces(vectors, pieces(vectors, widest))));
                    NAME(pack_tiles)(block, t.a, acs, t.M, t.K, t.rows, t.longer);
                    t.a_packed = 1;
                } else {
                    t.ars = NAME(pack_rows_a)(block, t.a, ars, acs, t.M, t.K);
                    t.acs = 1;
                }
                t.a = block;
            }
            NAME(gemm_block)(&t, b + k * brs, brs, bcs, N, panel, widest);
        }
        k += depth;
    } while (k < K);
}
