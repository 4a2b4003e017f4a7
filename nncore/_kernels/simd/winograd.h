/* Template: 3 x 3 convolutions by Winograd's F(4x4,3x3), see winograd_transform.h.
 *
 * N images of H x W pixels of C channels, to OH x OW pixels of O channels, row-major:
 * x (N,H,W,C), w (O,3,3,C), y (N,OH,OW,O) with
 *   y[n,i,j,o] = sum over r, s, c of w[o,r,s,c] x[n,i+r-top,j+s-left,c], and x = 0 outside.
 * y is cut into N * ceil(OH/4) * ceil(OW/4) tiles of 4 x 4, numbered image by image, row by row.
 *
 * Block by block of T tiles: transform them, v (36,T,C); 36 products m (36,T,O) = v u with the
 * transformed weights u (36,C,O), through the tiles of gemm.h; transform m into y. Blocks are as
 * large as a cache allows. Planes (of 36) lie an odd number of cache lines apart, for a transform
 * reads or writes all 36 at once, and they would share the few ways of one cache set.
 *
 * Members share the tiles, or the output channels. An element of y is one sum over c in order, so
 * its bits depend on neither. */

#define WINOGRAD_CACHE (1 << 20) /* bytes of v and m: of the L2 cache, about */
#define WINOGRAD_TILES 64        /* tiles of a block, at most and at least */
#define WINOGRAD_FEW 14
#define WINOGRAD_KEPT (5 << 19) /* bytes of transformed weights */
#define WINOGRAD_DEPTH 128      /* channels of which they are made at a time, if not kept */
#define GRADIENT_TILES 256 /* tiles of which dw is summed up in one go */
#define GRADIENT_CHANNELS 64
#define GRADIENT_UNITS 64  /* output channels of dw that are computed together */

typedef struct {
    REAL *p;
    isize stride, plane; /* of its rows, its planes */
} NAME(planes);

ALWAYS_INLINE isize NAME(whole)(isize n)
{
    return (n + LANES - 1) / LANES * LANES;
}

/* 36 planes (rows, columns) in scratch, which is moved on. Columns are padded to whole vectors;
 * rows a multiple of 1 KB apart would share the sets of the L1 cache. */
static NAME(planes) NAME(take)(REAL **scratch, isize rows, isize columns)
{
    const isize line = 64 / sizeof(REAL);
    NAME(planes) a = {*scratch, NAME(whole)(columns), 0};
    if (rows > 1 && a.stride * (isize)sizeof(REAL) % 1024 == 0) a.stride += line;
    a.plane = NAME(odd_lines)(rows * a.stride);
    *scratch += 36 * a.plane;
    return a;
}

/* ---- tiles ---- */

typedef struct {
    const winograd_sizes *s;
    isize n, i, j; /* image, row and column of the tile */
    isize rows, columns;
} NAME(tile);

static NAME(tile) NAME(tile_at)(const winograd_sizes *s, isize tile)
{
    NAME(tile) t = {.s = s, .rows = (s->OH + 3) / 4, .columns = (s->OW + 3) / 4};
    t.n = tile / (t.rows * t.columns);
    t.i = tile / t.columns % t.rows;
    t.j = tile % t.columns;
    return t;
}

ALWAYS_INLINE void NAME(next_tile)(NAME(tile) *t)
{
    if (++t->j < t->columns) return;
    t->j = 0;
    if (++t->i < t->rows) return;
    t->i = 0;
    t->n++;
}

/* size x size pixels of the image x (H,W,C) from (i, j) on, which may lie outside. Without
 * branches: they would be mispredicted at the edges (7 ns of 36 for a tile of 16 channels). */
ALWAYS_INLINE NAME(patch) NAME(patch_at)(const REAL *x, isize H, isize W, isize C, isize i, isize j,
                                         const int size, const REAL *zeros)
{
    NAME(patch) p = {.step = C, .all = (1u << size) - 1};
    const isize left = MAX(-j, 0), right = MAX(j + size - W, 0);
    p.inside = p.all >> MIN(left + right, size) << left;
    const REAL *row = x + (i * W + j) * C;
    EACH(r, size) {
        const REAL *inside = row;
        __asm__("" : "+r"(inside)); /* or the compiler branches around its computation */
        p.row[r] = (size_t)(i + r) < (size_t)H ? inside : zeros;
        row += W * C;
    }
    return p;
}

