/* The most multiply-accumulates Advanced SIMD can do; see avx2/peak.c.
 * 8-bit factors: two widening multiplies into int16 lanes, then a pairwise add into int32. */
#include "../../engine/peak.h"

#define FMA(i) "fmla v" #i ".4s, v30.4s, v31.4s\n\t"
#define FIRST  FMA(0) FMA(1) FMA(2) FMA(3) FMA(4) FMA(5) FMA(6) FMA(7)
#define LAST   FMA(8) FMA(9) FMA(10) FMA(11) FMA(12) FMA(13) FMA(14) FMA(15)
#define DOT(acc, tmp)                                                                              \
    "smull v" #tmp ".8h, v30.8b, v31.8b\n\t"                                                       \
    "smlal2 v" #tmp ".8h, v30.16b, v31.16b\n\t"                                                    \
    "sadalp v" #acc ".4s, v" #tmp ".8h\n\t"
#define EIGHT DOT(0, 8) DOT(1, 9) DOT(2, 10) DOT(3, 11) DOT(4, 12) DOT(5, 13) DOT(6, 14) DOT(7, 15)
#define LOOP(body)                                                                                 \
    __asm__ volatile("movi v30.16b, #0\n\tmovi v31.16b, #0\n\t.p2align 5\n1:\n\t" body             \
                     "subs %0, %0, #1\n\tb.ne 1b\n\t"                                              \
                     : "+r"(n)                                                                     \
                     :                                                                             \
                     : "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10",    \
                       "v11", "v12", "v13", "v14", "v15", "v30", "v31")

static void f32(uint64_t n) {
    LOOP(FIRST LAST);
}

static void i8(uint64_t n) {
    LOOP(EIGHT);
}

#define PAIR "ldp q0, q1, [%0], #32\n\tldp q2, q3, [%0], #32\n\t"
#define FOUR PAIR PAIR PAIR PAIR

static void load(const void *from, uint64_t blocks) {
    __asm__ volatile(".p2align 5\n1:\n\t" FOUR FOUR "subs %1, %1, #1\n\tb.ne 1b\n\t"
                     : "+r"(from), "+r"(blocks)
                     :
                     : "cc", "memory", "v0", "v1", "v2", "v3");
}

const ei_peak_loops ei_peak_neon = {{f32, 16 * 4}, {i8, 8 * 16}, load};
