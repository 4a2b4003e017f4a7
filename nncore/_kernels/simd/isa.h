/* What the current translation unit is compiled for. The build compiles baseline.c, avx2.c and
 * avx512.c with different -march flags; the compiler's own macros then say what we may use.
 *
 * Every kernel is a template: a header without include guard, included once per type, that uses
 *   REAL            float or double
 *   REAL_IS_DOUBLE  0 or 1, for the preprocessor
 *   NAME(x)         x_f32 or x_f64
 * and defines nothing but static functions, so the three units never clash. */
#ifndef NNCORE_ISA_H
#define NNCORE_ISA_H

#include <string.h>

#include "simd.h"

#if defined(__AVX512F__)
#define ISA avx512
#define VECTOR_BYTES 64
#define VECTOR_REGISTERS 32
#elif defined(__AVX2__) && defined(__FMA__)
#define ISA avx2
#define VECTOR_BYTES 32
#define VECTOR_REGISTERS 16
#else
#define ISA baseline
#define VECTOR_BYTES 16
#if defined(__aarch64__) || defined(_M_ARM64)
#define VECTOR_REGISTERS 32
#else
#define VECTOR_REGISTERS 16
#endif
#endif

#if VECTOR_BYTES > 16
#include <immintrin.h>
#endif

/* Whether x * y + z is rounded once: where it is, kernels rely on it, on setup.py's -O2 and
 * -ffp-contract=fast, that is. */
#if defined(__FMA__) || defined(__aarch64__) || defined(__FP_FAST_FMAF)
#define FUSED 1
#else
#define FUSED 0
#endif

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
#define STRING_(x) #x
#define STRING(x) STRING_(x)
#define ISA_NAME STRING(ISA)

/* For kernels that are specialised by constant arguments, so it must happen also at -O1. */
#define ALWAYS_INLINE static inline __attribute__((always_inline))
/* For the out-of-line copies of those: keeps the compiler from merging them into their callers. */
#define NEVER_INLINE static __attribute__((noinline))

/* The compiler must not know where a pointer or a number came from, or it computes addresses (or
 * bits) in advance until registers run out. */
#define HIDE(value) __asm__("" : "+r"(value))

/* The compiler must not move loads below, or stores above: a load waits for a store to an address
 * that ends in the same 12 bits, as those of equal elements of large vectors do. */
#define LOADS_ARE_ABOVE __asm__ volatile("" ::: "memory")

/* Vectors are made of 16-byte blocks: the unit in which x86 shuffles cheaply; NEON has just one.
 * So many REALs are in a vector, in a block: */
#define LANES ((int)(VECTOR_BYTES / sizeof(REAL)))
#define BLOCK ((int)(16 / sizeof(REAL)))

#if defined(__GNUC__) && !defined(__clang__) && __GNUC__ < 12
#error "nncore needs GCC 12 or newer, or Clang"
#endif
/* The lanes of two vectors, numbered through, in the order of the list: SHUFFLE(a, b, list). */
#define SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
/* The list f(first lane) of every block. */
#if VECTOR_BYTES == 64
#define EACH_BLOCK(f) f(0), f(BLOCK), f(2 * BLOCK), f(3 * BLOCK)
#elif VECTOR_BYTES == 32
#define EACH_BLOCK(f) f(0), f(BLOCK)
#else
#define EACH_BLOCK(f) f(0)
#endif

typedef int64_t eight_bytes __attribute__((aligned(4), may_alias)); /* in memory */

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

/* n / size, rounded up, but at least 1. A division takes as long as dozens of multiply-adds, so
 * that small shapes, which are the most frequent, do without. */
ALWAYS_INLINE isize pieces(isize n, isize size)
{
    return n <= size ? 1 : size == 1 ? n : n <= 2 * size ? 2 : (n + size - 1) / size;
}

#endif
