/* Reductions: softmax, sums, the finite check (template).
 *
 * A long floating-point sum is kept in PARTS partial sums, element i in part i % PARTS, which are
 * added up in a fixed order: so it runs as vectors without fast-math. */
#include "elementary.h"
#include "simd.h"

#define PARTS 16

/* The bits of a REAL: 1 for the sign, the exponent, and the fraction. */
#if REAL_IS_DOUBLE
typedef uint64_t NAME(bits);
typedef int64_t NAME(integer);
#define FRACTION 52
#else
typedef uint32_t NAME(bits);
typedef int32_t NAME(integer);
#define FRACTION 23
#endif
#define SIGN ((NAME(bits))1 << (8 * sizeof(REAL) - 1))

ALWAYS_INLINE REAL NAME(log)(REAL x) { return REAL_IS_DOUBLE ? (REAL)log(x) : (REAL)logf(x); }

/* The sum over i < n of b[i], or of a[i] * b[i] if `product`. */
ALWAYS_INLINE REAL NAME(partial_sums)(const REAL *a, const REAL *b, isize n, int product)
{
    REAL sum = 0;
    isize i = 0;
    if (n >= PARTS) {
        REAL part[PARTS] = {0};
        for (; i + PARTS <= n; i += PARTS)
            for (int j = 0; j < PARTS; j++)
                part[j] += product ? a[i + j] * b[i + j] : b[i + j];
        for (int j = 0; j < 4; j++)
            sum += (part[j] + part[j + 4]) + (part[j + 8] + part[j + 12]);
    }
    for (; i < n; i++)
        sum += product ? a[i] * b[i] : b[i];
    return sum;
}

static REAL NAME(sum)(const REAL *x, isize n) { return NAME(partial_sums)(NULL, x, n, 0); }

static REAL NAME(dot)(const REAL *a, const REAL *b, isize n)
{
    return NAME(partial_sums)(a, b, n, 1);
}

/* Floats in the order of integers, and back: the magnitude of negative ones is inverted. */
ALWAYS_INLINE NAME(integer) NAME(ordered)(NAME(integer) b)
{
    return b ^ ((b >> (8 * sizeof b - 1)) & (NAME(integer))~SIGN);
}

/* The largest of x (n >= 1), as integers, because a maximum of those runs as vectors. */
static REAL NAME(max)(const REAL *x, isize n)
{
    NAME(integer) top = (NAME(integer))SIGN;
    for (isize i = 0; i < n; i++) {
        NAME(integer) b;
        memcpy(&b, x + i, sizeof b);
        b = NAME(ordered)(b);
        top = b > top ? b : top;
    }
    top = NAME(ordered)(top);
    REAL max;
    memcpy(&max, &top, sizeof max);
    return max;
}

/* y (rows, n) = softmax(x) along n; log_sum (rows, 2) = the largest x, log(sum(exp(x - largest)))
 * unless NULL: added up they would lose digits. With the largest subtracted, nothing overflows;
 * exp(-inf) is 0; a row of -inf or with NaN gives NaN. Rows go in blocks of about 1024 elements,
 * which stay in the L1 cache: exp then runs through a block as one vector loop, however short a row
 * is (10 classes: 15 ns a row, row by row 64). */
static void NAME(softmax)(REAL *y, const REAL *x, REAL *log_sum, isize rows, isize n)
{
    const isize block = n < 1024 ? 1024 / (n + 1) + 1 : 1;
    for (isize done = 0; done < rows; done += block) {
        const isize m = rows - done < block ? rows - done : block;
        for (isize r = 0; r < m; r++) {
            const REAL max = NAME(max)(x + r * n, n);
            ELEMENTWISE_LOOP
            for (isize i = r * n; i < (r + 1) * n; i++)
                y[i] = x[i] - max;
            if (log_sum)
                log_sum[2 * r] = max;
        }
        for (isize i = 0; i < m * n; i++)
            y[i] = NAME(exp_nonpositive)(y[i]);
        for (isize r = 0; r < m; r++) {
            const REAL sum = NAME(sum)(y + r * n, n), inverse = 1 / sum;
            for (isize i = r * n; i < (r + 1) * n; i++)
                y[i] *= inverse;
            if (log_sum)
                log_sum[2 * r + 1] = NAME(log)(sum);
        }
        x += m * n;
        y += m * n;
        log_sum += log_sum ? 2 * m : 0;
    }
}

