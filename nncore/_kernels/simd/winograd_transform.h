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

/* Pixel j of a row; `masks`: one for each column, or NULL if all lanes of all are there. */
ALWAYS_INLINE NAME(vec) NAME(pixel)(const REAL *row, NAME(steps) step, const int j,
                                    const NAME(mask) *masks)
{
    const REAL *p = (const REAL *)((const char *)row + NAME(times)(step, j));
    return masks ? NAME(load_part)(p, masks[j]) : NAME(load)(p);
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

/* One row of B^T x, already down the columns, along the row. */
ALWAYS_INLINE void NAME(input_row)(REAL *v, NAME(steps) plane, const NAME(vec) *x)
{
    NAME(vec) t = x[4] - 2 * x[2], u = x[3] - 2 * x[1];
    NAME(store_at)(v, 0, NAME(input_outer)(x[0], x[2], x[4]));
    NAME(store_at)(v, NAME(times)(plane, 1), t + HALF_ROOT * u);
    NAME(store_at)(v, NAME(times)(plane, 2), t - HALF_ROOT * u);
    t = x[4] - (REAL)0.5 * x[2];
    u = x[3] - (REAL)0.5 * x[1];
    NAME(store_at)(v, NAME(times)(plane, 3), t + ROOT * u);
    NAME(store_at)(v, NAME(times)(plane, 4), t - ROOT * u);
    NAME(store_at)(v, NAME(times)(plane, 5), NAME(input_outer)(x[1], x[3], x[5]));
}

/* Rows 0 and 5 of B^T x, from three of its rows. */
ALWAYS_INLINE REAL *NAME(input_outer_row)(REAL *v, NAME(steps) plane, const REAL *x0,
                                          const REAL *x2, const REAL *x4, NAME(steps) step,
                                          const NAME(mask) *masks)
{
    NAME(vec) a[6];
    EACH(j, 6)
        a[j] = NAME(input_outer)(NAME(pixel)(x0, step, j, masks), NAME(pixel)(x2, step, j, masks),
                                 NAME(pixel)(x4, step, j, masks));
    NAME(input_row)(v, plane, a);
    return NAME(next_planes)(v, plane);
}

/* Rows 1 and 2 (square = 2, root = sqrt(1/2)), rows 3 and 4 (1/2, sqrt(2)). */
ALWAYS_INLINE REAL *NAME(input_inner_rows)(REAL *v, NAME(steps) plane, const REAL *const *row,
                                           isize c, NAME(steps) step, const NAME(mask) *masks,
                                           const REAL square, const REAL root)
{
    const REAL *x1 = row[1] + c, *x2 = row[2] + c, *x3 = row[3] + c, *x4 = row[4] + c;
    NAME(vec) a[6], b[6];
    EACH(j, 6) {
        NAME(vec) t = NAME(pixel)(x4, step, j, masks) - square * NAME(pixel)(x2, step, j, masks);
        NAME(vec) u = NAME(pixel)(x3, step, j, masks) - square * NAME(pixel)(x1, step, j, masks);
        a[j] = t + root * u;
        b[j] = t - root * u;
    }
    NAME(input_row)(v, plane, a);
    v = NAME(next_planes)(v, plane);
    NAME(input_row)(v, plane, b);
    return NAME(next_planes)(v, plane);
}

ALWAYS_INLINE void NAME(input_vector)(REAL *v, NAME(steps) plane, const NAME(patch) *p, isize c,
                                      NAME(steps) step, const NAME(mask) *masks)
{
    const REAL *const *row = p->row;
    v = NAME(input_outer_row)(v, plane, row[0] + c, row[2] + c, row[4] + c, step, masks);
    v = NAME(input_inner_rows)(v, plane, row, c, step, masks, 2, HALF_ROOT);
    v = NAME(input_inner_rows)(v, plane, row, c, step, masks, (REAL)0.5, ROOT);
    NAME(input_outer_row)(v, plane, row[1] + c, row[3] + c, row[5] + c, step, masks);
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
        NAME(input_vector)(v + c, plane, p, c, step, masks);
    }
}

