/* Template: convolutions whose groups have one channel of x (depthwise) or, for the gradient of x,
 * one of y: nothing is summed over channels, so vectors run along them.
 *
 * E = G m channels, m the multiplier: as many as the wider of x and y has. A narrower x is copied
 * with each channel m times; a narrower y is summed up from m channels. */

#define EACH_PIXEL _Pragma("GCC unroll 16") for (int r = 0; r < R; r++)
#define DEPTHWISE_PIXELS 8
#define DEPTHWISE_TAPS 9

ALWAYS_INLINE isize NAME(depthwise_channels)(const conv_pass *p)
{
    return MAX(p->C, p->O);
}

static void NAME(depthwise_sizes)(const conv_pass *p, isize *packed, isize *scratch)
{
    const isize E = NAME(depthwise_channels)(p), line = 64 / sizeof(REAL);
    const isize area = NAME(conv_rows)(p, p->block_h) * NAME(conv_columns)(p, p->block_w);
    *packed = p->KH * p->KW * E;
    *scratch = NAME(conv_source)(p) + (E > p->C ? area * E : p->block_w * E) + 2 * line;
}

/* packed (KH, KW, E) */
static void NAME(depthwise_pack)(REAL *packed, const conv_pass *p, const REAL *weight)
{
    const isize C = p->C / p->groups, O = p->O / p->groups;
    weight += p->w_first;
    for (isize i = 0; i < p->KH; i++)
        for (isize j = 0; j < p->KW; j++)
            for (isize g = 0; g < p->groups; g++)
                for (isize o = 0; o < O; o++)
                    for (isize c = 0; c < C; c++)
                        *packed++ = weight[g * p->w_group + o * p->w_o + c * p->w_c +
                                           i * p->w_i + j * p->w_j];
}

/* A unit of work whose x has E channels. */
static NAME(unit) NAME(depthwise_unit)(const conv_pass *p, const REAL *x, isize index,
                                       REAL *scratch)
{
    NAME(unit) u = NAME(conv_unit)(p, x, index, scratch);
    const isize m = NAME(depthwise_channels)(p) / p->C, width = NAME(conv_columns)(p, u.columns);
    if (m == 1) return u;
    REAL *const wide = scratch + NAME(conv_source)(p), *to = wide;
    const isize row = p->source == CONV_IN_PLACE ? p->W * p->C : width * p->C;
    for (isize r = 0; r < NAME(conv_rows)(p, u.rows); r++)
        for (isize i = 0; i < width * p->C; i++)
            for (isize k = 0; k < m; k++) *to++ = u.x[r * row + i];
    u.x = wide;
    u.pixel *= m;
    u.ajs *= m;
    u.row = p->stride_h * width * p->C * m;
    u.ais = p->dilation_h * width * p->C * m;
    return u;
}

/* y (R pixels, one vector or its first `last` lanes) = bias + the sum over the taps. */
ALWAYS_INLINE void NAME(depthwise_tile)(REAL *y, isize y_column, const NAME(unit) *u,
                                        const REAL *x, const conv_pass *p, const REAL *packed,
                                        isize E, const REAL *bias, int add, NAME(mask) last,
                                        const int R, const int part)
{
    NAME(vec) sum[DEPTHWISE_PIXELS];
    const NAME(vec) first = bias ? NAME(load_column)(bias, part, last) : (NAME(vec)){0};
    EACH_PIXEL sum[r] = first;
    for (isize i = 0; i < p->KH; i++) {
        const REAL *at = x + i * u->ais;
        for (isize j = 0; j < p->KW; j++, at += u->ajs, packed += E) {
            const NAME(vec) w = NAME(load_column)(packed, part, last);
            EACH_PIXEL sum[r] += NAME(load_column)(at + r * u->pixel, part, last) * w;
        }
    }
    EACH_PIXEL {
        REAL *to = y + r * y_column;
        if (add) sum[r] += NAME(load_column)(to, part, last);
        if (part)
            NAME(store_part)(to, last, sum[r]);
        else
            NAME(store)(to, sum[r]);
    }
}

/* A row of y, all channels, some pixels at a time. */
static void NAME(depthwise_row)(REAL *y, isize y_column, const NAME(unit) *u, const REAL *x,
                                const conv_pass *p, const REAL *packed, isize E,
                                const REAL *bias, int add)
{
    isize left = pieces(u->columns, DEPTHWISE_PIXELS);
    for (isize w = 0; w < u->columns; left--) {
        const isize pixels = pieces(u->columns - w, left);
        for (isize e = 0; e < E; e += LANES) {
            const int part = E - e < LANES;
            const NAME(mask) last = NAME(mask_first)(part ? E - e : 0);
#define TILE(R, part)                                                                              \
    NAME(depthwise_tile)(y + e, y_column, u, x + e, p, packed + e, E, bias ? bias + e : NULL, add, \
                         last, R, part)
#define CASE(R)                                                                                    \
    case R:                                                                                        \
        if (part)                                                                                  \
            TILE(R, 1);                                                                            \
        else                                                                                       \
            TILE(R, 0);                                                                            \
        break;
            switch (pixels) {
                CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)
            }
#undef CASE
#undef TILE
        }
        w += pixels;
        x += pixels * u->pixel;
        y += pixels * y_column;
    }
}

