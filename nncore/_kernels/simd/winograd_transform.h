/* Template: the transforms of Winograd's F(4x4,3x3): 4 x 4 outputs of a 3 x 3 convolution from
 * 6 x 6 inputs with 36 multiplications for each pair of channels instead of 144 (Lavin & Gray,
 * "Fast Algorithms for Convolutional Neural Networks", 2015).
 *
 *   y (4,4) = A^T ((G w G^T) * (B^T x B)) A     x (6,6), w (3,3), * elementwise
 *
 * The interpolation points are 0, +-sqrt(1/2), +-sqrt(2), infinity. Lavin's 0, +-1, +-2, infinity
 * cost the same and round 3 to 7 times worse.
 *
 * Channels are the lanes. Of the 6 x 6 results of a tile, element k = 6 i + j goes to plane k: an
 * array of `plane` elements. Each transform goes down the columns first and then along the rows,
 * by groups of rows that share terms; what a group reads is read again for the next one, for that
 * is cheaper than to keep 36 vectors (half the time of the input transform). */

#define HALF_ROOT ((REAL)0.70710678118654752440) /* sqrt(1/2) */
#define ROOT ((REAL)1.41421356237309504880)      /* sqrt(2) */
#define EACH(i, n) _Pragma("GCC unroll 6") for (int i = 0; i < (n); i++)

/* A piece of an image of channels: up to 6 x 6 pixels, of which some are padding. */
typedef struct {
    const REAL *row[6]; /* the first pixel of each row; rows of padding point to zeros */
    isize step;         /* from one pixel of a row to the next */
    unsigned inside;    /* bit j: column j lies in the image */
    unsigned all;       /* as `inside` where all columns do */
} NAME(patch);

/* Pixel j of a row; `masks`: one for each column, or NULL if all lanes of all are there. */
ALWAYS_INLINE NAME(vec) NAME(pixel)(const REAL *row, isize step, int j, const NAME(mask) *masks)
{
    return masks ? NAME(load_part)(row + j * step, masks[j]) : NAME(load)(row + j * step);
}

/* masks[j] = the lanes of column j of p from channel c on; returns NULL if all are there. */
ALWAYS_INLINE const NAME(mask) *NAME(patch_masks)(NAME(mask) *masks, const NAME(patch) *p,
                                                  isize lanes, int n)
{
    if (p->inside == p->all && lanes >= LANES) return NULL;
    EACH(j, n) masks[j] = NAME(mask_first)(p->inside >> j & 1 ? MIN(lanes, LANES) : 0);
    return masks;
}

/* ---- x (6,6) -> B^T x B (6,6) ---- */

ALWAYS_INLINE NAME(vec) NAME(input_outer)(NAME(vec) a, NAME(vec) b, NAME(vec) c)
{
    return (a + c) - (REAL)2.5 * b;
}

/* One row of B^T x, already down the columns, along the row. */
ALWAYS_INLINE void NAME(input_row)(REAL *v, isize plane, const NAME(vec) *x)
{
    NAME(vec) t = x[4] - 2 * x[2], u = x[3] - 2 * x[1];
    NAME(store)(v, NAME(input_outer)(x[0], x[2], x[4]));
    NAME(store)(v + plane, t + HALF_ROOT * u);
    NAME(store)(v + 2 * plane, t - HALF_ROOT * u);
    t = x[4] - (REAL)0.5 * x[2];
    u = x[3] - (REAL)0.5 * x[1];
    NAME(store)(v + 3 * plane, t + ROOT * u);
    NAME(store)(v + 4 * plane, t - ROOT * u);
    NAME(store)(v + 5 * plane, NAME(input_outer)(x[1], x[3], x[5]));
}

ALWAYS_INLINE void NAME(input_vector)(REAL *v, isize plane, const NAME(patch) *p, isize c,
                                      const NAME(mask) *masks)
{
    NAME(vec) a[6], b[6];
#define X(i) NAME(pixel)(p->row[i] + c, p->step, j, masks)
    EACH(j, 6) a[j] = NAME(input_outer)(X(0), X(2), X(4));
    NAME(input_row)(v, plane, a);
    EACH(j, 6) {
        NAME(vec) x2 = X(2), x1 = X(1), t = X(4) - 2 * x2, u = X(3) - 2 * x1;
        a[j] = t + HALF_ROOT * u;
        b[j] = t - HALF_ROOT * u;
    }
    NAME(input_row)(v + 6 * plane, plane, a);
    NAME(input_row)(v + 12 * plane, plane, b);
    EACH(j, 6) {
        NAME(vec) x2 = X(2), x1 = X(1), t = X(4) - (REAL)0.5 * x2, u = X(3) - (REAL)0.5 * x1;
        a[j] = t + ROOT * u;
        b[j] = t - ROOT * u;
    }
    NAME(input_row)(v + 18 * plane, plane, a);
    NAME(input_row)(v + 24 * plane, plane, b);
    EACH(j, 6) a[j] = NAME(input_outer)(X(1), X(3), X(5));
    NAME(input_row)(v + 30 * plane, plane, a);
#undef X
}

