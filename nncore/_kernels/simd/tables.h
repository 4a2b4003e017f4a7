/* All kernels of this translation unit's instruction set: the templates for float and for double.
 * Defines f32_<isa> and f64_<isa>, which select.c hands out. */
#include "isa.h"

#define REAL float
#define REAL_IS_DOUBLE 0
#define NAME(x) x##_f32
#define TABLE(x) PASTE(f32_, x)
#include "table.h"
#undef REAL
#undef REAL_IS_DOUBLE
#undef NAME
#undef TABLE

#define REAL double
#define REAL_IS_DOUBLE 1
#define NAME(x) x##_f64
#define TABLE(x) PASTE(f64_, x)
#include "table.h"
