/* Template: convolution as a product in registers (conv_pass of simd.h gives the shapes).
 *
 * A tile is R pixels of a row of y times W vectors of its channels; the sum runs over the taps
 * (i, j) and the channels c, each number of x broadcast times a vector of packed weights, like the
 * tiles of gemm.h. What differs is where x is: in place, copied with its border of zeros, or
 * copied patch by patch (im2col), each pixel's window in one piece. In the first two a row i of a
 * window is contiguous unless there is dilation or groups, so that the sum is KH long pieces.
 *
 * An element of y is one sum in the order i, j, c, so its bits do not depend on units or tiles;
 * where windows reach over the border, in the order j, i, c (column_to_begin). */

#define EACH_ROW _Pragma("GCC unroll 16") for (int r = 0; r < R; r++)
#define EACH_VECTOR _Pragma("GCC unroll 4") for (int w = 0; w < W; w++)

/* C (M, W vectors) = sum over i < I, j < J, k < K of A[m ars + i ais + j ajs + k acs] times
 * B[i bis + j bjs + k brs] (W vectors) [+ C] [+ bias]. `to` has c, ldc, bias, add and last. */
typedef struct {
    NAME(tiles) to;
    const REAL *a, *b;
    isize M, I, J, K;
    isize ars, ais, ajs, acs, bis, bjs, brs;
} NAME(taps);

ALWAYS_INLINE void NAME(taps_tile)(const NAME(taps) *t, REAL *c, const REAL *a, const int R,
                                   const int W)
{
    NAME(vec) sum[16][4];
    EACH_ROW EACH_VECTOR sum[r][w] = (NAME(vec)){0};
    const isize ars = t->ars, acs = t->acs, brs = t->brs, K = t->K;
    const NAME(mask) all = NAME(mask_first)(LANES);
    for (isize i = 0; i < t->I; i++)
        for (isize j = 0; j < t->J; j++)
            NAME(add_products)(sum, a + i * t->ais + j * t->ajs, ars, acs,
                               t->b + i * t->bis + j * t->bjs, brs, K, R, W, 0, all);
    if (MASKS || t->to.last < LANES)
        NAME(tile_store)(&t->to, c, sum, R, W, 1);
    else
        NAME(tile_store)(&t->to, c, sum, R, W, 0);
}

ALWAYS_INLINE void NAME(taps_column)(const NAME(taps) *t, const int W)
{
    REAL *c = t->to.c;
    const REAL *a = t->a;
    const isize tiles = pieces(t->M, TILE_ROWS(W));
    isize rows = pieces(t->M, tiles), longer = t->M - tiles * (rows - 1);
    for (isize m = 0; m < t->M; m += rows) {
        if (longer-- == 0) rows--;
        if (t->to.add) NAME(prefetch)(&t->to, c, rows, 0, W);
#define CASE(R)                                                                                    \
    case R:                                                                                        \
        if (R <= TILE_ROWS(W)) NAME(taps_tile)(t, c, a, R, W);                                     \
        break;
        switch (rows) {
            CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
            CASE(9) CASE(10) CASE(11) CASE(12) CASE(13) CASE(14) CASE(15) CASE(16)
        }
#undef CASE
        a += rows * t->ars;
        c += rows * t->to.ldc;
    }
}

NEVER_INLINE void NAME(taps_column_1)(const NAME(taps) *t)
{
    NAME(taps_column)(t, 1);
}

NEVER_INLINE void NAME(taps_column_2)(const NAME(taps) *t)
{
    NAME(taps_column)(t, 2);
}

NEVER_INLINE void NAME(taps_column_3)(const NAME(taps) *t)
{
    NAME(taps_column)(t, 3);
}

NEVER_INLINE void NAME(taps_column_4)(const NAME(taps) *t)
{
    NAME(taps_column)(t, 4);
}

static void NAME(taps_run)(const NAME(taps) *t, isize W)
{
    switch (W) {
        case 1: NAME(taps_column_1)(t); break;
        case 2: NAME(taps_column_2)(t); break;
        case 3: NAME(taps_column_3)(t); break;
        case 4: NAME(taps_column_4)(t); break;
    }
}

#undef EACH_ROW
#undef EACH_VECTOR

/* ---- where x is ---- */

ALWAYS_INLINE isize NAME(conv_columns)(const conv_pass *p, isize w) /* of x, for w of y */
{
    return (w - 1) * p->stride_w + MAX(0, p->KW - 1) * p->dilation_w + 1;
}

