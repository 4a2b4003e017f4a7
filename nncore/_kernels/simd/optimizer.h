/* Optimizer steps over flat vectors (template). Update rules: PyTorch's.
 *
 * p parameters, g gradients, m and v the optimizer's moments: all of n elements, none overlapping.
 * Hyper-parameters come in double; what does not change with i is combined in double and rounded
 * once. Element i depends on element i only: any share of the vectors gives equal bits.
 *
 * In every loop d is the gradient that enters the moments: scaled, with the weight decay. */
#include <float.h>
#include <math.h>

#include "elementary.h"
#include "simd.h"

/* An epsilon that is not 0 as a REAL: 0 / epsilon is 0, where 0 / 0 would be NaN. */
ALWAYS_INLINE REAL NAME(above_zero)(double epsilon)
{
    const double least = REAL_IS_DOUBLE ? DBL_MIN : FLT_MIN;
    return (REAL)(epsilon > least ? epsilon : least);
}

ALWAYS_INLINE REAL NAME(sqrt)(REAL x) { return REAL_IS_DOUBLE ? (REAL)sqrt(x) : (REAL)sqrtf(x); }

/* ROOTS sqrt(x) for x >= 0, and a / b, lane by lane. In float AVX-512 estimates both to 14 bits,
 * and a Newton step, which gives twice the root at less cost than once, makes that an error of at
 * most 7e-8 (of roots below 1e-17, 6e-5). To keep NaN out of these steps, the root of 0 is 1e-19;
 * of infinity these make NaN, and a / NaN is 0 as a / infinity would be: gradients whose squares
 * overflow take no step. */
#define ROOTS (VECTOR_BYTES == 64 && !REAL_IS_DOUBLE ? 2 : 1)
ALWAYS_INLINE NAME(vec) NAME(roots)(NAME(vec) x)
{
#if VECTOR_BYTES == 64 && !REAL_IS_DOUBLE
    x = (NAME(vec))_mm512_max_ps(_mm512_set1_ps(2e-38f), (__m512)x);
    const NAME(vec) inverse = (NAME(vec))_mm512_rsqrt14_ps((__m512)x), y = x * inverse;
    return (y + y) + (x - y * y) * inverse;
#else
    return NAME(lanes_of)(x, NAME(sqrt));
#endif
}

ALWAYS_INLINE NAME(vec) NAME(quotient)(NAME(vec) a, NAME(vec) b)
{
#if VECTOR_BYTES == 64 && !REAL_IS_DOUBLE
    const __mmask16 finite = _mm512_cmp_ps_mask((__m512)b, _mm512_set1_ps(3e38f), _CMP_LE_OQ);
    const NAME(vec) inverse = (NAME(vec))_mm512_rcp14_ps((__m512)b), y = a * inverse;
    return (NAME(vec))_mm512_maskz_mov_ps(finite, (__m512)(y + (a - y * b) * inverse));
#else
    return a / b;
#endif
}

/* The arguments of a rule: its state vectors by their names, or nothing where it has none. */
#define RULE(first, second)                                                                        \
    REAL *restrict p, const REAL *restrict g, REAL *restrict first, REAL *restrict second,         \
        isize n, const optimizer_step *s

/* m = momentum m + g;  p -= rate m, with Nesterov rate (g + momentum m). Without momentum
 * p -= rate g. */
static void NAME(sgd)(RULE(m, unused))
{
    const REAL lr = (REAL)s->rate, scale = (REAL)s->scale, wd = (REAL)s->weight_decay;
    const REAL mu = (REAL)s->momentum;
    (void)unused;
    if (mu == 0) {
        for (isize i = 0; i < n; i++)
            p[i] -= lr * (scale * g[i] + wd * p[i]);
    } else if (s->nesterov) {
        for (isize i = 0; i < n; i++) {
            const REAL d = scale * g[i] + wd * p[i];
            m[i] = mu * m[i] + d;
            p[i] -= lr * (mu * m[i] + d);
        }
    } else {
        for (isize i = 0; i < n; i++) {
            const REAL d = scale * g[i] + wd * p[i];
            m[i] = mu * m[i] + d;
            p[i] -= lr * m[i];
        }
    }
}

