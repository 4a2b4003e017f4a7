/* Template: vectors of REAL, written with the compiler's vector extensions (GCC 12, Clang).
 *
 * A vector has LANES lanes in blocks of 16 bytes, BLOCK lanes each (isa.h, blocks.h). A `part` is
 * the first few lanes of a vector: the end of a row. */

typedef REAL NAME(vec) __attribute__((vector_size(VECTOR_BYTES)));
typedef REAL NAME(block) __attribute__((vector_size(16)));
/* The same in memory: at any address a REAL may have. */
typedef NAME(vec) NAME(vec_mem) __attribute__((aligned(REAL_IS_DOUBLE ? 8 : 4), may_alias));
typedef NAME(block) NAME(block_mem) __attribute__((aligned(REAL_IS_DOUBLE ? 8 : 4), may_alias));

ALWAYS_INLINE NAME(vec) NAME(load)(const REAL *p)
{
    return *(const NAME(vec_mem) *)p;
}

ALWAYS_INLINE void NAME(store)(REAL *p, NAME(vec) v)
{
    *(NAME(vec_mem) *)p = v;
}

/* Multiples 0 to 7 of a distance, in bytes. The compiler must not see through them: it would keep
 * all addresses of a transform at a time, most of them in memory, or work them out again and again.
 * So 0, 1, 2, 4 and 6 go into the address of a load or store, and only 3, 5 and 7 take a register
 * (Winograd, a tile of 16 channels, AVX-512: input 26 ns -> 22, and output, with its one pass over
 * the planes, 33 ns -> 19). */
typedef struct {
    isize one, three, five, seven;
} NAME(steps);

ALWAYS_INLINE NAME(steps) NAME(steps_of)(isize elements)
{
    const isize one = elements * (isize)sizeof(REAL);
    NAME(steps) s = {one, 3 * one, 5 * one, 7 * one};
    HIDE(s.three);
    HIDE(s.five);
    HIDE(s.seven);
    return s;
}

ALWAYS_INLINE isize NAME(times)(NAME(steps) s, const int j)
{
    if (j == 6) return 2 * s.three;
    return j == 3 ? s.three : j == 5 ? s.five : j == 7 ? s.seven : j * s.one;
}

ALWAYS_INLINE const REAL *NAME(at)(const REAL *p, isize bytes)
{
    return (const REAL *)((const char *)p + bytes);
}

ALWAYS_INLINE NAME(vec) NAME(load_at)(const REAL *p, isize bytes)
{
    return NAME(load)(NAME(at)(p, bytes));
}

ALWAYS_INLINE void NAME(store_at)(REAL *p, isize bytes, NAME(vec) v)
{
    NAME(store)((REAL *)((char *)p + bytes), v);
}

/* sum + factor * v, v at p; with AVX2 it is the product that reads v, which takes no register: the
 * compiler would load a v that is used several times. */
ALWAYS_INLINE NAME(vec) NAME(add_product)(NAME(vec) sum, NAME(vec) factor, const REAL *p)
{
#if VECTOR_BYTES == 32 && REAL_IS_DOUBLE
    __asm__("vfmadd231pd %2, %1, %0" : "+x"(sum) : "x"(factor), "m"(*(const NAME(vec_mem) *)p));
    return sum;
#elif VECTOR_BYTES == 32
    __asm__("vfmadd231ps %2, %1, %0" : "+x"(sum) : "x"(factor), "m"(*(const NAME(vec_mem) *)p));
    return sum;
#else
    return sum + factor * NAME(load)(p);
#endif
}

/* ---- parts: memory beyond the first n <= LANES lanes is neither read nor written ---- */

#if VECTOR_BYTES == 64
#if REAL_IS_DOUBLE
typedef __mmask8 NAME(mask);
#define X86_(op) _mm512_##op##_pd
#else
typedef __mmask16 NAME(mask);
#define X86_(op) _mm512_##op##_ps
#endif

ALWAYS_INLINE NAME(mask) NAME(mask_first)(isize n)
{
    return (NAME(mask))((1u << n) - 1);
}

ALWAYS_INLINE NAME(vec) NAME(load_part)(const REAL *p, NAME(mask) m)
{
    return (NAME(vec))X86_(maskz_loadu)(m, p);
}

ALWAYS_INLINE void NAME(store_part)(REAL *p, NAME(mask) m, NAME(vec) v)
{
    X86_(mask_storeu)(p, m, v);
}

#elif VECTOR_BYTES == 32
typedef struct {
    __m256i lanes;
    int n; /* how many */
} NAME(mask);

ALWAYS_INLINE NAME(mask) NAME(mask_first)(isize n)
{
#if REAL_IS_DOUBLE
    const __m256i lanes = _mm256_setr_epi64x(0, 1, 2, 3);
    return (NAME(mask)){_mm256_cmpgt_epi64(_mm256_set1_epi64x(n), lanes), (int)n};
#else
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return (NAME(mask)){_mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), lanes), (int)n};
#endif
}

ALWAYS_INLINE NAME(vec) NAME(load_part)(const REAL *p, NAME(mask) m)
{
#if REAL_IS_DOUBLE
    return (NAME(vec))_mm256_maskload_pd(p, m.lanes);
#else
    return (NAME(vec))_mm256_maskload_ps(p, m.lanes);
#endif
}