ALWAYS_INLINE isize NAME(conv_rows)(const conv_pass *p, isize h)
{
    return (h - 1) * p->stride_h + MAX(0, p->KH - 1) * p->dilation_h + 1;
}

/* A row is often so short that calls of memcpy and memset would cost more than they do. Zeros go up
 * to a vector too far: what comes next overwrites them, and there is room behind the last. */
ALWAYS_INLINE REAL *NAME(copy_row)(REAL *to, const REAL *from, isize n)
{
    isize k = 0;
    for (; k + LANES <= n; k += LANES) NAME(store)(to + k, NAME(load)(from + k));
    const NAME(mask) last = NAME(mask_first)(n - k);
    if (k < n) NAME(store_part)(to + k, last, NAME(load_part)(from + k, last));
    return to + n;
}

ALWAYS_INLINE REAL *NAME(clear_row)(REAL *to, isize n)
{
    for (isize k = 0; k < n; k += LANES) NAME(store)(to + k, (NAME(vec)){0});
    return to + n;
}

/* to (columns, C) = columns first.. of a row of x, 0 outside; row NULL: outside altogether. */
static REAL *NAME(pad_row)(REAL *to, const conv_pass *p, const REAL *row, isize first,
                           isize columns)
{
    const isize C = p->C;
    const isize left = row ? MIN(columns, MAX(0, -first)) : columns;
    const isize inside = MAX(0, MIN(columns, (row ? p->W : 0) - first) - left);
    to = NAME(clear_row)(to, left * C);
    if (inside) to = NAME(copy_row)(to, row + (first + left) * C, inside * C);
    return NAME(clear_row)(to, (columns - left - inside) * C);
}

ALWAYS_INLINE const REAL *NAME(image_row)(const conv_pass *p, const REAL *x, isize row)
{
    return row < 0 || row >= p->H ? NULL : x + row * p->W * p->C;
}

/* Which rows of the windows over row h of y are in the image: first.. of KH, `count` of them. The
 * others are zeros, and need not be added up (7x7 in images of 14x14: a seventh of the work). */
ALWAYS_INLINE isize NAME(rows_inside)(const conv_pass *p, isize h, isize *first)
{
    const isize row = h * p->stride_h - p->top;
    isize end = p->KH;
    for (*first = 0; *first < end && row + *first * p->dilation_h < 0;) ++*first;
    while (end > *first && row + (end - 1) * p->dilation_h >= p->H) end--;
    return end - *first;
}

/* Elements that the copies of x for one unit take: padded, and as patches. */
static isize NAME(conv_padded)(const conv_pass *p)
{
    const isize area = NAME(conv_rows)(p, p->block_h) * NAME(conv_columns)(p, p->block_w);
    return p->source == CONV_IN_PLACE ? 0 : area * p->C + LANES;
}

static isize NAME(conv_source)(const conv_pass *p)
{
    const isize patch = p->source == CONV_PATCHES ? p->KH * p->KW * p->C : 0;
    return NAME(conv_padded)(p) + p->block_h * p->block_w * patch + LANES;
}

/* One unit of work: rows h.., columns w.. of y, and x as a table of taps reads it. */
typedef struct {
    isize image, h, w, rows, columns;
    const REAL *x;
    isize row, pixel; /* of x: from one row of y, one pixel, to the next */
    isize I, J, K, ais, ajs;
} NAME(unit);

/* From the padded copy of the unit to one piece for each window. Copies run in whole blocks, a few
 * numbers too far: the next copy overwrites these, and there is room behind the last. */
static void NAME(unit_patches)(NAME(unit) *u, const conv_pass *p, REAL *to)
{
    const isize run = p->dilation_w == 1 ? p->KW * p->C : p->C, runs = p->dilation_w == 1 ? 1 : p->KW;
    REAL *const patches = to;
    for (isize h = 0; h < u->rows; h++) {
        for (isize w = 0; w < u->columns; w++) {
            const REAL *window = u->x + h * u->row + w * u->pixel;
            for (isize i = 0; i < p->KH; i++, window += u->ais) {
                for (isize j = 0; j < runs; j++, to += run) {
                    const REAL *from = window + j * u->ajs;
                    for (isize k = 0; k < run; k += BLOCK)
                        *(NAME(block_mem) *)(to + k) = *(const NAME(block_mem) *)(from + k);
                }
            }
        }
    }
    u->x = patches;
    u->pixel = p->KH * p->KW * p->C;
    u->row = u->columns * u->pixel;
    u->I = 1;
    u->J = p->groups == 1 ? 1 : p->KH * p->KW;
    u->K = p->groups == 1 ? u->pixel : p->C / p->groups;
    u->ais = 0;
    u->ajs = p->C;
    if (p->y_row == u->columns * p->y_column) { /* the rows of y are one */
        u->columns *= u->rows;
        u->rows = 1;
    }
}

