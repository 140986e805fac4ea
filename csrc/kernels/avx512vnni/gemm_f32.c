/* CONV_2D and FULLY_CONNECTED in float as a matrix product; see gemm_f32.h for the layout. */
#include "../gemm_f32.h"

#include <immintrin.h>

enum { MR = 12, NR = 32 };

/* As in gemm_q8.c: gcc 12 would spill the accumulators. */
#define STEP2(a, disp, c0, c1)                                                                     \
    __asm__("vbroadcastss " disp ", %%zmm31\n\t"                                                   \
            "vfmadd231ps %[b0], %%zmm31, %[x0]\n\t"                                                \
            "vfmadd231ps %[b1], %%zmm31, %[x1]"                                                    \
            : [x0] "+v"(c0), [x1] "+v"(c1)                                                         \
            : [b0] "v"(b0), [b1] "v"(b1), [p] "r"(a), [l] "r"(lda)                                 \
            : "zmm31", "memory")
/* The same for a block of at most 16 channels: the second half would be zeros. */
#define STEP1(a, disp, c0)                                                                         \
    __asm__("vbroadcastss " disp ", %%zmm31\n\t"                                                   \
            "vfmadd231ps %[b0], %%zmm31, %[x0]"                                                    \
            : [x0] "+v"(c0)                                                                        \
            : [b0] "v"(b0), [p] "r"(a), [l] "r"(lda)                                               \
            : "zmm31", "memory")
#define ROW(a, disp, i)                                                                            \
    if (rows > (i)) {                                                                              \
        if (wide)                                                                                  \
            STEP2(a, disp, acc0[i], acc1[i]);                                                      \
        else                                                                                       \
            STEP1(a, disp, acc0[i]);                                                               \
    }
#define ROW0(a, i) ROW(a, "(%[p])", i)
#define ROW1(a, i) ROW(a, "(%[p],%[l],4)", i)
#define ROW2(a, i) ROW(a, "(%[p],%[l],8)", i)

static inline
    __attribute__((always_inline)) void multiply(int rows, bool wide, const ei_tile_f32 *t,
                                                 __m512 *acc0, __m512 *acc1) {
    int64_t lda = t->lda;
    const float *a = t->a, *a3 = a + 3 * lda, *a6 = a + 6 * lda, *a9 = a + 9 * lda, *w = t->w;
    for (int64_t k = t->depth; k > 0; k--) {
        __m512 b0 = _mm512_loadu_ps(w), b1 = b0;
        if (wide) b1 = _mm512_loadu_ps(w + 16);
        ROW0(a, 0);
        ROW1(a, 1);
        ROW2(a, 2);
        ROW0(a3, 3);
        ROW1(a3, 4);
        ROW2(a3, 5);
        ROW0(a6, 6);
        ROW1(a6, 7);
        ROW2(a6, 8);
        ROW0(a9, 9);
        ROW1(a9, 10);
        ROW2(a9, 11);
        a++, a3++, a6++, a9++, w += NR;
    }
}

static inline __attribute__((always_inline)) void tile(int rows, bool wide, const ei_tile_f32 *t) {
    __m512 acc0[MR], acc1[MR];
    __m512 bias0 = _mm512_loadu_ps(t->bias), bias1 = _mm512_loadu_ps(t->bias + 16);
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++) acc0[i] = bias0, acc1[i] = bias1;
    multiply(rows, wide, t, acc0, acc1);
    __m512 lo = _mm512_set1_ps(t->lo), hi = _mm512_set1_ps(t->hi);
    uint32_t mask = t->columns == NR ? 0xffffffffu : (1u << t->columns) - 1;
#pragma GCC unroll 12
    for (int i = 0; i < rows; i++) {
        float *y = t->y + i * t->stride;
        __m512 v0 = _mm512_min_ps(_mm512_max_ps(acc0[i], lo), hi);
        __m512 v1 = _mm512_min_ps(_mm512_max_ps(acc1[i], lo), hi);
        _mm512_mask_storeu_ps(y, (__mmask16)mask, v0);
        _mm512_mask_storeu_ps(y + 16, (__mmask16)(mask >> 16), v1);
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

static const ei_tile_f32_fn tiles[MR] = {tile1, tile2, tile3, tile4,  tile5,  tile6,
                                         tile7, tile8, tile9, tile10, tile11, tile12};

static int check(const ei_node *n) {
    return ei_gemm_f32_check(n, NR);
}
static size_t scratch(const ei_node *n) {
    return ei_gemm_f32_scratch(n, MR);
}

static int run(const ei_node *n, const ei_work *work) {
    return ei_gemm_f32_run(n, work, MR, NR, tiles);
}

const ei_kernel ei_avx512vnni_conv_2d_f32 = {
    .name = "avx512vnni/conv_2d_f32",
    .op = EI_OP_CONV_2D,
    .layout = EI_LAYOUT_AVX512_GEMM_F32,
    .parallel = true,
    .check = check,
    .scratch = scratch,
    .run = run,
};

const ei_kernel ei_avx512vnni_fully_connected_f32 = {
    .name = "avx512vnni/fully_connected_f32",
    .op = EI_OP_FULLY_CONNECTED,
    .layout = EI_LAYOUT_AVX512_GEMM_F32,
    .parallel = true,
    .check = check,
    .scratch = scratch,
    .run = run,
};
