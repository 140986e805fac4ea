/* DEPTHWISE_CONV_2D in float, 16 outputs wide; see dw_f32.h for the layout. */
#include "../dw_f32.h"

#include <immintrin.h>

enum { LANES = 16 };

static void run_row(const ei_dw_f32_row *r) {
    __m512 lo = _mm512_set1_ps(r->lo), hi = _mm512_set1_ps(r->hi);
    int64_t block = 0;
    for (int64_t at = 0; at < r->width; at += LANES) {
        const float *w = r->w + block * r->depth * LANES;
        __m512 bias = _mm512_loadu_ps(r->bias + block * LANES);
        __m512 acc = r->d.w_scale ? _mm512_setzero_ps() : bias;
        for (int64_t t = 0; t < r->depth; t++) {
            __m512 x = _mm512_loadu_ps((const float *)r->taps[t] + at);
            acc = _mm512_fmadd_ps(x, _mm512_loadu_ps(w + t * LANES), acc);
        }
        if (r->d.w_scale) {
            __m512 scale = _mm512_loadu_ps(r->d.w_scale + block * LANES);
            scale = _mm512_mul_ps(scale, _mm512_set1_ps(r->d.first));
            acc = _mm512_mul_ps(_mm512_mul_ps(acc, scale), _mm512_set1_ps(r->d.second));
            acc = _mm512_add_ps(acc, bias);
        }
        acc = _mm512_min_ps(_mm512_max_ps(acc, lo), hi);
        int64_t left = r->width - at;
        __mmask16 mask = (__mmask16)(left >= LANES ? 0xffff : (1 << left) - 1);
        _mm512_mask_storeu_ps(r->y + at, mask, acc);
        if (++block == r->blocks) block = 0;
    }
}

static int check(const ei_node *n) {
    return ei_dw_f32_check(n, LANES);
}

static int run(const ei_node *n, const ei_work *work) {
    return ei_dw_f32_run(n, work, LANES, run_row);
}

const ei_kernel ei_avx512vnni_depthwise_conv_2d_f32 = {
    .name = "avx512vnni/depthwise_conv_2d_f32",
    .op = EI_OP_DEPTHWISE_CONV_2D,
    .layout = EI_LAYOUT_AVX512_DW_F32,
    .parallel = true,
    .check = check,
    .scratch = ei_dw_f32_scratch,
    .run = run,
};
