/* Template: C (M,N) = A (M,K) B (K,N) [+ C] [+ bias (N)], any strides in A and B.
 *
 * C is computed in tiles of R rows x W vectors that stay in registers while k runs: for each k a
 * row of B is loaded (W vectors) and multiplied by R numbers of A, each broadcast. All else here
 * feeds these tiles from cache (Goto & van de Geijn, "Anatomy of High-Performance Matrix
 * Multiplication", 2008): K is cut into depths, M into blocks whose A stays in L2, N into panels
 * of W vectors whose B stays in L1 while the tiles go down the block.
 *
 * An element of C is the sum over the depths, in order, of the sum over k within the depth, in
 * order; the depths depend on K alone. So its bits do not depend on M, N, strides or packing. */

/* A tile of W vectors has at most so many rows: the accumulators, a row of B and a broadcast must
 * fit the registers. Panels are WIDTH vectors wide, which needs the fewest loads per
 * multiplication; with only a few rows WIDE, since each register then has to be summed into by
 * few instructions in a row, and more of them hide the latency. */
#if VECTOR_REGISTERS == 32
#define TILE_ROWS(W) ((W) == 4 ? 6 : (W) == 3 ? 9 : 14)
#define WIDTH 3
#else
#define TILE_ROWS(W) ((W) == 4 ? 2 : (W) == 3 ? 4 : 6)
#define WIDTH 2
#endif
#define WIDE 4
/* A panel of B (DEPTH, WIDTH vectors) takes 48 KB or less, a block of A 256 KB. */
#ifndef DEPTH
#define DEPTH (VECTOR_BYTES == 64 ? 256 : 384)
#endif
#ifndef BLOCK_ELEMENTS
#define BLOCK_ELEMENTS ((isize)(256 * 1024 / sizeof(REAL)))
#endif
#ifndef BLOCK_ROWS
#define BLOCK_ROWS 1024
#endif
/* B is packed for the sake of speed from so many rows up: it is then read in several tiles. */
#define PACK_B_ROWS (3 * TILE_ROWS(WIDTH))

#define EACH_ROW _Pragma("GCC unroll 14") for (int r = 0; r < R; r++)
#define EACH_VECTOR _Pragma("GCC unroll 4") for (int w = 0; w < W; w++)

typedef struct { /* memory to fetch in advance: `share` of the rows (rows, length) per tile */
    const REAL *at;
    isize rows, stride, length, share;
} NAME(stretch);

typedef struct {
    REAL *c;
    const REAL *a, *b, *bias;
    isize ldc, ars, acs, brs;
    isize K;
    isize last; /* columns of C in the last vector */
    int add;
    int a_packed;       /* A is one (K,R) after the other: acs = R, whatever R is */
    isize rows, longer; /* M is cut into `longer` tiles of `rows`, then some of one row less */
    NAME(stretch) ahead; /* what is read after this */
} NAME(tile);

ALWAYS_INLINE NAME(vec) NAME(load_column)(const REAL *p, int part, NAME(mask) last) {
    return part ? NAME(load_part)(p, last) : NAME(load)(p);
}

/* C (R, W vectors) = sum [+ C] [+ bias]; `part`: the last vector is cut short. */
ALWAYS_INLINE void NAME(tile_store)(const NAME(tile) *t, NAME(vec) (*sum)[4], const int R,
                                    const int W, const int part) {
    const NAME(mask) last = NAME(mask_first)(t->last);
    if (t->bias) {
        EACH_VECTOR {
            const int cut = part && w == W - 1;
            NAME(vec) bias = NAME(load_column)(t->bias + w * LANES, cut, last);
            EACH_ROW sum[r][w] += bias;
        }
    }
    if (t->add) {
        EACH_ROW EACH_VECTOR {
            const int cut = part && w == W - 1;
            sum[r][w] += NAME(load_column)(t->c + r * t->ldc + w * LANES, cut, last);
        }
    }
    EACH_ROW {
        REAL *c = t->c + r * t->ldc;
        EACH_VECTOR {
            if (part && w == W - 1)
                NAME(store_part)(c + w * LANES, last, sum[r][w]);
            else
                NAME(store)(c + w * LANES, sum[r][w]);
        }
    }
}

