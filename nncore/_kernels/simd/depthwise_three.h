/* Template: depthwise convolutions of 3 x 3, one filter to a channel, vector after vector of
 * channels: x is read where it is, and a pixel is loaded once for all windows of a tile that see
 * it. Pixels outside of x are left out. EACH_PIXEL and depthwise_store serve depthwise.h, too. */

#define EACH_PIXEL _Pragma("GCC unroll 16") for (int r = 0; r < R; r++)
#define EACH_OF_THREE(i) _Pragma("GCC unroll 3") for (int i = 0; i < 3; i++)
#define DEPTHWISE_PIXELS 8
/* Pixels of a row at a time: three rows of their sums and most of nine taps are registers. */
#define SWEEP 3
/* Rows of y, if there are so many, for one or two more rows of x than they need. */
#define SWEEP_ROWS 8
#define SWEEP_BYTES (384 * 1024) /* of x, for these */

/* y (R pixels, one vector or its first `last` lanes) = sum [+ y] */
ALWAYS_INLINE void NAME(depthwise_store)(REAL *y, isize y_column, const NAME(vec) *sum, int add,
                                         NAME(mask) last, const int R, const int part)
{
    NAME(vec) v[DEPTHWISE_PIXELS];
    EACH_PIXEL v[r] = add ? sum[r] + NAME(load_lanes)(y + r * y_column, !part, last) : sum[r];
    if (part)
        NAME(store_parts)(y, y_column, last, v, R);
    else
        EACH_PIXEL NAME(store)(y + r * y_column, v[r]);
}

/* One vector of channels of some rows of y; tap (9, LANES), bias (LANES). */
typedef struct {
    REAL *y;
    const REAL *image, *tap, *bias;
    isize C, W, H, y_row, y_column;
    isize h, rows, column, columns; /* row and column of x, where the first window begins */
    int add;
    NAME(mask) last;
} NAME(depthwise_three);

/* A row of x (NULL: outside; its column q is inside where bit q of `inside` is set) belongs to the
 * windows of up to three rows of y (NULL: there is no such row): as their third row, their
 * second, their first, with which they begin. */
ALWAYS_INLINE void NAME(three_step)(NAME(vec) *third, NAME(vec) *second, NAME(vec) *first,
                                    const NAME(depthwise_three) *t, const NAME(vec) (*tap)[3],
                                    const REAL *x, int inside, const int S, const int R,
                                    const int part)
{
    if (first) EACH_PIXEL first[r] = NAME(load)(t->bias);
    if (!x) return;
    HIDE(inside); /* or each bit takes a register */
#pragma GCC unroll 8
    for (int q = 0; q < (R - 1) * S + 3; q++) {
        if (__builtin_expect(!(inside & 1 << q), 0)) continue;
        const NAME(vec) v = NAME(load_lanes)(x + q * t->C, !part, t->last);
        EACH_PIXEL {
            const int j = q - r * S;
            if (j < 0 || j >= 3) continue;
            if (third) third[r] = NAME(add_product)(third[r], v, t->tap + (6 + j) * LANES);
            if (second) second[r] += v * tap[1][j];
            if (first) first[r] += v * tap[0][j];
        }
    }
}

/* y (rows, R pixels), S apart in x, whose rows go by once; k counts those of y. Before the first
 * one, k < 0, `third` belongs to rows that are not there. */
ALWAYS_INLINE void NAME(three_sweep)(const NAME(depthwise_three) *from, isize w, const int S,
                                     const int R, const int part)
{
    const NAME(depthwise_three) t = *from; /* a copy, which no store to y can change */
    const isize column = t.column + w * S;
    const REAL *x = t.image + t.h * t.W * t.C + column * t.C;
    REAL *y = t.y + w * t.y_column;
    NAME(vec) tap[2][3], s[3][SWEEP];
    int inside = 0;
    EACH_OF_THREE(j) tap[0][j] = NAME(load)(t.tap + j * LANES);
    EACH_OF_THREE(j) tap[1][j] = NAME(load)(t.tap + (3 + j) * LANES);
#pragma GCC unroll 8
    for (int q = 0; q < (R - 1) * S + 3; q++)
        inside |= (size_t)(column + q) < (size_t)t.W ? 1 << q : 0;
    EACH_OF_THREE(i) EACH_PIXEL s[i][r] = (NAME(vec)){0};
    isize k = S == 1 ? -2 : -1, h = t.h;
#define STEP(third, second, first)                                                                 \
    NAME(three_step)(third, second, first, &t, tap, (size_t)h < (size_t)t.H ? x : NULL, inside, S, \
                     R, part);                                                                     \
    x += t.W * t.C;                                                                                \
    h++;
#define LAST_STEP(third, second, first)                                                            \
    STEP(third, second, first)                                                                     \
    if (k >= 0) {                                                                                  \
        NAME(depthwise_store)(y, t.y_column, third, t.add, t.last, R, part);                       \
        y += t.y_row;                                                                              \
    }                                                                                              \
    if (++k == t.rows) break;
    for (;;) {
        if (S == 1) {
            LAST_STEP(s[0], s[1], s[2])
            LAST_STEP(s[1], s[2], s[0])
            LAST_STEP(s[2], s[0], s[1])
        } else {
            LAST_STEP(s[0], NULL, s[1])
            STEP(NULL, s[1], NULL)
            LAST_STEP(s[1], NULL, s[0])
            STEP(NULL, s[0], NULL)
        }
    }
#undef STEP
#undef LAST_STEP
}

