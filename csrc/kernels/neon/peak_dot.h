/* The most multiply-accumulates one instruction for 8-bit factors, EI_DOT, can do; floats as with
 * plain NEON. See avx2/peak.c. */
#ifndef EI_NEON_PEAK_DOT_H
#define EI_NEON_PEAK_DOT_H

#include "../../engine/peak.h"

#define FMA(i)   "fmla v" #i ".4s, v30.4s, v31.4s\n\t"
#define DOT(i)   EI_DOT " v" #i ".4s, v30.16b, v31.16b\n\t"
#define FIRST(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7)
#define LAST(X)  X(8) X(9) X(10) X(11) X(12) X(13) X(14) X(15)
#define LOOP(X)                                                                                    \
    __asm__ volatile("movi v30.16b, #0\n\tmovi v31.16b, #0\n\t.p2align 5\n1:\n\t" FIRST(X)         \
                         LAST(X) "subs %0, %0, #1\n\tb.ne 1b\n\t"                                  \
                     : "+r"(n)                                                                     \
                     :                                                                             \
                     : "cc", "v0", "v1", "v2", "v3", "v4", "v5", "v6", "v7", "v8", "v9", "v10",    \
                       "v11", "v12", "v13", "v14", "v15", "v30", "v31")

static void f32(uint64_t n) {
    LOOP(FMA);
}

static void i8(uint64_t n) {
    LOOP(DOT);
}

#define PAIR "ldp q0, q1, [%0], #32\n\tldp q2, q3, [%0], #32\n\t"
#define FOUR PAIR PAIR PAIR PAIR

static void load(const void *from, uint64_t blocks) {
    __asm__ volatile(".p2align 5\n1:\n\t" FOUR FOUR "subs %1, %1, #1\n\tb.ne 1b\n\t"
                     : "+r"(from), "+r"(blocks)
                     :
                     : "cc", "memory", "v0", "v1", "v2", "v3");
}

#endif
