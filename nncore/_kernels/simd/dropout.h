/* Dropout (template): the mask, and applying it. */
#include "elementary.h"
#include "philox.h"

static void NAME(dropout_mask)(uint8_t *keep, isize first, isize n, double rate, uint64_t key,
                               uint64_t step)
{
    dropout_mask(keep, first, n, rate, key, step);
}

/* y = x * keep * scale [+ y]; y may be x. Its own backward: dx = dy * keep * scale [+ dx]. */
static void NAME(dropout_apply)(REAL *y, const REAL *x, const uint8_t *keep, isize n, double scale,
                                int add)
{
    const REAL s = (REAL)scale;
    if (add) {
        ELEMENTWISE_LOOP
        for (isize i = 0; i < n; i++)
            y[i] += x[i] * (s * (REAL)keep[i]);
    } else {
        ELEMENTWISE_LOOP
        for (isize i = 0; i < n; i++)
            y[i] = x[i] * (s * (REAL)keep[i]);
    }
}