/* v (36,count,C) of the tiles from t on. */
static void NAME(transform_inputs)(NAME(planes) v, const REAL *x, NAME(tile) t, isize count,
                                   const REAL *zeros)
{
    const winograd_sizes *s = t.s;
    for (isize b = 0; b < count; b++) {
        const NAME(patch) p =
            NAME(patch_at)(x + t.n * s->H * s->W * s->C, s->H, s->W, s->C, 4 * t.i - s->top,
                           4 * t.j - s->left, 6, zeros);
        NAME(input_transform)(v.p + b * v.stride, v.plane, &p, s->C);
        NAME(next_tile)(&t);
    }
}

/* y of the tiles from t on, channels o..o+units, from m (36,count,units). */
static void NAME(transform_outputs)(REAL *y, NAME(planes) m, NAME(tile) t, isize count, isize o,
                                    isize units, const REAL *bias, int add)
{
    const winograd_sizes *s = t.s;
    for (isize b = 0; b < count; b++) {
        const NAME(target) to = {
            .y = y + ((t.n * s->OH + 4 * t.i) * s->OW + 4 * t.j) * s->O + o,
            .row = s->OW * s->O,
            .step = s->O,
            .rows = (int)MIN(4, s->OH - 4 * t.i),
            .columns = (int)MIN(4, s->OW - 4 * t.j),
            .add = add,
        };
        NAME(output_transform)(&to, m.p + b * m.stride, m.plane, units, bias ? bias + o : NULL);
        NAME(next_tile)(&t);
    }
}

/* z (36,count,units) of the tiles from t on, from dy, channels o..o+units. */
static void NAME(transform_gradients)(NAME(planes) z, const REAL *dy, NAME(tile) t, isize count,
                                      isize o, isize units, const REAL *zeros)
{
    const winograd_sizes *s = t.s;
    for (isize b = 0; b < count; b++) {
        const NAME(patch) p = NAME(patch_at)(dy + t.n * s->OH * s->OW * s->O + o, s->OH, s->OW,
                                             s->O, 4 * t.i, 4 * t.j, 4, zeros);
        NAME(gradient_transform)(z.p + b * z.stride, z.plane, &p, units);
        NAME(next_tile)(&t);
    }
}

/* ---- products ---- */

/* c (36; M,N) = a (36; M,K) b (36; K,N) [+ c]: plane by plane, N in panels of WIDTH vectors. */
static void NAME(multiply_planes)(NAME(planes) c, NAME(planes) a, isize ars, isize acs,
                                  NAME(planes) b, isize M, isize N, isize K, int add)
{
    const isize vectors = NAME(whole)(N) / LANES;
    for (int k = 0; k < 36; k++) {
        NAME(tiles) t = {.c = c.p + k * c.plane, .ldc = c.stride, .a = a.p + k * a.plane,
                         .ars = ars, .acs = acs, .b = b.p + k * b.plane, .brs = b.stride,
                         .M = M, .K = K, .last = LANES, .add = add};
        isize left = vectors;
        for (isize panels = pieces(vectors, WIDTH); panels > 0; panels--) {
            const isize W = pieces(left, panels), tiles = pieces(M, TILE_ROWS(W));
            t.rows = pieces(M, tiles);
            t.longer = M - tiles * (t.rows - 1);
            switch (W) {
                case 1: NAME(tile_column_1)(&t); break;
                case 2: NAME(tile_column_2)(&t); break;
                case 3: NAME(tile_column_3)(&t); break;
            }
            left -= W;
            t.c += W * LANES;
            t.b += W * LANES;
        }
    }
}

/* ---- transformed weights ---- */

/* u (36; depth, width) = the transformed weights of `depth` channels from `first` on and `width`
 * output channels from o on. Lanes are output channels; those beyond O hold anything. */
