/* Compiled with -march=x86-64-v4: AVX-512 F, BW, CD, DQ, VL. Else empty. */
#if defined(__AVX512F__)
#include "tables.h"
#else
typedef int nothing_here;
#endif
