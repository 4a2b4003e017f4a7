/* Pooling: the maximum, sum or mean of windows over an image, channels last (template).
 *
 * x (H,W,C) -> y (P,Q,C), one image: y[p,q] is taken over the kh x kw cells of x from row
 * p sh - top and column q sw - left on; what lies outside of x is left out. Cell (i,j) of a window
 * has the number i kw + j. Vectors run over the channels.
 *
 * Backward, each window gives to its cells. Gathering dx[h,w] from the windows that see it would
 * write each number once, but takes up to twice as long (windows 2x2 and 3x3, 16 to 64 channels).
 */
#include "simd.h"

typedef NAME(integer) NAME(ivec) __attribute__((vector_size(VECTOR_BYTES)));

/* ---- windows ---- */

/* Where cell (0,0) is in x, which may be outside, and which cells are in the image: rows i0..i1,
 * columns j0..j1. */
typedef struct {
    isize origin, i0, i1, j0, j1;
} NAME(window);

ALWAYS_INLINE NAME(window) NAME(window_at)(const pool_windows *s, isize p, isize q)
{
    const isize h = p * s->sh - s->top, w = q * s->sw - s->left;
    return (NAME(window)){(h * s->W + w) * s->C, MAX(0, -h), MIN(s->kh, s->H - h), MAX(0, -w),
                          MIN(s->kw, s->W - w)};
}

/* 1 / the number of cells for a mean, or 1 */
ALWAYS_INLINE REAL NAME(share_of_cell)(NAME(window) in, int mean)
{
    return mean ? 1 / (REAL)((in.i1 - in.i0) * (in.j1 - in.j0)) : 1;
}

/* ---- the maximum, and the number of the cell that has it ---- */

/* NaN counts as larger than numbers, as in PyTorch. */
ALWAYS_INLINE NAME(ivec) NAME(is_larger)(NAME(vec) v, NAME(vec) most)
{
    return (v > most) | (v != v);
}

ALWAYS_INLINE NAME(vec) NAME(chosen)(NAME(ivec) yes, NAME(vec) v, NAME(vec) other)
{
    return (NAME(vec))((yes & (NAME(ivec))v) | (~yes & (NAME(ivec))other));
}

/* y of V vectors of channels of one window, R rows of cells at a time: four maxima hide the latency
 * of each. x is at the window's origin. relu: y = relu(the maximum), the maximum of relu(x). A zero
 * may have the sign of another zero of the window than the first. */
ALWAYS_INLINE void NAME(max_alone)(REAL *y, const REAL *x, isize row, isize C, NAME(window) in,
                                   int relu, int whole, NAME(mask) m, const int V, const int R)
{
#define EACH(n) _Pragma("GCC unroll 4") for (int e = 0; e < n; e++)
#define LARGER(e, given)                                                                           \
    do {                                                                                           \
        const NAME(vec) v = given;                                                                 \
        most[e] = NAME(chosen)(NAME(is_larger)(v, most[e]), v, most[e]);                           \
    } while (0)
    NAME(vec) most[4];
    EACH(R * V) most[e] = NAME(load_lanes)(x + in.i0 * row + in.j0 * C + e % V * LANES, whole, m);
    for (isize i = in.i0; i < in.i1;) {
        const int all = R == 1 || i + R <= in.i1;
        for (isize j = in.j0; j < in.j1; j++) {
            const REAL *at = x + i * row + j * C;
            if (all) {
                EACH(R * V)
                LARGER(e, NAME(load_lanes)(at + e / V * row + e % V * LANES, whole, m));
            } else {
                EACH(V) LARGER(e, NAME(load_lanes)(at + e * LANES, whole, m));
            }
        }
        i += all ? R : 1;
    }
    EACH(R * V) if (e >= V) LARGER(e % V, most[e]);
    EACH(V) {
        if (relu)
            most[e] = (NAME(vec))((NAME(ivec))most[e] & ~(most[e] < 0));
        NAME(store_lanes)(y + e * LANES, whole, m, most[e]);
    }
#undef LARGER
#undef EACH
}