ALWAYS_INLINE void NAME(three_columns)(const NAME(depthwise_three) *t, isize lanes, const int S)
{
    isize left = pieces(t->columns, SWEEP), n;
    for (isize w = 0; w < t->columns; left--, w += n) {
        n = pieces(t->columns - w, left);
#define CASE(R)                                                                                    \
    case R:                                                                                        \
        if (lanes < LANES)                                                                         \
            NAME(three_sweep)(t, w, S, R, 1);                                                      \
        else                                                                                       \
            NAME(three_sweep)(t, w, S, R, 0);                                                      \
        break;
        switch (n) { CASE(1) CASE(2) CASE(3) }
#undef CASE
    }
}

NEVER_INLINE void NAME(three_columns_1)(const NAME(depthwise_three) *t, isize lanes)
{
    NAME(three_columns)(t, lanes, 1);
}

NEVER_INLINE void NAME(three_columns_2)(const NAME(depthwise_three) *t, isize lanes)
{
    NAME(three_columns)(t, lanes, 2);
}

/* A pixel is not narrower than a vector: depthwise_beside is 1. */
static int NAME(depthwise_is_three)(const conv_pass *p)
{
    return p->KH == 3 && p->KW == 3 && p->stride_h == p->stride_w && p->stride_w <= 2 &&
           p->dilation_h == 1 && p->dilation_w == 1 && p->C == p->O && p->C >= LANES;
}

static isize NAME(three_packed)(const conv_pass *p)
{
    return (p->C + LANES - 1) / LANES * 9 * LANES;
}

/* packed (vectors, 9, LANES) */
static void NAME(three_pack)(REAL *packed, const conv_pass *p, const REAL *weight)
{
    weight += p->w_first;
    for (isize e = 0; e < p->C; e += LANES)
        for (isize i = 0; i < 3; i++)
            for (isize j = 0; j < 3; j++)
                for (isize c = e; c < e + LANES; c++)
                    *packed++ = c < p->C ? weight[c * p->w_group + i * p->w_i + j * p->w_j] : 0;
}

/* Whether the next unit lies below this one, which takes it in: x is not copied, but stays in L2
 * for all vectors of channels (56 x 56 x 144, 4 rows a unit: 340 -> 280 us). */
static int NAME(three_grows)(const conv_pass *p, NAME(unit) *u)
{
    const isize below = p->OH - u->h - u->rows, rows = u->rows + MIN(p->block_h, below);
    const isize bytes = NAME(conv_rows)(p, rows) * p->W * p->C * (isize)sizeof(REAL);
    if (u->rows >= SWEEP_ROWS || below == 0 || p->block_w < p->OW || bytes > SWEEP_BYTES) return 0;
    u->rows = rows;
    return 1;
}

/* A unit of y, which begins at `to`. */
static void NAME(three_unit)(const conv_pass *p, const NAME(unit) *u, REAL *to, const REAL *image,
                             const REAL *packed, const REAL *bias, int add)
{
    REAL offset[LANES] = {0};
    NAME(depthwise_three) t = {.bias = offset, .C = p->C, .W = p->W, .H = p->H, .y_row = p->y_row,
                               .y_column = p->y_column, .rows = u->rows, .columns = u->columns,
                               .h = u->h * p->stride_h - p->top, .add = add,
                               .column = u->w * p->stride_w - p->left};
    image += u->image * p->H * p->W * p->C;
    for (isize e = 0; e < p->C; e += LANES) {
        const isize lanes = p->C - e;
        for (isize c = 0; bias && c < MIN(LANES, lanes); c++) offset[c] = bias[e + c];
        t.y = to + e;
        t.image = image + e;
        t.tap = packed + 9 * e;
        t.last = NAME(mask_first)(MIN(LANES, lanes));
        if (p->stride_w == 1)
            NAME(three_columns_1)(&t, lanes);
        else
            NAME(three_columns_2)(&t, lanes);
    }
}

#undef SWEEP
#undef SWEEP_ROWS
#undef SWEEP_BYTES
#undef EACH_OF_THREE
