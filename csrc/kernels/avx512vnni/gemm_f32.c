/* CONV_2D, FULLY_CONNECTED and BATCH_MATMUL in float as a matrix product; see gemm_f32.h for the
 * layout. */
#include "../matmul_f32.h"

#include "tile.h"

#include <immintrin.h>

enum { MR = 14, NR = 32 };

/* As in gemm_q8.c: gcc 12 would spill the accumulators. */
#define STEP2(a, disp, c0, c1)                                                                     \
    __asm__("vbroadcastss " disp ", %%zmm31\n\t"                                                   \
            "vfmadd231ps %[b0], %%zmm31, %[x0]\n\t"                                                \
            "vfmadd231ps %[b1], %%zmm31, %[x1]"                                                    \
            : [x0] "+v"(c0), [x1] "+v"(c1)                                                         \
            : [b0] "v"(b0), [b1] "v"(b1), [p] "r"(a), [l] "r"(lda)                                 \
            : "zmm31", "memory")
/* The same for a block of at most 16 channels: the second half would be zeros. A broadcast of its
 * own for every product takes 1.4 times as long as this (Zen 4). */
#define STEP1(a, disp, c0)                                                                         \
    __asm__("vfmadd231ps " disp "%{1to16%}, %[b0], %[x0]"                                          \
            : [x0] "+v"(c0)                                                                        \
            : [b0] "v"(b0), [p] "r"(a), [l] "r"(lda)                                               \
            : "memory")

static inline
    __attribute__((always_inline)) void multiply(int rows, bool wide, const ei_tile_f32 *t,
                                                 __m512 *acc0, __m512 *acc1) {
    int64_t lda = t->lda;
    const float *w = t->w;
    for (int s = 0; s < t->segments; s++) {
        const float *a = (const float *)(const void *)(t->at[s] + t->offset), *a3 = a + 3 * lda,
                    *a6 = a + 6 * lda, *a9 = a + 9 * lda, *a12 = a + 12 * lda;
        for (int64_t k = t->length; k > 0; k--) {
            __m512 b0 = _mm512_loadu_ps(w), b1 = b0;
            if (wide) b1 = _mm512_loadu_ps(w + 16);
            EI_ROWS14("4", "8")
            a++, a3++, a6++, a9++, a12++, w += NR;
        }
    }
}

static inline __m512 clamp(const ei_tile_f32 *t, __m512 v) {
    return _mm512_min_ps(_mm512_max_ps(v, _mm512_set1_ps(t->lo)), _mm512_set1_ps(t->hi));
}

static inline __attribute__((always_inline)) void tile(int rows, bool wide, const ei_tile_f32 *t) {
    __m512 acc0[MR], acc1[MR];
    __m512 bias0 = _mm512_loadu_ps(t->bias), bias1 = _mm512_loadu_ps(t->bias + 16);
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++) acc0[i] = bias0, acc1[i] = bias1;
    multiply(rows, wide, t, acc0, acc1);
    uint32_t mask = t->columns == NR ? 0xffffffffu : (1u << t->columns) - 1;
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++) {
        float *y = t->y + i * t->stride;
        _mm512_mask_storeu_ps(y, (__mmask16)mask, clamp(t, acc0[i]));
        if (wide) _mm512_mask_storeu_ps(y + 16, (__mmask16)(mask >> 16), clamp(t, acc1[i]));
    }
}

#define TILE(n)                                                                                    \
    static __attribute__((noinline)) void tile##n(const ei_tile_f32 *t) {                          \
        if (t->columns > 16)                                                                       \
            tile(n, true, t);                                                                      \
        else                                                                                       \
            tile(n, false, t);                                                                     \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)
TILE(7)
TILE(8)
TILE(9)
TILE(10)
TILE(11)
TILE(12)
TILE(13)
TILE(14)

static const ei_tile_f32_fn tiles[MR] = {tile1, tile2, tile3,  tile4,  tile5,  tile6,  tile7,
                                         tile8, tile9, tile10, tile11, tile12, tile13, tile14};

static void panels(const ei_tile_f32 *t) {
    const float *w0 = t->w, *w1 = w0 + t->panel, *w2 = w1 + t->panel, *w3 = w2 + t->panel;
    __m512 c0 = _mm512_loadu_ps(t->bias), c1 = _mm512_loadu_ps(t->bias + 16),
           c2 = _mm512_loadu_ps(t->bias + 32), c3 = _mm512_loadu_ps(t->bias + 48),
           c4 = _mm512_loadu_ps(t->bias + 64), c5 = _mm512_loadu_ps(t->bias + 80),
           c6 = _mm512_loadu_ps(t->bias + 96), c7 = _mm512_loadu_ps(t->bias + 112);
    for (int s = 0; s < t->segments; s++) {
        const float *a = (const float *)(const void *)(t->at[s] + t->offset);
        for (int64_t k = 0; k < t->length; k++) {
            __m512 v = _mm512_set1_ps(a[k]);
            c0 = _mm512_fmadd_ps(v, _mm512_loadu_ps(w0), c0);
            c1 = _mm512_fmadd_ps(v, _mm512_loadu_ps(w0 + 16), c1);
            c2 = _mm512_fmadd_ps(v, _mm512_loadu_ps(w1), c2);
            c3 = _mm512_fmadd_ps(v, _mm512_loadu_ps(w1 + 16), c3);
            c4 = _mm512_fmadd_ps(v, _mm512_loadu_ps(w2), c4);
            c5 = _mm512_fmadd_ps(v, _mm512_loadu_ps(w2 + 16), c5);
            c6 = _mm512_fmadd_ps(v, _mm512_loadu_ps(w3), c6);
            c7 = _mm512_fmadd_ps(v, _mm512_loadu_ps(w3 + 16), c7);
            w0 += NR, w1 += NR, w2 += NR, w3 += NR;
        }
    }
    __m512 sums[] = {c0, c1, c2, c3, c4, c5, c6, c7};
    for (int i = 0; i < 8; i++) _mm512_storeu_ps(t->y + 16 * i, clamp(t, sums[i]));
}

static const ei_gemm_f32 gemm = {MR, NR, tiles, panels};

EI_GEMM_F32_KERNELS(avx512vnni, EI_LAYOUT_AVX512_GEMM_F32, gemm)
EI_MATMUL_F32_KERNEL(avx512vnni, gemm)
