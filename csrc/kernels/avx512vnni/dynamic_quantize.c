/* dynamic_quantize for AVX-512: the reference, see EI_FOLDER in elementwise.h, but for its loops
 * over the values of a batch. Batches are often pixels of few channels: masks take any number. */
#include "../ref/dynamic_quantize.h"

#include <immintrin.h>

static inline __mmask16 first(int64_t n) {
    return (__mmask16)(n >= 16 ? 0xffff : (1u << n) - 1);
}

/* As in ref: 0 among the values, NaN (a first operand of these instructions) passed over. */
static void extent_512(const float *x, int64_t n, float *min, float *max) {
    __m512 low = _mm512_setzero_ps(), high = low, low1 = low, high1 = low;
    for (; n >= 32; n -= 32, x += 32) {
        __m512 v = _mm512_loadu_ps(x), v1 = _mm512_loadu_ps(x + 16);
        low = _mm512_min_ps(v, low), high = _mm512_max_ps(v, high);
        low1 = _mm512_min_ps(v1, low1), high1 = _mm512_max_ps(v1, high1);
    }
    for (; n > 0; n -= 16, x += 16) {
        __m512 v = _mm512_maskz_loadu_ps(first(n), x);
        low = _mm512_min_ps(v, low), high = _mm512_max_ps(v, high);
    }
    *min = _mm512_reduce_min_ps(_mm512_min_ps(low, low1));
    *max = _mm512_reduce_max_ps(_mm512_max_ps(high, high1));
}

static void quantize_512(const float *x, uint8_t *y, int64_t n, const ei_mapping *m) {
    const __m512 sign = _mm512_set1_ps(-0.0f), half = _mm512_set1_ps(0.5f);
    const __m512 lo = _mm512_set1_ps(m->lo), hi = _mm512_set1_ps(m->hi);
    for (; n > 0; n -= 16, x += 16, y += 16) {
        __m512 v = _mm512_mul_ps(_mm512_maskz_loadu_ps(first(n), x), _mm512_set1_ps(m->inverse));
        v = _mm512_min_ps(_mm512_max_ps(v, lo), hi);
        if (!m->even) v = _mm512_add_ps(v, _mm512_or_ps(_mm512_and_ps(v, sign), half));
        __m512i q = m->even ? _mm512_cvtps_epi32(v) : _mm512_cvttps_epi32(v);
        q = _mm512_add_epi32(q, _mm512_set1_epi32(m->zero));
        _mm_mask_storeu_epi8(y, first(n), _mm512_cvtepi32_epi8(q));
    }
}

#define EI_EXTENT   extent_512
#define EI_QUANTIZE quantize_512
#define EI_FOLDER   avx512vnni
#include "../ref/dynamic_quantize.c"
