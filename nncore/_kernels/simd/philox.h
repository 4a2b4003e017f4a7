/* Philox 4x32-10, the counter-based random generator (Salmon, Moraes, Dror, Shaw: "Parallel random
 * numbers: as easy as 1, 2, 3", 2011), and the dropout mask drawn from it. */
#ifndef NNCORE_SIMD_PHILOX_H
#define NNCORE_SIMD_PHILOX_H

#include <stdint.h>
#include <string.h>

#include "isa.h"
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

/* The same word of several blocks, each in the low half of a 64-bit lane: so the product of two
 * words fits. High halves hold what is left of that, and nobody reads them. */
typedef uint64_t words __attribute__((vector_size(VECTOR_BYTES)));
#define WORDS ((int)(VECTOR_BYTES / sizeof(uint64_t)))

/* The product of the low halves. An instruction of its own, which gcc 12 does not find: it makes
 * the mask three times as fast (0.4 ns an element instead of 1.2). */
ALWAYS_INLINE words multiply(words a, uint32_t b)
{
#if VECTOR_BYTES == 64
    return (words)_mm512_mul_epu32((__m512i)a, _mm512_set1_epi64(b));
#elif VECTOR_BYTES == 32
    return (words)_mm256_mul_epu32((__m256i)a, _mm256_set1_epi64x(b));
#elif defined(__SSE2__)
    return (words)_mm_mul_epu32((__m128i)a, _mm_set1_epi64x(b));
#else
    return (a & 0xFFFFFFFFu) * b;
#endif
}

/* counter[0..3]: the counters of WORDS blocks in, their random words out. Two vectors of blocks
 * side by side, because one would wait for its multiplications. */
ALWAYS_INLINE void philox(words counter[2][4], uint64_t key)
{
    uint32_t key_0 = (uint32_t)key, key_1 = (uint32_t)(key >> 32);
    for (int round = 0; round < 10; round++) {
        for (int v = 0; v < 2; v++) {
            words *c = counter[v];
            const words even = multiply(c[0], 0xD2511F53u), odd = multiply(c[2], 0xCD9E8D57u);
            c[0] = (odd >> 32) ^ c[1] ^ key_0;
            c[1] = odd;
            c[2] = (even >> 32) ^ c[3] ^ key_1;
            c[3] = even;
        }
        key_0 += 0x9E3779B9u;
        key_1 += 0xBB67AE85u;
    }
}

/* keep[i] for the 8 * WORDS elements from 4 * block on: word i % 4 of block i / 4 is at least
 * `threshold`. The counter is (block, step). */
static inline void dropout_chunk(uint8_t *keep, uint64_t block, uint32_t threshold, uint64_t key,
                                 uint64_t step)
{
    words counter[2][4];
    for (int v = 0; v < 2; v++) {
        for (int b = 0; b < WORDS; b++)
            counter[v][0][b] = block + (uint64_t)(v * WORDS + b);
        counter[v][1] = counter[v][0] >> 32;
        counter[v][2] = (words){0} + step;
        counter[v][3] = counter[v][2] >> 32;
    }
    philox(counter, key);
    uint64_t word[2][4][WORDS];
    memcpy(word, counter, sizeof word);
    for (int v = 0; v < 2; v++)
        for (int b = 0; b < WORDS; b++) {
            uint32_t kept = 0; /* four bytes */
            for (int j = 0; j < 4; j++)
                kept |= (uint32_t)((uint32_t)word[v][j][b] >= threshold) << (8 * j);
            memcpy(keep + 4 * (v * WORDS + b), &kept, sizeof kept);
        }
}

static void dropout_mask(uint8_t *keep, isize first, isize n, double rate, uint64_t key,
                         uint64_t step)
{
    enum { chunk = 8 * WORDS };
    if (rate >= 1) { /* 2^32 is no uint32_t */
        memset(keep, 0, (size_t)n);
        return;
    }
    const uint32_t threshold = (uint32_t)(rate * 4294967296.0);
    uint64_t block = (uint64_t)(first / 4);
    isize skip = first % 4; /* of the first block */
    while (n > 0) {
        if (skip == 0 && n >= chunk) {
            dropout_chunk(keep, block, threshold, key, step);
            keep += chunk;
            n -= chunk;
        } else { /* the ends: part of a chunk */
            uint8_t whole[chunk];
            dropout_chunk(whole, block, threshold, key, step);
            const isize part = MIN(n, chunk - skip);
            memcpy(keep, whole + skip, (size_t)part);
            keep += part;
            n -= part;
            skip = 0;
        }
        block += chunk / 4;
    }
}

#undef WORDS
#endif
