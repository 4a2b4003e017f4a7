/* The activations sigma, each with its derivative sigma', and the table of them (template).
 *
 * To add one: write SIGMA and SLOPE next to each other, then its row in ACTIVATIONS at the end.
 * Formulas, constants and the slopes at kinks are PyTorch's. SLOPE takes x or y, whichever the row
 * names; y = sigma(x) is preferred where it determines the slope: then forward may be in place.
 *
 * Largest errors in float, in units of max(1, |x|): silu and gelu 1.5e-7, softplus 1.5e-7, selu
 * 1.4e-7; the rest as in elementary.h. */
#include "elementary.h"
#include "simd.h"

#define SIGMA(name) ALWAYS_INLINE REAL NAME(name##_sigma)(REAL x)
#define SLOPE(name, of) ALWAYS_INLINE REAL NAME(name##_slope)(REAL of)

/* linear: x.  sigma' = 1 */
SIGMA(linear) { return x; }
SLOPE(linear, y) { (void)y; return 1; }

/* relu: max(x, 0).  sigma' = 1 if y > 0, else 0 */
SIGMA(relu) { return x < 0 ? 0 : x; }
SLOPE(relu, y) { return y <= 0 ? 0 : 1; }

/* leaky_relu: x if x > 0, else 0.01 x.  sigma' = 1 if y > 0, else 0.01 */
SIGMA(leaky_relu) { return x <= 0 ? x * (REAL)0.01 : x; }
SLOPE(leaky_relu, y) { return y <= 0 ? (REAL)0.01 : 1; }

/* elu: x if x > 0, else exp(x) - 1.  sigma' = 1 if y > 0, else y + 1 */
SIGMA(elu)
{
    const REAL y = NAME(expm1_nonpositive)(x);
    return x <= 0 ? y : x;
}
SLOPE(elu, y) { return y <= 0 ? y + 1 : 1; }

/* selu: lambda x if x > 0, else lambda alpha (exp(x) - 1).
 * sigma' = lambda if y > 0, else y + lambda alpha.  (Klambauer et al. 2017) */
#define SELU_LAMBDA ((REAL)1.0507009873554804934193349852946)
#define SELU_LAMBDA_ALPHA ((REAL)1.7580993408473766)
SIGMA(selu)
{
    const REAL y = SELU_LAMBDA_ALPHA * NAME(expm1_nonpositive)(x);
    return x <= 0 ? y : SELU_LAMBDA * x;
}
SLOPE(selu, y) { return y <= 0 ? y + SELU_LAMBDA_ALPHA : SELU_LAMBDA; }

/* sigmoid: 1 / (1 + exp(-x)).  sigma' = y (1 - y) */
SIGMA(sigmoid) { return NAME(sigmoid)(x); }
SLOPE(sigmoid, y) { return y * (1 - y); }

/* hard_sigmoid: min(max(x + 3, 0), 6) / 6.  sigma' = 1/6 if 0 < y < 1, else 0 */
SIGMA(hard_sigmoid)
{
    REAL z = x + 3;
    z = z < 0 ? 0 : z;
    z = z > 6 ? 6 : z;
    return z * (REAL)(1.0 / 6);
}
SLOPE(hard_sigmoid, y) { return ((y <= 0) | (y >= 1)) ? 0 : (REAL)(1.0 / 6); }

/* tanh: (exp(x) - exp(-x)) / (exp(x) + exp(-x)).  sigma' = 1 - y^2 */
SIGMA(tanh) { return NAME(tanh)(x); }
SLOPE(tanh, y) { return 1 - y * y; }

/* softplus: log(1 + exp(x)), x beyond 20.  sigma' = sigmoid(x) = 1 - exp(-y), 1 beyond 20 */
SIGMA(softplus)
{
    const REAL y = NAME(softplus)(x);
    return x > 20 ? x : y;
}
SLOPE(softplus, y)
{
    const REAL slope = -NAME(expm1_nonpositive)(-y);
    return y > 20 ? 1 : slope;
}

/* silu: x sigmoid(x).  sigma' = s (1 + x (1 - s)), s = sigmoid(x).
 * Beyond +-1000 the limits hold to the last bit; the clamp keeps inf * 0 out. */
SIGMA(silu) { return (x < -1000 ? -1000 : x) * NAME(sigmoid)(x); }
SLOPE(silu, x)
{
    x = x < -1000 ? -1000 : x;
    x = x > 1000 ? 1000 : x;
    const REAL s = NAME(sigmoid)(x);
    return s * (1 + x * (1 - s));
}

/* gelu: x Phi(x), Phi the normal distribution.  sigma' = Phi(x) + x phi(x), phi = Phi' */
#define GELU_LIMIT (REAL_IS_DOUBLE ? 39 : 14) /* Phi(-limit) is 0, clamped for inf as in silu */
SIGMA(gelu)
{
    REAL density;
    const REAL z = x < -GELU_LIMIT ? -GELU_LIMIT : x;
    return z * NAME(normal_cdf)(z > GELU_LIMIT ? GELU_LIMIT : z, &density);
}
SLOPE(gelu, x)
{
    REAL density;
    x = x < -GELU_LIMIT ? -GELU_LIMIT : x;
    x = x > GELU_LIMIT ? GELU_LIMIT : x;
    const REAL cdf = NAME(normal_cdf)(x, &density);
    return cdf + x * density;
}

