/* Template: where a convolution finds its image (conv_pass of simd.h gives the shapes).
 *
 * A unit is some rows and columns of y of one image. Its x is read in place, from a copy with its
 * border of zeros, or from a copy of each pixel's window in one piece (im2col). In the first two a
 * row i of a window is contiguous unless there is dilation or groups. */

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
    const int whole = p->dilation_w == 1; /* a row of the window is one run of numbers */
    const isize run = whole ? p->KW * p->C : p->C, runs = whole ? 1 : p->KW;
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

/* ---- rows and columns of windows outside of the image ---- */

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
 * for all pixels, or -1 where row after row takes less time. (Zen 4, 7x7 of 96 channels in images
 * of 14x14: 10.9 -> 9.9 ms; 5x5 of 64 in 16x16: 13.8 -> 13.2.) */
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