/* m = beta_1 m + (1 - beta_1) g;  v = beta_2 v + (1 - beta_2) g^2;
 * p -= rate / (1 - beta_1^t) * m / (sqrt(v) / sqrt(1 - beta_2^t) + epsilon), t the step, from 1
 * (Kingma and Ba 2015). p is multiplied by `shrink` before.
 *
 * The quotient is expanded by ROOTS sqrt(1 - beta_2^t), and what has no effect is left out: in
 * cache the time is that of multiplications (Zen 4: 0.27 ns an element with 11, 0.35 with 14), or
 * of 28 bytes an element on their way (Sapphire Rapids: 0.36 ns; with the processor's own square
 * root and division 0.48). */
static void NAME(adam_shrinking)(RULE(m, v), double weight_decay, double shrink)
{
    const double t = (double)s->step;
    const REAL scale = (REAL)s->scale, wd = (REAL)weight_decay, keep = (REAL)shrink;
    const REAL c1 = (REAL)(1 - s->beta_1), b2 = (REAL)s->beta_2, c2 = (REAL)(1 - s->beta_2);
    const double root = ROOTS * sqrt(1 - pow(s->beta_2, t));
    const REAL lr = (REAL)(s->rate * root / (1 - pow(s->beta_1, t)));
    const REAL eps = NAME(above_zero)(s->epsilon * root);
#define STEP(gradient, kept)                                                                       \
    BY_VECTORS({                                                                                   \
        const NAME(vec) weight = GET(p), d = gradient, mean = GET(m);                              \
        const NAME(vec) new_mean = mean + c1 * (d - mean), square = b2 * GET(v) + c2 * d * d;      \
        const NAME(vec) way = NAME(quotient)(new_mean, NAME(roots)(square) + eps);                 \
        LOADS_ARE_ABOVE;                                                                           \
        PUT(p, kept - lr * way);                                                                   \
        PUT(m, new_mean);                                                                          \
        PUT(v, square);                                                                            \
    })
    if (scale == 1 && wd == 0 && keep == 1)
        STEP(GET(g), weight);
    else
        STEP(scale * GET(g) + wd * weight, keep * weight);
#undef STEP
}

static void NAME(adam)(RULE(m, v))
{
    NAME(adam_shrinking)(p, g, m, v, n, s, s->weight_decay, 1);
}

/* Weight decay shrinks p instead of entering g (Loshchilov and Hutter 2019). */
static void NAME(adamw)(RULE(m, v))
{
    NAME(adam_shrinking)(p, g, m, v, n, s, 0, 1 - s->rate * s->weight_decay);
}

/* v = rho v + (1 - rho) g^2;  d = g / (sqrt(v) + epsilon);  m = momentum m + d;  p -= rate m.
 * Without momentum p -= rate d.   (Tieleman and Hinton 2012) */
static void NAME(rmsprop)(RULE(v, m))
{
    const REAL lr = (REAL)s->rate, scale = (REAL)s->scale, wd = (REAL)s->weight_decay;
    const REAL eps = NAME(above_zero)(s->epsilon);
    const REAL a = (REAL)s->rho, c = (REAL)(1 - s->rho), mu = (REAL)s->momentum;
    if (mu == 0) {
        for (isize i = 0; i < n; i++) {
            const REAL d = scale * g[i] + wd * p[i];
            v[i] = a * v[i] + c * d * d;
            p[i] -= lr * d / (NAME(sqrt)(v[i]) + eps);
        }
    } else {
        for (isize i = 0; i < n; i++) {
            const REAL d = scale * g[i] + wd * p[i];
            v[i] = a * v[i] + c * d * d;
            m[i] = mu * m[i] + d / (NAME(sqrt)(v[i]) + eps);
            p[i] -= lr * m[i];
        }
    }
}

/* v += g^2;  p -= rate g / (sqrt(v) + epsilon)   (Duchi et al. 2011) */
static void NAME(adagrad)(RULE(v, unused))
{
    const REAL lr = (REAL)s->rate, scale = (REAL)s->scale, wd = (REAL)s->weight_decay;
    const REAL eps = NAME(above_zero)(s->epsilon);
    (void)unused;
    for (isize i = 0; i < n; i++) {
        const REAL d = scale * g[i] + wd * p[i];
        v[i] += d * d;
        p[i] -= lr * d / (NAME(sqrt)(v[i]) + eps);
    }
}

/* Name, vectors of state (one more with momentum), step. */
static const TABLE(rule) NAME(rules)[] = {
    {"sgd", 0, NAME(sgd)},
    {"adam", 2, NAME(adam)},
    {"adamw", 2, NAME(adamw)},
    {"rmsprop", 1, NAME(rmsprop)},
    {"adagrad", 1, NAME(adagrad)},
    {0},
};

#undef RULE