static void NAME(transform_weights)(NAME(planes) u, const REAL *w, const winograd_sizes *s,
                                    isize first, isize depth, isize o, isize width, int flip)
{
    enum { line = 64 / sizeof(REAL), CHUNK = 16, AHEAD = 16 };
    const isize C = s->C, O = s->O;
    REAL taps[9 * CHUNK * LANES] __attribute__((aligned(64)));
    NAME(vec) g[9];
    for (isize j = 0; j < width && o + j < O; j += LANES) {
        const isize n = MIN(LANES, O - o - j);
        const NAME(mask) part = NAME(mask_first)(n);
        if (flip) { /* w (C,3,3,O) turned by half */
            const REAL *from = w + first * 9 * O + o + j;
            for (isize c = 0; c < depth; c++, from += 9 * O) {
#pragma GCC unroll 9
                for (int r = 0; r < 9; r++) {
                    g[r] = NAME(load_part)(from + (8 - r) * O, part);
                    __builtin_prefetch(from + (8 - r + 9 * AHEAD) * O);
                }
                NAME(weight_vector)(u.p + c * u.stride + j, u.plane, g);
            }
            continue;
        }
        isize offset[LANES];
        for (int i = 0; i < LANES; i++) offset[i] = MIN(i, n - 1) * 9 * C;
        for (isize c = 0; c < depth; c += CHUNK) {
            const isize channels = MIN(CHUNK, depth - c);
            const REAL *next = w + (o + j) * 9 * C + first + c + CHUNK;
            for (int r = 0; r < 9; r++)
                NAME(transpose_columns)(taps + r * CHUNK * LANES, LANES,
                                        w + ((o + j) * 9 + r) * C + first + c, offset,
                                        channels);
            for (isize i = 0; i < channels; i++) {
#pragma GCC unroll 9
                for (int r = 0; r < 9; r++) {
                    g[r] = NAME(load)(taps + (r * CHUNK + i) * LANES);
                    __builtin_prefetch(next + (i % LANES * 9 + r) * C + i / LANES * line);
                }
                NAME(weight_vector)(u.p + (c + i) * u.stride + j, u.plane, g);
            }
        }
    }
}

/* Whether all transformed weights are kept for the next block of tiles. Larger ones do not stay in
 * a cache: made anew, panel by panel, they are faster (512 channels: 2976 us, kept 6098). */
static int NAME(keeps_weights)(const winograd_sizes *s)
{
    return 36 * NAME(whole)(s->O) * s->C * (isize)sizeof(REAL) <= WINOGRAD_KEPT;
}

/* ---- the passes ---- */

/* Tiles of a block. */
static isize NAME(block_tiles)(const winograd_sizes *s)
{
    const isize channels = NAME(whole)(s->C) + MIN(NAME(whole)(s->O), WIDTH * LANES);
    const isize cache = NAME(keeps_weights)(s) ? WINOGRAD_CACHE : 8 * WINOGRAD_CACHE;
    const isize most = cache / (36 * (isize)sizeof(REAL) * channels);
    return MIN(MAX(most, WINOGRAD_FEW), WINOGRAD_TILES);
}

static isize NAME(winograd_scratch)(const winograd_sizes *s)
{
    const isize T = NAME(block_tiles)(s), line = 64 / sizeof(REAL);
    REAL *end = NULL;
    REAL *both = end + 6 * MAX(s->C, s->O) + line;
    end = both;
    NAME(take)(&end, T, s->C);
    NAME(take)(&end, T, WIDTH * LANES);
    if (NAME(keeps_weights)(s))
        NAME(take)(&end, s->C, MAX(s->O, WIDTH * LANES));
    else
        NAME(take)(&end, WINOGRAD_DEPTH, WIDTH * LANES);
    const isize forward = end - (REAL *)NULL;
    end = both;
    NAME(take)(&end, T, s->C);
    NAME(take)(&end, T, GRADIENT_UNITS);
    NAME(take)(&end, GRADIENT_UNITS, MAX(s->C, GRADIENT_CHANNELS));
    return MAX(forward, end - (REAL *)NULL) + 2 * line;
}

/* Zeros for the rows of padding, at the beginning of scratch, which is moved on and aligned. */
static const REAL *NAME(take_zeros)(REAL **scratch, isize channels)
{
    REAL *const zeros = (REAL *)(((uintptr_t)*scratch + 63) / 64 * 64);
    memset(zeros, 0, (size_t)(6 * channels) * sizeof(REAL));
    *scratch = zeros + NAME(odd_lines)(6 * channels);
    return zeros;
}

/* y (N,OH,OW,O) = conv(x, w) [+ bias (O)] [+ y], its tiles first..last, channels begin..end, both
 * multiples of LANES or O. flip: w is (C,3,3,O) and is turned by half. Each member transforms the
 * weights it needs: to share them would cost a barrier. */
