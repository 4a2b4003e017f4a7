/* Compiled without -march: SSE2 on x86-64, NEON on AArch64, what the compiler has elsewhere. */
#include "tables.h"
