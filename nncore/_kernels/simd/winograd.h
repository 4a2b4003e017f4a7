/* Template: 3 x 3 convolutions with stride 1 by Winograd's F(4x4,3x3), see winograd_transform.h.
 *
 * A pass p (simd.h) from images x (H,W,C) to images y (OH,OW,O) with w (O,3,3,C), or with w
 * (C,3,3,O) turned by half, if p->w_i < 0: the gradient of x. y is cut into tiles of 4 x 4 pixels,
 * ceil(OH/4) ceil(OW/4) an image, numbered image by image and row by row.
 *
 * Block by block of T tiles: transform them, v (36; T,C); 36 products m (36; T,O) = v u with the
 * transformed weights u (36; C,O), in the tiles of gemm_tiles.h; transform m into y. The gradient
 * of w is the same backwards: u (36; O,C) = the sum over all tiles of z (36; T,O)^T v.
 *
 * Members share the tiles or the output channels. An element of y is a sum over c in a fixed
 * order, so its bits depend on neither. */

/* Bytes of v and m, about: blocks stay in the L2 cache; */
#define WINOGRAD_CACHE (1 << 20)
/* but where the weights are wide, they are what stays there, and v is read from the next one. */
#define WINOGRAD_WIDE_CACHE (8 << 20)
#define WINOGRAD_TILES 64 /* tiles of a block, at most and at least */
#define WINOGRAD_FEW 14
/* Bytes of u, up to which all of it is kept for the next block. If it is larger, the weights are
 * transformed in pieces of so many channels by a panel of gemm.h, which stay in L2, and used at
 * once (512-512 channels, 7 x 7 pixels, 4 images: 6098 us all kept, 2877 by panels, 2342 by
 * pieces of panels). */
#define WINOGRAD_KEPT (5 << 19)
#define WINOGRAD_DEPTH 128
/* The gradient of the weights: so many tiles are summed up in one go, for accuracy, so many
 * output channels, and, of wide ones, channels, are computed together. */
#define GRADIENT_TILES 256
#define GRADIENT_UNITS 64
#define GRADIENT_CHANNELS 64

static int NAME(winograd_is_wide)(const conv_pass *p)
{
    return 36 * NAME(whole)(p->O) * p->C * (isize)sizeof(REAL) > WINOGRAD_KEPT;
}

/* Tiles of a block. */
static isize NAME(block_tiles)(const conv_pass *p)
{
    const isize channels = NAME(whole)(p->C) + MIN(NAME(whole)(p->O), WIDTH * LANES);
    const isize cache = NAME(winograd_is_wide)(p) ? WINOGRAD_WIDE_CACHE : WINOGRAD_CACHE;
    return MIN(MAX(cache / (36 * (isize)sizeof(REAL) * channels), WINOGRAD_FEW), WINOGRAD_TILES);
}

/* ---- tiles ---- */

typedef struct {
    const conv_pass *p;
    isize n, i, j; /* image, row and column of the tile */
    isize rows, columns;
} NAME(place);

static NAME(place) NAME(place_of)(const conv_pass *p, isize tile)
{
    NAME(place) t = {.p = p, .rows = (p->OH + 3) / 4, .columns = (p->OW + 3) / 4};
    t.n = tile / (t.rows * t.columns);
    t.i = tile / t.columns % t.rows;
    t.j = tile % t.columns;
    return t;
}

ALWAYS_INLINE void NAME(next_place)(NAME(place) *t)
{
    if (++t->j < t->columns) return;
    t->j = 0;
    if (++t->i < t->rows) return;
    t->i = 0;
    t->n++;
}

