/* Template: statistics and affine maps of channels. x (P,C): P positions of C channels. */

/* The channels' sums of (a - shift_a) and of (a - shift_a)(b - shift_b) over the positions are
 * added to s (C) and q (C), in double: `CHANNEL_RUN` positions are added up in REAL first, which
 * loses less than a bit. */
#define CHANNEL_RUN 128

ALWAYS_INLINE void NAME(add_to_doubles)(double *sum, NAME(vec) part, isize n)
{
    for (isize i = 0; i < n; i++) sum[i] += (double)part[i];
}

/* s (C) += sum of a;  q (C) += sum of a (x - shift), where a is dy or, without one, x - shift */
ALWAYS_INLINE void NAME(channel_sums)(double *s, double *q, const REAL *dy, const REAL *x,
                                      const REAL *shift, isize P, isize C)
{
    for (isize p = 0; p < P; p += CHANNEL_RUN) {
        const isize end = MIN(P, p + CHANNEL_RUN);
        for (isize c = 0; c < C; c += LANES) {
            const isize n = MIN(LANES, C - c);
            const NAME(mask) m = NAME(mask_first)(n);
            const NAME(vec) zero = NAME(load_part)(shift + c, m);
            NAME(vec) first[4] = {0}, second[4] = {0};
            isize i = p;
#define ADD(u, at)                                                                                 \
    const NAME(vec) d = NAME(load_part)(x + (at) * C + c, m) - zero;                               \
    const NAME(vec) a = dy ? NAME(load_part)(dy + (at) * C + c, m) : d;                            \
    first[u] += a;                                                                                 \
    second[u] += a * d;
            for (; i + 4 <= end; i += 4) {
#pragma GCC unroll 4
                for (int u = 0; u < 4; u++) { ADD(u, i + u) }
            }
            for (; i < end; i++) { ADD(0, i) }
#undef ADD
            NAME(add_to_doubles)(s + c, (first[0] + first[1]) + (first[2] + first[3]), n);
            NAME(add_to_doubles)(q + c, (second[0] + second[1]) + (second[2] + second[3]), n);
        }
    }
}

static void NAME(channel_moments)(double *s, double *q, const REAL *x, const REAL *shift, isize P,
                                  isize C)
{
    NAME(channel_sums)(s, q, NULL, x, shift, P, C);
}

static void NAME(channel_products)(double *s, double *q, const REAL *dy, const REAL *x,
                                   const REAL *mean, isize P, isize C)
{
    NAME(channel_sums)(s, q, dy, x, mean, P, C);
}

/* y = (x - mean) scale + offset, channel by channel; y may be x */
static void NAME(channel_affine)(REAL *y, const REAL *x, const REAL *mean, const REAL *scale,
                                 const REAL *offset, isize P, isize C)
{
    for (isize p = 0; p < P; p++, x += C, y += C)
        ELEMENTWISE_LOOP
        for (isize c = 0; c < C; c++) y[c] = (x[c] - mean[c]) * scale[c] + offset[c];
}

/* dx = dy scale - (x - mean) slope - offset [+ dx], channel by channel; dx may be dy */
static void NAME(channel_affine_backward)(REAL *dx, const REAL *dy, const REAL *x,
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
