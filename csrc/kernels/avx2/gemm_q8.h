/* How the 8-bit matrix products on 256 bits store a row of a tile; see ../gemm_q8.h for the rest.
 */
#ifndef EI_AVX2_GEMM_Q8_H
#define EI_AVX2_GEMM_Q8_H

#include "../gemm_q8.h"
#include "../requant.h"
#include "requant8.h"

enum { EI_COLUMNS = 16 };

/* As ei_requant_double. No instruction rounds ties away from zero, but adding the largest number
 * below a half and dropping the fraction does. */
static inline __m128i requant4_double(__m128i acc, const double *scale, const ei_requant *r) {
    const __m256d sign = _mm256_set1_pd(-0.0), half = _mm256_set1_pd(0x1.fffffffffffffp-2);
    __m256d v = _mm256_mul_pd(_mm256_cvtepi32_pd(acc), _mm256_loadu_pd(scale));
    v = _mm256_max_pd(v, _mm256_set1_pd(r->lo - r->zero));
    v = _mm256_min_pd(v, _mm256_set1_pd(r->hi - r->zero));
    v = _mm256_add_pd(v, _mm256_or_pd(_mm256_and_pd(v, sign), half));
    return _mm_add_epi32(_mm256_cvttpd_epi32(v), _mm_set1_epi32(r->zero));
}

static inline __m256i requant8_double(__m256i acc, const double *scale, const ei_requant *r) {
    __m128i low = requant4_double(_mm256_castsi256_si128(acc), scale, r);
    __m128i high = requant4_double(_mm256_extracti128_si256(acc, 1), scale + 4, r);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

static inline void store_row(const ei_tile_q8 *t, __m256i acc0, __m256i acc1, uint8_t *y) {
    const ei_requant *r = &t->r;
    bool affine = ei_affine_holds(r->affine);
    if (r->shift && !affine) {
        int32_t sums[EI_COLUMNS];
        _mm256_storeu_si256((__m256i *)sums, acc0);
        _mm256_storeu_si256((__m256i *)(sums + 8), acc1);
        for (int i = 0; i < t->columns; i++) y[i] = ei_requant_channel(r, sums[i], i);
        return;
    }
    __m256i v0, v1;
    if (affine) {
        int centre = ei_affine_centre(t->is_signed);
        v0 = affine8(acc0, r->affine, centre, r->lo, r->hi);
        v1 = affine8(acc1, r->affine + 8, centre, r->lo, r->hi);
    } else if (r->is_double) {
        const double *scale = r->scale;
        v0 = requant8_double(acc0, scale, r), v1 = requant8_double(acc1, scale + 8, r);
    } else {
        const float *scale = r->scale;
        v0 = requant8(acc0, scale, r->zero, r->lo, r->hi);
        v1 = requant8(acc1, scale + 8, r->zero, r->lo, r->hi);
    }
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(v0, v1), 0xd8);
    __m128i low = _mm256_castsi256_si128(words), high = _mm256_extracti128_si256(words, 1);
    __m128i bytes = t->is_signed ? _mm_packs_epi16(low, high) : _mm_packus_epi16(low, high);
    if (t->columns == EI_COLUMNS) {
        _mm_storeu_si128((__m128i *)y, bytes);
    } else {
        uint8_t row[EI_COLUMNS];
        _mm_storeu_si128((__m128i *)row, bytes);
        memcpy(y, row, (size_t)t->columns);
    }
}

static inline void store_floats(const ei_dynamic *d, int row, const __m256i *acc, int columns,
                                float *y) {
    float out[EI_COLUMNS];
    for (int i = 0; i < EI_COLUMNS; i += 8) {
        __m256i sums = _mm256_loadu_si256((const __m256i *)(d->sums + i));
        sums = _mm256_mullo_epi32(sums, _mm256_set1_epi32(d->factor[row]));
        __m256 v = _mm256_cvtepi32_ps(_mm256_add_epi32(acc[i / 8], sums));
        v = _mm256_mul_ps(v, _mm256_set1_ps(d->scale[row]));
        v = _mm256_fmadd_ps(v, _mm256_loadu_ps(d->w_scale + i), _mm256_loadu_ps(d->bias + i));
        v = _mm256_min_ps(_mm256_set1_ps(d->hi), _mm256_max_ps(_mm256_set1_ps(d->lo), v));
        _mm256_storeu_ps(columns == EI_COLUMNS ? y + i : out + i, v);
    }
    if (columns < EI_COLUMNS) memcpy(y, out, (size_t)columns * 4);
}

/* Stores row `i` of a tile: two registers of accumulators. */
static inline void ei_store16(const ei_tile_q8 *t, int i, const __m256i *acc) {
    uint8_t *y = t->y + i * t->stride;
    if (t->dynamic)
        store_floats(t->dynamic, i, acc, t->columns, (float *)(void *)y);
    else
        store_row(t, acc[0], acc[1], y);
}

#endif