/* The same of one vector, and the cell that has it, unless cell is NULL: of equal numbers the
 * first one. With relu, where y is 0 no cell has a gradient, so its number is -1. */
ALWAYS_INLINE void NAME(max_of_window)(REAL *y, REAL *cell, const REAL *x, isize row, isize C,
                                       isize kw, NAME(window) in, int relu, int whole,
                                       NAME(mask) m)
{
    NAME(vec) most = NAME(load_lanes)(x + in.i0 * row + in.j0 * C, whole, m);
    NAME(ivec) at = (NAME(ivec)){0} + (NAME(integer))(in.i0 * kw + in.j0);
    for (isize i = in.i0; i < in.i1; i++) {
        for (isize j = in.j0; j < in.j1; j++) {
            const NAME(vec) v = NAME(load_lanes)(x + i * row + j * C, whole, m);
            const NAME(ivec) larger = NAME(is_larger)(v, most);
            most = NAME(chosen)(larger, v, most);
            if (cell)
                at = (larger & (NAME(integer))(i * kw + j)) | (~larger & at);
        }
    }
    if (relu) {
        at |= most <= 0;
        most = (NAME(vec))((NAME(ivec))most & ~(most < 0));
    }
    NAME(store_lanes)(y, whole, m, most);
    if (cell)
        NAME(store_lanes)(cell, whole, m, (NAME(vec))at);
}

/* Whether all 2 x 2 cells are in the image: then `in` and kw are constants for the compiler, which
 * knows the loops (Zen 3, 16 channels: 14 -> 10 ns a window). */
ALWAYS_INLINE int NAME(four_cells)(const pool_windows *s, NAME(window) *in)
{
    const int four = s->kh == 2 && s->kw == 2 && in->i0 == 0 && in->j0 == 0 && in->i1 == 2 &&
                     in->j1 == 2;
    if (four)
        *in = (NAME(window)){in->origin, 0, 2, 0, 2};
    return four;
}

/* y of all channels of a window of many rows. */
static void NAME(max_of_channels)(REAL *y, const REAL *x, isize row, isize C, NAME(window) in,
                                  int relu, NAME(mask) m)
{
    const isize last = C - C % LANES;
    isize c = 0;
    for (; c + 4 * LANES <= last; c += 4 * LANES)
        NAME(max_alone)(y + c, x + c, row, C, in, relu, 1, m, 4, 1);
    for (; c + 2 * LANES <= last; c += 2 * LANES)
        NAME(max_alone)(y + c, x + c, row, C, in, relu, 1, m, 2, 2);
    if (c < last)
        NAME(max_alone)(y + c, x + c, row, C, in, relu, 1, m, 1, 4);
    if (last < C)
        NAME(max_alone)(y + last, x + last, row, C, in, relu, 0, m, 1, 4);
}

ALWAYS_INLINE void NAME(max_of_windows)(REAL *y, REAL *cell, const REAL *x,
                                        const pool_windows *s, int relu)
{
    const isize C = s->C, last = C - C % LANES, row = s->W * C;
    const NAME(mask) m = NAME(mask_first)(C - last);
    for (isize p = 0; p < s->P; p++) {
        for (isize q = 0; q < s->Q; q++, y += C, cell += cell ? C : 0) {
            NAME(window) in = NAME(window_at)(s, p, q);
            const REAL *from = x + in.origin;
#define EACH_VECTOR_OF_CHANNELS(kw)                                                                \
    for (isize c = 0; c < last; c += LANES)                                                        \
        NAME(max_of_window)(y + c, cell ? cell + c : NULL, from + c, row, C, kw, in, relu, 1, m);  \
    if (last < C)                                                                                  \
        NAME(max_of_window)(y + last, cell ? cell + last : NULL, from + last, row, C, kw, in,      \
                            relu, 0, m);
            if (NAME(four_cells)(s, &in)) {
                EACH_VECTOR_OF_CHANNELS(2)
            } else if (!cell && in.i1 - in.i0 >= 4) {
                NAME(max_of_channels)(y, from, row, C, in, relu, m);
            } else {
                EACH_VECTOR_OF_CHANNELS(s->kw)
            }
#undef EACH_VECTOR_OF_CHANNELS
        }
    }
}

