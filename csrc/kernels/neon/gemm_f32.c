/* CONV_2D, FULLY_CONNECTED and BATCH_MATMUL in float as a matrix product; see gemm_f32.h for the
 * layout.
 *
 * Inner loop, 8 rows x 8 columns x 4 deep = 256 multiply-adds: 8 + 8 loads, 64 FMLA by element, so
 * 0.31 instructions a multiply-add. */
#include "../matmul_f32.h"

#include <arm_neon.h>

enum { MR = 8, NR = 8 };

#define DEEP(i, lane)                                                                              \
    acc[i][0] = vfmaq_laneq_f32(acc[i][0], b[lane][0], row, lane);                                 \
    acc[i][1] = vfmaq_laneq_f32(acc[i][1], b[lane][1], row, lane)

/* rows x 8 accumulators; `rows` is a constant after inlining. */
static inline __attribute__((always_inline)) void multiply(int rows, const ei_tile_f32 *t,
                                                           float32x4_t (*acc)[2]) {
    const float *w = t->w;
    for (int s = 0; s < t->segments; s++) {
        const float *a = (const float *)(const void *)(t->at[s] + t->offset);
        int64_t k = t->length;
        for (; k >= 4; k -= 4, a += 4, w += 4 * NR) {
            float32x4_t b[4][2];
#pragma GCC unroll 4
            for (int l = 0; l < 4; l++)
                b[l][0] = vld1q_f32(w + 8 * l), b[l][1] = vld1q_f32(w + 8 * l + 4);
#pragma GCC unroll 8
            for (int i = 0; i < rows; i++) {
                float32x4_t row = vld1q_f32(a + i * t->lda);
                DEEP(i, 0);
                DEEP(i, 1);
                DEEP(i, 2);
                DEEP(i, 3);
            }
        }
        for (; k > 0; k--, a++, w += NR) {
            float32x4_t b[1][2] = {{vld1q_f32(w), vld1q_f32(w + 4)}};
#pragma GCC unroll 8
            for (int i = 0; i < rows; i++) {
                float32x4_t row = vld1q_dup_f32(a + i * t->lda);
                DEEP(i, 0);
            }
        }
    }
}

static inline __attribute__((always_inline)) void tile(int rows, const ei_tile_f32 *t) {
    float32x4_t acc[MR][2], bias0 = vld1q_f32(t->bias), bias1 = vld1q_f32(t->bias + 4);
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) acc[i][0] = bias0, acc[i][1] = bias1;
    multiply(rows, t, acc);
    float32x4_t lo = vdupq_n_f32(t->lo), hi = vdupq_n_f32(t->hi);
#pragma GCC unroll 8
    for (int i = 0; i < rows; i++) {
        float last[NR], *y = t->y + i * t->stride, *to = t->columns == NR ? y : last;
        vst1q_f32(to, vminq_f32(vmaxq_f32(acc[i][0], lo), hi));
        vst1q_f32(to + 4, vminq_f32(vmaxq_f32(acc[i][1], lo), hi));
        if (to != y) memcpy(y, last, (size_t)t->columns * sizeof *last);
    }
}

#define TILE(n)                                                                                    \
    static __attribute__((noinline)) void tile##n(const ei_tile_f32 *t) {                          \
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

static const ei_tile_f32_fn tiles[MR] = {tile1, tile2, tile3, tile4, tile5, tile6, tile7, tile8};

static void panels(const ei_tile_f32 *t) {
    float32x4_t acc[2 * EI_PANELS];
    const float *w = t->w;
#pragma GCC unroll 8
    for (int i = 0; i < 2 * EI_PANELS; i++) acc[i] = vld1q_f32(t->bias + 4 * i);
    for (int s = 0; s < t->segments; s++) {
        const float *a = (const float *)(const void *)(t->at[s] + t->offset);
        for (int64_t k = 0; k < t->length; k++, w += NR) {
            float32x4_t v = vld1q_dup_f32(a + k);
#pragma GCC unroll 4
            for (int i = 0; i < EI_PANELS; i++) {
                acc[2 * i] = vfmaq_f32(acc[2 * i], v, vld1q_f32(w + i * t->panel));
                acc[2 * i + 1] = vfmaq_f32(acc[2 * i + 1], v, vld1q_f32(w + i * t->panel + 4));
            }
        }
    }
    float32x4_t lo = vdupq_n_f32(t->lo), hi = vdupq_n_f32(t->hi);
#pragma GCC unroll 8
    for (int i = 0; i < 2 * EI_PANELS; i++)
        vst1q_f32(t->y + 4 * i, vminq_f32(vmaxq_f32(acc[i], lo), hi));
}

static const ei_gemm_f32 gemm = {MR, NR, tiles, panels};

EI_GEMM_F32_KERNELS(neon, EI_LAYOUT_NEON_GEMM_F32, gemm)
EI_MATMUL_F32_KERNEL(neon, gemm)
