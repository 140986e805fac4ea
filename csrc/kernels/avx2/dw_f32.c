/* DEPTHWISE_CONV_2D in float, 8 outputs wide; see dw_f32.h for the layout. */
#include "../kernel.h"

#include <immintrin.h>
#include <string.h>

enum { LANES = 8 };
typedef __m256 vec;

static inline vec load(const float *p) {
    return _mm256_loadu_ps(p);
}
static inline vec all(float x) {
    return _mm256_set1_ps(x);
}
static inline vec madd(vec a, vec b, vec c) {
    return _mm256_fmadd_ps(a, b, c);
}
static inline vec times(vec a, vec b) {
    return _mm256_mul_ps(a, b);
}
static inline vec plus(vec a, vec b) {
    return _mm256_add_ps(a, b);
}
static inline vec clamp(vec v, vec lo, vec hi) {
    return _mm256_min_ps(_mm256_max_ps(v, lo), hi);
}
static inline void store(float *y, vec v, int n) {
    float last[LANES], *to = n == LANES ? y : last;
    _mm256_storeu_ps(to, v);
    if (to != y) memcpy(y, last, (size_t)n * sizeof *last);
}

#include "../dw_f32_tile.h"

EI_CONV_KERNEL(avx2, depthwise_conv_2d_f32, EI_OP_DEPTHWISE_CONV_2D, EI_LAYOUT_AVX2_DW_F32, 0,
               check, scratch, run)
