/* Compiled with -march=x86-64-v3: AVX2 and FMA. Empty where the flags do not say so. */
#if defined(__AVX2__) && defined(__FMA__)
#include "tables.h"
#else
typedef int nothing_here;
#endif
