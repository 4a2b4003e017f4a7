/* Template: the transforms of Winograd's F(4x4,3x3): 4 x 4 outputs of a 3 x 3 convolution from
 * 6 x 6 inputs with 36 multiplications for each pair of channels instead of 144 (Lavin & Gray,
 * "Fast Algorithms for Convolutional Neural Networks", 2015).
 *
 *   y (4,4) = A^T ((G w G^T) * (B^T x B)) A     x (6,6), w (3,3), * elementwise
 *
 * The interpolation points are 0, +-sqrt(1/2), +-sqrt(2), infinity. Lavin's 0, +-1, +-2, infinity
 * cost the same and round 3 to 7 times worse.
 *
 * Channels are the lanes. Of the 6 x 6 numbers of a tile, number k = 6 i + j is in plane k. The
 * transforms to planes go down the columns first and then along the rows, by groups of rows that
 * share terms; what a group reads is read again for the next one, for that is cheaper than to
 * keep 36 vectors. The one from planes goes along the rows, whose sums stay in registers. */

#define HALF_ROOT ((REAL)0.70710678118654752440) /* sqrt(1/2) */
#define ROOT ((REAL)1.41421356237309504880)      /* sqrt(2) */
#define EACH(i, n) _Pragma("GCC unroll 6") for (int i = 0; i < (n); i++)

typedef struct { /* 36 of (rows, columns) */
    REAL *p;
    isize stride, plane; /* of its rows, its planes */
} NAME(planes);

ALWAYS_INLINE isize NAME(whole)(isize n)
{
    return (n + LANES - 1) / LANES * LANES;
}

/* Planes (rows, columns) in scratch, which is moved on. Columns are padded to whole vectors. Rows
 * a multiple of 1 KB apart would share a few sets of the L1 cache, and planes too, of which a
 * transform reads or writes all 36 at once: these lie an odd number of cache lines apart. */
static NAME(planes) NAME(take)(REAL **scratch, isize rows, isize columns)
{
    const isize line = 64 / sizeof(REAL);
    NAME(planes) a = {*scratch, NAME(whole)(columns), 0};
    if (rows > 1 && a.stride * (isize)sizeof(REAL) % 1024 == 0) a.stride += line;
    a.plane = NAME(odd_lines)(rows * a.stride);
    *scratch += 36 * a.plane;
    return a;
}

/* The next six of the 36 planes. */
ALWAYS_INLINE REAL *NAME(next_planes)(REAL *v, NAME(steps) plane)
{
    v = (REAL *)((char *)v + 2 * plane.three);
    __asm__("" : "+r"(v));
    return v;
}

/* A piece of an image of channels: up to 6 x 6 pixels, of which some are padding. */
typedef struct {
    const REAL *row[6]; /* the first pixel of each row; rows of padding point to zeros */
    isize step;         /* from one pixel of a row to the next */
    unsigned inside;    /* bit j: column j lies in the image */
    unsigned all;       /* as `inside` where all columns do */
} NAME(patch);

/* Columns of a patch of which some lanes may be missing: all where bit j of `columns` is not set. */
typedef struct {
    unsigned columns;
    const NAME(mask) *masks;
} NAME(cut);

/* Pixel j of a row. */
ALWAYS_INLINE NAME(vec) NAME(pixel)(const REAL *row, NAME(steps) step, const int j,
                                    NAME(cut) cut)
{
    const REAL *p = (const REAL *)((const char *)row + NAME(times)(step, j));
    return cut.columns >> j & 1 ? NAME(load_part)(p, cut.masks[j]) : NAME(load)(p);
}

/* masks[j] = the lanes of column j of p from channel c on, of which there are `lanes`. */
ALWAYS_INLINE void NAME(patch_masks)(NAME(mask) *masks, const NAME(patch) *p, isize lanes, int n)
{
    lanes = MIN(lanes, LANES);
    EACH(j, n) masks[j] = NAME(mask_first)(lanes & -(isize)(p->inside >> j & 1));
}

/* ---- x (6,6) -> B^T x B (6,6) ---- */

ALWAYS_INLINE NAME(vec) NAME(input_outer)(NAME(vec) a, NAME(vec) b, NAME(vec) c)
{
    return (a + c) - (REAL)2.5 * b;
}