/* y (columns, O) = the sums over m of wide (columns, O, m) [+ bias] [+ y] */
static void NAME(depthwise_sum)(REAL *y, const conv_pass *p, const REAL *wide, isize columns,
                                const REAL *bias, int add)
{
    const isize m = p->C / p->O;
    for (isize w = 0; w < columns; w++, y += p->y_column)
        for (isize o = 0; o < p->O; o++) {
            REAL sum = bias ? bias[o] : 0;
            for (isize k = 0; k < m; k++) sum += *wide++;
            y[o] = add ? y[o] + sum : sum;
        }
}

static void NAME(depthwise_run)(const conv_pass *p, REAL *y, const REAL *x, const REAL *packed,
                                const REAL *bias, isize begin, isize end, int add,
                                const finish *f, REAL *scratch)
{
    const isize E = NAME(depthwise_channels)(p);
    REAL *const wide = scratch + NAME(conv_source)(p);
    for (isize index = begin; index < end; index++) {
        const NAME(unit) u = NAME(depthwise_unit)(p, x, index, scratch);
        REAL *to = y + u.image * p->y_image + p->y_first + u.h * p->y_row + u.w * p->y_column;
        for (isize r = 0; r < u.rows; r++, to += p->y_row) {
            const REAL *from = u.x + r * u.row;
            if (p->O == E) {
                NAME(depthwise_row)(to, p->y_column, &u, from, p, packed, E, bias, add);
            } else {
                NAME(depthwise_row)(wide, E, &u, from, p, packed, E, NULL, 0);
                NAME(depthwise_sum)(to, p, wide, u.columns, bias, add);
            }
            if (f) NAME(finish_piece)(f, y, to - y, u.columns * p->O);
        }
    }
}

/* ---- the gradient of the weights: sums (KH KW, E) ---- */

/* For R taps, `offset` from x, and one vector of channels. */
ALWAYS_INLINE void NAME(depthwise_taps)(REAL *sums, const conv_pass *p, const NAME(unit) *u,
                                        const REAL *x, const isize *offset, const REAL *dy,
                                        isize E, int add, NAME(mask) last, const int R,
                                        const int part)
{
    NAME(vec) sum[DEPTHWISE_TAPS];
    EACH_PIXEL sum[r] = (NAME(vec)){0};
    for (isize h = 0; h < u->rows; h++) {
        const REAL *from = x + h * u->row, *d = dy + h * p->y_row;
        for (isize w = 0; w < u->columns; w++, from += u->pixel, d += p->y_column) {
            const NAME(vec) v = NAME(load_column)(d, part, last);
            EACH_PIXEL sum[r] += v * NAME(load_column)(from + offset[r], part, last);
        }
    }
    EACH_PIXEL {
        REAL *to = sums + r * E;
        if (add) sum[r] += NAME(load_column)(to, part, last);
        if (part)
            NAME(store_part)(to, last, sum[r]);
        else
            NAME(store)(to, sum[r]);
    }
}

NEVER_INLINE void NAME(depthwise_some_taps)(REAL *sums, const conv_pass *p, const NAME(unit) *u,
                                            const REAL *x, const isize *offset, isize taps,
                                            const REAL *dy, isize E, int add, isize lanes)
{
    const NAME(mask) last = NAME(mask_first)(lanes < LANES ? lanes : 0);
#define CASE(R)                                                                                    \
    case R:                                                                                        \
        if (lanes < LANES)                                                                         \
            NAME(depthwise_taps)(sums, p, u, x, offset, dy, E, add, last, R, 1);                   \
        else                                                                                       \
            NAME(depthwise_taps)(sums, p, u, x, offset, dy, E, add, last, R, 0);                   \
        break;
    switch (taps) {
        CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) CASE(9)
    }
#undef CASE
}

static void NAME(depthwise_weight)(const conv_pass *p, REAL *sums, const REAL *dy, const REAL *x,
                                   isize begin, isize end, REAL *scratch)
{
    const isize E = NAME(depthwise_channels)(p), T = p->KH * p->KW;
    if (begin >= end) memset(sums, 0, (size_t)(T * E) * sizeof(REAL));
    for (isize index = begin; index < end; index++) {
        const NAME(unit) u = NAME(depthwise_unit)(p, x, index, scratch);
        const REAL *from = dy + u.image * p->y_image + p->y_first + u.h * p->y_row +
                           u.w * p->y_column;
        isize left = pieces(T, DEPTHWISE_TAPS);
        for (isize t = 0; t < T; left--) {
            isize offset[DEPTHWISE_TAPS];
            const isize taps = pieces(T - t, left);
            for (isize s = 0; s < taps; s++)
                offset[s] = (t + s) / p->KW * u.ais + (t + s) % p->KW * u.ajs;
            for (isize e = 0; e < E; e += LANES)
                NAME(depthwise_some_taps)(sums + t * E + e, p, &u, u.x + e, offset, taps, from + e,
                                          E, index > begin, MIN(LANES, E - e));
            t += taps;
        }
    }
}

#undef EACH_PIXEL
#undef DEPTHWISE_PIXELS
#undef DEPTHWISE_TAPS
