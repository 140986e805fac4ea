/* CONV_2D and FULLY_CONNECTED in 8 bits on SDOT, layout EI_LAYOUT_DOTPROD_GEMM_Q8: that of
 * ../gemm_q8.h with nr = 8 and unit = 4.
 *
 * Inner loop, 8 rows x 8 columns x 16 deep = 1024 multiply-adds: 8 + 8 loads, 64 SDOT, so 0.08
 * instructions a multiply-add. */
#include "../neon/gemm_q8.h"

enum { MR = 8, NR = 8, UNIT = 4 };

#define DEEP4(i, lane)                                                                             \
    acc[i][0] = vdotq_laneq_s32(acc[i][0], b[lane][0], row, lane);                                 \
    acc[i][1] = vdotq_laneq_s32(acc[i][1], b[lane][1], row, lane)

/* rows x 8 accumulators; `rows` is a constant after inlining. */
static inline __attribute__((always_inline)) const int8_t *
segment(int rows, const int8_t *a, const int8_t *w, const ei_tile_q8 *t, int32x4_t (*acc)[2]) {
    int64_t k = t->length;
    for (; k >= 16; k -= 16, a += 16, w += 16 * NR) {
        int8x16_t b[4][2];
#pragma GCC unroll 4
        for (int l = 0; l < 4; l++)
            b[l][0] = vld1q_s8(w + 32 * l), b[l][1] = vld1q_s8(w + 32 * l + 16);
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            int8x16_t row = vld1q_s8(a + i * t->lda);
            DEEP4(i, 0);
            DEEP4(i, 1);
            DEEP4(i, 2);
            DEEP4(i, 3);
        }
    }
    for (; k > 0; k -= UNIT, a += UNIT, w += UNIT * NR) {
        int8x16_t b[1][2] = {{vld1q_s8(w), vld1q_s8(w + 16)}};
#pragma GCC unroll 8
        for (int i = 0; i < rows; i++) {
            int32_t four;
            memcpy(&four, a + i * t->lda, 4);
            int8x16_t row = vreinterpretq_s8_s32(vdupq_n_s32(four));
            DEEP4(i, 0);
        }
    }
    return w;
}

static inline __attribute__((always_inline)) void multiply(int rows, const ei_tile_q8 *t,
                                                           int32x4_t (*acc)[2]) {
    const int8_t *w = t->w;
    for (int s = 0; s < t->segments; s++) w = segment(rows, ei_tile_segment(t, s), w, t, acc);
}

static inline __attribute__((always_inline)) void tile(int rows, const ei_tile_q8 *t) {
    int32x4_t acc[MR][2], bias0 = vld1q_s32(t->r.bias), bias1 = vld1q_s32(t->r.bias + 4);
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
        int32x4_t extra = ei_row_term(t, i);
        acc[i][0] = vaddq_s32(bias0, extra);
        acc[i][1] = vaddq_s32(bias1, extra);
    }
    multiply(rows, t, acc);
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
        ei_store_row8(t, i, acc[i][0], acc[i][1]);
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

EI_GEMM_Q8_KERNELS(dotprod, _q8, EI_LAYOUT_DOTPROD_GEMM_Q8, gemm)