/* t + factor u and t - factor u. AMD's processors have ports for sums beside those for products; with
 * AVX2 only, for Intel's do not, that is where these two go (Zen 4, 16 registers: 98 cycles a
 * vector of the input, 112 as products that add). */
ALWAYS_INLINE void NAME(plus_minus)(NAME(vec) *a, NAME(vec) *b, NAME(vec) t, NAME(vec) u,
                                    const REAL factor)
{
    u *= factor;
#if VECTOR_BYTES == 32
    __asm__("" : "+x"(u)); /* or the compiler joins what is apart */
#endif
    *a = t + u;
    *b = t - u;
}

/* One row of B^T x, already down the columns, along the row. */
ALWAYS_INLINE void NAME(input_row)(REAL *v, NAME(steps) plane, const NAME(vec) *x)
{
    NAME(vec) a, b;
    NAME(store_at)(v, 0, NAME(input_outer)(x[0], x[2], x[4]));
    NAME(plus_minus)(&a, &b, x[4] - 2 * x[2], x[3] - 2 * x[1], HALF_ROOT);
    NAME(store_at)(v, NAME(times)(plane, 1), a);
    NAME(store_at)(v, NAME(times)(plane, 2), b);
    NAME(plus_minus)(&a, &b, x[4] - (REAL)0.5 * x[2], x[3] - (REAL)0.5 * x[1], ROOT);
    NAME(store_at)(v, NAME(times)(plane, 3), a);
    NAME(store_at)(v, NAME(times)(plane, 4), b);
    NAME(store_at)(v, NAME(times)(plane, 5), NAME(input_outer)(x[1], x[3], x[5]));
}

/* Rows 0 and 5 of B^T x, from three of its rows. */
ALWAYS_INLINE REAL *NAME(input_outer_row)(REAL *v, NAME(steps) plane, const REAL *x0,
                                          const REAL *x2, const REAL *x4, NAME(steps) step,
                                          NAME(cut) cut)
{
    NAME(vec) a[6];
    EACH(j, 6)
        a[j] = NAME(input_outer)(NAME(pixel)(x0, step, j, cut), NAME(pixel)(x2, step, j, cut),
                                 NAME(pixel)(x4, step, j, cut));
    NAME(input_row)(v, plane, a);
    return NAME(next_planes)(v, plane);
}

/* Rows 1 and 2 (square = 2, root = sqrt(1/2)), rows 3 and 4 (1/2, sqrt(2)). */
ALWAYS_INLINE REAL *NAME(input_inner_rows)(REAL *v, NAME(steps) plane, const REAL *const *row,
                                           isize c, NAME(steps) step, NAME(cut) cut,
                                           const REAL square, const REAL root)
{
    const REAL *x1 = row[1] + c, *x2 = row[2] + c, *x3 = row[3] + c, *x4 = row[4] + c;
    NAME(vec) a[6], b[6];
    EACH(j, 6) {
        NAME(vec) t = NAME(pixel)(x4, step, j, cut) - square * NAME(pixel)(x2, step, j, cut);
        NAME(vec) u = NAME(pixel)(x3, step, j, cut) - square * NAME(pixel)(x1, step, j, cut);
        NAME(plus_minus)(&a[j], &b[j], t, u, root);
    }
    NAME(input_row)(v, plane, a);
    v = NAME(next_planes)(v, plane);
    NAME(input_row)(v, plane, b);
    return NAME(next_planes)(v, plane);
}

ALWAYS_INLINE void NAME(input_vector)(REAL *v, NAME(steps) plane, const NAME(patch) *p, isize c,
                                      NAME(steps) step, NAME(cut) cut)
{
    const REAL *const *row = p->row;
    v = NAME(input_outer_row)(v, plane, row[0] + c, row[2] + c, row[4] + c, step, cut);
    v = NAME(input_inner_rows)(v, plane, row, c, step, cut, 2, HALF_ROOT);
    v = NAME(input_inner_rows)(v, plane, row, c, step, cut, (REAL)0.5, ROOT);
    NAME(input_outer_row)(v, plane, row[1] + c, row[3] + c, row[5] + c, step, cut);
}

/* Channels c..C of a patch with padding, or what is left after the whole vectors of one without.
 * Out of line: the compiler would compute all addresses in advance for both. */