/* v (36 planes, C) = B^T p B for a patch of 6 x 6 pixels. */
static void NAME(input_transform)(REAL *v, isize plane, const NAME(patch) *p, isize C)
{
    for (isize c = 0; c < C; c += LANES) {
        NAME(mask) masks[6];
        if (NAME(patch_masks)(masks, p, C - c, 6))
            NAME(input_vector)(v + c, plane, p, c, masks);
        else
            NAME(input_vector)(v + c, plane, p, c, NULL);
    }
}

/* ---- m (6,6) -> A^T m A (4,4) ---- */

ALWAYS_INLINE void NAME(output_row)(NAME(vec) *y, const NAME(vec) *m)
{
    NAME(vec) s1 = m[1] + m[2], d1 = m[1] - m[2], s2 = m[3] + m[4], d2 = m[3] - m[4];
    y[0] = m[0] + s1 + s2;
    y[1] = HALF_ROOT * d1 + ROOT * d2;
    y[2] = (REAL)0.5 * s1 + 2 * s2;
    y[3] = HALF_ROOT / 2 * d1 + (2 * ROOT * d2 + m[5]);
}

/* Where the 4 x 4 results of a tile go: the first rows x columns of them to y + i row + j step. */
typedef struct {
    REAL *y;
    isize row, step;
    int rows, columns;
    int add;
} NAME(target);

ALWAYS_INLINE void NAME(output_store)(const NAME(target) *to, isize c, int i, NAME(vec) *y,
                                      NAME(vec) bias, const NAME(mask) *last)
{
    REAL *p = to->y + i * to->row + c;
    if (i >= to->rows) return;
    EACH(j, 4) {
        if (j >= to->columns) break;
        y[j] += bias;
        if (last) {
            if (to->add) y[j] += NAME(load_part)(p, *last);
            NAME(store_part)(p, *last, y[j]);
        } else {
            if (to->add) y[j] += NAME(load)(p);
            NAME(store)(p, y[j]);
        }
        p += to->step;
    }
}

ALWAYS_INLINE void NAME(output_vector)(const NAME(target) *to, const REAL *m, isize plane, isize c,
                                       NAME(vec) bias, const NAME(mask) *last)
{
    NAME(vec) a[6], b[6], y[4];
#define M(i) NAME(load)(m + (6 * (i) + j) * plane)
    EACH(j, 6) {
        NAME(vec) s1 = M(1) + M(2), s2 = M(3) + M(4);
        a[j] = M(0) + s1 + s2;
        b[j] = (REAL)0.5 * s1 + 2 * s2;
    }
    NAME(output_row)(y, a);
    NAME(output_store)(to, c, 0, y, bias, last);
    NAME(output_row)(y, b);
    NAME(output_store)(to, c, 2, y, bias, last);
    EACH(j, 6) {
        NAME(vec) d1 = M(1) - M(2), d2 = M(3) - M(4);
        a[j] = HALF_ROOT * d1 + ROOT * d2;
        b[j] = HALF_ROOT / 2 * d1 + (2 * ROOT * d2 + M(5));
    }
    NAME(output_row)(y, a);
    NAME(output_store)(to, c, 1, y, bias, last);
    NAME(output_row)(y, b);
    NAME(output_store)(to, c, 3, y, bias, last);
#undef M
}

/* The rows x columns of A^T m A (4,4) that `to` has, [+ y] [+ bias (O)], m (36 planes, O). */
static void NAME(output_transform)(const NAME(target) *to, const REAL *m, isize plane, isize O,
                                   const REAL *bias)
{
    isize o = 0;
    for (; o + LANES <= O; o += LANES) {
        const NAME(vec) b = bias ? NAME(load)(bias + o) : (NAME(vec)){0};
        NAME(output_vector)(to, m + o, plane, o, b, NULL);
    }
    if (o == O) return;
    const NAME(mask) last = NAME(mask_first)(O - o);
    const NAME(vec) b = bias ? NAME(load_part)(bias + o, last) : (NAME(vec)){0};
    NAME(output_vector)(to, m + o, plane, o, b, &last);
}

/* ---- dy (4,4) -> A dy A^T (6,6), the adjoint of the output transform ---- */

ALWAYS_INLINE void NAME(gradient_row)(REAL *z, isize plane, const NAME(vec) *y)
{
    NAME(vec) e = y[0] + (REAL)0.5 * y[2], f = y[1] + (REAL)0.5 * y[3];
    NAME(store)(z, y[0]);
    NAME(store)(z + plane, e + HALF_ROOT * f);
    NAME(store)(z + 2 * plane, e - HALF_ROOT * f);
    e = y[0] + 2 * y[2];
    f = y[1] + 2 * y[3];
    NAME(store)(z + 3 * plane, e + ROOT * f);
    NAME(store)(z + 4 * plane, e - ROOT * f);
    NAME(store)(z + 5 * plane, y[3]);
}

