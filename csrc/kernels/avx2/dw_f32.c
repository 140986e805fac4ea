/* DEPTHWISE_CONV_2D in float, 8 outputs wide; see dw_f32.h for the layout. */
#include "../dw_f32.h"

#include <immintrin.h>

enum { LANES = 8 };

static void run_row(const ei_dw_f32_row *r) {
    __m256 lo = _mm256_set1_ps(r->lo), hi = _mm256_set1_ps(r->hi);
    int64_t block = 0;
    for (int64_t at = 0; at < r->width; at += LANES) {
        const float *w = r->w + block * r->depth * LANES;
        __m256 bias = _mm256_loadu_ps(r->bias + block * LANES);
        __m256 acc = r->d.w_scale ? _mm256_setzero_ps() : bias;
        for (int64_t t = 0; t < r->depth; t++) {
            __m256 x = _mm256_loadu_ps((const float *)r->taps[t] + at);
            acc = _mm256_fmadd_ps(x, _mm256_loadu_ps(w + t * LANES), acc);
        }
        if (r->d.w_scale) {
            __m256 scale = _mm256_loadu_ps(r->d.w_scale + block * LANES);
            scale = _mm256_mul_ps(scale, _mm256_set1_ps(r->d.first));
            acc = _mm256_mul_ps(_mm256_mul_ps(acc, scale), _mm256_set1_ps(r->d.second));
            acc = _mm256_add_ps(acc, bias);
        }
        acc = _mm256_min_ps(_mm256_max_ps(acc, lo), hi);
        if (r->width - at >= LANES) {
            _mm256_storeu_ps(r->y + at, acc);
        } else {
            float rest[LANES];
            _mm256_storeu_ps(rest, acc);
            memcpy(r->y + at, rest, (size_t)(r->width - at) * sizeof *rest);
        }
        if (++block == r->blocks) block = 0;
    }
}

static int check(const ei_node *n) {
    return ei_dw_f32_check(n, LANES);
}

static int run(const ei_node *n, const ei_work *work) {
    return ei_dw_f32_run(n, work, LANES, run_row);
}

const ei_kernel ei_avx2_depthwise_conv_2d_f32 = {
    .name = "avx2/depthwise_conv_2d_f32",
    .op = EI_OP_DEPTHWISE_CONV_2D,
    .layout = EI_LAYOUT_AVX2_DW_F32,
    .parallel = true,
    .check = check,
    .scratch = ei_dw_f32_scratch,
    .run = run,
};