/* softmax: y = exp(x) / sum(exp(x)) over a row.  dx = y (dy - sum(y dy)) */
static void NAME(softmax_forward)(REAL *y, const REAL *x, isize rows, isize n)
{
    NAME(softmax)(y, x, NULL, rows, n);
}
static void NAME(softmax_backward)(REAL *dx, const REAL *dy, const REAL *y, isize rows, isize n,
                                   int add)
{
    for (; rows > 0; rows--, dx += n, dy += n, y += n) {
        const REAL mean = NAME(dot)(y, dy, n);
        ELEMENTWISE_LOOP
        for (isize i = 0; i < n; i++) {
            const REAL d = y[i] * (dy[i] - mean);
            dx[i] = add ? dx[i] + d : d;
        }
    }
}

#define CHUNK 256
/* log_softmax: y = x - log(sum(exp(x))) over a row.  dx = dy - exp(y) sum(dy) */
static void NAME(log_softmax_forward)(REAL *y, const REAL *x, isize rows, isize n)
{
    for (; rows > 0; rows--, x += n, y += n) {
        const REAL max = NAME(max)(x, n);
        REAL sum = 0;
        for (isize i = 0; i < n; i += CHUNK) {
            const isize m = n - i < CHUNK ? n - i : CHUNK;
            REAL e[CHUNK];
            for (isize j = 0; j < m; j++)
                e[j] = NAME(exp_nonpositive)(x[i + j] - max);
            sum += NAME(sum)(e, m);
        }
        const REAL log_sum = NAME(log)(sum);
        ELEMENTWISE_LOOP
        for (isize i = 0; i < n; i++)
            y[i] = (x[i] - max) - log_sum;
    }
}
static void NAME(log_softmax_backward)(REAL *dx, const REAL *dy, const REAL *y, isize rows,
                                       isize n, int add)
{
    for (; rows > 0; rows--, dx += n, dy += n, y += n) {
        const REAL sum = NAME(sum)(dy, n);
        ELEMENTWISE_LOOP
        for (isize i = 0; i < n; i++) {
            const REAL d = dy[i] - NAME(exp_nonpositive)(y[i]) * sum;
            dx[i] = add ? dx[i] + d : d;
        }
    }
}

/* One row per activation: its name, and whether SLOPE reads X or Y. */
#define ACTIVATIONS(ELEMENTWISE, ROWWISE)                                                       \
    ELEMENTWISE(linear, Y)                                                                      \
    ELEMENTWISE(relu, Y)                                                                        \
    ELEMENTWISE(leaky_relu, Y)                                                                  \
    ELEMENTWISE(elu, Y)                                                                         \
    ELEMENTWISE(selu, Y)                                                                        \
    ELEMENTWISE(sigmoid, Y)                                                                     \
    ELEMENTWISE(hard_sigmoid, Y)                                                                \
    ELEMENTWISE(tanh, Y)                                                                        \
    ELEMENTWISE(softplus, Y)                                                                    \
    ELEMENTWISE(silu, X)                                                                        \
    ELEMENTWISE(gelu, X)                                                                        \
    ROWWISE(softmax, Y)                                                                         \
    ROWWISE(log_softmax, Y)

/* The loops around SIGMA and SLOPE. Both are inlined, so each instance is one vector loop. */
ALWAYS_INLINE void NAME(map)(REAL *y, const REAL *x, isize n, REAL (*sigma)(REAL))
{
    BY_VECTORS(PUT(y, NAME(lanes_of)(GET(x), sigma)));
}

ALWAYS_INLINE void NAME(map_slope)(REAL *dx, const REAL *dy, const REAL *xy, isize n, int add,
                                   REAL (*slope)(REAL))
{
    if (add)
        BY_VECTORS(PUT(dx, GET(dx) + GET(dy) * NAME(lanes_of)(GET(xy), slope)));
    else
        BY_VECTORS(PUT(dx, GET(dy) * NAME(lanes_of)(GET(xy), slope)));
}

#define DEFINE_LOOPS(name, of)                                                                  \
    static void NAME(name##_forward)(REAL * y, const REAL *x, isize rows, isize n)              \
    {                                                                                           \
        NAME(map)(y, x, rows * n, NAME(name##_sigma));                                          \
    }                                                                                           \
    static void NAME(name##_backward)(REAL * dx, const REAL *dy, const REAL *xy, isize rows,    \
                                      isize n, int add)                                         \
    {                                                                                           \
        NAME(map_slope)(dx, dy, xy, rows * n, add, NAME(name##_slope));                         \
    }
#define NOTHING(name, of)

ACTIVATIONS(DEFINE_LOOPS, NOTHING)

#define ENTRY(name, of, rowwise)                                                                \
    {#name, ACTIVATION_USES_##of, rowwise, NAME(name##_forward), NAME(name##_backward)},
#define ELEMENTWISE_ENTRY(name, of) ENTRY(name, of, 0)
#define ROWWISE_ENTRY(name, of) ENTRY(name, of, 1)

static const TABLE(activation) NAME(activations)[] = {
    ACTIVATIONS(ELEMENTWISE_ENTRY, ROWWISE_ENTRY){NULL, 0, 0, NULL, NULL},
};

/* y = sigmoid(x), l = log(1 + exp(-|x|)): what the loss of a sigmoid output needs, in one pass */
static void NAME(sigmoid_log)(REAL *y, REAL *l, const REAL *x, isize n)
{
    ELEMENTWISE_LOOP
    for (isize i = 0; i < n; i++) {
        const REAL z = x[i];
        l[i] = NAME(softplus)(z < 0 ? z : -z);
        y[i] = NAME(sigmoid)(z);
    }
}

#undef SIGMA
#undef SLOPE
#undef SELU_LAMBDA
#undef SELU_LAMBDA_ALPHA
#undef GELU_LIMIT
#undef CHUNK
#undef ACTIVATIONS
#undef DEFINE_LOOPS
#undef NOTHING
#undef ENTRY
#undef ELEMENTWISE_ENTRY
#undef ROWWISE_ENTRY
