/* dynamic_quantize: the reference loops compiled for AVX2, see EI_FOLDER in elementwise.h, but for
 * the search of the extremes, whose lanes the compiler would keep in memory. */
#include <immintrin.h>
#include <stdint.h>

static inline float least(__m256 v) {
    __m128 h = _mm_min_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    h = _mm_min_ps(h, _mm_movehl_ps(h, h));
    return _mm_cvtss_f32(_mm_min_ss(h, _mm_movehdup_ps(h)));
}

/* As in ref: 0 among the values, NaN (a first operand of these instructions) passed over. */
static void extent_avx2(const float *x, int64_t n, float *min, float *max) {
    __m256 low0 = _mm256_setzero_ps(), high0 = low0, low1 = low0, high1 = low0;
    for (; n >= 16; n -= 16, x += 16) {
        __m256 a = _mm256_loadu_ps(x), b = _mm256_loadu_ps(x + 8);
        low0 = _mm256_min_ps(a, low0), high0 = _mm256_max_ps(a, high0);
        low1 = _mm256_min_ps(b, low1), high1 = _mm256_max_ps(b, high1);
    }
    __m256 high = _mm256_sub_ps(_mm256_setzero_ps(), _mm256_max_ps(high0, high1));
    *min = least(_mm256_min_ps(low0, low1));
    *max = -least(high);
    for (int64_t i = 0; i < n; i++) {
        *min = x[i] < *min ? x[i] : *min;
        *max = x[i] > *max ? x[i] : *max;
    }
}

#define EI_EXTENT extent_avx2
#define EI_FOLDER avx2
#include "../ref/dynamic_quantize.c"
