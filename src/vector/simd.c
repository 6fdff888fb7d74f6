/*
 * The choice of instruction set: what the processor has, or what was asked for.
 */
#include "vector/simd.h"

static bool has_avx2(void)
{
#ifdef __x86_64__
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#else
    return false;
#endif
}

static bool has_avx512(void)
{
#ifdef __x86_64__
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vnni");
#else
    return false;
#endif
}

enum status simd_choose(enum vec_isa isa, const struct simd **out, struct err *err)
{
    if (isa > VEC_ISA_AVX512) {
        return err_set(err, E_INVALID, "there is no instruction set %d", (int)isa);
    }
    if ((isa == VEC_ISA_AVX2 && !has_avx2()) || (isa == VEC_ISA_AVX512 && !has_avx512())) {
        return err_set(err, E_UNSUPPORTED, "this processor has no %s",
                       isa == VEC_ISA_AVX2 ? "AVX2 with FMA" : "AVX-512 with VNNI");
    }
    *out = &simd_plain;
#ifdef __x86_64__
    if (isa == VEC_ISA_AVX512 || (isa == VEC_ISA_BEST && has_avx512())) {
        *out = &simd_avx512;
    } else if (isa == VEC_ISA_AVX2 || (isa == VEC_ISA_BEST && has_avx2())) {
        *out = &simd_avx2;
    }
#endif
    return OK;
}
