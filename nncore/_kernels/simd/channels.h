/* Template: statistics and affine maps of channels. x (P,C): P positions of C channels. */

/* The channels' sums of (a - shift_a) and of (a - shift_a)(b - shift_b) over the positions are
 * added to s (C) and q (C), in double: `CHANNEL_RUN` positions are added up in REAL first, which
 * loses less than a bit. */
#define CHANNEL_RUN 128

/* The vectors of a cache line: positions may be a multiple of 4 KB apart, and the second half of a
 * line gone from L1 when it is read in a second pass. */
#define LINE_VECTORS (64 / VECTOR_BYTES)

ALWAYS_INLINE void NAME(add_to_doubles)(double *sum, NAME(vec) part, isize n)
{
    for (isize i = 0; i < n; i++) sum[i] += (double)part[i];
}

/* s += sum of a;  q += sum of a (x - shift), where a is dy or, without one, x - shift: of V vectors
 * of channels, or one of n, over P positions that are ld elements apart. */
ALWAYS_INLINE void NAME(channel_vectors)(double *s, double *q, const REAL *dy, const REAL *x,
                                         const REAL *shift, isize P, isize ld, const int V,
                                         const int whole, isize n)
{
    const NAME(mask) m = NAME(mask_first)(whole ? 0 : n);
    const int U = 4 / V; /* positions at a time: so many sums have to be under way */
    NAME(vec) zero[4], first[4] = {0}, second[4] = {0};
    isize p = 0;
    for (int v = 0; v < V; v++) zero[v] = NAME(load_lanes)(shift + v * LANES, whole, m);
#define ADD(at, sum, v)                                                                            \
    do {                                                                                           \
        const isize i = (at) * ld + (v) * LANES;                                                   \
        const NAME(vec) d = NAME(load_lanes)(x + i, whole, m) - zero[v];                           \
        const NAME(vec) a = dy ? NAME(load_lanes)(dy + i, whole, m) : d;                           \
        first[sum] += a;                                                                           \
        second[sum] += a * d;                                                                      \
    } while (0)
    for (; p + U <= P; p += U) {
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) ADD(p + k / V, k, k % V);
    }
    for (; p < P; p++) {
#pragma GCC unroll 4
        for (int v = 0; v < V; v++) ADD(p, v, v);
    }
#undef ADD
#pragma GCC unroll 4
    for (int v = 0; v < V; v++) {
        for (int k = v + V; k < 4; k += V) {
            first[v] += first[k];
            second[v] += second[k];
        }
        NAME(add_to_doubles)(s + v * LANES, first[v], whole ? LANES : n);
        NAME(add_to_doubles)(q + v * LANES, second[v], whole ? LANES : n);
    }
}

ALWAYS_INLINE void NAME(sums_of_rows)(double *s, double *q, const REAL *dy, const REAL *x,
                                      const REAL *shift, isize P, isize C, isize ld)
{
    for (isize p = 0; p < P; p += CHANNEL_RUN) {
        const isize n = MIN(P - p, CHANNEL_RUN), at = p * ld;
        isize c = 0;
        for (; c + LINE_VECTORS * LANES <= C; c += LINE_VECTORS * LANES)
            NAME(channel_vectors)(s + c, q + c, dy ? dy + at + c : NULL, x + at + c, shift + c, n,
                                  ld, LINE_VECTORS, 1, 0);
        for (; LINE_VECTORS > 1 && c + LANES <= C; c += LANES)
            NAME(channel_vectors)(s + c, q + c, dy ? dy + at + c : NULL, x + at + c, shift + c, n,
                                  ld, 1, 1, 0);
        if (c < C)
            NAME(channel_vectors)(s + c, q + c, dy ? dy + at + c : NULL, x + at + c, shift + c, n,
                                  ld, 1, 0, C - c);
    }
}

/* Few channels that do not fill vectors: R positions side by side are one of R C channels, which
 * do (3 channels: 4 times as fast, 27: 1.3 times). */
#define FEW_CHANNELS (4 * LANES) /* fewer than these */
#define MOST_ABREAST (FEW_CHANNELS * LANES)

static isize NAME(abreast)(isize C)
{
    isize R = C < FEW_CHANNELS ? LANES : 1;
    while (R > 1 && R / 2 * C % LANES == 0) R /= 2;
    return R;
}

/* a (C) for R positions. */
static void NAME(repeat_channels)(REAL *repeated, const REAL *a, isize R, isize C)
{
    for (isize r = 0; r < R; r++)
        for (isize c = 0; c < C; c++) repeated[r * C + c] = a[c];
}

NEVER_INLINE void NAME(moments_of_rows)(double *s, double *q, const REAL *x, const REAL *shift,
                                        isize P, isize C, isize ld)
{
    NAME(sums_of_rows)(s, q, NULL, x, shift, P, C, ld);
}