/* size x size pixels of the image x (H,W,C) from (i, j) on, which may lie outside. */
ALWAYS_INLINE NAME(patch) NAME(patch_at)(const REAL *x, isize H, isize W, isize C, isize i,
                                         isize j, const int size, const REAL *zeros)
{
    NAME(patch) patch = {.step = C, .all = (1u << size) - 1};
    const isize left = MAX(-j, 0), right = MAX(j + size - W, 0);
    patch.inside = left + right < size ? patch.all >> (left + right) << left : 0;
    const REAL *row = x + (i * W + j) * C;
    EACH(r, size) {
        const REAL *here = row;
        HIDE(here); /* or the compiler makes a branch of the next line */
        patch.row[r] = (size_t)(i + r) < (size_t)H ? here : zeros;
        row += W * C;
    }
    return patch;
}

/* v (36; count,C) of the tiles from t on. */
static void NAME(transform_inputs)(NAME(planes) v, const REAL *x, NAME(place) t, isize count,
                                   const REAL *zeros)
{
    const conv_pass *p = t.p;
    for (isize b = 0; b < count; b++) {
        const REAL *image = x + t.n * p->H * p->W * p->C;
        const NAME(patch) patch = NAME(patch_at)(image, p->H, p->W, p->C, 4 * t.i - p->top,
                                                 4 * t.j - p->left, 6, zeros);
        NAME(input_transform)(v.p + b * v.stride, v.plane, &patch, p->C);
        NAME(next_place)(&t);
    }
}

/* y of the tiles from t on, channels o..o+units, from m (36; count,units). */
static void NAME(transform_outputs)(REAL *y, NAME(planes) m, NAME(place) t, isize count, isize o,
                                    isize units, const REAL *bias, const REAL *plus, int relu)
{
    const conv_pass *p = t.p;
    for (isize b = 0; b < count; b++) {
        const isize at = ((t.n * p->OH + 4 * t.i) * p->OW + 4 * t.j) * p->O + o;
        NAME(target) to = {
            .y = y + at,
            .plus = plus ? plus + at : NULL,
            .row = p->OW * p->O,
            .step = p->O,
            .rows = (int)MIN(4, p->OH - 4 * t.i),
            .columns = (int)MIN(4, p->OW - 4 * t.j),
            .relu = relu,
        };
        NAME(output_transform)(&to, m.p + b * m.stride, m.plane, units, bias ? bias + o : NULL);
        NAME(next_place)(&t);
    }
}

/* z (36; count,units) of the tiles from t on, from dy, channels o..o+units. */
static void NAME(transform_gradients)(NAME(planes) z, const REAL *dy, NAME(place) t, isize count,
                                      isize o, isize units, const REAL *zeros)
{
    const conv_pass *p = t.p;
    for (isize b = 0; b < count; b++) {
        const REAL *image = dy + t.n * p->OH * p->OW * p->O + o;
        const NAME(patch) patch =
            NAME(patch_at)(image, p->OH, p->OW, p->O, 4 * t.i, 4 * t.j, 4, zeros);
        NAME(gradient_transform)(z.p + b * z.stride, z.plane, &patch, units);
        NAME(next_place)(&t);
    }
}

/* ---- products ---- */

/* c (36; M,N) = a (36; M,K) b (36; K,N) [+ c], a with row and column strides, N in panels of at
 * most WIDTH vectors: tiles without gemm.h's packing, as all three are small and packed. */
static void NAME(multiply_planes)(NAME(planes) c, NAME(planes) a, isize ars, isize acs,
                                  NAME(planes) b, isize M, isize N, isize K, int add)
{
    const isize vectors = NAME(whole)(N) / LANES, first = pieces(vectors, WIDTH);
    isize width = 0; /* of the panels that M is cut for */
    NAME(tiles) t;
    NAME(begin)(&t, c.p, c.stride, a.p, ars, acs, M, K, add, NULL);
    t.last = LANES;
    t.brs = b.stride;
    for (int k = 0; k < 36; k++) {
        t.a = a.p + k * a.plane;
        t.b = b.p + k * b.plane;
        t.c = c.p + k * c.plane;
        isize left = vectors;
        for (isize panels = first; panels > 0; panels--) {
            const isize W = pieces(left, panels);
            if (W != width) NAME(cut_rows)(&t, TILE_ROWS(W));
            width = W;
            NAME(tile_columns)(&t, W);
            left -= W;
            t.c += W * LANES;
            t.b += W * LANES;
        }
    }
}

