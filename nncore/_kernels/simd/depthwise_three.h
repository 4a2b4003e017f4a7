/* Template: depthwise convolutions of 3 x 3, one filter to a channel: x is read where it is, and a
 * pixel is loaded once for all windows of a tile that see it. EACH_PIXEL and depthwise_store serve
 * depthwise.h, too. */

#define EACH_PIXEL _Pragma("GCC unroll 16") for (int r = 0; r < R; r++)
/* Pixels at a time of 3 x 3: with stride 1, where nine taps want registers too, and with 2. */
#define SWEEP (VECTOR_REGISTERS == 32 ? 3 : 2)
#define APART 6

/* y (R pixels, one vector or its first `last` lanes) = sum [+ y] */
ALWAYS_INLINE void NAME(depthwise_store)(REAL *y, isize y_column, const NAME(vec) *sum, int add,
                                         NAME(mask) last, const int R, const int part)
{
    EACH_PIXEL {
        REAL *to = y + r * y_column;
        const NAME(vec) v = add ? sum[r] + NAME(load_column)(to, part, last) : sum[r];
        if (part)
            NAME(store_part)(to, last, v);
        else
            NAME(store)(to, v);
    }
}

/* One vector of channels of some rows of y. */
typedef struct {
    const conv_pass *p;
    REAL *y;
    const REAL *image, *packed, *bias, *zeros;
    isize h, rows, column, columns; /* column: of x, where the first window begins */
    int add;
    NAME(mask) last;
} NAME(depthwise_three);

/* R pixels of y from y on, 2 apart in x; column: of x, where the first window begins; x[i] NULL: a
 * row of zeros */
ALWAYS_INLINE void NAME(three_tile)(const NAME(depthwise_three) *t, REAL *y, isize column,
                                    const REAL *const *x, const int R, const int part)
{
    enum { S = 2 };
    NAME(vec) sum[APART];
    const NAME(mask) last = t->last;
    const isize W = t->p->W, C = t->p->C;
    const NAME(vec) bias = t->bias ? NAME(load_column)(t->bias, part, last) : (NAME(vec)){0};
    EACH_PIXEL sum[r] = bias;
    for (int i = 0; i < 3; i++) {
        if (!x[i]) continue;
        NAME(vec) tap[3];
#pragma GCC unroll 3
        for (int j = 0; j < 3; j++)
            tap[j] = NAME(load_column)(t->packed + (3 * i + j) * C, part, last);
        const REAL *at = x[i] + column * C;
#pragma GCC unroll 20
        for (int q = 0; q < (R - 1) * S + 3; q++, at += C) {
            const REAL *from = (size_t)(column + q) < (size_t)W ? at : t->zeros;
            const NAME(vec) v = NAME(load_column)(from, part, last);
            EACH_PIXEL if (q - r * S >= 0 && q - r * S < 3) sum[r] += v * tap[q - r * S];
        }
    }
    NAME(depthwise_store)(y, t->p->y_column, sum, t->add, last, R, part);
}

NEVER_INLINE void NAME(three_rows_2)(const NAME(depthwise_three) *t, isize lanes)
{
    const conv_pass *p = t->p;
    for (isize r = 0; r < t->rows; r++) {
        const REAL *x[3];
        for (int i = 0; i < 3; i++)
            x[i] = NAME(image_row)(p, t->image, (t->h + r) * p->stride_h - p->top +
                                                    i * p->dilation_h);
        REAL *y = t->y + r * p->y_row;
        isize left = pieces(t->columns, APART), n;
        for (isize w = 0; w < t->columns; left--, w += n, y += n * p->y_column) {
            n = pieces(t->columns - w, left);
#define CASE(R)                                                                                    \
    case R:                                                                                        \
        if (lanes < LANES)                                                                         \
            NAME(three_tile)(t, y, t->column + 2 * w, x, R, 1);                                    \
        else                                                                                       \
            NAME(three_tile)(t, y, t->column + 2 * w, x, R, 0);                                    \
        break;
            switch (n) { CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) }
#undef CASE
        }
    }
}

/* y (rows, R pixels) with stride 1. The rows of x go by once: each is the last of three for one
 * row of y, whose sums are in s[0], the middle for the next, the first for the one after it. */
