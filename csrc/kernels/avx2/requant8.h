/* Requantisation of 8 lanes, for kernels of the library's default arithmetic and its affine form.
 */
#ifndef EI_AVX2_REQUANT8_H
#define EI_AVX2_REQUANT8_H

#include <immintrin.h>
#include <stdint.h>

/* As ei_requant_xnnpack. */
static inline __m256i requant8(__m256i acc, const float *scale, int32_t zero, int32_t lo,
                               int32_t hi) {
    __m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(acc), _mm256_loadu_ps(scale));
    v = _mm256_max_ps(v, _mm256_set1_ps((float)(lo - zero)));
    v = _mm256_min_ps(v, _mm256_set1_ps((float)(hi - zero)));
    return _mm256_add_epi32(_mm256_cvtps_epi32(v), _mm256_set1_epi32(zero));
}

/* The affine form (engine/affine.py) of 8 lanes of a block of 16: [scale, positive, negative][16]
 * from the first of the 8 on. */
static inline __m256i affine8(__m256i acc, const float *block, int32_t centre, int32_t lo,
                              int32_t hi) {
    __m256 offset = _mm256_loadu_ps(block + 16);
    offset = _mm256_blendv_ps(offset, _mm256_loadu_ps(block + 32), _mm256_castsi256_ps(acc));
    __m256 v = _mm256_fmadd_ps(_mm256_cvtepi32_ps(acc), _mm256_loadu_ps(block), offset);
    v = _mm256_max_ps(_mm256_floor_ps(v), _mm256_set1_ps((float)(lo - centre)));
    v = _mm256_min_ps(v, _mm256_set1_ps((float)(hi - centre)));
    return _mm256_add_epi32(_mm256_cvtps_epi32(v), _mm256_set1_epi32(centre));
}

#endif
