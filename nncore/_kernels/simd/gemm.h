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
/* Rows of C from which it pays to copy B that could be read in place (it is read once per tile):
 * rows a multiple of 4 KB apart share one set of the cache, odd ones straddle its lines. */
#define PACK_B_ROWS(bytes) ((bytes) % 4096 == 0 ? 18 : (bytes) % 64 ? 48 : 192)

/* How many vectors wide panels are for products of M rows. Five or six are one tile of two vectors
 * and would be two of three (AVX2). */
ALWAYS_INLINE int NAME(widest)(isize M)
{
    const int one_tile = PAIRED && M > TILE_ROWS(WIDTH) && M <= TILE_ROWS(2);
    return M <= TILE_ROWS(WIDE) ? WIDE : one_tile ? 2 : WIDTH;
}

/* C (M,N) = A (M,K) B (K,N) [+ C] [+ bias] for one depth and one block of rows; t has all but b:
 * panel by panel of B, (K, at most `widest` vectors). */
static void NAME(gemm_block)(NAME(tiles) *t, const REAL *b, isize brs, isize bcs, isize N,
                             REAL *panel, int widest)
{
    const int pack = bcs != 1 || t->M >= PACK_B_ROWS(brs * (isize)sizeof(REAL));
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

/* Is a copy of A worth while? It is read once per panel of B. Rows are well read in place, unless
 * they share a cache set; columns are as many scattered lines as there are k. */
static int NAME(packs_a)(isize M, isize N, isize K, isize ars, isize acs)
{
    const isize stride = (acs == 1 ? ars : acs) * (isize)sizeof(REAL);
    if (M <= TILE_ROWS(2) || K < 64 || N < 8 * LANES) return 0;
    return stride % 4096 == 0 || (acs != 1 && N >= 16 * LANES);
}

/* K in pieces of equal size; several of them are a multiple of 8. */
ALWAYS_INLINE isize NAME(gemm_depth)(isize K)
{
    const isize depths = pieces(K, DEPTH);
    return depths == 1 ? K : pieces(K, 8 * depths) * 8;
}

static isize NAME(gemm_scratch)(isize M, isize N, isize K)
{
    const isize line = 64 / sizeof(REAL), k = MIN(K, DEPTH);
    const isize panel = k * MIN((N + LANES - 1) / LANES * LANES, WIDE * LANES);
    const isize block = MIN(M * (k + 2 * line), BLOCK_ELEMENTS + BLOCK_ROWS * 2 * line);
    return panel + (NAME(packs_a)(M, N, K, 0, 0) ? block : 0) + line; /* any strides, aligned */
}

static void NAME(gemm)(REAL *c, isize ldc, const REAL *a, isize ars, isize acs, const REAL *b,
                       isize brs, isize bcs, isize M, isize N, isize K, int add, const REAL *bias,
                       REAL *scratch)
{
    if (M <= 0 || N <= 0) return;
    REAL *const panel = (REAL *)(((uintptr_t)scratch + 63) / 64 * 64);
    const int widest = NAME(widest)(M);
    const int pack = NAME(packs_a)(M, N, K, ars, acs);
    REAL *const block = panel + MIN(K, DEPTH) * widest * LANES;

    const isize depth = NAME(gemm_depth)(K);
    const isize most = depth <= BLOCK_ELEMENTS / BLOCK_ROWS ? BLOCK_ROWS : BLOCK_ELEMENTS / depth;
    const isize height = pieces(M, pieces(M, most));
    const isize vectors = (N + LANES - 1) / LANES;
    const isize limit = TILE_ROWS(pieces(vectors, pieces(vectors, widest)));
    isize k = 0;
    do {
        for (isize m = 0; m < M; m += height) {
            const isize rows = MIN(height, M - m), tiles = pieces(rows, limit);
            NAME(tiles) t = {.c = c + m * ldc, .ldc = ldc, .a = a + m * ars + k * acs, .ars = ars,
                            .acs = acs, .M = rows, .K = MIN(depth, K - k), .add = add || k > 0,
                            .bias = k > 0 ? NULL : bias};
            t.rows = pieces(rows, tiles);
            t.longer = rows - tiles * (t.rows - 1);
            if (pack) {
                if (ars == 1) {
                    NAME(pack_tiles)(block, t.a, acs, rows, t.K, t.rows, t.longer);
                    t.a_packed = 1;
                } else {
                    t.ars = NAME(pack_rows_a)(block, t.a, ars, acs, rows, t.K);
                    t.acs = 1;
                }
                t.a = block;
            }
            NAME(gemm_block)(&t, b + k * brs, brs, bcs, N, panel, widest);
        }
        k += depth;
    } while (k < K);
}
