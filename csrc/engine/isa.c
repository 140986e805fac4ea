/* Which instruction sets this machine has, asked of the processor and the operating system
 * itself: compilers' helpers (__builtin_cpu_supports) answer 0 for everything under some. */
#include "../edgeinfer.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[EI_ISAS] = {"ref",     "avx2", "avx512vnni", "neon",
                                           "dotprod", "i8mm", "avxvnni"};

const char *ei_isa_name(int isa) {
    return isa >= 0 && isa < EI_ISAS ? names[isa] : NULL;
}

#if defined(__x86_64__)
#include <cpuid.h>

/* XCR0: which register files the operating system saves on a context switch. */
static uint64_t xcr0(void) {
    uint32_t lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return (uint64_t)hi << 32 | lo;
}

static unsigned detect(void) {
    unsigned a, b, c, d, found = 1u << EI_ISA_REF;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & bit_OSXSAVE)) return found;
    unsigned fma = c & bit_FMA, f16c = c & bit_F16C;
    uint64_t os = xcr0();
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (os & 0x6) != 0x6) return found;
    if (!(b & bit_AVX2) || !fma || !f16c) return found;
    found |= 1u << EI_ISA_AVX2;
    unsigned need = bit_AVX512F | bit_AVX512BW | bit_AVX512DQ | bit_AVX512VL;
    if ((b & need) == need && (c & bit_AVX512VNNI) && (os & 0xe6) == 0xe6)
        found |= 1u << EI_ISA_AVX512VNNI;
#ifdef EI_AVXVNNI_IN_EVEX /* tests: where the folder is compiled for AVX-512, it runs there */
    if (found >> EI_ISA_AVX512VNNI & 1) found |= 1u << EI_ISA_AVXVNNI;
#endif
    if (__get_cpuid_count(7, 1, &a, &b, &c, &d) && (a & 1u << 4)) found |= 1u << EI_ISA_AVXVNNI;
    return found;
}
#elif defined(__aarch64__)
#include <sys/auxv.h>

static unsigned detect(void) {
    unsigned found = 1u << EI_ISA_REF | 1u << EI_ISA_NEON; /* NEON is part of AArch64 */
    if (!(getauxval(AT_HWCAP) & (1u << 20))) return found; /* HWCAP_ASIMDDP */
    found |= 1u << EI_ISA_DOTPROD;
    if (getauxval(AT_HWCAP2) & (1u << 13)) found |= 1u << EI_ISA_I8MM; /* HWCAP2_I8MM */
    return found;
}
#else
static unsigned detect(void) {
    return 1u << EI_ISA_REF;
}
#endif

int ei_isa_has(int isa) {
    static unsigned found; /* every thread computes the same value: a race is harmless */
    unsigned mask = __atomic_load_n(&found, __ATOMIC_RELAXED);
    if (!mask) {
        mask = detect();
        __atomic_store_n(&found, mask, __ATOMIC_RELAXED);
    }
    return isa >= 0 && isa < EI_ISAS && (mask >> isa & 1);
}

static const int best_first[] = {EI_ISA_AVX512VNNI, EI_ISA_AVXVNNI, EI_ISA_AVX2, EI_ISA_I8MM,
                                 EI_ISA_DOTPROD,    EI_ISA_NEON,    EI_ISA_REF};

int ei_isa_best(void) {
    const char *forced = getenv("EDGEINFER_ISA");
    if (forced)
        for (int i = 0; i < EI_ISAS; i++)
            if (!strcmp(forced, names[i]) && ei_isa_has(i)) return i;
    for (const int *isa = best_first; *isa; isa++)
        if (ei_isa_has(*isa)) return *isa;
    return EI_ISA_REF;
}