/* v (36 planes, C) = B^T p B for a patch of 6 x 6 pixels. */
static void NAME(input_transform)(REAL *v, isize plane_size, const NAME(patch) *p, isize C)
{
    const NAME(steps) plane = NAME(steps_of)(plane_size), step = NAME(steps_of)(p->step);
    isize c = 0;
    if (p->inside == p->all)
        for (; c + LANES <= C; c += LANES)
            NAME(input_vector)(v + c, plane, p, c, step, NULL);
    if (c < C) NAME(input_part)(v, plane, p, c, C);
}

/* ---- m (6,6) -> A^T m A (4,4) ---- */

/* Where the 4 x 4 results of a tile go: the first rows x columns of them to y + i row + j step. */
typedef struct {
    REAL *y;
    isize row, step;
    int rows, columns;
    int add;
} NAME(target);

/* Along row i of m: (m A)[i]. */
ALWAYS_INLINE void NAME(output_row)(NAME(vec) *h, const REAL *m, NAME(steps) plane, const int i)
{
    m = (const REAL *)((const char *)m + 2 * i * plane.three);
    __asm__("" : "+r"(m));
    const NAME(vec) m1 = NAME(load_at)(m, NAME(times)(plane, 1));
    const NAME(vec) m3 = NAME(load_at)(m, NAME(times)(plane, 3));
    const NAME(vec) s1 = m1 + NAME(load_at)(m, NAME(times)(plane, 2));
    const NAME(vec) d1 = m1 - NAME(load_at)(m, NAME(times)(plane, 2));
    const NAME(vec) s2 = m3 + NAME(load_at)(m, NAME(times)(plane, 4));
    const NAME(vec) d2 = m3 - NAME(load_at)(m, NAME(times)(plane, 4));
    h[0] = NAME(load_at)(m, 0) + s1 + s2;
    h[1] = HALF_ROOT * d1 + ROOT * d2;
    h[2] = (REAL)0.5 * s1 + 2 * s2;
    h[3] = HALF_ROOT / 2 * d1 + (2 * ROOT * d2 + NAME(load_at)(m, NAME(times)(plane, 5)));
}

/* Channels c.. of a tile; `last`: the lanes that there are, or NULL for all. The 16 sums stay in
 * registers while the rows of m go by. */
ALWAYS_INLINE void NAME(output_vector)(const NAME(target) *to, const REAL *m, NAME(steps) plane,
                                       isize c, NAME(vec) bias, const NAME(mask) *last)
{
    NAME(vec) y[4][4], h[4], g[4];
    NAME(output_row)(y[0], m, plane, 0);
    NAME(output_row)(h, m, plane, 1);
    NAME(output_row)(g, m, plane, 2);
    EACH(j, 4) {
        const NAME(vec) s = h[j] + g[j], d = h[j] - g[j];
        y[0][j] += s;
        y[1][j] = HALF_ROOT * d + bias;
        y[2][j] = (REAL)0.5 * s + bias;
        y[3][j] = HALF_ROOT / 2 * d + bias;
    }
    NAME(output_row)(h, m, plane, 3);
    NAME(output_row)(g, m, plane, 4);
    EACH(j, 4) {
        const NAME(vec) s = h[j] + g[j], d = h[j] - g[j];
        y[0][j] += s;
        y[1][j] += ROOT * d;
        y[2][j] += 2 * s;
        y[3][j] += 2 * ROOT * d;
    }
    NAME(output_row)(h, m, plane, 5);
    EACH(j, 4) {
        y[0][j] += bias;
        y[3][j] += h[j];
    }
    EACH(i, 4) {
        REAL *p = to->y + i * to->row + c;
        if (i >= to->rows) break;
        if (last) {
            NAME(vec) cut[4];
            EACH(j, 4) cut[j] = y[i][j];
            for (int j = 0; j < to->columns && to->add; j++)
                cut[j] += NAME(load_part)(p + j * to->step, *last);
            NAME(store_parts)(p, to->step, *last, cut, to->columns);
            continue;
        }
        EACH(j, 4) {
            if (j >= to->columns) break;
            if (to->add) y[i][j] += NAME(load)(p);
            NAME(store)(p, y[i][j]);
            p += to->step;
        }
    }
}

/* The last few channels of a tile, from c on; m and bias are there, too. Out of line: it would take
 * the registers of what comes before. */
NEVER_INLINE void NAME(output_part)(const NAME(target) *to, const REAL *m, NAME(steps) plane,
                                    isize c, const REAL *bias, isize channels)
{
    const NAME(mask) last = NAME(mask_first)(channels);
    const NAME(vec) b = bias ? NAME(load_part)(bias, last) : (NAME(vec)){0};
    NAME(output_vector)(to, m, plane, c, b, &last);
}

