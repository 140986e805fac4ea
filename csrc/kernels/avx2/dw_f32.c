/* DEPTHWISE_CONV_2D in float, 8 outputs wide; see dw_f32.h for the layout. */
#include "../dw_f32.h"

#include <immintrin.h>

enum { LANES = 8 };

#define TIMES(i, from)                                                                             \
    if (n > (i)) acc[i] = _mm256_fmadd_ps(k, _mm256_loadu_ps(from), acc[i])

static inline __attribute__((always_inline)) void tile(int n, const ei_dw_f32_tile *t) {
    int64_t step = t->step_x;
    __m256 lo = _mm256_set1_ps(t->lo), hi = _mm256_set1_ps(t->hi);
    for (int64_t b = 0; b < t->blocks; b++) {
        const float *w = t->w + b * t->block_w;
        __m256 bias = _mm256_loadu_ps(t->bias + b * LANES);
        __m256 start = t->d.w_scale ? _mm256_setzero_ps() : bias;
        __m256 acc[EI_DW_PIXELS] = {start, start, start, start, start, start, start, start};
        for (int i = 0; i < t->taps; i++) {
            const float *x = t->x[i] + b * LANES, *x4 = x + 4 * step;
            __m256 k = _mm256_loadu_ps(w + t->w_at[i]);
            TIMES(0, x);
            TIMES(1, x + step);
            TIMES(2, x + 2 * step);
            TIMES(3, x + 3 * step);
            TIMES(4, x4);
            TIMES(5, x4 + step);
            TIMES(6, x4 + 2 * step);
            TIMES(7, x4 + 3 * step);
        }
        if (t->d.w_scale) {
            __m256 scale = _mm256_loadu_ps(t->d.w_scale + b * LANES),
                   second = _mm256_set1_ps(t->d.second);
            scale = _mm256_mul_ps(scale, _mm256_set1_ps(t->d.first));
#pragma GCC unroll 8
            for (int i = 0; i < n; i++)
                acc[i] = _mm256_add_ps(_mm256_mul_ps(_mm256_mul_ps(acc[i], scale), second), bias);
        }
        float *y = t->y + b * LANES;
        bool whole = t->last == LANES || b + 1 < t->blocks;
#pragma GCC unroll 8
        for (int i = 0; i < n; i++) {
            float last[LANES], *to = whole ? y + i * t->step_y : last;
            _mm256_storeu_ps(to, _mm256_min_ps(_mm256_max_ps(acc[i], lo), hi));
            if (!whole) memcpy(y + i * t->step_y, last, (size_t)t->last * sizeof *last);
        }
    }
}

#define TILE(n)                                                                                    \
    static __attribute__((noinline)) void tile##n(const ei_dw_f32_tile *t) {                       \
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

static const ei_dw_f32_fn tiles[EI_DW_PIXELS] = {tile1, tile2, tile3, tile4,
                                                 tile5, tile6, tile7, tile8};

static int check(const ei_node *n) {
    return ei_dw_f32_check(n, LANES);
}
static size_t scratch(const ei_node *n) {
    return ei_dw_f32_scratch(n, LANES);
}

static int run(const ei_node *n, const ei_work *work) {
    return ei_dw_f32_run(n, work, LANES, tiles);
}

const ei_kernel ei_avx2_depthwise_conv_2d_f32 = {
    .name = "avx2/depthwise_conv_2d_f32",
    .op = EI_OP_DEPTHWISE_CONV_2D,
    .layout = EI_LAYOUT_AVX2_DW_F32,
    .parallel = true,
    .check = check,
    .scratch = scratch,
    .run = run,
};
