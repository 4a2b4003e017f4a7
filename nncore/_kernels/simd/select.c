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
    int near = ROWS_TOGETHER, far = ROWS_TOGETHER;
#if defined(__x86_64__)
    __builtin_cpu_init();
    /* As measured, gemm_dot.h, on Zen 5, which is the AMD that has this instruction, and on Zen 4,
     * which stands for the older ones. */
    if (__builtin_cpu_is("amd") && __builtin_cpu_supports("avx512vp2intersect"))
        near = ROWS_ASKED_FOR;
    else if (__builtin_cpu_is("amd"))
        far = ROWS_IN_TURN;
    if ((!isa || !strcmp(isa, "avx512")) && runs_avx512())
        return (simd_tables){&f32_avx512, &f64_avx512, near, far};
    if ((!isa || !strcmp(isa, "avx2")) && runs_avx2())
        return (simd_tables){&f32_avx2, &f64_avx2, near, far};
#endif
    if (!isa || !strcmp(isa, "baseline"))
        return (simd_tables){&f32_baseline, &f64_baseline, near, far};
    return (simd_tables){NULL, NULL, near, far};
}