static void NAME(max_pool)(REAL *y, REAL *cell, const REAL *x, const pool_windows *s, int relu)
{
    if (cell)
        NAME(max_of_windows)(y, cell, x, s, relu);
    else
        NAME(max_of_windows)(y, NULL, x, s, relu);
}

/* One vector of channels; dx is at the window's origin. first: nothing is there yet. */
ALWAYS_INLINE void NAME(give_to_cells)(REAL *dx, const REAL *dy, const REAL *cell,
                                       const pool_windows *s, NAME(window) in, int first,
                                       int whole, NAME(mask) m)
{
    const NAME(ivec) d = (NAME(ivec))NAME(load_lanes)(dy, whole, m);
    const NAME(ivec) at = (NAME(ivec))NAME(load_lanes)(cell, whole, m);
    for (isize i = in.i0; i < in.i1; i++) {
        for (isize j = in.j0; j < in.j1; j++) {
            REAL *to = dx + (i * s->W + j) * s->C;
            const NAME(ivec) mine = d & (at == (NAME(integer))(i * s->kw + j));
            const NAME(vec) before = first ? (NAME(vec)){0} : NAME(load_lanes)(to, whole, m);
            NAME(store_lanes)(to, whole, m, before + (NAME(vec))mine);
        }
    }
}

/* The same channel by channel: for a few, (64,28,28,1) in 0.02 ms instead of 0.19. */
ALWAYS_INLINE void NAME(give_to_cell)(REAL *dx, const REAL *dy, const REAL *cell,
                                      const pool_windows *s)
{
    for (isize c = 0; c < s->C; c++) {
        NAME(integer) at;
        memcpy(&at, cell + c, sizeof at);
        if (at < 0)
            continue;
        const int i = (int)at / (int)s->kw, j = (int)at % (int)s->kw;
        dx[(i * s->W + j) * s->C + c] += dy[c];
    }
}

/* Whether each cell is in one window. */
static int NAME(windows_tile)(const pool_windows *s)
{
    return s->top == 0 && s->left == 0 && s->sh == s->kh && s->sw == s->kw &&
           s->P * s->kh >= s->H && s->Q * s->kw >= s->W;
}

static void NAME(max_pool_backward)(REAL *dx, const REAL *dy, const REAL *cell,
                                    const pool_windows *s, int add)
{
    const isize C = s->C, last = C - C % LANES;
    const NAME(mask) m = NAME(mask_first)(C - last);
    const int first = !add && C > LANES / 2 && NAME(windows_tile)(s);
    if (!add && !first)
        memset(dx, 0, (size_t)(s->H * s->W * C) * sizeof *dx);
    for (isize p = 0; p < s->P; p++) {
        for (isize q = 0; q < s->Q; q++, dy += C, cell += C) {
            const NAME(window) in = NAME(window_at)(s, p, q);
            REAL *to = dx + in.origin;
            isize c = 0;
            if (C <= LANES / 2) {
                NAME(give_to_cell)(to, dy, cell, s);
                continue;
            }
            for (; c < last; c += LANES)
                if (first)
                    NAME(give_to_cells)(to + c, dy + c, cell + c, s, in, 1, 1, m);
                else
                    NAME(give_to_cells)(to + c, dy + c, cell + c, s, in, 0, 1, m);
            if (c < C)
                NAME(give_to_cells)(to + c, dy + c, cell + c, s, in, first, 0, m);
        }
    }
}