static NAME(unit) NAME(unit_place)(const conv_pass *p, isize index)
{
    const isize across = pieces(p->OW, p->block_w), down = pieces(p->OH, p->block_h);
    NAME(unit) u = {.image = index / (across * down)};
    u.h = index / across % down * p->block_h;
    u.w = index % across * p->block_w;
    u.rows = MIN(p->block_h, p->OH - u.h);
    u.columns = MIN(p->block_w, p->OW - u.w);
    return u;
}

static NAME(unit) NAME(conv_unit)(const conv_pass *p, const REAL *x, isize index, REAL *scratch)
{
    NAME(unit) u = NAME(unit_place)(p, index);
    x += u.image * p->H * p->W * p->C;
    const isize row = u.h * p->stride_h - p->top, column = u.w * p->stride_w - p->left;
    isize width = p->W;
    if (p->source == CONV_IN_PLACE) {
        u.x = x + (row * width + column) * p->C;
    } else {
        REAL *to = scratch;
        width = NAME(conv_columns)(p, u.columns);
        for (isize r = 0; r < NAME(conv_rows)(p, u.rows); r++)
            to = NAME(pad_row)(to, p, NAME(image_row)(p, x, row + r), column, width);
        u.x = scratch;
    }
    const int whole = p->groups == 1 && p->dilation_w == 1;
    u.pixel = p->stride_w * p->C;
    u.row = p->stride_h * width * p->C;
    u.I = p->KH;
    u.J = whole ? 1 : p->KW;
    u.K = whole ? p->KW * p->C : p->C / p->groups;
    u.ais = p->dilation_h * width * p->C;
    u.ajs = p->dilation_w * p->C;
    if (p->source == CONV_PATCHES) NAME(unit_patches)(&u, p, scratch + NAME(conv_padded)(p));
    return u;
}

/* ---- columns of windows outside of the image ---- */

/* Which of the unit's pixels in a row have column j of their windows in the image: first.., `count`
 * of them. */
ALWAYS_INLINE isize NAME(columns_inside)(const conv_pass *p, isize w, isize columns, isize j,
                                         isize *first)
{
    const isize column = w * p->stride_w - p->left + j * p->dilation_w;
    for (*first = 0; *first < columns && column + *first * p->stride_w < 0;) ++*first;
    while (columns > *first && column + (columns - 1) * p->stride_w >= p->W) columns--;
    return columns - *first;
}

/* A sum that goes through its window column after column leaves out what is outside, but reads and
 * writes y each time: as long as EXTRA steps. Returns the column to begin with, one that is inside
 * for all pixels, or -1 where row after row takes less time. (Zen 4, 7x7 of 96 channels in images of
 * 14x14: 10.9 -> 9.9 ms; 5x5 of 64 in 16x16: 13.8 -> 13.2.) */
static isize NAME(column_to_begin)(const conv_pass *p)
{
    enum { EXTRA = 12 };
    const isize steps = p->KH * (p->C / p->groups);
    isize inside = 0, middle = -1, first;
    if (p->source != CONV_PADDED) return -1;
    for (isize j = 0; j < p->KW; j++) {
        const isize n = NAME(columns_inside)(p, 0, p->OW, j, &first);
        inside += n;
        if (n == p->OW) middle = j;
    }
    return inside * steps + p->KW * p->OW * EXTRA < p->KW * p->OW * steps ? middle : -1;
}

/* taps_run, column after column of the window, for a row of the unit. */
static void NAME(taps_by_columns)(const NAME(taps) *row, const conv_pass *p, isize w, isize begin,
                                  isize W)
{
    NAME(taps) t = *row;
    t.J = 1;
    t.K = p->C / p->groups;
    for (isize k = 0; k < p->KW; k++) {
        const isize j = k == 0 ? begin : k <= begin ? k - 1 : k;
        isize first;
        t.M = NAME(columns_inside)(p, w, row->M, j, &first);
        if (t.M == 0) continue;
        t.a = row->a + first * t.ars + j * p->dilation_w * p->C;
        t.b = row->b + j * t.K * t.brs;
        t.to.c = row->to.c + first * t.to.ldc;
        NAME(taps_run)(&t, W);
        t.to.bias = NULL;
        t.to.add = 1;
    }
}

