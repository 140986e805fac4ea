/* CONV_2D and FULLY_CONNECTED in float as a matrix product; see gemm_f32.h for the layout. */
#include "../gemm_f32.h"

#include <immintrin.h>

enum { MR = 6, NR = 16 };

/* 6 rows x 16 columns take 12 of the 16 registers, the columns 2, a row's value 1. */
static inline __attribute__((always_inline)) void tile(int rows, const ei_tile_f32 *t) {
    __m256 acc[MR][2];
    const float *a[MR], *w = t->w;
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        acc[i][0] = _mm256_loadu_ps(t->bias);
        acc[i][1] = _mm256_loadu_ps(t->bias + 8);
        a[i] = t->a + i * t->lda;
    }
    for (int64_t k = 0; k < t->depth; k++, w += NR) {
        __m256 b0 = _mm256_loadu_ps(w), b1 = _mm256_loadu_ps(w + 8);
#pragma GCC unroll 6
        for (int i = 0; i < rows; i++) {
            __m256 v = _mm256_broadcast_ss(a[i] + k);
            acc[i][0] = _mm256_fmadd_ps(v, b0, acc[i][0]);
            acc[i][1] = _mm256_fmadd_ps(v, b1, acc[i][1]);
        }
    }
    __m256 lo = _mm256_set1_ps(t->lo), hi = _mm256_set1_ps(t->hi);
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        float *y = t->y + i * t->stride, row[NR];
        bool whole = t->columns == NR;
        for (int h = 0; h < 2; h++) {
            __m256 v = _mm256_min_ps(_mm256_max_ps(acc[i][h], lo), hi);
            _mm256_storeu_ps((whole ? y : row) + 8 * h, v);
        }
        if (!whole) memcpy(y, row, (size_t)t->columns * sizeof *y);
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

static const ei_tile_f32_fn tiles[MR] = {tile1, tile2, tile3, tile4, tile5, tile6};

static int check(const ei_node *n) {
    return ei_gemm_f32_check(n, NR);
}
static size_t scratch(const ei_node *n) {
    return ei_gemm_f32_scratch(n, MR);
}

static int run(const ei_node *n, const ei_work *work) {
    return ei_gemm_f32_run(n, work, MR, NR, tiles);
}

#define KERNEL(NAME, OP)                                                                           \
    const ei_kernel ei_avx2_##NAME##_f32 = {                                                       \
        .name = "avx2/" #NAME "_f32",                                                              \
        .op = OP,                                                                                  \
        .layout = EI_LAYOUT_AVX2_GEMM_F32,                                                         \
        .parallel = true,                                                                          \
        .check = check,                                                                            \
        .scratch = scratch,                                                                        \
        .run = run,                                                                                \
    };
KERNEL(conv_2d, EI_OP_CONV_2D)
KERNEL(fully_connected, EI_OP_FULLY_CONNECTED)