NEVER_INLINE void NAME(products_of_rows)(double *s, double *q, const REAL *dy, const REAL *x,
                                         const REAL *mean, isize P, isize C, isize ld)
{
    NAME(sums_of_rows)(s, q, dy, x, mean, P, C, ld);
}

static void NAME(channel_products)(double *s, double *q, const REAL *dy, const REAL *x,
                                   const REAL *mean, isize P, isize C, isize ld)
{
    const isize R = ld == C ? NAME(abreast)(C) : 1, n = P / R * R;
    if (R > 1 && n > 0) {
        double sums[2][MOST_ABREAST];
        REAL means[MOST_ABREAST];
        NAME(repeat_channels)(means, mean, R, C);
        for (isize i = 0; i < R * C; i++) sums[0][i] = sums[1][i] = 0;
        if (dy)
            NAME(products_of_rows)(sums[0], sums[1], dy, x, means, n / R, R * C, R * C);
        else
            NAME(moments_of_rows)(sums[0], sums[1], x, means, n / R, R * C, R * C);
        for (isize r = 0; r < R; r++) {
            for (isize c = 0; c < C; c++) {
                s[c] += sums[0][r * C + c];
                q[c] += sums[1][r * C + c];
            }
        }
        x += n * C;
        dy = dy ? dy + n * C : NULL;
        P -= n;
    }
    if (dy)
        NAME(products_of_rows)(s, q, dy, x, mean, P, C, ld);
    else
        NAME(moments_of_rows)(s, q, x, mean, P, C, ld);
}

static void NAME(channel_moments)(double *s, double *q, const REAL *x, const REAL *shift, isize P,
                                  isize C, isize ld)
{
    NAME(channel_products)(s, q, NULL, x, shift, P, C, ld);
}

/* y = (x - mean) scale + offset, channel by channel; y may be x */
static void NAME(affine_of_rows)(REAL *y, const REAL *x, const REAL *mean, const REAL *scale,
                                 const REAL *offset, isize P, isize C)
{
    for (isize p = 0; p < P; p++, x += C, y += C)
        ELEMENTWISE_LOOP
        for (isize c = 0; c < C; c++) y[c] = (x[c] - mean[c]) * scale[c] + offset[c];
}

static void NAME(channel_affine)(REAL *y, const REAL *x, const REAL *mean, const REAL *scale,
                                 const REAL *offset, isize P, isize C)
{
    const isize R = NAME(abreast)(C), n = P / R * R;
    if (R > 1 && n > 0) {
        REAL repeated[3][MOST_ABREAST];
        NAME(repeat_channels)(repeated[0], mean, R, C);
        NAME(repeat_channels)(repeated[1], scale, R, C);
        NAME(repeat_channels)(repeated[2], offset, R, C);
        NAME(affine_of_rows)(y, x, repeated[0], repeated[1], repeated[2], n / R, R * C);
        y += n * C;
        x += n * C;
        P -= n;
    }
    NAME(affine_of_rows)(y, x, mean, scale, offset, P, C);
}

/* dx = dy scale - (x - mean) slope - offset [+ dx], channel by channel; dx may be dy */
static void NAME(affine_backward_of_rows)(REAL *dx, const REAL *dy, const REAL *x,
                                          const REAL *mean, const REAL *scale, const REAL *slope,
                                          const REAL *offset, isize P, isize C, int add)
{
    for (isize p = 0; p < P; p++, x += C, dy += C, dx += C) {
        if (add) {
            ELEMENTWISE_LOOP
            for (isize c = 0; c < C; c++)
                dx[c] += dy[c] * scale[c] - (x[c] - mean[c]) * slope[c] - offset[c];
        } else {
            ELEMENTWISE_LOOP
            for (isize c = 0; c < C; c++)
                dx[c] = dy[c] * scale[c] - (x[c] - mean[c]) * slope[c] - offset[c];
        }
    }
}

static void NAME(channel_affine_backward)(REAL *dx, const REAL *dy, const REAL *x,
                                          const REAL *mean, const REAL *scale, const REAL *slope,
                                          const REAL *offset, isize P, isize C, int add)
{
    const isize R = NAME(abreast)(C), n = P / R * R;
    if (R > 1 && n > 0) {
        REAL repeated[4][MOST_ABREAST];
        NAME(repeat_channels)(repeated[0], mean, R, C);
        NAME(repeat_channels)(repeated[1], scale, R, C);
        NAME(repeat_channels)(repeated[2], slope, R, C);
        NAME(repeat_channels)(repeated[3], offset, R, C);
        NAME(affine_backward_of_rows)(dx, dy, x, repeated[0], repeated[1], repeated[2],
                                      repeated[3], n / R, R * C, add);
        dx += n * C;
        dy += n * C;
        x += n * C;
        P -= n;
    }
    NAME(affine_backward_of_rows)(dx, dy, x, mean, scale, slope, offset, P, C, add);
}
