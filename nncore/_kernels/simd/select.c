/* Which tables run here: the only file that asks the CPU. */
#include <string.h>

#include "simd.h"

extern const f32_table f32_baseline, f32_avx2, f32_avx512;
extern const f64_table f64_baseline, f64_avx2, f64_avx512;

#if defined(__x86_64__)
/* Each list is what the -march level lets the compiler use. __builtin_cpu_supports also asks
 * whether the operating system saves the wide registers. */
static int runs_avx2(void)
{
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2") &&
           __builtin_cpu_supports("popcnt");
}

static int runs_avx512(void)
{
    return runs_avx2() && __builtin_cpu_supports("avx512f") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512cd") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}
#endif

simd_tables simd_select(const char *isa)
{
    int one_stream = 0;
#if defined(__x86_64__)
    __builtin_cpu_init();
    /* Zen 5 (the AMD that has this instruction), as measured: gemm_dot.h. */
    one_stream = __builtin_cpu_is("amd") && __builtin_cpu_supports("avx512vp2intersect");
    if ((!isa || !strcmp(isa, "avx512")) && runs_avx512())
        return (simd_tables){&f32_avx512, &f64_avx512, one_stream};
    if ((!isa || !strcmp(isa, "avx2")) && runs_avx2())
        return (simd_tables){&f32_avx2, &f64_avx2, one_stream};
#endif
    if (!isa || !strcmp(isa, "baseline"))
        return (simd_tables){&f32_baseline, &f64_baseline, one_stream};
    return (simd_tables){NULL, NULL, 0};
}
