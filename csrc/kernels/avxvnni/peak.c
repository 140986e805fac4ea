/* The most multiply-accumulates VPDPBUSD of 256 bits can do; the rest as with AVX2. See
 * avx2/peak.c. */
#include "../../engine/peak.h"

#define FMA(i) "vfmadd231ps %%ymm12, %%ymm13, %%ymm" #i "\n\t"
#define TWELVE FMA(0) FMA(1) FMA(2) FMA(3) FMA(4) FMA(5) FMA(6) FMA(7) FMA(8) FMA(9) FMA(10) FMA(11)
#define DOT(i) "%{vex%} vpdpbusd %%ymm12, %%ymm13, %%ymm" #i "\n\t"
#define DOTS   DOT(0) DOT(1) DOT(2) DOT(3) DOT(4) DOT(5) DOT(6) DOT(7) DOT(8) DOT(9) DOT(10) DOT(11)
#define LOOP(body)                                                                                 \
    __asm__ volatile("vzeroall\n\t.p2align 5\n1:\n\t" body "dec %0\n\tjnz 1b\n\tvzeroupper"        \
                     : "+r"(n)                                                                     \
                     :                                                                             \
                     : "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",       \
                       "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15")

static void f32(uint64_t n) {
    LOOP(TWELVE);
}

static void i8(uint64_t n) {
    LOOP(DOTS);
}

/* Always into the same register: it is renamed. */
#define L(offset)     "vmovdqa " #offset "(%0), %%ymm0\n\t"
#define Q(a, b, c, d) L(a) L(b) L(c) L(d)
#define BLOCK Q(0, 32, 64, 96) Q(128, 160, 192, 224) Q(256, 288, 320, 352) Q(384, 416, 448, 480)

static void load(const void *from, uint64_t blocks) {
    __asm__ volatile(".p2align 5\n1:\n\t" BLOCK "add $512, %0\n\tdec %1\n\tjnz 1b\n\tvzeroupper"
                     : "+r"(from), "+r"(blocks)
                     :
                     : "cc", "memory", "xmm0");
}

const ei_peak_loops ei_peak_avxvnni = {{f32, 12 * 8}, {i8, 12 * 32}, load};