/* d (N) = sum over the rows of x (M,N) [+ d], W vectors of which the last may be a part. */
ALWAYS_INLINE void NAME(sum_columns)(REAL *d, const REAL *x, isize ldx, isize M, isize N, int add,
                                     const int W)
{
#define EACH _Pragma("GCC unroll 4") for (int w = 0; w < W; w++)
#define AT(row) NAME(load_lanes)(x + (row) * ldx + w * LANES, w < W - 1, last)
    const NAME(mask) last = NAME(mask_first)(N - (W - 1) * LANES);
    NAME(vec) sum[4];
    EACH sum[w] = add ? NAME(load_lanes)(d + w * LANES, w < W - 1, last) : (NAME(vec)){0};
    isize i = 0;
    for (; i + 4 <= M; i += 4, x += 4 * ldx)
        EACH sum[w] += (AT(0) + AT(1)) + (AT(2) + AT(3));
    for (; i < M; i++, x += ldx)
        EACH sum[w] += AT(0);
    EACH NAME(store_lanes)(d + w * LANES, w < W - 1, last, sum[w]);
#undef EACH
#undef AT
}

/* Rows are added in order, four at a time, whatever N is: columns may be shared out freely. Many
 * columns are read as they lie in memory, and d stays in a cache instead of registers. */
static void NAME(sum_rows)(REAL *restrict d, const REAL *restrict x, isize ldx, isize M, isize N,
                           int add)
{
    switch ((N + LANES - 1) / LANES) {
        case 1: NAME(sum_columns)(d, x, ldx, M, N, add, 1); return;
        case 2: NAME(sum_columns)(d, x, ldx, M, N, add, 2); return;
        case 3: NAME(sum_columns)(d, x, ldx, M, N, add, 3); return;
        case 4: NAME(sum_columns)(d, x, ldx, M, N, add, 4); return;
    }
    if (!add)
        memset(d, 0, (size_t)N * sizeof *d);
    isize i = 0;
    for (; i + 4 <= M; i += 4, x += 4 * ldx)
        for (isize j = 0; j < N; j++)
            d[j] += (x[j] + x[j + ldx]) + (x[j + 2 * ldx] + x[j + 3 * ldx]);
    for (; i < M; i++, x += ldx)
        for (isize j = 0; j < N; j++)
            d[j] += x[j];
}

/* sum((x - t)^2) in double, t NULL: 0. Exact enough for the norm of millions of gradients. */
static double NAME(sum_squares)(const REAL *x, const REAL *t, isize n)
{
    double part[PARTS] = {0}, sum = 0;
    isize i = 0;
    if (t) {
        for (; i + PARTS <= n; i += PARTS)
            for (int j = 0; j < PARTS; j++) {
                const double d = x[i + j] - t[i + j];
                part[j] += d * d;
            }
    } else {
        for (; i + PARTS <= n; i += PARTS)
            for (int j = 0; j < PARTS; j++)
                part[j] += (double)x[i + j] * x[i + j];
    }
    for (; i < n; i++) {
        const double d = t ? x[i] - t[i] : x[i];
        sum += d * d;
    }
    for (int j = 0; j < PARTS; j++)
        sum += part[j];
    return sum;
}

/* 1 if no x is inf or NaN. Those have an exponent of all ones: adding one to it carries into the
 * sign bit. Integers: no rounding, no early exit, so this runs at the speed of memory. */
static int NAME(all_finite)(const REAL *x, isize n)
{
    enum { CHUNK = 256 / sizeof(REAL), LINE = 64 / sizeof(REAL) };
    NAME(bits) b, carry = 0, part[CHUNK] = {0};
    isize i = 0;
    for (; i + CHUNK <= n; i += CHUNK) {
        /* asked for in time, 237 GB/s from L2; else 125 (Zen 5) */
        for (int j = 0; j < CHUNK; j += LINE) __builtin_prefetch(x + i + j + 8 * CHUNK);
        for (int j = 0; j < CHUNK; j++) {
            memcpy(&b, x + i + j, sizeof b);
            part[j] |= (b & ~SIGN) + ((NAME(bits))1 << FRACTION);
        }
    }
    for (int j = 0; j < CHUNK; j++) carry |= part[j];
    for (; i < n; i++) {
        memcpy(&b, x + i, sizeof b);
        carry |= (b & ~SIGN) + ((NAME(bits))1 << FRACTION);
    }
    return !(carry & SIGN);
}

#undef PARTS
#undef FRACTION
#undef SIGN