/* ---- the sum, or the mean over the cells in the image ---- */

/* V vectors of channels, R rows of cells at a time: four sums hide the latency of each. */
ALWAYS_INLINE void NAME(sum_of_window)(REAL *y, const REAL *x, const pool_windows *s,
                                       NAME(window) in, REAL scale, int add, int whole,
                                       NAME(mask) m, const int V, const int R)
{
#define EACH(n) _Pragma("GCC unroll 4") for (int e = 0; e < n; e++)
    const isize row = s->W * s->C;
    NAME(vec) total[4], sum[4]; /* sums of one row of cells: short sums round less */
    EACH(V) total[e] = (NAME(vec)){0};
    for (isize i = in.i0; i < in.i1;) {
        const int all = R == 1 || i + R <= in.i1;
        EACH(R * V) sum[e] = (NAME(vec)){0};
        for (isize j = in.j0; j < in.j1; j++) {
            const REAL *at = x + i * row + j * s->C;
            if (all) {
                EACH(R * V) sum[e] += NAME(load_lanes)(at + e / V * row + e % V * LANES, whole, m);
            } else {
                EACH(V) sum[e] += NAME(load_lanes)(at + e * LANES, whole, m);
            }
        }
        EACH(R * V) if (all || e < V) total[e % V] += sum[e];
        i += all ? R : 1;
    }
    EACH(V) {
        total[e] *= scale;
        if (add)
            total[e] += NAME(load_lanes)(y + e * LANES, whole, m);
        NAME(store_lanes)(y + e * LANES, whole, m, total[e]);
    }
#undef EACH
}

/* y = the sum or mean of each window [+ y] */
static void NAME(sum_pool)(REAL *y, const REAL *x, const pool_windows *s, int mean, int add)
{
    const isize C = s->C, last = C - C % LANES;
    const NAME(mask) m = NAME(mask_first)(C - last);
    for (isize p = 0; p < s->P; p++) {
        for (isize q = 0; q < s->Q; q++, y += C) {
            const NAME(window) in = NAME(window_at)(s, p, q);
            const REAL scale = NAME(share_of_cell)(in, mean), *from = x + in.origin;
            isize c = 0;
#define SUM(whole, V, R) NAME(sum_of_window)(y + c, from + c, s, in, scale, add, whole, m, V, R)
            for (; c + 4 * LANES <= last; c += 4 * LANES) SUM(1, 4, 1);
            for (; c + 2 * LANES <= last; c += 2 * LANES) SUM(1, 2, 2);
            if (in.i1 - in.i0 >= 4) {
                if (c < last)
                    SUM(1, 1, 4);
                c = last;
                if (c < C)
                    SUM(0, 1, 4);
            } else {
                if (c < last)
                    SUM(1, 1, 1);
                c = last;
                if (c < C)
                    SUM(0, 1, 1);
            }
#undef SUM
        }
    }
}

static void NAME(sum_pool_backward)(REAL *restrict dx, const REAL *restrict dy,
                                    const pool_windows *s, int mean, int add)
{
    const isize C = s->C;
    const int first = !add && NAME(windows_tile)(s); /* nothing is there yet */
    if (!add && !first)
        memset(dx, 0, (size_t)(s->H * s->W * C) * sizeof *dx);
    for (isize p = 0; p < s->P; p++) {
        for (isize q = 0; q < s->Q; q++, dy += C) {
            const NAME(window) in = NAME(window_at)(s, p, q);
            const REAL scale = NAME(share_of_cell)(in, mean);
            for (isize i = in.i0; i < in.i1; i++) {
                for (isize j = in.j0; j < in.j1; j++) {
                    REAL *to = dx + in.origin + (i * s->W + j) * C;
                    if (first)
                        for (isize c = 0; c < C; c++)
                            to[c] = dy[c] * scale;
                    else
                        for (isize c = 0; c < C; c++)
                            to[c] += dy[c] * scale;
                }
            }
        }
    }
}
