/* CONV_2D, FULLY_CONNECTED and BATCH_MATMUL in float as a matrix product; see gemm_f32.h for the
 * layout. */
#include "../matmul_f32.h"

#include <immintrin.h>

enum { MR = 6, NR = 16 };

/* One row: broadcast an activation, multiply with 2 x 8 columns. 6 rows x 16 columns take 12 of the
 * 16 registers, the columns 2, a row's value 1; gcc 12 would spill some written with intrinsics. */
#define STEP(a, disp, c0, c1)                                                                      \
    __asm__("vbroadcastss " disp ", %%ymm15\n\t"                                                   \
            "vfmadd231ps %[b0], %%ymm15, %[x0]\n\t"                                                \
            "vfmadd231ps %[b1], %%ymm15, %[x1]"                                                    \
            : [x0] "+x"(c0), [x1] "+x"(c1)                                                         \
            : [b0] "x"(b0), [b1] "x"(b1), [p] "r"(a), [l] "r"(lda)                                 \
            : "ymm15", "memory")
#define ROW(a, disp, i)                                                                            \
    if (rows > (i)) STEP(a, disp, acc0[i], acc1[i])

static inline __attribute__((always_inline)) void multiply(int rows, const ei_tile_f32 *t,
                                                           __m256 *acc0, __m256 *acc1) {
    int64_t lda = t->lda;
    const float *w = t->w;
    for (int s = 0; s < t->segments; s++) {
        const float *a = (const float *)(const void *)(t->at[s] + t->offset), *a3 = a + 3 * lda;
        for (int64_t k = t->length; k > 0; k--) {
            __m256 b0 = _mm256_loadu_ps(w), b1 = _mm256_loadu_ps(w + 8);
            ROW(a, "(%[p])", 0);
            ROW(a, "(%[p],%[l],4)", 1);
            ROW(a, "(%[p],%[l],8)", 2);
            ROW(a3, "(%[p])", 3);
            ROW(a3, "(%[p],%[l],4)", 4);
            ROW(a3, "(%[p],%[l],8)", 5);
            a++, a3++, w += NR;
        }
    }
}

static inline __m256 clamp(const ei_tile_f32 *t, __m256 v) {
    return _mm256_min_ps(_mm256_max_ps(v, _mm256_set1_ps(t->lo)), _mm256_set1_ps(t->hi));
}

static inline __attribute__((always_inline)) void tile(int rows, const ei_tile_f32 *t) {
    __m256 acc0[MR], acc1[MR], bias0 = _mm256_loadu_ps(t->bias),
                               bias1 = _mm256_loadu_ps(t->bias + 8);
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) acc0[i] = bias0, acc1[i] = bias1;
    multiply(rows, t, acc0, acc1);
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        float last[NR], *y = t->y + i * t->stride, *to = t->columns == NR ? y : last;
        _mm256_storeu_ps(to, clamp(t, acc0[i]));
        _mm256_storeu_ps(to + 8, clamp(t, acc1[i]));
        if (to != y) memcpy(y, last, (size_t)t->columns * sizeof *y);
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

static void panels(const ei_tile_f32 *t) {
    const float *w0 = t->w, *w1 = w0 + t->panel, *w2 = w1 + t->panel, *w3 = w2 + t->panel;
    __m256 c0 = _mm256_loadu_ps(t->bias), c1 = _mm256_loadu_ps(t->bias + 8),
           c2 = _mm256_loadu_ps(t->bias + 16), c3 = _mm256_loadu_ps(t->bias + 24),
           c4 = _mm256_loadu_ps(t->bias + 32), c5 = _mm256_loadu_ps(t->bias + 40),
           c6 = _mm256_loadu_ps(t->bias + 48), c7 = _mm256_loadu_ps(t->bias + 56);
    for (int s = 0; s < t->segments; s++) {
        const float *a = (const float *)(const void *)(t->at[s] + t->offset);
        for (int64_t k = 0; k < t->length; k++) {
            __m256 v = _mm256_broadcast_ss(a + k);
            c0 = _mm256_fmadd_ps(v, _mm256_loadu_ps(w0), c0);
            c1 = _mm256_fmadd_ps(v, _mm256_loadu_ps(w0 + 8), c1);
            c2 = _mm256_fmadd_ps(v, _mm256_loadu_ps(w1), c2);
            c3 = _mm256_fmadd_ps(v, _mm256_loadu_ps(w1 + 8), c3);
            c4 = _mm256_fmadd_ps(v, _mm256_loadu_ps(w2), c4);
            c5 = _mm256_fmadd_ps(v, _mm256_loadu_ps(w2 + 8), c5);
            c6 = _mm256_fmadd_ps(v, _mm256_loadu_ps(w3), c6);
            c7 = _mm256_fmadd_ps(v, _mm256_loadu_ps(w3 + 8), c7);
            w0 += NR, w1 += NR, w2 += NR, w3 += NR;
        }
    }
    __m256 sums[] = {c0, c1, c2, c3, c4, c5, c6, c7};
    for (int i = 0; i < 8; i++) _mm256_storeu_ps(t->y + 8 * i, clamp(t, sums[i]));
}

static const ei_gemm_f32 gemm = {MR, NR, tiles, panels};

EI_GEMM_F32_KERNELS(avx2, EI_LAYOUT_AVX2_GEMM_F32, gemm)
EI_MATMUL_F32_KERNEL(avx2, gemm)
