/* Normalization (template).
 *
 * Layer normalization: x (rows, C), each row by its own mean and variance,
 *   y = n * weight + bias,  n = (x - mean) / sqrt(variance + epsilon)   (Ba, Kiros, Hinton 2016)
 * `moments` (rows, 3) keeps the mean, what its rounding left out, and 1 / sqrt(variance + epsilon).
 */
#include <math.h>

#include "simd.h"

typedef struct {
    REAL mean, rest, inverse;
} NAME(moments);

ALWAYS_INLINE REAL NAME(sum_of_lanes)(NAME(vec) v)
{
    const NAME(block) b = NAME(add_blocks)(v);
    return REAL_IS_DOUBLE ? b[0] + b[1] : (b[0] + b[1]) + (b[2 % BLOCK] + b[3 % BLOCK]);
}

/* Two passes over a row, the second with the correction of Chan, Golub and LeVeque (1983): exact to
 * rounding also where the mean is large beside the deviation. */
ALWAYS_INLINE NAME(moments) NAME(moments_of)(const REAL *x, isize C, REAL epsilon)
{
    const isize last = C - C % LANES;
    NAME(vec) sum = {0}, deviation = {0}, square = {0};
    REAL mean = 0, rest = 0, variance = 0;
    for (isize c = 0; c < last; c += LANES)
        sum += NAME(load)(x + c);
    for (isize c = last; c < C; c++)
        mean += x[c];
    mean = (mean + NAME(sum_of_lanes)(sum)) / (REAL)C;
    for (isize c = 0; c < last; c += LANES) {
        const NAME(vec) d = NAME(load)(x + c) - mean;
        deviation += d;
        square += d * d;
    }
    for (isize c = last; c < C; c++) {
        rest += x[c] - mean;
        variance += (x[c] - mean) * (x[c] - mean);
    }
    rest = (rest + NAME(sum_of_lanes)(deviation)) / (REAL)C;
    variance = (variance + NAME(sum_of_lanes)(square)) / (REAL)C - rest * rest;
    return (NAME(moments)){mean, rest, 1 / NAME(sqrt)(MAX(variance, 0) + epsilon)};
}

static void NAME(layer_norm)(REAL *restrict y, REAL *restrict moments, const REAL *restrict x,
                             const REAL *restrict weight, const REAL *restrict bias, isize rows,
                             isize C, double epsilon)
{
    for (isize r = 0; r < rows; r++, x += C, y += C) {
        const NAME(moments) m = NAME(moments_of)(x, C, (REAL)epsilon);
        for (isize c = 0; c < C; c++)
            y[c] = (x[c] - m.mean - m.rest) * m.inverse * weight[c] + bias[c];
        if (moments)
            memcpy(moments + 3 * r, &m, sizeof m);
    }
}

/* The normalized x. */
#define NORMAL(x, m) (((x) - (m).mean - (m).rest) * (m).inverse)

/* dweight (C) += the sum over rows of dy n, dbias (C) += that of dy, for `columns` columns of rows
 * of C. Rows are added in order: columns may be shared out freely. */
static void NAME(layer_norm_sums)(REAL *restrict dweight, REAL *restrict dbias,
                                  const REAL *restrict dy, const REAL *restrict x,
                                  const REAL *restrict moments, isize rows, isize C,
                                  isize columns)
{
    for (isize r = 0; r < rows; r++, x += C, dy += C) {
        NAME(moments) m;
        memcpy(&m, moments + 3 * r, sizeof m);
        for (isize c = 0; c < columns; c++) {
            dweight[c] += dy[c] * NORMAL(x[c], m);
            dbias[c] += dy[c];
        }
    }
}

/* g = dy * weight:  dx = (g - mean(g) - n * mean(g n)) * inverse [+ dx], and the sums above, unless
 * dweight is NULL: in one pass they cost half as much. */
static void NAME(layer_norm_backward)(REAL *restrict dx, REAL *restrict dweight,
                                      REAL *restrict dbias, const REAL *restrict dy,
                                      const REAL *restrict x, const REAL *restrict moments,
                                      const REAL *restrict weight, isize rows, isize C, int add)
{
    const isize last = C - C % LANES;
    for (isize r = 0; r < rows; r++, x += C, dy += C, dx += C) {
        NAME(moments) m;
        memcpy(&m, moments + 3 * r, sizeof m);
        NAME(vec) sum = {0}, product = {0};
        REAL g = 0, gn = 0;
        for (isize c = 0; c < last; c += LANES) {
            const NAME(vec) v = NAME(load)(dy + c) * NAME(load)(weight + c);
            sum += v;
            product += v * NORMAL(NAME(load)(x + c), m);
        }
        for (isize c = last; c < C; c++) {
            g += dy[c] * weight[c];
            gn += dy[c] * weight[c] * NORMAL(x[c], m);
        }
        g = (g + NAME(sum_of_lanes)(sum)) / (REAL)C;
        gn = (gn + NAME(sum_of_lanes)(product)) / (REAL)C;
        if (add || !dweight) {
            for (isize c = 0; c < C; c++) {
                const REAL d = (dy[c] * weight[c] - g - NORMAL(x[c], m) * gn) * m.inverse;
                dx[c] = add ? dx[c] + d : d;
            }
            if (dweight)
                NAME(layer_norm_sums)(dweight, dbias, dy, x, (REAL *)&m, 1, C, C);
            continue;
        }
        for (isize c = 0; c < C; c++) {
            const REAL n = NORMAL(x[c], m);
            dx[c] = (dy[c] * weight[c] - g - n * gn) * m.inverse;
            dweight[c] += dy[c] * n;
            dbias[c] += dy[c];
        }
    }
}

#undef NORMAL
