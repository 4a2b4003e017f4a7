/* Compiled with -march=x86-64-v3: AVX2 and FMA. Else empty. */
#if defined(__AVX2__) && defined(__FMA__)
#include "tables.h"
#else
typedef int nothing_here;
#endif
