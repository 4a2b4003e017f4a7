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
 * transforms to planes, of this file, go down the columns first and then along the rows, by groups
 * of rows that share terms; what a group reads is read again for the next one, for that is cheaper
 * than to keep 36 vectors. */

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
    HIDE(v);
    return v;
}

/* A piece of an image of channels: up to 6 x 6 pixels, of which some are padding. */
typedef struct {
    const REAL *row[6]; /* the first pixel of each row; rows of padding point to zeros */
    isize step;         /* from one pixel of a row to the next */
    unsigned inside;    /* bit j: column j lies in the image */
    unsigned all;       /* as `inside` where all columns do */
} NAME(patch);

/* Columns of a patch of which some lanes may be missing: none where bit j is not set. */
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

/* t + factor u and t - factor u: as two products that add, but with AVX2, which is mostly AMD's, as
 * a product and two sums, which have ports of their own there (Zen 4, a vector of the input: 98
 * cycles instead of 112). */
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

/* Channels c..C of any patch. Out of line: the compiler would compute all addresses in advance for
 * this and what follows. */
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
