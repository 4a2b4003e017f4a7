/* Template: the weights of a 3 x 3 convolution and their gradient, as Winograd's F(4x4,3x3) has
 * them: u (36; C, O) = G w G^T, and w = G^T u G back. See winograd_transform.h. */

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

/* w (9 pixels `step` apart, C) = G^T u G [+ w]; u (36 planes, C). */
static void NAME(weight_adjoint)(REAL *w, isize step, const REAL *u, isize plane, isize C, int add)
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
                REAL *to = w + (3 * i + j) * step + c;
                if (add) r[j] += NAME(load_part)(to, part);
                NAME(store_part)(to, part, r[j]);
            }
        }
    }
}

/* u (36; depth, width) = the transformed weights of `depth` channels from `first` on and `width`
 * output channels from o on. Lanes are output channels; those beyond O hold anything. */
static void NAME(transform_weights)(NAME(planes) u, const conv_pass *p, const REAL *w,
                                    isize first, isize depth, isize o, isize width)
{
    enum { line = 64 / sizeof(REAL), CHUNK = 16, AHEAD = 16 };
    const isize C = p->C, O = p->O;
    const int turned = p->w_i < 0;
    REAL taps[9 * CHUNK * LANES] __attribute__((aligned(64)));
    NAME(vec) g[9];
    for (isize j = 0; j < width && o + j < O; j += LANES) {
        const isize n = MIN(LANES, O - o - j);
        const NAME(mask) part = NAME(mask_first)(n);
        if (turned) { /* w (C,3,3,O) */
            const REAL *from = w + first * 9 * O + o + j;
            for (isize c = 0; c < depth; c++, from += 9 * O) {
                /* pixels of w lie far apart: unasked for, they come late (512 channels: the whole
                 * pass 3076 us instead of 1821) */
#pragma GCC unroll 9
                for (int r = 0; r < 9; r++) {
                    g[r] = NAME(load_part)(from + (8 - r) * O, part);
                    __builtin_prefetch(from + (8 - r + 9 * AHEAD) * O);
                }
                NAME(weight_vector)(u.p + c * u.stride + j, u.plane, g);
            }
            continue;
        }
        isize offset[LANES];
        for (int i = 0; i < LANES; i++) offset[i] = MIN(i, n - 1) * 9 * C;
        for (isize c = 0; c < depth; c += CHUNK) {
            const isize channels = MIN(CHUNK, depth - c);
            const REAL *const next = w + (o + j) * 9 * C + first + c + CHUNK;
            for (int r = 0; r < 9; r++)
                NAME(transpose_columns)(taps + r * CHUNK * LANES, LANES,
                                        w + ((o + j) * 9 + r) * C + first + c, offset,
                                        channels);
            for (isize i = 0; i < channels; i++) {
#pragma GCC unroll 9
                for (int r = 0; r < 9; r++) {
                    g[r] = NAME(load)(taps + (r * CHUNK + i) * LANES);
                    __builtin_prefetch(next + (i % LANES * 9 + r) * C + i / LANES * line);
                }
                NAME(weight_vector)(u.p + (c + i) * u.stride + j, u.plane, g);
            }
        }
    }
}
