/* TFLite's fixed-point arithmetic (requant.h) of 16 values at a time. */
#ifndef EI_AVX512_FIXED_POINT_H
#define EI_AVX512_FIXED_POINT_H

#include <immintrin.h>

/* ei_mul_quantized(), multiplier >= 0. */
static inline __m512i ei_mul_quantized16(__m512i x, int32_t multiplier, int32_t shift) {
    const __m512i m = _mm512_set1_epi32(multiplier), half = _mm512_set1_epi64(1 << 30);
    int left = shift > 0 ? shift : 0, right = shift > 0 ? 0 : -shift;
    x = _mm512_sll_epi32(x, _mm_cvtsi32_si128(left));
    __m512i even = _mm512_add_epi64(_mm512_mul_epi32(x, m), half);
    __m512i odd = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(x, 32), m), half);
    x = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 31), _mm512_slli_epi64(odd, 1));
    int32_t mask = (int32_t)((1ll << right) - 1);
    __m512i threshold = _mm512_sub_epi32(_mm512_set1_epi32(mask >> 1), _mm512_srai_epi32(x, 31));
    __mmask16 up = _mm512_cmpgt_epi32_mask(_mm512_and_si512(x, _mm512_set1_epi32(mask)), threshold);
    __m512i y = _mm512_sra_epi32(x, _mm_cvtsi32_si128(right));
    return _mm512_mask_add_epi32(y, up, y, _mm512_set1_epi32(1));
}

/* The same with a multiplier and a shift for every lane. */
static inline __m512i ei_mul_quantized_lanes16(__m512i x, __m512i m, __m512i shift) {
    const __m512i none = _mm512_setzero_si512(), half = _mm512_set1_epi64(1 << 30);
    __m512i right = _mm512_max_epi32(_mm512_sub_epi32(none, shift), none);
    x = _mm512_sllv_epi32(x, _mm512_max_epi32(shift, none));
    __m512i even = _mm512_add_epi64(_mm512_mul_epi32(x, m), half);
    __m512i odd = _mm512_mul_epi32(_mm512_srli_epi64(x, 32), _mm512_srli_epi64(m, 32));
    odd = _mm512_add_epi64(odd, half);
    x = _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 31), _mm512_slli_epi64(odd, 1));
    const __m512i one = _mm512_set1_epi32(1);
    __m512i mask = _mm512_sub_epi32(_mm512_sllv_epi32(one, right), one);
    __m512i threshold = _mm512_sub_epi32(_mm512_srli_epi32(mask, 1), _mm512_srai_epi32(x, 31));
    __mmask16 up = _mm512_cmpgt_epi32_mask(_mm512_and_si512(x, mask), threshold);
    __m512i y = _mm512_srav_epi32(x, right);
    return _mm512_mask_add_epi32(y, up, y, one);
}

/* The affine form (channels.h) of 16 lanes of a block of `lanes`, less its centre. */
static inline __m512i ei_affine16(__m512i acc, const float *block, int lanes) {
    __m512 offset = _mm512_loadu_ps(block + lanes), negative = _mm512_loadu_ps(block + 2 * lanes);
    offset = _mm512_mask_mov_ps(offset, _mm512_movepi32_mask(acc), negative);
    __m512 v = _mm512_fmadd_ps(_mm512_cvtepi32_ps(acc), _mm512_loadu_ps(block), offset);
    return _mm512_cvt_roundps_epi32(v, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);
}

/* Plus a zero point, within lo..hi, without overflow on the way; |zero| < 2^30. */
static inline __m512i ei_shifted16(__m512i x, int32_t zero, int32_t lo, int32_t hi) {
    x = _mm512_max_epi32(x, _mm512_set1_epi32(lo - zero));
    x = _mm512_min_epi32(x, _mm512_set1_epi32(hi - zero));
    return _mm512_add_epi32(x, _mm512_set1_epi32(zero));
}

#endif