NEVER_INLINE void NAME(input_part)(REAL *v, NAME(steps) plane, const NAME(patch) *p, isize c,
                              isize C)
{
    const NAME(steps) step = NAME(steps_of)(p->step);
    for (; c < C; c += LANES) {
        NAME(mask) masks[6];
        NAME(patch_masks)(masks, p, C - c, 6);
        NAME(input_vector)(v + c, plane, p, c, step, (NAME(cut)){63, masks});
    }
}

/* Whole vectors of a patch of which at most the first and the last column are padding, as most at
 * the edges are. Returns where the rest begins. */
NEVER_INLINE isize NAME(input_sides)(REAL *v, NAME(steps) plane, const NAME(patch) *p, isize C)
{
    const NAME(steps) step = NAME(steps_of)(p->step);
    NAME(mask) masks[6];
    isize c = 0;
    NAME(patch_masks)(masks, p, LANES, 6);
    for (; c + LANES <= C; c += LANES)
        NAME(input_vector)(v + c, plane, p, c, step, (NAME(cut)){1 | 1 << 5, masks});
    return c;
}

/* v (36 planes, C) = B^T p B for a patch of 6 x 6 pixels. */
static void NAME(input_transform)(REAL *v, isize plane_size, const NAME(patch) *p, isize C)
{
    const NAME(steps) plane = NAME(steps_of)(plane_size), step = NAME(steps_of)(p->step);
    isize c = 0;
    if (p->inside == p->all)
        for (; c + LANES <= C; c += LANES)
            NAME(input_vector)(v + c, plane, p, c, step, (NAME(cut)){0, NULL});
    else if ((p->inside | 1 | 1 << 5) == p->all)
        c = NAME(input_sides)(v, plane, p, C);
    if (c < C) NAME(input_part)(v, plane, p, c, C);
}

/* ---- m (6,6) -> A^T m A (4,4) ---- */

/* Where the 4 x 4 results of a tile go: the first rows x columns of them to y + i row + j step. */
typedef struct {
    REAL *y;
    const REAL *plus; /* what is added to them, laid out like y; NULL: nothing */
    isize row, step;
    int rows, columns;
    int relu;
} NAME(target);

/* A^T times a column, as sums s and differences d of its pairs, points +-a and +-2a:
 *
 *   m0 + s1 + s2,   a (d1 + 2 d2),   (s1 + 4 s2) / 2,   a/2 (d1 + 8 d2) + m5
 *
 * Here: along row i of m. The factors a and 1/2 of columns 1 and 2 are left to the end, where
 * they come with the bias. Columns 0 and 2 need the sums, 1 and 3 the differences. */
#define COLUMN_FACTOR(j) ((j) == 1 ? HALF_ROOT : (j) == 2 ? (REAL)0.5 : 1)

ALWAYS_INLINE void NAME(output_row)(NAME(vec) *h, const REAL *m, NAME(steps) plane, const int i,
                                    const int even, const int odd)
{
    m = (const REAL *)((const char *)m + 2 * i * plane.three);
    HIDE(m);
    const NAME(vec) m1 = NAME(load_at)(m, NAME(times)(plane, 1));
    const NAME(vec) m3 = NAME(load_at)(m, NAME(times)(plane, 3));
    if (even) {
        const NAME(vec) s1 = m1 + NAME(load_at)(m, NAME(times)(plane, 2));
        const NAME(vec) s2 = m3 + NAME(load_at)(m, NAME(times)(plane, 4));
        h[0] = NAME(load_at)(m, 0) + s1 + s2;
        h[2] = s1 + 4 * s2;
    }
    if (odd) {
        const NAME(vec) d1 = m1 - NAME(load_at)(m, NAME(times)(plane, 2));
        const NAME(vec) d2 = m3 - NAME(load_at)(m, NAME(times)(plane, 4));
        h[1] = d1 + 2 * d2;
        h[3] = HALF_ROOT / 2 * (d1 + 8 * d2) + NAME(load_at)(m, NAME(times)(plane, 5));
    }
}