/* ---- y = x * weight ---- */

/* How many vectors wide panels are; the pixels of a row of y are the rows of a product. */
ALWAYS_INLINE isize NAME(conv_widest)(const conv_pass *p)
{
    return NAME(widest)(p->source == CONV_PATCHES ? p->block_h * p->block_w : p->block_w);
}

ALWAYS_INLINE isize NAME(conv_vectors)(const conv_pass *p)
{
    return (p->O / p->groups + LANES - 1) / LANES;
}

/* packed: for each group and panel (KH KW C/G, W vectors). */
static void NAME(conv_pack)(REAL *packed, const conv_pass *p, const REAL *weight)
{
    const isize C = p->C / p->groups, O = p->O / p->groups, K = p->KH * p->KW * C;
    const int whole = p->w_c == 1 && p->w_j == C && p->w_i == p->KW * C;
    for (isize g = 0; g < p->groups; g++) {
        const REAL *w = weight + p->w_first + g * p->w_group;
        isize vectors = NAME(conv_vectors)(p), panels = pieces(vectors, NAME(conv_widest)(p));
        for (isize n = 0; n < O; panels--) {
            const isize W = pieces(vectors, panels), width = W * LANES;
            const isize columns = MIN(O - n, width);
            const REAL *from = w + n * p->w_o;
            if (whole) {
                if (K) NAME(pack_panel)(packed, width, from, p->w_c, p->w_o, K, columns);
                packed += K * width;
            } else {
                for (isize i = 0; i < p->KH; i++) {
                    for (isize j = 0; j < p->KW; j++, packed += C * width)
                        NAME(pack_panel)(packed, width, from + i * p->w_i + j * p->w_j, p->w_c,
                                         p->w_o, C, columns);
                }
            }
            vectors -= W;
            n += columns;
        }
    }
}

static void NAME(conv_run)(const conv_pass *p, REAL *y, const REAL *x, const REAL *packed,
                           const REAL *bias, isize begin, isize end, int add, const finish *f,
                           REAL *scratch)
{
    const isize C = p->C / p->groups, O = p->O / p->groups, column = NAME(column_to_begin)(p);
    for (isize index = begin; index < end; index++) {
        const NAME(unit) u = NAME(conv_unit)(p, x, index, scratch);
        REAL *to = y + u.image * p->y_image + p->y_first + u.h * p->y_row + u.w * p->y_column;
        const REAL *panel = packed;
        for (isize g = 0; g < p->groups; g++) {
            isize vectors = NAME(conv_vectors)(p), panels = pieces(vectors, NAME(conv_widest)(p));
            for (isize n = 0; n < O; panels--) {
                const isize W = pieces(vectors, panels), columns = MIN(O - n, W * LANES);
                NAME(taps) t = {.M = u.columns, .I = u.I, .J = u.J, .K = u.K, .ars = u.pixel,
                                .ais = u.ais, .ajs = u.ajs, .acs = 1, .b = panel,
                                .brs = W * LANES, .bjs = u.K * W * LANES};
                t.bis = u.J * t.bjs;
                t.to.ldc = p->y_column;
                t.to.bias = bias ? bias + g * O + n : NULL;
                t.to.add = add;
                t.to.last = columns - (W - 1) * LANES;
                for (isize r = 0; r < u.rows; r++) {
                    isize first = 0;
                    if (p->source == CONV_PADDED) t.I = NAME(rows_inside)(p, u.h + r, &first);
                    t.a = u.x + r * u.row + first * u.ais + g * C;
                    t.b = panel + first * t.bis;
                    t.to.c = to + r * p->y_row + g * O + n;
                    if (column < 0)
                        NAME(taps_run)(&t, W);
                    else
                        NAME(taps_by_columns)(&t, p, u.w, column, W);
                }
                panel += p->KH * p->KW * C * W * LANES;
                vectors -= W;
                n += columns;
            }
        }
        if (f) NAME(finish_unit)(f, y, to - y, p, u.rows, u.columns);
    }
}
