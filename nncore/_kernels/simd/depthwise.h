/* Template: convolutions whose groups have one channel of x (depthwise) or, for the gradient of x,
 * one of y: nothing is summed over channels, so vectors run along them.
 *
 * E = G m channels, m the multiplier: as many as the wider of x and y has. A narrower x is copied
 * with each channel m times; a narrower y is summed up from m channels. */

#define DEPTHWISE_TAPS 9

ALWAYS_INLINE isize NAME(depthwise_channels)(const conv_pass *p)
{
    return MAX(p->C, p->O);
}

/* Pixels of y that share a vector. */
ALWAYS_INLINE isize NAME(depthwise_beside)(const conv_pass *p)
{
    const isize E = NAME(depthwise_channels)(p);
    const int dense = p->stride_w == 1 && p->C == E && p->O == E && p->y_column == E;
    return dense && E < LANES && LANES % E == 0 ? LANES / E : 1;
}

static void NAME(depthwise_sizes)(const conv_pass *p, isize *packed, isize *scratch)
{
    const isize E = NAME(depthwise_channels)(p), line = 64 / sizeof(REAL);
    const isize area = NAME(conv_rows)(p, p->block_h) * NAME(conv_columns)(p, p->block_w);
    *packed = NAME(depthwise_is_three)(p) ? NAME(three_packed)(p)
                                          : p->KH * p->KW * E * NAME(depthwise_beside)(p);
    *scratch = NAME(conv_source)(p) + (E > p->C ? area * E : p->block_w * E) + 2 * line;
}