/* ---- the passes ---- */

/* Zeros for the rows of padding, at the beginning of scratch, which is moved on and aligned. */
static const REAL *NAME(take_zeros)(REAL **scratch, isize channels)
{
    REAL *const zeros = (REAL *)(((uintptr_t)*scratch + 63) / 64 * 64);
    memset(zeros, 0, (size_t)(6 * channels) * sizeof(REAL));
    *scratch = zeros + NAME(odd_lines)(6 * channels);
    return zeros;
}

/* Elements of scratch, for winograd_run and winograd_weight. */
static isize NAME(winograd_scratch)(const conv_pass *p)
{
    const isize T = NAME(block_tiles)(p), line = 64 / sizeof(REAL);
    const int wide = NAME(winograd_is_wide)(p);
    REAL *const zero = NULL, *run = zero, *gradient = zero;
    NAME(take)(&run, T, p->C);
    NAME(take)(&run, T, WIDTH * LANES);
    NAME(take)(&run, wide ? WINOGRAD_DEPTH : p->C, wide ? 0 : p->O);
    NAME(take)(&run, wide ? WINOGRAD_DEPTH : p->C, WIDTH * LANES);
    NAME(take)(&gradient, T, p->C);
    NAME(take)(&gradient, T, GRADIENT_UNITS);
    NAME(take)(&gradient, GRADIENT_UNITS, wide ? GRADIENT_CHANNELS : p->C);
    return 6 * MAX(p->C, p->O) + 3 * line + MAX(run - zero, gradient - zero);
}

/* All transformed weights, (36; C,O): in each plane its panels one after the other. */
static isize NAME(winograd_plane)(const conv_pass *p, isize channels)
{
    return NAME(odd_lines)(NAME(whole)(channels) * p->C);
}

static isize NAME(winograd_packed)(const conv_pass *p)
{
    return 36 * NAME(winograd_plane)(p, p->O);
}

static void NAME(winograd_pack)(REAL *kept, const conv_pass *p, const REAL *w)
{
    isize left = NAME(whole)(p->O) / LANES, o = 0;
    for (isize panels = pieces(left, WIDTH); panels > 0; panels--) {
        const isize W = pieces(left, panels);
        const NAME(planes) u = {kept + o * p->C, W * LANES, NAME(winograd_plane)(p, p->O)};
        NAME(transform_weights)(u, p, w, 0, p->C, o, W * LANES);
        left -= W;
        o += W * LANES;
    }
}

/* What is left to do for channels begin..end of `count` tiles from t on: tiles beside each other
 * are one piece, or each of their pixels is. */
static void NAME(finish_tiles)(const finish *f, REAL *y, NAME(place) t, isize count, isize begin,
                               isize end)
{
    const conv_pass *p = t.p;
    while (count > 0) {
        const isize tiles = MIN(count, t.columns - t.j), rows = MIN(4, p->OH - 4 * t.i);
        const isize columns = MIN(4 * tiles, p->OW - 4 * t.j), whole = end - begin == p->O;
        const isize step = whole ? columns * p->O : p->O, n = whole ? step : end - begin;
        for (isize r = 0; r < rows; r++) {
            const isize at = ((t.n * p->OH + 4 * t.i + r) * p->OW + 4 * t.j) * p->O;
            for (isize i = 0; i < columns * p->O; i += step)
                NAME(finish_piece)(f, y, at + i + begin, n);
        }
        count -= tiles;
        t.j += tiles - 1;
        NAME(next_place)(&t);
    }
}

/* y = x * w [+ bias (O)] [+ y or f->plus], its tiles first..last, channels begin..end; begin is a
 * multiple of 16. The additions and relu are the last transform's. Each member transforms the
 * weights it needs: to share them would cost a barrier. */