/* The even or the odd columns of A^T m A, or both, for the vector of channels at to->y. */
ALWAYS_INLINE void NAME(output_columns)(const NAME(target) *to, const REAL *m, NAME(steps) plane,
                                        NAME(vec) bias, const int even, const int odd)
{
#define EACH_COLUMN EACH(j, 4) if (j % 2 ? odd : even)
#define EACH_RESULT EACH(i, 4) EACH_COLUMN
    NAME(vec) y[4][4], h[4], g[4], s[4], d[4];
    NAME(output_row)(y[0], m, plane, 0, even, odd);
    NAME(output_row)(h, m, plane, 1, even, odd);
    NAME(output_row)(g, m, plane, 2, even, odd);
    EACH_COLUMN {
        s[j] = h[j] + g[j];
        d[j] = h[j] - g[j];
        y[0][j] += s[j];
    }
    NAME(output_row)(h, m, plane, 3, even, odd);
    NAME(output_row)(g, m, plane, 4, even, odd);
    EACH_COLUMN {
        const NAME(vec) s2 = h[j] + g[j], d2 = h[j] - g[j];
        const REAL factor = COLUMN_FACTOR(j);
        y[0][j] = factor * (y[0][j] + s2) + bias;
        y[1][j] = factor * HALF_ROOT * (d[j] + 2 * d2) + bias;
        y[2][j] = factor / 2 * (s[j] + 4 * s2) + bias;
        y[3][j] = d[j] + 8 * d2;
    }
    NAME(output_row)(h, m, plane, 5, even, odd);
    EACH_COLUMN y[3][j] = COLUMN_FACTOR(j) * (HALF_ROOT / 2 * y[3][j] + h[j]) + bias;
    if (to->plus) {
        EACH_RESULT y[i][j] += NAME(load)(to->plus + i * to->row + j * to->step);
    }
    if (to->relu) {
        EACH_RESULT y[i][j] = NAME(lanes_of)(y[i][j], NAME(relu_sigma));
    }
    EACH_RESULT NAME(store)(to->y + i * to->row + j * to->step, y[i][j]);
#undef EACH_RESULT
#undef EACH_COLUMN
}

/* A^T m A for one vector of channels: all 16 sums at a time where registers can hold them. */
ALWAYS_INLINE void NAME(output_vector)(const NAME(target) *to, const REAL *m, NAME(steps) plane,
                                       NAME(vec) bias)
{
    if (VECTOR_REGISTERS >= 32) {
        NAME(output_columns)(to, m, plane, bias, 1, 1);
    } else {
        NAME(output_columns)(to, m, plane, bias, 1, 0);
        NAME(output_columns)(to, m, plane, bias, 0, 1);
    }
}

/* What there is of a whole tile (4 x 4 vectors), finished, to where it goes. */
ALWAYS_INLINE void NAME(output_copy)(const NAME(target) *to, const REAL *tile, const int whole,
                                     NAME(mask) last)
{
    for (int i = 0; i < to->rows; i++)
        for (int j = 0; j < to->columns; j++) {
            const isize at = i * to->row + j * to->step;
            NAME(vec) y = NAME(load)(tile + (4 * i + j) * LANES);
            if (to->plus) y += NAME(load_lanes)(to->plus + at, whole, last);
            if (to->relu) y = NAME(lanes_of)(y, NAME(relu_sigma));
            NAME(store_lanes)(to->y + at, whole, last, y);
        }
}

/* A^T m A where some rows, columns or channels are missing: by way of a whole tile. Out of line:
 * it would take the registers of the others. */
NEVER_INLINE void NAME(output_part)(const NAME(target) *to, const REAL *m, NAME(steps) plane,
                                    const REAL *bias, isize channels)
{
    REAL tile[16 * LANES] __attribute__((aligned(64)));
    const NAME(mask) last = NAME(mask_first)(channels);
    const NAME(target) whole = {.y = tile, .row = 4 * LANES, .step = LANES};
    NAME(output_vector)(&whole, m, plane, bias ? NAME(load_part)(bias, last) : (NAME(vec)){0});
    if (channels == LANES)
        NAME(output_copy)(to, tile, 1, last);
    else
        NAME(output_copy)(to, tile, 0, last);
}

/* The rows x columns of A^T m A (4,4) that `to` has, [+ bias (O)] [+ plus], m (36 planes, O); `to`
 * moves on to the end of the channels. */
static void NAME(output_transform)(NAME(target) *to, const REAL *m, isize plane_size, isize O,
                                   const REAL *bias)
{
    const NAME(steps) plane = NAME(steps_of)(plane_size);
    for (isize o = 0; o < O; o += LANES) {
        if (to->rows == 4 && to->columns == 4 && o + LANES <= O)
            NAME(output_vector)(to, m, plane, bias ? NAME(load)(bias) : (NAME(vec)){0});
        else
            NAME(output_part)(to, m, plane, bias, MIN(O - o, LANES));
        m += LANES;
        to->y += LANES;
        if (to->plus) to->plus += LANES;
        if (bias) bias += LANES;
    }
}

