/* Template: the blocks of 16 bytes that vectors are made of: permuted, gathered, transposed and
 * added up. */

/* Lane i is lane from[i] of v. */
#if REAL_IS_DOUBLE
typedef int64_t NAME(lanes) __attribute__((vector_size(VECTOR_BYTES)));
#else
typedef int32_t NAME(lanes) __attribute__((vector_size(VECTOR_BYTES)));
#endif
ALWAYS_INLINE NAME(vec) NAME(permute)(NAME(vec) v, NAME(lanes) from)
{
#if defined(__GNUC__) && !defined(__clang__)
    return __builtin_shuffle(v, from);
#else
    NAME(vec) w;
    for (int i = 0; i < LANES; i++) w[i] = v[from[i]];
    return w;
#endif
}

/* One vector from LANES / BLOCK blocks in memory, `offset[0]`, `offset[step]`, ... from p. */
ALWAYS_INLINE NAME(vec) NAME(load_blocks)(const REAL *p, const isize *offset, int step)
{
#define AT_(g) (*(const NAME(block_mem) *)(p + offset[(g) * step]))
#if VECTOR_BYTES == 64 && REAL_IS_DOUBLE
    __m512d v = _mm512_castpd128_pd512(AT_(0));
    v = _mm512_insertf64x2(v, AT_(1), 1);
    v = _mm512_insertf64x2(v, AT_(2), 2);
    return (NAME(vec))_mm512_insertf64x2(v, AT_(3), 3);
#elif VECTOR_BYTES == 64
    __m512 v = _mm512_castps128_ps512(AT_(0));
    v = _mm512_insertf32x4(v, AT_(1), 1);
    v = _mm512_insertf32x4(v, AT_(2), 2);
    return (NAME(vec))_mm512_insertf32x4(v, AT_(3), 3);
#elif VECTOR_BYTES == 32 && REAL_IS_DOUBLE
    return (NAME(vec))_mm256_insertf128_pd(_mm256_castpd128_pd256(AT_(0)), AT_(1), 1);
#elif VECTOR_BYTES == 32
    return (NAME(vec))_mm256_insertf128_ps(_mm256_castps128_ps256(AT_(0)), AT_(1), 1);
#else
    (void)step;
    return AT_(0);
#endif
#undef AT_
}

/* The sum of the blocks of v. Halves are added first, always, so the bits are the same. */
ALWAYS_INLINE NAME(block) NAME(add_blocks)(NAME(vec) v)
{
#if VECTOR_BYTES == 64 && REAL_IS_DOUBLE
    __m256d h = _mm512_castpd512_pd256(v) + _mm512_extractf64x4_pd(v, 1);
    return (NAME(block))(_mm256_castpd256_pd128(h) + _mm256_extractf128_pd(h, 1));
#elif VECTOR_BYTES == 64
    __m256 h = _mm512_castps512_ps256(v) + _mm512_extractf32x8_ps(v, 1);
    return (NAME(block))(_mm256_castps256_ps128(h) + _mm256_extractf128_ps(h, 1));
#elif VECTOR_BYTES == 32 && REAL_IS_DOUBLE
    return (NAME(block))(_mm256_castpd256_pd128(v) + _mm256_extractf128_pd(v, 1));
#elif VECTOR_BYTES == 32
    return (NAME(block))(_mm256_castps256_ps128(v) + _mm256_extractf128_ps(v, 1));
#else
    return v;
#endif
}

/* Transpose BLOCK vectors blockwise: lane i of a block in row j <-> lane j in row i. */
ALWAYS_INLINE void NAME(transpose_blocks)(NAME(vec) *r)
{
#define FIRST_(g) (g), (g) + LANES
#define SECOND_(g) (g) + 1, (g) + LANES + 1
#define THIRD_(g) (g) + 2, (g) + LANES + 2
#define FOURTH_(g) (g) + 3, (g) + LANES + 3
#define FIRST_PAIR_(g) (g), (g) + 1, (g) + LANES, (g) + LANES + 1
#define SECOND_PAIR_(g) (g) + 2, (g) + 3, (g) + LANES + 2, (g) + LANES + 3
#define LOW_(g) FIRST_(g), SECOND_(g)
#define HIGH_(g) THIRD_(g), FOURTH_(g)
#if REAL_IS_DOUBLE
    NAME(vec) low = SHUFFLE(r[0], r[1], EACH_BLOCK(FIRST_));
    r[1] = SHUFFLE(r[0], r[1], EACH_BLOCK(SECOND_));
    r[0] = low;
#else
    NAME(vec) a = SHUFFLE(r[0], r[1], EACH_BLOCK(LOW_));
    NAME(vec) b = SHUFFLE(r[2], r[3], EACH_BLOCK(LOW_));
    NAME(vec) c = SHUFFLE(r[0], r[1], EACH_BLOCK(HIGH_));
    NAME(vec) d = SHUFFLE(r[2], r[3], EACH_BLOCK(HIGH_));
    r[0] = SHUFFLE(a, b, EACH_BLOCK(FIRST_PAIR_));
    r[1] = SHUFFLE(a, b, EACH_BLOCK(SECOND_PAIR_));
    r[2] = SHUFFLE(c, d, EACH_BLOCK(FIRST_PAIR_));
    r[3] = SHUFFLE(c, d, EACH_BLOCK(SECOND_PAIR_));
#endif
}

/* The sums of BLOCK vectors side by side. The order of additions depends on nothing. */
ALWAYS_INLINE NAME(block) NAME(add_lanes)(const NAME(vec) *r)
{
#if REAL_IS_DOUBLE
    NAME(vec) sum = SHUFFLE(r[0], r[1], EACH_BLOCK(FIRST_));
    sum += SHUFFLE(r[0], r[1], EACH_BLOCK(SECOND_));
#else
    NAME(vec) a = SHUFFLE(r[0], r[1], EACH_BLOCK(LOW_)) + SHUFFLE(r[0], r[1], EACH_BLOCK(HIGH_));
    NAME(vec) b = SHUFFLE(r[2], r[3], EACH_BLOCK(LOW_)) + SHUFFLE(r[2], r[3], EACH_BLOCK(HIGH_));
    NAME(vec) sum = SHUFFLE(a, b, EACH_BLOCK(FIRST_PAIR_));
    sum += SHUFFLE(a, b, EACH_BLOCK(SECOND_PAIR_));
#endif
    return NAME(add_blocks)(sum);
}
#undef FIRST_
#undef SECOND_
#undef THIRD_
#undef FOURTH_
#undef FIRST_PAIR_
#undef SECOND_PAIR_
#undef LOW_
#undef HIGH_
