/* CONV_2D and FULLY_CONNECTED in 8 bits on SMMLA, layout EI_LAYOUT_I8MM_GEMM_Q8: that of
 * ../gemm_q8.h with nr = 8 and unit = 8. SMMLA multiplies two rows with two columns, 8 deep.
 *
 * Inner loop, 8 rows x 8 columns x 16 deep = 1024 multiply-adds: 8 + 4 loads, 8 ZIP to bring pairs
 * of rows together, 32 SMMLA, so 0.055 instructions a multiply-add. */
#include "../neon/gemm_q8.h"

enum { MR = 8, NR = 8, UNIT = 8, PAIRS = MR / 2 };

static inline int8x16_t first8(int8x16_t a, int8x16_t b) {
    return vreinterpretq_s8_s64(vzip1q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}

static inline int8x16_t last8(int8x16_t a, int8x16_t b) {
    return vreinterpretq_s8_s64(vzip2q_s64(vreinterpretq_s64_s8(a), vreinterpretq_s64_s8(b)));
}

/* In assembly because gcc 12 moves and spills accumulators when this is an intrinsic: 68 instead of
 * 56 instructions in the inner loop. */
static inline int32x4_t multiply(int32x4_t acc, int8x16_t a, int8x16_t b) {
    __asm__("smmla %0.4s, %1.16b, %2.16b" : "+w"(acc) : "w"(a), "w"(b));
    return acc;
}

/* Eight deep for all pairs of rows: four registers of weights, one after the other. */
static inline __attribute__((always_inline)) const int8_t *
deep8(int rows, const int8_t *w, const int8x16_t *pairs, int32x4_t (*acc)[4]) {
#pragma GCC unroll 4
    for (int j = 0; j < 4; j++, w += 16) {
        int8x16_t b = vld1q_s8(w);
#pragma GCC unroll 4
        for (int i = 0; 2 * i < rows; i++) acc[i][j] = multiply(acc[i][j], pairs[i], b);
    }
    return w;
}

/* Accumulators of pairs of rows: [pair][j] holds columns 2 j and 2 j + 1 of both. The last of an
 * odd number of rows is a pair with itself. `rows` is a constant after inlining. */
static inline __attribute__((always_inline)) const int8_t *
segment(int rows, const int8_t *a, const int8_t *w, const ei_tile_q8 *t, int32x4_t (*acc)[4]) {
    int64_t k = t->length;
    int8x16_t first[PAIRS], last[PAIRS];
    for (; k >= 16; k -= 16, a += 16) {
#pragma GCC unroll 4
        for (int i = 0; i < rows; i += 2) {
            int8x16_t one = vld1q_s8(a + i * t->lda), two = one;
            if (i + 1 < rows) two = vld1q_s8(a + (i + 1) * t->lda);
            first[i / 2] = first8(one, two), last[i / 2] = last8(one, two);
        }
        w = deep8(rows, deep8(rows, w, first, acc), last, acc);
    }
    if (k > 0) {
#pragma GCC unroll 4
        for (int i = 0; i < rows; i += 2) {
            int8x8_t one = vld1_s8(a + i * t->lda), two = one;
            if (i + 1 < rows) two = vld1_s8(a + (i + 1) * t->lda);
            first[i / 2] = vcombine_s8(one, two);
        }
        w = deep8(rows, w, first, acc);
    }
    return w;
}

static inline int32x4_t row_of(int32x4_t a, int32x4_t b, bool second) {
    int64x2_t x = vreinterpretq_s64_s32(a), y = vreinterpretq_s64_s32(b);
    return vreinterpretq_s32_s64(second ? vzip2q_s64(x, y) : vzip1q_s64(x, y));
}

static inline __attribute__((always_inline)) void tile(int rows, const ei_tile_q8 *t) {
    int32x4_t acc[PAIRS][4];
#pragma GCC unroll 4
    for (int i = 0; i < rows; i += 2)
#pragma GCC unroll 4
        for (int j = 0; j < 4; j++) {
            int32x2_t bias = vld1_s32(t->r.bias + 2 * j);
            acc[i / 2][j] = vcombine_s32(bias, bias);
        }
    const int8_t *w = t->w;
    for (int s = 0; s < t->segments; s++) w = segment(rows, ei_tile_segment(t, s), w, t, acc);
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
        int32x4_t *c = acc[i / 2], extra = ei_row_term(t, i);
        ei_store_row8(t, i, vaddq_s32(row_of(c[0], c[1], i % 2), extra),
                      vaddq_s32(row_of(c[2], c[3], i % 2), extra));
    }
}

#define TILE(n)                                                                                    \
    static __attribute__((noinline)) void tile##n(const ei_tile_q8 *t) {                           \
        tile(n, t);                                                                                \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)
TILE(7)
TILE(8)

static const ei_tile_q8_fn tiles[MR] = {tile1, tile2, tile3, tile4, tile5, tile6, tile7, tile8};
static const ei_gemm_q8 gemm = {MR, NR, UNIT, EI_I8, {NULL, NULL}, tiles};

EI_GEMM_Q8_KERNELS(i8mm, _q8, EI_LAYOUT_I8MM_GEMM_Q8, gemm)
