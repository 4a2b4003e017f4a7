/* Enlarging an image by whole factors sh, sw, channels last: x (H,W,C) -> y (H sh, W sw, C), one
 * image (template). Nearest: each pixel becomes sh x sw equal ones; its backward pass is a sum
 * over windows (pooling.h). */
#include "simd.h"

static void NAME(repeat)(REAL *y, const REAL *x, isize H, isize W, isize C, isize sh, isize sw)
{
    const isize row = W * sw * C, last = C - C % LANES;
    const NAME(mask) m = NAME(mask_first)(C - last);
    for (isize h = 0; h < H; h++, y += (sh - 1) * row) {
        for (isize w = 0; w < W; w++, x += C, y += sw * C) {
            for (isize c = 0; c < C; c += LANES) {
                const int whole = c < last;
                const NAME(vec) v = whole ? NAME(load)(x + c) : NAME(load_part)(x + c, m);
                for (isize i = 0; i < sh; i++)
                    for (isize j = 0; j < sw; j++)
                        NAME(store_lanes)(y + i * row + j * C + c, whole, m, v);
            }
        }
    }
}

/* Bilinear: the centres of the pixels of y, seen from x, are at (o + 1/2) / s - 1/2, and there y is
 * interpolated between the two nearest rows and columns; beyond the outermost centres it is
 * constant. (PyTorch's align_corners=False.) */
typedef struct {
    isize low, high; /* the two neighbours in x */
    REAL share;      /* of `high`; 1 - share of `low` */
} NAME(between);

ALWAYS_INLINE NAME(between) NAME(neighbours)(isize o, isize n, isize s)
{
    const isize twice = 2 * o + 1 - s; /* the place times 2 s */
    if (twice <= 0)
        return (NAME(between)){0, 0, 0};
    const isize low = twice / (2 * s);
    return (NAME(between)){low, MIN(low + 1, n - 1), (REAL)(twice % (2 * s)) / (REAL)(2 * s)};
}

static void NAME(bilinear)(REAL *restrict y, const REAL *restrict x, isize H, isize W, isize C,
                           isize sh, isize sw)
{
    for (isize p = 0; p < H * sh; p++) {
        const NAME(between) h = NAME(neighbours)(p, H, sh);
        const REAL *above = x + h.low * W * C, *below = x + h.high * W * C;
        for (isize q = 0; q < W * sw; q++, y += C) {
            const NAME(between) w = NAME(neighbours)(q, W, sw);
            const isize left = w.low * C, right = w.high * C;
            for (isize c = 0; c < C; c++) {
                const REAL a = above[left + c] + w.share * (above[right + c] - above[left + c]);
                const REAL b = below[left + c] + w.share * (below[right + c] - below[left + c]);
                y[c] = a + h.share * (b - a);
            }
        }
    }
}

static void NAME(bilinear_backward)(REAL *restrict dx, const REAL *restrict dy, isize H, isize W,
                                    isize C, isize sh, isize sw, int add)
{
    if (!add)
        memset(dx, 0, (size_t)(H * W * C) * sizeof *dx);
    for (isize p = 0; p < H * sh; p++) {
        const NAME(between) h = NAME(neighbours)(p, H, sh);
        REAL *above = dx + h.low * W * C, *below = dx + h.high * W * C;
        for (isize q = 0; q < W * sw; q++, dy += C) {
            const NAME(between) w = NAME(neighbours)(q, W, sw);
            const isize left = w.low * C, right = w.high * C;
            for (isize c = 0; c < C; c++) { /* the four may be one and the same pixel */
                const REAL b = h.share * dy[c], a = dy[c] - b;
                const REAL ar = w.share * a, br = w.share * b;
                above[left + c] += a - ar;
                above[right + c] += ar;
                below[left + c] += b - br;
                below[right + c] += br;
            }
        }
    }
}
