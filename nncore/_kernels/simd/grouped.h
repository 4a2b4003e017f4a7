/* Template: convolutions in groups of few channels, as many out as in (K). A vector has the
 * channels of several whole groups. Each of a group's inputs is spread over the lanes of its
 * outputs by a permutation, and multiplied by a vector of weights: all lanes work, where the tiles
 * of convolution.h would fill only K of them. */

#define EACH_PIXEL _Pragma("GCC unroll 16") for (int r = 0; r < R; r++)
#define GROUPED_PIXELS (VECTOR_REGISTERS == 32 ? 8 : 4)

static int NAME(grouped_can)(const conv_pass *p)
{
    const isize K = p->C / p->groups;
    return p->groups > 1 && K > 1 && 2 * K <= LANES && p->C == p->O && LANES >= 8;
}

/* Channels that one vector takes. */
ALWAYS_INLINE isize NAME(grouped_channels)(const conv_pass *p)
{
    const isize K = p->C / p->groups;
    return LANES / K * K;
}

static void NAME(grouped_sizes)(const conv_pass *p, isize *packed, isize *scratch)
{
    const isize vectors = pieces(p->C, NAME(grouped_channels)(p));
    *packed = vectors * p->KH * p->KW * (p->C / p->groups) * LANES;
    *scratch = NAME(conv_source)(p);
}

/* packed (vectors, KH, KW, K, LANES) */
static void NAME(grouped_pack)(REAL *packed, const conv_pass *p, const REAL *weight)
{
    const isize K = p->C / p->groups, channels = NAME(grouped_channels)(p);
    for (isize e = 0; e < p->C; e += channels)
        for (isize i = 0; i < p->KH; i++)
            for (isize j = 0; j < p->KW; j++)
                for (isize c = 0; c < K; c++)
                    for (isize lane = 0; lane < LANES; lane++) {
                        const isize o = e + lane;
                        const int none = lane >= channels || o >= p->O;
                        *packed++ = none ? 0 : weight[p->w_first + o / K * p->w_group +
                                                      o % K * p->w_o + i * p->w_i + j * p->w_j +
                                                      c * p->w_c];
                    }
}

typedef struct {
    REAL *y;
    const REAL *x, *packed, *bias;
    isize y_column, pixel, ais, ajs, KH, KW, K;
    int add;
    NAME(mask) last;
    NAME(lanes) spread[LANES / 2 + 1]; /* where each lane's c-th input is */
} NAME(grouped_line);

/* y (R pixels, one vector) = bias + the sum over the taps and the group's inputs [+ y] */
ALWAYS_INLINE void NAME(grouped_tile)(const NAME(grouped_line) *t, const int R)
{
    NAME(vec) sum[GROUPED_PIXELS], x[GROUPED_PIXELS];
    const NAME(mask) last = t->last;
    const NAME(vec) first = t->bias ? NAME(load_part)(t->bias, last) : (NAME(vec)){0};
    const REAL *packed = t->packed;
    EACH_PIXEL sum[r] = first;
    for (isize i = 0; i < t->KH; i++) {
        const REAL *at = t->x + i * t->ais;
        for (isize j = 0; j < t->KW; j++, at += t->ajs) {
            EACH_PIXEL x[r] = NAME(load_part)(at + r * t->pixel, last);
            for (isize c = 0; c < t->K; c++, packed += LANES) {
                const NAME(vec) w = NAME(load)(packed);
                const NAME(lanes) spread = t->spread[c];
                EACH_PIXEL sum[r] += NAME(permute)(x[r], spread) * w;
            }
        }
    }
    const isize column = t->y_column;
    if (t->add) EACH_PIXEL sum[r] += NAME(load_part)(t->y + r * column, last);
    NAME(vec) y[GROUPED_PIXELS]; /* a copy, or the sums would be memory, too */
    EACH_PIXEL y[r] = sum[r];
    NAME(store_parts)(t->y, column, last, y, R);
}

NEVER_INLINE void NAME(grouped_some)(const NAME(grouped_line) *t, isize pixels)
{
#define CASE(R)                                                                                    \
    case R:                                                                                        \
        if (R <= GROUPED_PIXELS) NAME(grouped_tile)(t, R);                                         \
        break;
    switch (pixels) { CASE(1) CASE(2) CASE(3) CASE(4) CASE(5) CASE(6) CASE(7) CASE(8) }
#undef CASE
}

static void NAME(grouped_run)(const conv_pass *p, REAL *y, const REAL *x, const REAL *packed,
                              const REAL *bias, isize begin, isize end, int add, const finish *f,
                              REAL *scratch)
{
    const isize channels = NAME(grouped_channels)(p), K = p->C / p->groups;
    NAME(grouped_line) t = {.y_column = p->y_column, .KH = p->KH, .KW = p->KW, .K = K, .add = add};
    for (isize c = 0; c < K; c++)
        for (int lane = 0; lane < LANES; lane++)
            t.spread[c][lane] = lane < channels ? lane / K * K + c : 0;
    for (isize index = begin; index < end; index++) {
        const NAME(unit) u = NAME(conv_unit)(p, x, index, scratch);
        REAL *to = y + u.image * p->y_image + p->y_first + u.h * p->y_row + u.w * p->y_column;
        t.pixel = u.pixel, t.ais = u.ais, t.ajs = u.ajs;
        t.packed = packed;
        for (isize e = 0; e < p->C; e += channels) {
            t.bias = bias ? bias + e : NULL;
            t.last = NAME(mask_first)(MIN(channels, p->C - e));
            for (isize r = 0; r < u.rows; r++) {
                isize left = pieces(u.columns, GROUPED_PIXELS), n;
                for (isize w = 0; w < u.columns; left--, w += n) {
                    n = pieces(u.columns - w, left);
                    t.x = u.x + r * u.row + w * u.pixel + e;
                    t.y = to + r * p->y_row + w * p->y_column + e;
                    NAME(grouped_some)(&t, n);
                }
            }
            t.packed += p->KH * p->KW * K * LANES;
        }
        if (f) NAME(finish_unit)(f, y, to - y, p, u.rows, u.columns);
    }
}

#undef EACH_PIXEL
#undef GROUPED_PIXELS
