/* DEPTHWISE_CONV_2D in float, 16 outputs wide; see dw_f32.h for the layout. */
#include "../kernel.h"

#include <immintrin.h>
#include <string.h>

enum { LANES = 16 };
typedef __m512 vec;

static inline vec load(const float *p) {
    return _mm512_loadu_ps(p);
}
static inline vec all(float x) {
    return _mm512_set1_ps(x);
}
static inline vec madd(vec a, vec b, vec c) {
    return _mm512_fmadd_ps(a, b, c);
}
static inline vec times(vec a, vec b) {
    return _mm512_mul_ps(a, b);
}
static inline vec plus(vec a, vec b) {
    return _mm512_add_ps(a, b);
}
static inline vec clamp(vec v, vec lo, vec hi) {
    return _mm512_min_ps(_mm512_max_ps(v, lo), hi);
}
static inline void store(float *y, vec v, int n) {
    _mm512_mask_storeu_ps(y, (__mmask16)((1u << n) - 1), v);
}

#include "../dw_f32_tile.h"

EI_CONV_KERNEL(avx512vnni, depthwise_conv_2d_f32, EI_OP_DEPTHWISE_CONV_2D, EI_LAYOUT_AVX512_DW_F32,
               0, check, scratch, run)
