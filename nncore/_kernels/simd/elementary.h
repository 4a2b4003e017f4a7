/* exp, log(1 + e), tanh, the normal distribution and the sigmoid. In float they are free of
 * branches and of library calls, so that the compiler vectorises every plain loop around them; in
 * double they are libm's.
 *
 * The largest errors stated were measured against double, at every 37th float of the range;
 * relative ones where the result is a normal number. NaN passes through: a clamp is written
 * `x < low ? low : x`, which keeps x if it is NaN. */
#ifndef NNCORE_SIMD_ELEMENTARY_H
#define NNCORE_SIMD_ELEMENTARY_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#include "isa.h"

/* The iterations of the next loop touch element i of each array and no other. So it may run as
 * vectors although the arrays may be one and the same (in place). */
#if defined(__clang__)
#define ELEMENTWISE_LOOP _Pragma("clang loop vectorize(assume_safety)")
#else
#define ELEMENTWISE_LOOP _Pragma("GCC ivdep")
#endif

ALWAYS_INLINE uint32_t float_bits(float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

ALWAYS_INLINE float bits_float(uint32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The compiler must not see these limits (elementary.c): it would compute each function at them in
 * advance, and take three comparisons for what is one `max` (Zen 4, AVX-512: tanh 0.30 ns an
 * element instead of 0.24). */
extern const float exp_lowest, tanh_limit[2]; /* [FUSED] */

/* For x <= 0: exp(x) = scale * (1 + q), scale = 2^k a power of two, q = expm1(x - k log 2).
 *
 * Adding 1.5 * 2^23 + 127 rounds x / log 2 to the integer k and leaves k + 127 in the low bits,
 * which a shift makes an exponent. Below -87.7, k is -127 and the scale 0: exp(-inf) is exactly 0.
 * log 2 is subtracted in two parts (Cody and Waite 1980), k times the first is exact. The
 * polynomial is fitted (minimax, 3e-9). */
ALWAYS_INLINE float exp_parts(float x, float *scale)
{
    const float round = 12583039.0f;
    x = x < exp_lowest ? exp_lowest : x;
    const float shifted = x * 1.44269504f + round;
    const float k = shifted - round;
    *scale = bits_float(float_bits(shifted) << 23);
    const float r = (x - k * 0.693359375f) + k * 2.12194440e-4f;
    float p = 1.381446691e-3f;
    p = p * r + 8.368780413e-3f;
    p = p * r + 4.1668394214e-2f;
    p = p * r + 1.66665201078e-1f;
    p = p * r + 4.99999934125e-1f;
    return p * (r * r) + r;
}

/* exp(x) for x <= 0. Error 8.9e-8 relative. */
ALWAYS_INLINE float exp_nonpositive_f32(float x)
{
    float scale, q = exp_parts(x, &scale);
    return scale * q + scale;
}

ALWAYS_INLINE double exp_nonpositive_f64(double x) { return exp(x); }

/* exp(x) - 1 for x <= 0, without cancellation near 0; of other x it means nothing.
 * Error 8.9e-8 relative. */
ALWAYS_INLINE float expm1_nonpositive_f32(float x)
{
    float scale, q = exp_parts(x, &scale);
    return scale * q + (scale - 1.0f);
}

ALWAYS_INLINE double expm1_nonpositive_f64(double x) { return x > 0 ? x : expm1(x); }

/* log(1 + e) for e in [0, 1], as 2 artanh(s), s = e / (2 + e) <= 1/3: an odd series in s whose
 * tail is fitted (minimax, 1.5e-8). */
ALWAYS_INLINE float log1p_unit_f32(float e)
{
    const float s = e / (2.0f + e), z = s * s;
    float p = 0.134305117f;
    p = p * z + 0.141175204f;
    p = p * z + 0.200038129f;
    p = p * z + 0.3333332f;
    return (s + s) * (z * p) + (s + s);
}

ALWAYS_INLINE double log1p_unit_f64(double e) { return log1p(e); }

/* tanh(x) as an odd rational function of degrees 13 and 6, whose coefficients are those of Eigen
 * (generic_fast_tanh_float in MathFunctionsImpl.h). It never exceeds 1, and from the limit on it is
 * 1: the largest float up to Eigen's limit for which it is. The quotient is formed first, so that
 * tiny x keep their relative precision.
 * Error 2.9e-7 with fused multiplication, 3.9e-7 without; absolute and relative. */
ALWAYS_INLINE float tanh_f32(float x)
{
    const float limit = tanh_limit[FUSED];
    x = x > limit ? limit : x;
    x = x < -limit ? -limit : x;
    const float z = x * x;
    float p = -2.76076847742355e-16f;
    p = p * z + 2.00018790482477e-13f;
    p = p * z - 8.60467152213735e-11f;
    p = p * z + 5.12229709037114e-08f;
    p = p * z + 1.48572235717979e-05f;
    p = p * z + 6.37261928875436e-04f;
    p = p * z + 4.89352455891786e-03f;
    float q = 1.19825839466702e-06f;
    q = q * z + 1.18534705686654e-04f;
    q = q * z + 2.26843463243900e-03f;
    q = q * z + 4.89352518554385e-03f;
    return x * (p / q);
}

ALWAYS_INLINE double tanh_f64(double x) { return tanh(x); }

/* Phi(x) = (1 + erf(x / sqrt 2)) / 2, the normal distribution, and its density phi(x) =
 * exp(-x^2 / 2) / sqrt(2 pi), for |x| <= 14 (beyond, Phi is 0 or 1 in float).
 *
 * The tail Phi(-|x|) = exp(-x^2 / 2) * R(|x|), where R is smooth (a scaled erfc) and fitted by a
 * rational function (minimax, 6e-9). Unlike 1 + erf it has no cancellation at the left.
 * Error 1.3e-7 absolute; relative 3e-7 within |x| < 1, 4e-6 at x = -13 (from rounding x^2). */
ALWAYS_INLINE float normal_cdf_f32(float x, float *density)
{
    const float a = fabsf(x), e = exp_nonpositive_f32(-0.5f * x * x);
    float p = 0.004077611231f;
    p = p * a + 0.040372553504f;
    p = p * a + 0.182461815316f;
    p = p * a + 0.43725086782f;
    p = p * a + 0.5f;
    float q = 0.010220926849f;
    q = q * a + 0.101205794144f;
    q = q * a + 0.467429064548f;
    q = q * a + 1.199290631797f;
    q = q * a + 1.672386691041f;
    q = q * a + 1.0f;
    const float tail = e * (p / q);
    *density = e * 0.39894228f;
    return x < 0 ? tail : 1.0f - tail;
}

ALWAYS_INLINE double normal_cdf_f64(double x, double *density)
{
    *density = exp(-0.5 * x * x) * 0.39894228040143267794;
    return 0.5 * erfc(x * -0.70710678118654752440);
}

/* 1 / (1 + exp(-x)), in a form that neither overflows nor loses the left tail.
 * Error 8.9e-8 absolute, 1.8e-7 relative. */
ALWAYS_INLINE float sigmoid_f32(float x)
{
    const float e = exp_nonpositive_f32(-fabsf(x));
    return (x < 0 ? e : 1.0f) / (1.0f + e);
}

ALWAYS_INLINE double sigmoid_f64(double x)
{
    const double e = exp(-fabs(x));
    return (x < 0 ? e : 1.0) / (1.0 + e);
}

/* log(1 + exp(x)). Error 2.3e-7 relative. */
ALWAYS_INLINE float softplus_f32(float x)
{
    return (x < 0 ? 0.0f : x) + log1p_unit_f32(exp_nonpositive_f32(-fabsf(x)));
}

ALWAYS_INLINE double softplus_f64(double x) { return (x < 0 ? 0.0 : x) + log1p(exp(-fabs(x))); }

#endif