ALWAYS_INLINE void NAME(three_sweep)(const NAME(depthwise_three) *t, REAL *y, isize column,
                                     const int R, const int part)
{
    const conv_pass *p = t->p;
    const NAME(mask) last = t->last;
    const isize row = p->W * p->C;
    NAME(vec) tap[9], s[3][SWEEP], v[SWEEP + 2];
    const NAME(vec) bias = t->bias ? NAME(load_column)(t->bias, part, last) : (NAME(vec)){0};
    const REAL *at[SWEEP + 2];
    isize step[SWEEP + 2];
    isize h = t->h - p->top;
#pragma GCC unroll 9
    for (int i = 0; i < 9; i++) tap[i] = NAME(load_column)(t->packed + i * p->C, part, last);
    EACH_PIXEL s[1][r] = s[2][r] = bias;
#pragma GCC unroll 8
    for (int q = 0; q < R + 2; q++) { /* columns outside of x are zeros, again and again */
        const int inside = (size_t)(column + q) < (size_t)p->W;
        step[q] = inside ? row : 0;
        at[q] = inside ? t->image + MAX(h, 0) * row + (column + q) * p->C : t->zeros;
    }
    for (isize k = -2; k < t->rows; k++, h++) {
        EACH_PIXEL s[0][r] = s[1][r];
        EACH_PIXEL s[1][r] = s[2][r];
        EACH_PIXEL s[2][r] = bias;
        if (h >= 0 && h < p->H) {
#pragma GCC unroll 8
            for (int q = 0; q < R + 2; q++) {
                v[q] = NAME(load_column)(at[q], part, last);
                at[q] += step[q];
            }
#pragma GCC unroll 3
            for (int i = 0; i < 3; i++)
#pragma GCC unroll 3
                for (int j = 0; j < 3; j++)
                    EACH_PIXEL s[i][r] += v[r + j] * tap[6 - 3 * i + j];
        }
        if (k >= 0)
            NAME(depthwise_store)(y + k * p->y_row, p->y_column, s[0], t->add, last, R, part);
    }
}

NEVER_INLINE void NAME(three_rows_1)(const NAME(depthwise_three) *t, isize lanes)
{
    isize left = pieces(t->columns, SWEEP), n;
    REAL *y = t->y;
    for (isize w = 0; w < t->columns; left--, w += n, y += n * t->p->y_column) {
        n = pieces(t->columns - w, left);
#define CASE(R)                                                                                    \
    case R:                                                                                        \
        if (R <= SWEEP && lanes < LANES)                                                           \
            NAME(three_sweep)(t, y, t->column + w, R, 1);                                          \
        else if (R <= SWEEP)                                                                       \
            NAME(three_sweep)(t, y, t->column + w, R, 0);                                          \
        break;
        switch (n) { CASE(1) CASE(2) CASE(3) }
#undef CASE
    }
}

/* A vector is never wider than a pixel here: depthwise_beside is 1. */
static int NAME(depthwise_is_three)(const conv_pass *p)
{
    const int dense = p->stride_w == 1 && p->stride_h == 1 && p->dilation_h == 1;
    return p->KH == 3 && p->KW == 3 && (dense || p->stride_w == 2) && p->dilation_w == 1 &&
           p->C == p->O && p->C >= LANES;
}

/* A unit of y, which begins at `to`. */
static void NAME(three_unit)(const conv_pass *p, const NAME(unit) *u, REAL *to, const REAL *x,
                             const REAL *packed, const REAL *bias, int add, const REAL *zeros)
{
    NAME(depthwise_three) t = {.p = p, .zeros = zeros, .h = u->h, .rows = u->rows, .add = add,
                               .column = u->w * p->stride_w - p->left, .columns = u->columns};
    x += u->image * p->H * p->W * p->C;
    for (isize e = 0; e < p->C; e += LANES) {
        t.y = to + e;
        t.image = x + e;
        t.packed = packed + e;
        t.bias = bias ? bias + e : NULL;
        t.last = NAME(mask_first)(MIN(LANES, p->C - e));
        if (p->stride_w == 1)
            NAME(three_rows_1)(&t, p->C - e);
        else
            NAME(three_rows_2)(&t, p->C - e);
    }
}

#undef SWEEP
#undef APART
