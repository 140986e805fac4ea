/* CONV_2D and FULLY_CONNECTED in 8 bits on SMULL, SMLAL and SADALP; see ../gemm_q8.h for the
 * layout, with nr = 4 and unit = 16.
 *
 * Depth k and k + 8 of a unit share an int16 lane before they are added to the accumulators. Two
 * products fit in it unless activation and weight are -128 in both. Layout EI_LAYOUT_NEON_GEMM_Q8
 * has no such pair of weights; EI_LAYOUT_NEON_GEMM_Q8_FULL may have, and its kernels add every
 * product on its own.
 *
 * Inner loop, 4 rows x 4 columns x 16 deep = 256 multiply-adds: 8 loads, 48 arithmetic (FULL: 64),
 * so 0.22 (FULL: 0.28) instructions a multiply-add. */
#include "gemm_q8.h"

enum { MR = 4, NR = 4, UNIT = 16 };

static inline int32x4_t add16(bool full, int32x4_t acc, int8x16_t a, int8x16_t b) {
    int16x8_t p = vmull_s8(vget_low_s8(a), vget_low_s8(b));
    if (!full) return vpadalq_s16(acc, vmlal_high_s8(p, a, b));
    return vpadalq_s16(vpadalq_s16(acc, p), vmull_high_s8(a, b));
}

/* `rows` and `full` are constants after inlining. */
static inline __attribute__((always_inline)) void tile(int rows, bool full, const ei_tile_q8 *t) {
    int32x4_t acc[MR][NR];
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++)
#pragma GCC unroll 4
        for (int j = 0; j < NR; j++) acc[i][j] = vdupq_n_s32(0);
    const int8_t *w = t->w;
    for (int s = 0; s < t->segments; s++) {
        const int8_t *a = ei_tile_segment(t, s);
        for (int64_t k = t->length; k > 0; k -= UNIT, a += UNIT, w += UNIT * NR) {
            int8x16_t b[NR];
#pragma GCC unroll 4
            for (int j = 0; j < NR; j++) b[j] = vld1q_s8(w + UNIT * j);
#pragma GCC unroll 4
            for (int i = 0; i < rows; i++) {
                int8x16_t row = vld1q_s8(a + i * t->lda);
#pragma GCC unroll 4
                for (int j = 0; j < NR; j++) acc[i][j] = add16(full, acc[i][j], row, b[j]);
            }
        }
    }
    int32x4_t bias = vld1q_s32(t->r.bias);
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++) {
        int32x4_t sum =
            vpaddq_s32(vpaddq_s32(acc[i][0], acc[i][1]), vpaddq_s32(acc[i][2], acc[i][3]));
        sum = vaddq_s32(vaddq_s32(sum, bias), ei_row_term(t, i));
        if (t->dynamic)
            ei_store4_f32(t, i, 0, sum);
        else
            ei_store4_q8((int8_t *)t->y + i * t->stride, ei_requant4(sum, &t->r, 0), t->columns);
    }
}

#define TILE(n)                                                                                    \
    static __attribute__((noinline)) void tile##n(const ei_tile_q8 *t) {                           \
        tile(n, false, t);                                                                         \
    }                                                                                              \
    static __attribute__((noinline)) void full##n(const ei_tile_q8 *t) {                           \
        tile(n, true, t);                                                                          \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)

static const ei_tile_q8_fn pair_tiles[MR] = {tile1, tile2, tile3, tile4};
static const ei_tile_q8_fn full_tiles[MR] = {full1, full2, full3, full4};
static const ei_gemm_q8 pairs = {MR, NR, UNIT, EI_I8, {NULL, NULL}, pair_tiles};
static const ei_gemm_q8 full = {MR, NR, UNIT, EI_I8, {NULL, NULL}, full_tiles};

EI_GEMM_Q8_KERNELS(neon, _q8, EI_LAYOUT_NEON_GEMM_Q8, pairs)
EI_GEMM_Q8_KERNELS(neon, _q8_full, EI_LAYOUT_NEON_GEMM_Q8_FULL, full)
