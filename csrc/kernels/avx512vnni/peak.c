/* The most multiply-accumulates AVX-512 with VNNI can do; see avx2/peak.c. */
#include "../../engine/peak.h"

#define FMA(i)    "vfmadd231ps %%zmm12, %%zmm13, %%zmm" #i "\n\t"
#define DOT(i)    "vpdpbusd %%zmm12, %%zmm13, %%zmm" #i "\n\t"
#define TWELVE(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8) X(9) X(10) X(11)
#define LOOP(X)                                                                                    \
    __asm__ volatile("vzeroall\n\t.p2align 5\n1:\n\t" TWELVE(X) "dec %0\n\tjnz 1b\n\tvzeroupper"   \
                     : "+r"(n)                                                                     \
                     :                                                                             \
                     : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",       \
                       "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15")

static void f32(uint64_t n) {
    LOOP(FMA);
}

static void i8(uint64_t n) {
    LOOP(DOT);
}

/* Always into the same register: it is renamed. */
#define L(offset)     "vmovdqa64 " #offset "(%0), %%zmm0\n\t"
#define Q(a, b, c, d) L(a) L(b) L(c) L(d)
#define BLOCK         Q(0, 64, 128, 192) Q(256, 320, 384, 448)

static void load(const void *from, uint64_t blocks) {
    __asm__ volatile(".p2align 5\n1:\n\t" BLOCK "add $512, %0\n\tdec %1\n\tjnz 1b\n\tvzeroupper"
                     : "+r"(from), "+r"(blocks)
                     :
                     : "cc", "memory", "xmm0");
}

const ei_peak_loops ei_peak_avx512vnni = {{f32, 12 * 16}, {i8, 12 * 64}, load};