static void NAME(winograd_forward)(REAL *y, const REAL *x, const REAL *w, const REAL *bias,
                                   const winograd_sizes *s, int flip, isize first, isize last,
                                   isize begin, isize end, int add, REAL *scratch)
{
    if (first >= last || begin >= end) return;
    const isize blocks = pieces(last - first, NAME(block_tiles)(s));
    const isize vectors = NAME(whole)(end - begin) / LANES, C = s->C;
    const int keep = blocks > 1 && NAME(keeps_weights)(s);
    const isize depth = NAME(keeps_weights)(s) ? C : WINOGRAD_DEPTH;
    const REAL *zeros = NAME(take_zeros)(&scratch, C);
    NAME(planes) u = {scratch, 0, NAME(odd_lines)(vectors * LANES * C)};
    if (keep) scratch += 36 * u.plane; /* its panels one after the other in each plane */
    for (isize b = blocks, count; b > 0; b--, first += count) {
        count = pieces(last - first, b);
        const NAME(tile) t = NAME(tile_at)(s, first);
        REAL *free = scratch;
        const NAME(planes) v = NAME(take)(&free, count, C);
        NAME(transform_inputs)(v, x, t, count, zeros);
        isize left = vectors, o = begin;
        for (isize panels = pieces(vectors, WIDTH); panels > 0; panels--) {
            const isize W = pieces(left, panels), width = W * LANES;
            REAL *rest = free;
            const NAME(planes) m = NAME(take)(&rest, count, width);
            NAME(planes) panel = {u.p + (o - begin) * C, width, u.plane}, part = v;
            if (!keep) panel = NAME(take)(&rest, depth, width);
            for (isize c = 0; c < C; c += depth, part.p += depth) {
                const isize K = MIN(depth, C - c);
                if (!keep || b == blocks)
                    NAME(transform_weights)(panel, w, s, c, K, o, width, flip);
                NAME(multiply_planes)(m, part, v.stride, 1, panel, count, width, K, c > 0);
            }
            NAME(transform_outputs)(y, m, t, count, o, MIN(width, end - o), bias, add);
            left -= W;
            o += width;
        }
    }
}

/* dw (O,3,3,C) = the gradient of w from dy and x over the tiles first..last [+ dw], for the output
 * channels begin..end. The sum goes over blocks of tiles counted from `first`. */
static void NAME(winograd_gradient)(REAL *dw, const REAL *x, const REAL *dy,
                                    const winograd_sizes *s, isize first, isize last, isize begin,
                                    isize end, int add, REAL *scratch)
{
    const isize T = NAME(block_tiles)(s), O = s->O, C = s->C;
    const REAL *zeros = NAME(take_zeros)(&scratch, MAX(C, O));
    const NAME(planes) v = NAME(take)(&scratch, T, C);
    const NAME(planes) z = NAME(take)(&scratch, T, GRADIENT_UNITS);
    const isize channels = NAME(keeps_weights)(s) ? C : GRADIENT_CHANNELS;
    const NAME(planes) sum = NAME(take)(&scratch, GRADIENT_UNITS, channels);
    for (isize piece; first < last; first += piece, add = 1) {
        piece = MIN(last - first, GRADIENT_TILES);
        if (!NAME(keeps_weights)(s)) piece = MIN(piece, T);
        for (isize o = begin; o < end; o += GRADIENT_UNITS) {
            const isize units = MIN(GRADIENT_UNITS, end - o);
            for (isize c = 0; c < C; c += channels) {
                const isize N = MIN(channels, C - c);
                NAME(planes) part = v;
                part.p += c;
                for (isize b = 0; b < piece; b += T) {
                    const isize count = MIN(T, piece - b);
                    const NAME(tile) t = NAME(tile_at)(s, first + b);
                    if (c == 0 && (o == begin || piece > T))
                        NAME(transform_inputs)(v, x, t, count, zeros);
                    if (c == 0) NAME(transform_gradients)(z, dy, t, count, o, units, zeros);
                    NAME(multiply_planes)(sum, z, 1, z.stride, part, units, N, count, b > 0);
                }
                for (isize i = 0; i < units; i++)
                    NAME(weight_adjoint)(dw + (o + i) * 9 * C + c, C, sum.p + i * sum.stride,
                                         sum.plane, N, add);
            }
        }
    }
}

#undef HALF_ROOT
#undef ROOT
#undef EACH