/* packed (KH, KW, E), each tap's E as often as there are pixels beside each other */
static void NAME(depthwise_pack)(REAL *packed, const conv_pass *p, const REAL *weight)
{
    const isize C = p->C / p->groups, O = p->O / p->groups;
    const isize E = NAME(depthwise_channels)(p), beside = NAME(depthwise_beside)(p);
    if (NAME(depthwise_is_three)(p)) {
        NAME(three_pack)(packed, p, weight);
        return;
    }
    weight += p->w_first;
    for (isize i = 0; i < p->KH; i++)
        for (isize j = 0; j < p->KW; j++) {
            for (isize g = 0; g < p->groups; g++)
                for (isize o = 0; o < O; o++)
                    for (isize c = 0; c < C; c++)
                        *packed++ = weight[g * p->w_group + o * p->w_o + c * p->w_c +
                                           i * p->w_i + j * p->w_j];
            for (isize n = E; n < beside * E; n++, packed++) *packed = packed[-E];
        }
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

/* Pixels of y in a row: where they are, and where their taps find x and the weights. */
typedef struct {
    REAL *y;
    const REAL *x, *packed, *bias;
    isize y_column, pixel, ais, ajs, KH, KW, apart; /* apart: from one tap's weights to the next */
    int add;
    NAME(mask) last;
} NAME(depthwise_line);

/* y (R pixels, one vector or its first `last` lanes) = bias + the sum over the taps. */
ALWAYS_INLINE void NAME(depthwise_tile)(const NAME(depthwise_line) *t, const int R, const int part)
{
    NAME(vec) sum[DEPTHWISE_PIXELS];
    const NAME(mask) last = t->last;
    const NAME(vec) first = t->bias ? NAME(load_lanes)(t->bias, !part, last) : (NAME(vec)){0};
    const REAL *packed = t->packed;
    EACH_PIXEL sum[r] = first;
    for (isize i = 0; i < t->KH; i++) {
        const REAL *at = t->x + i * t->ais;
        for (isize j = 0; j < t->KW; j++, at += t->ajs, packed += t->apart) {
            const NAME(vec) w = NAME(load_lanes)(packed, !part, last);
            EACH_PIXEL sum[r] += NAME(load_lanes)(at + r * t->pixel, !part, last) * w;
        }
    }
    NAME(depthwise_store)(t->y, t->y_column, sum, t->add, last, R, part);
}

#define EACH_COUNT(CASE) CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8)

/* A row of y, all channels, some pixels at a time; E is how many numbers make a pixel. */
static void NAME(depthwise_row)(NAME(depthwise_line) t, isize columns, isize E)
{
    const REAL *const x = t.x, *const packed = t.packed, *const bias = t.bias;
    REAL *const y = t.y;
    isize left = pieces(columns, DEPTHWISE_PIXELS);
    for (isize w = 0; w < columns; left--) {
        const isize pixels = pieces(columns - w, left);
        for (isize e = 0; e < E; e += LANES) {
            t.x = x + w * t.pixel + e;
            t.y = y + w * t.y_column + e;
            t.packed = packed + e;
            t.bias = bias ? bias + e : NULL;
            t.last = NAME(mask_first)(MIN(LANES, E - e));
#define CASE(R)                                                                                    \
    case R:                                                                                        \
        if (E - e < LANES)                                                                         \
            NAME(depthwise_tile)(&t, R, 1);                                                        \
        else                                                                                       \
            NAME(depthwise_tile)(&t, R, 0);                                                        \
        break;
            switch (pixels) { EACH_COUNT(CASE) }
#undef CASE
        }
        w += pixels;
    }
}

/* A row of y in which several pixels of few channels make one vector: their windows are `beside`
 * pixels wide, where the stride is 1 and x has nothing between its pixels. */
static void NAME(depthwise_dense_row)(NAME(depthwise_line) t, isize columns, isize E, isize beside)
{
    REAL bias[LANES];
    const isize groups = beside > 1 ? columns / beside : 0;
    if (groups) {
        NAME(depthwise_line) wide = t;
        if (t.bias) {
            for (isize i = 0; i < LANES; i++) bias[i] = t.bias[i % E];
            wide.bias = bias;
        }
        wide.pixel = wide.y_column = beside * E;
        NAME(depthwise_row)(wide, groups, LANES);
    }
    t.x += groups * beside * t.pixel;
    t.y += groups * beside * t.y_column;
    NAME(depthwise_row)(t, columns - groups * beside, E);
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
    const isize E = NAME(depthwise_channels)(p), beside = NAME(depthwise_beside)(p);
    const int three = NAME(depthwise_is_three)(p);
    REAL *const wide = scratch + NAME(conv_source)(p);
    NAME(depthwise_line) t = {.packed = packed, .KH = p->KH, .KW = p->KW, .apart = beside * E};
    for (isize index = begin; index < end; index++) {
        NAME(unit) u = three ? NAME(unit_place)(p, index)
                             : NAME(depthwise_unit)(p, x, index, scratch);
        REAL *to = y + u.image * p->y_image + p->y_first + u.h * p->y_row + u.w * p->y_column;
        if (three) {
            while (index + 1 < end && NAME(three_grows)(p, &u)) index++;
            NAME(three_unit)(p, &u, to, x, packed, bias, add);
        }
        t.pixel = u.pixel, t.ais = u.ais, t.ajs = u.ajs;
        for (isize r = 0; r < u.rows && !three; r++) {
            t.x = u.x + r * u.row;
            if (p->O == E) {
                t.y = to + r * p->y_row, t.y_column = p->y_column, t.bias = bias, t.add = add;
                NAME(depthwise_dense_row)(t, u.columns, E, beside);
            } else {
                t.y = wide, t.y_column = E;
                NAME(depthwise_row)(t, u.columns, E);
                NAME(depthwise_sum)(to + r * p->y_row, p, wide, u.columns, bias, add);
            }
        }
        if (f) NAME(finish_unit)(f, y, to - y, p, u.rows, u.columns);
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
            const NAME(vec) v = NAME(load_lanes)(d, !part, last);
            EACH_PIXEL sum[r] += v * NAME(load_lanes)(from + offset[r], !part, last);
        }
    }
    EACH_PIXEL {
        REAL *to = sums + r * E;
        if (add) sum[r] += NAME(load_lanes)(to, !part, last);
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
#undef EACH_COUNT