static void NAME(winograd_run)(const conv_pass *p, REAL *y, const REAL *x, const REAL *w,
                               const REAL *kept, const REAL *bias, isize first, isize last,
                               isize begin, isize end, int add, const finish *f, REAL *scratch)
{
    if (first >= last || begin >= end) return;
    const isize blocks = pieces(last - first, NAME(block_tiles)(p));
    const isize vectors = NAME(whole)(end - begin) / LANES, C = p->C;
    const int wide = NAME(winograd_is_wide)(p), keep = kept || (blocks > 1 && !wide);
    const isize depth = wide ? WINOGRAD_DEPTH : C;
    const TABLE(activation) *sigma = f ? f->sigma : NULL;
    const REAL *const plus = add ? y : f ? f->plus : NULL;
    const int relu = sigma && sigma->forward == NAME(relu_forward);
    const finish then = {NULL, sigma};
    const REAL *zeros = NAME(take_zeros)(&scratch, C);
    NAME(planes) u = {kept ? (REAL *)kept : scratch, 0, NAME(winograd_plane)(p, end - begin)};
    if (keep && !kept) scratch += 36 * u.plane;
    for (isize b = blocks, count; b > 0; b--, first += count) {
        count = pieces(last - first, b);
        const NAME(place) t = NAME(place_of)(p, first);
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
                if (!kept && (!keep || b == blocks))
                    NAME(transform_weights)(panel, p, w, c, K, o, width);
                NAME(multiply_planes)(m, part, v.stride, 1, panel, count, width, K, c > 0);
            }
            NAME(transform_outputs)(y, m, t, count, o, MIN(width, end - o), bias, plus, relu);
            left -= W;
            o += width;
        }
        if (sigma && !relu) NAME(finish_tiles)(&then, y, t, count, begin, end);
    }
}

/* dw (O,3,3,C) = the gradient of w from dy and x over the tiles first..last [+ dw], its output
 * channels begin..end. The sums go over pieces and blocks of tiles counted from `first`. */
static void NAME(winograd_weight)(const conv_pass *p, REAL *dw, const REAL *dy, const REAL *x,
                                  isize first, isize last, isize begin, isize end, int add,
                                  REAL *scratch)
{
    const isize T = NAME(block_tiles)(p), O = p->O, C = p->C;
    const int wide = NAME(winograd_is_wide)(p);
    const isize channels = wide ? GRADIENT_CHANNELS : C, tiles = wide ? T : GRADIENT_TILES;
    const REAL *zeros = NAME(take_zeros)(&scratch, MAX(C, O));
    const NAME(planes) v = NAME(take)(&scratch, T, C);
    const NAME(planes) z = NAME(take)(&scratch, T, GRADIENT_UNITS);
    const NAME(planes) u = NAME(take)(&scratch, GRADIENT_UNITS, channels);
    if (first >= last && !add)
        memset(dw + begin * 9 * C, 0, (size_t)((end - begin) * 9 * C) * sizeof(REAL));
    for (isize piece; first < last; first += piece, add = 1) {
        piece = MIN(last - first, tiles);
        for (isize o = begin; o < end; o += GRADIENT_UNITS) {
            const isize units = MIN(GRADIENT_UNITS, end - o);
            for (isize c = 0; c < C; c += channels) {
                const isize N = MIN(channels, C - c);
                NAME(planes) part = v;
                part.p += c;
                for (isize b = 0; b < piece; b += T) {
                    const isize count = MIN(T, piece - b);
                    const NAME(place) t = NAME(place_of)(p, first + b);
                    if (c == 0 && (o == begin || piece > T))
                        NAME(transform_inputs)(v, x, t, count, zeros);
                    if (c == 0) NAME(transform_gradients)(z, dy, t, count, o, units, zeros);
                    NAME(multiply_planes)(u, z, 1, z.stride, part, units, N, count, b > 0);
                }
                for (isize i = 0; i < units; i++)
                    NAME(weight_adjoint)(dw + (o + i) * 9 * C + c, C, u.p + i * u.stride, u.plane,
                                         N, add);
            }
        }
    }
}

#undef HALF_ROOT
#undef ROOT
#undef EACH
