/* DEPTHWISE_CONV_2D in float, 16 outputs wide; see dw_f32.h for the layout. */
#include "../dw_f32.h"

#include <immintrin.h>

enum { LANES = 16 };

#define TIMES(i, from)                                                                             \
    if (n > (i)) acc[i] = _mm512_fmadd_ps(k, _mm512_loadu_ps(from), acc[i])

static inline __attribute__((always_inline)) void tile(int n, const ei_dw_f32_tile *t) {
    int64_t step = t->step_x;
    __m512 lo = _mm512_set1_ps(t->lo), hi = _mm512_set1_ps(t->hi);
    for (int64_t b = 0; b < t->blocks; b++) {
        const float *w = t->w + b * t->block_w;
        __m512 bias = _mm512_loadu_ps(t->bias + b * LANES);
        __m512 start = t->d.w_scale ? _mm512_setzero_ps() : bias;
        __m512 acc[EI_DW_PIXELS] = {start, start, start, start, start, start, start, start};
        for (int i = 0; i < t->taps; i++) {
            const float *x = t->x[i] + b * LANES, *x4 = x + 4 * step;
            __m512 k = _mm512_loadu_ps(w + t->w_at[i]);
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
            __m512 scale = _mm512_loadu_ps(t->d.w_scale + b * LANES),
                   second = _mm512_set1_ps(t->d.second);
            scale = _mm512_mul_ps(scale, _mm512_set1_ps(t->d.first));
#pragma GCC unroll 8
            for (int i = 0; i < n; i++)
                acc[i] = _mm512_add_ps(_mm512_mul_ps(_mm512_mul_ps(acc[i], scale), second), bias);
        }
        float *y = t->y + b * LANES;
        int last = b + 1 < t->blocks ? LANES : t->last;
        __mmask16 mask = (__mmask16)((1u << last) - 1);
#pragma GCC unroll 8
        for (int i = 0; i < n; i++)
            _mm512_mask_storeu_ps(y + i * t->step_y, mask,
                                  _mm512_min_ps(_mm512_max_ps(acc[i], lo), hi));
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

const ei_kernel ei_avx512vnni_depthwise_conv_2d_f32 = {
    .name = "avx512vnni/depthwise_conv_2d_f32",
    .op = EI_OP_DEPTHWISE_CONV_2D,
    .layout = EI_LAYOUT_AVX512_DW_F32,
    .parallel = true,
    .check = check,
    .scratch = scratch,
    .run = run,
};