#define COUNT_(m) (m).n

#else
typedef isize NAME(mask); /* the number of lanes itself */

ALWAYS_INLINE NAME(mask) NAME(mask_first)(isize n)
{
    return n;
}

/* Out of line, as store_part below: inline the two made this table a quarter larger. */
NEVER_INLINE NAME(vec) NAME(load_part)(const REAL *p, NAME(mask) m)
{
    if (m == LANES) return NAME(load)(p);
    NAME(vec) v = {0};
    for (int i = 0; i < LANES; i++)
        if (i < m) v[i] = p[i];
    return v;
}

#define COUNT_(m) (m)
#endif

#if VECTOR_BYTES == 64
#undef X86_
ALWAYS_INLINE void NAME(store_parts)(REAL *p, isize step, NAME(mask) m, const NAME(vec) *v, int n)
{
#pragma GCC unroll 16
    for (int i = 0; i < n; i++) NAME(store_part)(p + i * step, m, v[i]);
}
#else
/* The parts of n vectors, `step` apart, as two pieces that overlap: that takes a quarter of AVX2's
 * masked stores (Zen 3: 1.5 ns instead of 5.8; 128 rows of 16 -> 10 units 1.8 -> 1.4 us, 6 filters
 * of 5 x 5 in 28 x 28 6.9 -> 4.9 us an image, with more rows to a tile). */
ALWAYS_INLINE void NAME(copy_parts)(REAL *p, isize step, NAME(mask) m, const NAME(vec) *v, int n)
{
    const isize bytes = COUNT_(m) * (isize)sizeof(REAL);
    char *to = (char *)p;
    const char *from = (const char *)v;
#define COPY(type)                                                                                 \
    for (; n > 0; n--, to += step * (isize)sizeof(REAL), from += VECTOR_BYTES) {                   \
        const isize last = bytes - (isize)sizeof(type);                                            \
        const type head = *(const type *)from, tail = *(const type *)(from + last);                \
        *(type *)to = head;                                                                        \
        *(type *)(to + last) = tail;                                                               \
    }
    if (bytes >= (isize)sizeof(NAME(block))) {
        COPY(NAME(block_mem))
    } else if (bytes >= 8) {
        COPY(eight_bytes)
    } else if (!REAL_IS_DOUBLE && bytes) {
        COPY(REAL)
    }
#undef COPY
}

/* Out of line: it would be a tenth of the code of all tiles. */
NEVER_INLINE void NAME(store_parts)(REAL *p, isize step, NAME(mask) m, const NAME(vec) *v, int n)
{
    NAME(copy_parts)(p, step, m, v, n);
}

ALWAYS_INLINE void NAME(store_part)(REAL *p, NAME(mask) m, NAME(vec) v)
{
#if VECTOR_BYTES == 32
    NAME(copy_parts)(p, 0, m, &v, 1);
#else
    NAME(store_parts)(p, 0, m, &v, 1);
#endif
}
#endif
#undef COUNT_

/* A whole vector, or the part of one. */
ALWAYS_INLINE NAME(vec) NAME(load_lanes)(const REAL *p, int whole, NAME(mask) m)
{
    return whole ? NAME(load)(p) : NAME(load_part)(p, m);
}

ALWAYS_INLINE void NAME(store_lanes)(REAL *p, int whole, NAME(mask) m, NAME(vec) v)
{
    if (whole)
        NAME(store)(p, v);
    else
        NAME(store_part)(p, m, v);
}

/* A loop over `n` elements (a variable of that name), a vector at a time, whose body follows: GET
 * and PUT are the vector at `at`, the last one a part. What a compiler makes of loops over elements
 * ends with more code than the loop, and slower (AVX-512, an LSTM of 37 units: 122 ns instead of
 * 76). */
#define BY_VECTORS(...)                                                                            \
    do {                                                                                           \
        isize at = 0;                                                                              \
        for (; at + LANES <= n; at += LANES) {                                                     \
            const int whole = 1;                                                                   \
            __VA_ARGS__;                                                                           \
        }                                                                                          \
        if (at < n) {                                                                              \
            const int whole = 0;                                                                   \
            __VA_ARGS__;                                                                           \
        }                                                                                          \
    } while (0)
#define GET(p) NAME(load_lanes)((p) + at, whole, NAME(mask_first)(whole ? 0 : n - at))
#define PUT(p, v) NAME(store_lanes)((p) + at, whole, NAME(mask_first)(whole ? 0 : n - at), v)

/* f of each lane: vector instructions, if f has no branches and the compiler leaves it a loop. */
ALWAYS_INLINE NAME(vec) NAME(lanes_of)(NAME(vec) x, REAL (*f)(REAL))
{
#if defined(__clang__)
    REAL lanes[LANES];
    NAME(store)(lanes, x);
#pragma clang loop vectorize(enable) interleave(disable)
    for (int i = 0; i < LANES; i++) lanes[i] = f(lanes[i]);
    return NAME(load)(lanes);
#else
#pragma GCC unroll 1
    for (int i = 0; i < LANES; i++) x[i] = f(x[i]);
    return x;
#endif
}