/* ---- dy (4,4) -> A dy A^T (6,6), the adjoint of the output transform ---- */

ALWAYS_INLINE REAL *NAME(gradient_row)(REAL *z, NAME(steps) plane, const NAME(vec) *y)
{
    NAME(vec) a, b;
    NAME(store_at)(z, 0, y[0]);
    NAME(plus_minus)(&a, &b, y[0] + (REAL)0.5 * y[2], y[1] + (REAL)0.5 * y[3], HALF_ROOT);
    NAME(store_at)(z, NAME(times)(plane, 1), a);
    NAME(store_at)(z, NAME(times)(plane, 2), b);
    NAME(plus_minus)(&a, &b, y[0] + 2 * y[2], y[1] + 2 * y[3], ROOT);
    NAME(store_at)(z, NAME(times)(plane, 3), a);
    NAME(store_at)(z, NAME(times)(plane, 4), b);
    NAME(store_at)(z, NAME(times)(plane, 5), y[3]);
    return NAME(next_planes)(z, plane);
}

/* Rows 1 and 2 (square = 1/2, root = sqrt(1/2)), rows 3 and 4 (2, sqrt(2)). */
ALWAYS_INLINE REAL *NAME(gradient_inner_rows)(REAL *z, NAME(steps) plane, const REAL *const *row,
                                              isize c, NAME(steps) step, NAME(cut) cut,
                                              const REAL square, const REAL root)
{
    const REAL *y0 = row[0] + c, *y1 = row[1] + c, *y2 = row[2] + c, *y3 = row[3] + c;
    NAME(vec) a[4], b[4];
    EACH(j, 4) {
        NAME(vec) e = NAME(pixel)(y0, step, j, cut) + square * NAME(pixel)(y2, step, j, cut);
        NAME(vec) f = NAME(pixel)(y1, step, j, cut) + square * NAME(pixel)(y3, step, j, cut);
        NAME(plus_minus)(&a[j], &b[j], e, f, root);
    }
    z = NAME(gradient_row)(z, plane, a);
    return NAME(gradient_row)(z, plane, b);
}

ALWAYS_INLINE void NAME(gradient_vector)(REAL *z, NAME(steps) plane, const NAME(patch) *p,
                                         isize c, NAME(steps) step, NAME(cut) cut)
{
    NAME(vec) a[4];
    EACH(j, 4) a[j] = NAME(pixel)(p->row[0] + c, step, j, cut);
    z = NAME(gradient_row)(z, plane, a);
    z = NAME(gradient_inner_rows)(z, plane, p->row, c, step, cut, (REAL)0.5, HALF_ROOT);
    z = NAME(gradient_inner_rows)(z, plane, p->row, c, step, cut, 2, ROOT);
    EACH(j, 4) a[j] = NAME(pixel)(p->row[3] + c, step, j, cut);
    NAME(gradient_row)(z, plane, a);
}

/* Channels c..O of a patch with padding, or what is left after the whole vectors of one without.
 * Out of line: the compiler would compute all addresses in advance for both. */
NEVER_INLINE void NAME(gradient_part)(REAL *z, NAME(steps) plane, const NAME(patch) *p, isize o,
                              isize O)
{
    const NAME(steps) step = NAME(steps_of)(p->step);
    for (; o < O; o += LANES) {
        NAME(mask) masks[4];
        NAME(patch_masks)(masks, p, O - o, 4);
        NAME(gradient_vector)(z + o, plane, p, o, step, (NAME(cut)){15, masks});
    }
}

/* z (36 planes, O) = A p A^T for a patch of 4 x 4 pixels. */
static void NAME(gradient_transform)(REAL *z, isize plane_size, const NAME(patch) *p, isize O)
{
    const NAME(steps) plane = NAME(steps_of)(plane_size), step = NAME(steps_of)(p->step);
    isize o = 0;
    if (p->inside == p->all)
        for (; o + LANES <= O; o += LANES)
            NAME(gradient_vector)(z + o, plane, p, o, step, (NAME(cut)){0, NULL});
    if (o < O) NAME(gradient_part)(z, plane, p, o, O);
}