/* C (R, W vectors) = A (R,K) B (K, W vectors) [+ C] [+ bias]. All W vectors of B are readable.
 * R and W are constants wherever this is inlined, so `sum` is registers. */
ALWAYS_INLINE void NAME(tile_run)(const NAME(tile) *t, const int R, const int W) {
    NAME(vec) sum[14][4], row[4];
    EACH_ROW EACH_VECTOR sum[r][w] = (NAME(vec)){0};

    const REAL *a = t->a, *b = t->b;
    const isize ars = t->ars, acs = t->acs, brs = t->brs;
    for (isize k = 0; k < t->K; k++) {
        EACH_VECTOR row[w] = NAME(load)(b + w * LANES);
        EACH_ROW EACH_VECTOR sum[r][w] += a[r * ars] * row[w];
        a += acs;
        b += brs;
    }
    if (VECTOR_BYTES == 64 || t->last < LANES) /* AVX-512: masks are free, code is not */
        NAME(tile_store)(t, sum, R, W, 1);
    else
        NAME(tile_store)(t, sum, R, W, 0);
}

/* Ask for the C of a tile and for a share of what comes ahead: both are far apart in memory, and
 * arrive while the tile is computed. */
ALWAYS_INLINE void NAME(prefetch)(NAME(tile) *t, const int W) {
    for (isize r = 0; r < t->rows; r++)
        for (int w = 0; w < W; w++) __builtin_prefetch(t->c + r * t->ldc + w * LANES, 1);
    for (isize i = 0; i < t->ahead.share && t->ahead.rows > 0; i++, t->ahead.rows--) {
        for (isize j = 0; j < t->ahead.length; j += 64 / sizeof(REAL))
            __builtin_prefetch(t->ahead.at + j, 0, 2);
        t->ahead.at += t->ahead.stride;
    }
}

/* C (M, W vectors) = A (M,K) B (K, W vectors) [+ C] [+ bias], tile after tile. */
ALWAYS_INLINE void NAME(tile_column)(NAME(tile) t, isize M, const int W) {
    for (isize m = 0; m < M; m += t.rows) {
        if (t.longer-- == 0) t.rows--;
        if (t.a_packed) t.acs = t.rows;
        if (t.K >= 64) NAME(prefetch)(&t, W);
#define CASE(R)                                                                                    \
    case R:                                                                                        \
        if (R <= TILE_ROWS(W)) NAME(tile_run)(&t, R, W);                                           \
        break;
        switch (t.rows) {
            CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7)
            CASE(8) CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14)
        }
#undef CASE
        t.a += t.rows * (t.a_packed ? t.K : t.ars);
        t.c += t.rows * t.ldc;
    }
}

NEVER_INLINE void NAME(tile_column_1)(const NAME(tile) *t, isize M) {
    NAME(tile_column)(*t, M, 1);
}

NEVER_INLINE void NAME(tile_column_2)(const NAME(tile) *t, isize M) {
    NAME(tile_column)(*t, M, 2);
}

NEVER_INLINE void NAME(tile_column_3)(const NAME(tile) *t, isize M) {
    NAME(tile_column)(*t, M, 3);
}

NEVER_INLINE void NAME(tile_column_4)(const NAME(tile) *t, isize M) {
    NAME(tile_column)(*t, M, 4);
}

/* C (M,N) = A (M,K) B (K,N) [+ C] [+ bias] for one depth and one block of rows; t has all but b:
 * panel by panel of B, (K, at most `widest` vectors). */