ALWAYS_INLINE void NAME(gradient_vector)(REAL *z, isize plane, const NAME(patch) *p, isize c,
                                         const NAME(mask) *masks)
{
    NAME(vec) a[4], b[4];
#define Y(i) NAME(pixel)(p->row[i] + c, p->step, j, masks)
    EACH(j, 4) a[j] = Y(0);
    NAME(gradient_row)(z, plane, a);
    EACH(j, 4) {
        NAME(vec) e = Y(0) + (REAL)0.5 * Y(2), f = Y(1) + (REAL)0.5 * Y(3);
        a[j] = e + HALF_ROOT * f;
        b[j] = e - HALF_ROOT * f;
    }
    NAME(gradient_row)(z + 6 * plane, plane, a);
    NAME(gradient_row)(z + 12 * plane, plane, b);
    EACH(j, 4) {
        NAME(vec) e = Y(0) + 2 * Y(2), f = Y(1) + 2 * Y(3);
        a[j] = e + ROOT * f;
        b[j] = e - ROOT * f;
    }
    NAME(gradient_row)(z + 18 * plane, plane, a);
    NAME(gradient_row)(z + 24 * plane, plane, b);
    EACH(j, 4) a[j] = Y(3);
    NAME(gradient_row)(z + 30 * plane, plane, a);
#undef Y
}

/* z (36 planes, O) = A p A^T for a patch of 4 x 4 pixels. */
static void NAME(gradient_transform)(REAL *z, isize plane, const NAME(patch) *p, isize O)
{
    for (isize o = 0; o < O; o += LANES) {
        NAME(mask) masks[4];
        if (NAME(patch_masks)(masks, p, O - o, 4))
            NAME(gradient_vector)(z + o, plane, p, o, masks);
        else
            NAME(gradient_vector)(z + o, plane, p, o, NULL);
    }
}

/* ---- w (3,3) -> G w G^T (6,6), and the adjoint ---- */

ALWAYS_INLINE void NAME(weight_column)(NAME(vec) *g, NAME(vec) w0, NAME(vec) w1, NAME(vec) w2)
{
    const REAL third2 = (REAL)(-2.0 / 3), sixth = (REAL)(1.0 / 6);
    NAME(vec) e = third2 * (w0 + (REAL)0.5 * w2), f = third2 * HALF_ROOT * w1;
    g[0] = w0;
    g[1] = e + f;
    g[2] = e - f;
    e = sixth * (w0 + 2 * w2);
    f = sixth * ROOT * w1;
    g[3] = e + f;
    g[4] = e - f;
    g[5] = w2;
}

/* u[k plane] = G w G^T of nine vectors. */
ALWAYS_INLINE void NAME(weight_vector)(REAL *u, isize plane, const NAME(vec) *w)
{
    NAME(vec) a[3][6], g[6];
    EACH(j, 3) NAME(weight_column)(a[j], w[j], w[3 + j], w[6 + j]);
    EACH(i, 6) {
        NAME(weight_column)(g, a[0][i], a[1][i], a[2][i]);
        EACH(j, 6) NAME(store)(u + (6 * i + j) * plane, g[j]);
    }
}

ALWAYS_INLINE void NAME(weight_adjoint_column)(NAME(vec) *w, const NAME(vec) *g)
{
    const REAL third2 = (REAL)(-2.0 / 3), sixth = (REAL)(1.0 / 6);
    NAME(vec) s = third2 * (g[1] + g[2]), p = sixth * (g[3] + g[4]);
    w[0] = g[0] + s + p;
    w[1] = third2 * HALF_ROOT * (g[1] - g[2]) + sixth * ROOT * (g[3] - g[4]);
    w[2] = (REAL)0.5 * s + 2 * p + g[5];
}

/* w (9 pixels C apart) = G^T u G [+ w]; u (36 planes, C). */
static void NAME(weight_adjoint)(REAL *w, const REAL *u, isize plane, isize C, int add)
{
    for (isize c = 0; c < C; c += LANES) {
        const NAME(mask) part = NAME(mask_first)(MIN(C - c, LANES));
        NAME(vec) a[3][6], g[6], r[3];
        EACH(j, 6) {
            EACH(i, 6) g[i] = NAME(load)(u + c + (6 * i + j) * plane);
            NAME(weight_adjoint_column)(r, g);
            EACH(i, 3) a[i][j] = r[i];
        }
        EACH(i, 3) {
            NAME(weight_adjoint_column)(r, a[i]);
            EACH(j, 3) {
                REAL *to = w + (3 * i + j) * C + c;
                if (add) r[j] += NAME(load_part)(to, part);
                NAME(store_part)(to, part, r[j]);
            }
        }
    }
}