/* The rows x columns of A^T m A (4,4) that `to` has, [+ y] [+ bias (O)], m (36 planes, O). */
static void NAME(output_transform)(const NAME(target) *to, const REAL *m, isize plane_size,
                                   isize O, const REAL *bias)
{
    const NAME(steps) plane = NAME(steps_of)(plane_size);
    isize o = 0;
    for (; o + LANES <= O; o += LANES) {
        const NAME(vec) b = bias ? NAME(load)(bias + o) : (NAME(vec)){0};
        NAME(output_vector)(to, m + o, plane, o, b, NULL);
    }
    if (o < O) NAME(output_part)(to, m + o, plane, o, bias ? bias + o : NULL, O - o);
}

/* ---- dy (4,4) -> A dy A^T (6,6), the adjoint of the output transform ---- */

ALWAYS_INLINE REAL *NAME(gradient_row)(REAL *z, NAME(steps) plane, const NAME(vec) *y)
{
    NAME(vec) e = y[0] + (REAL)0.5 * y[2], f = y[1] + (REAL)0.5 * y[3];
    NAME(store_at)(z, 0, y[0]);
    NAME(store_at)(z, NAME(times)(plane, 1), e + HALF_ROOT * f);
    NAME(store_at)(z, NAME(times)(plane, 2), e - HALF_ROOT * f);
    e = y[0] + 2 * y[2];
    f = y[1] + 2 * y[3];
    NAME(store_at)(z, NAME(times)(plane, 3), e + ROOT * f);
    NAME(store_at)(z, NAME(times)(plane, 4), e - ROOT * f);
    NAME(store_at)(z, NAME(times)(plane, 5), y[3]);
    return NAME(next_planes)(z, plane);
}

/* Rows 1 and 2 (square = 1/2, root = sqrt(1/2)), rows 3 and 4 (2, sqrt(2)). */
ALWAYS_INLINE REAL *NAME(gradient_inner_rows)(REAL *z, NAME(steps) plane, const REAL *const *row,
                                              isize c, NAME(steps) step, const NAME(mask) *masks,
                                              const REAL square, const REAL root)
{
    const REAL *y0 = row[0] + c, *y1 = row[1] + c, *y2 = row[2] + c, *y3 = row[3] + c;
    NAME(vec) a[4], b[4];
    EACH(j, 4) {
        NAME(vec) e = NAME(pixel)(y0, step, j, masks) + square * NAME(pixel)(y2, step, j, masks);
        NAME(vec) f = NAME(pixel)(y1, step, j, masks) + square * NAME(pixel)(y3, step, j, masks);
        a[j] = e + root * f;
        b[j] = e - root * f;
    }
    z = NAME(gradient_row)(z, plane, a);
    return NAME(gradient_row)(z, plane, b);
}

ALWAYS_INLINE void NAME(gradient_vector)(REAL *z, NAME(steps) plane, const NAME(patch) *p,
                                         isize c, NAME(steps) step, const NAME(mask) *masks)
{
    NAME(vec) a[4];
    EACH(j, 4) a[j] = NAME(pixel)(p->row[0] + c, step, j, masks);
    z = NAME(gradient_row)(z, plane, a);
    z = NAME(gradient_inner_rows)(z, plane, p->row, c, step, masks, (REAL)0.5, HALF_ROOT);
    z = NAME(gradient_inner_rows)(z, plane, p->row, c, step, masks, 2, ROOT);
    EACH(j, 4) a[j] = NAME(pixel)(p->row[3] + c, step, j, masks);
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
        NAME(gradient_vector)(z + o, plane, p, o, step, masks);
    }
}

/* z (36 planes, O) = A p A^T for a patch of 4 x 4 pixels. */
static void NAME(gradient_transform)(REAL *z, isize plane_size, const NAME(patch) *p, isize O)
{
    const NAME(steps) plane = NAME(steps_of)(plane_size), step = NAME(steps_of)(p->step);
    isize o = 0;
    if (p->inside == p->all)
        for (; o + LANES <= O; o += LANES)
            NAME(gradient_vector)(z + o, plane, p, o, step, NULL);
    if (o < O) NAME(gradient_part)(z, plane, p, o, O);
}