static void NAME(gemm_block)(NAME(tile) t, const REAL *b, isize brs, isize bcs, isize M, isize N,
                             REAL *panel, int widest) {
    isize vectors = (N + LANES - 1) / LANES, panels = (vectors + widest - 1) / widest;
    for (isize n = 0; n < N; panels--) {
        const isize W = panels == 1 ? vectors : (vectors + panels - 1) / panels;
        const isize columns = MIN(N - n, W * LANES);
        t.last = columns - (W - 1) * LANES;
        if (bcs != 1 || columns < W * LANES || M >= PACK_B_ROWS) {
            NAME(pack_panel)(panel, W * LANES, b, brs, bcs, t.K, columns);
            t.b = panel;
            t.brs = W * LANES;
        } else {
            t.b = b;
            t.brs = brs;
        }
        vectors -= W;
        n += columns;
        b += columns * bcs;
        if (M >= PACK_B_ROWS) {
            t.ahead = bcs == 1
                          ? (NAME(stretch)){b, t.K, brs, MIN(columns, N - n), 0}
                          : (NAME(stretch)){b, MIN(columns, N - n), bcs, brs == 1 ? t.K : 0, 0};
            t.ahead.share = t.ahead.rows * t.rows / M + 1;
        }
        switch (W) {
            case 1: NAME(tile_column_1)(&t, M); break;
            case 2: NAME(tile_column_2)(&t, M); break;
            case 3: NAME(tile_column_3)(&t, M); break;
            case 4: NAME(tile_column_4)(&t, M); break;
        }
        t.c += columns;
        if (t.bias) t.bias += columns;
    }
}

/* Is A worth a copy? It is read once per panel; a copy makes it one stretch of memory. */
static int NAME(packs_a)(isize M, isize N, isize K) {
    return M >= 2 * TILE_ROWS(WIDTH) && N >= 8 * LANES && K >= 64;
}

static isize NAME(gemm_scratch)(isize M, isize N, isize K) {
    const isize line = 64 / sizeof(REAL), k = MIN(K, DEPTH);
    const isize panel = k * MIN((N + LANES - 1) / LANES * LANES, WIDE * LANES);
    const isize block = MIN(M * (k + 2 * line), BLOCK_ELEMENTS + BLOCK_ROWS * 2 * line);
    return panel + (NAME(packs_a)(M, N, K) ? block : 0) + line;
}

static void NAME(gemm)(REAL *c, isize ldc, const REAL *a, isize ars, isize acs, const REAL *b,
                       isize brs, isize bcs, isize M, isize N, isize K, int add, const REAL *bias,
                       REAL *scratch) {
    if (M <= 0 || N <= 0) return;
    REAL *const panel = (REAL *)(((uintptr_t)scratch + 63) / 64 * 64);
    const int widest = M <= TILE_ROWS(WIDE) ? WIDE : WIDTH, pack = NAME(packs_a)(M, N, K);
    REAL *const block = panel + MIN(K, DEPTH) * widest * LANES;

    /* pieces of equal size; several of them are a multiple of 8 */
    const isize depths = (K + DEPTH - 1) / DEPTH;
    const isize depth = depths <= 1 ? K : (K + 8 * depths - 1) / (8 * depths) * 8;
    const isize most = depth <= BLOCK_ELEMENTS / BLOCK_ROWS ? BLOCK_ROWS : BLOCK_ELEMENTS / depth;
    const isize blocks = (M + most - 1) / most, height = blocks == 1 ? M : (M + blocks - 1) / blocks;
    /* tiles of equal height */
    const int W = MIN(widest, (N + LANES - 1) / LANES);
    const isize limit = TILE_ROWS(W);
    isize k = 0;
    do {
        for (isize m = 0; m < M; m += height) {
            const isize rows = MIN(height, M - m), tiles = (rows + limit - 1) / limit;
            NAME(tile) t = {.c = c + m * ldc, .ldc = ldc, .a = a + m * ars + k * acs, .ars = ars,
                            .acs = acs, .K = MIN(depth, K - k), .add = add || k > 0,
                            .bias = k > 0 ? NULL : bias};
            t.rows = tiles == 1 ? rows : (rows + tiles - 1) / tiles;
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
            NAME(gemm_block)(t, b + k * brs, brs, bcs, rows, N, panel, widest);
        }
        k += depth;
    } while (k < K);
}

#undef EACH_ROW
#undef EACH_VECTOR
