/* Row functions of the image path for AVX2: four pixels, 48 elements a step. */
#include "../rows.h"

#include <immintrin.h>
#include <string.h>

static inline __m128i two(const uint8_t *a, const uint8_t *b) {
    long long high; /* memcpy: the address has no alignment */
    memcpy(&high, b, sizeof high);
    return _mm_insert_epi64(_mm_loadl_epi64((const void *)a), high, 1);
}

/* vpmaddubsw takes one unsigned and one signed factor: pixels are made signed, and the
 * definition's -32768 (= -128 * 256) comes of itself. */
static inline void group(const uint8_t *row, const int32_t *o, __m256i pick, __m256i weight,
                         __m256i pack, int channels, int16_t *out) {
    __m256i p = _mm256_set_m128i(two(row + o[2], row + o[3]), two(row + o[0], row + o[1]));
    p = _mm256_xor_si256(_mm256_shuffle_epi8(p, pick), _mm256_set1_epi8(-128));
    p = _mm256_shuffle_epi8(_mm256_maddubs_epi16(weight, p), pack);
    /* Overlapping stores in rising order: the tail of one is overwritten by the next. */
    _mm_storeu_si128((void *)out, _mm256_castsi256_si128(p));
    _mm_storeu_si128((void *)(out + 2 * channels), _mm256_extracti128_si256(p, 1));
}

static __m256i packing(int channels) {
    static const uint8_t keep[5][16] = {
        [1] = {0, 1, 8, 9, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128, 128},
        [3] = {0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, 128, 128, 128, 128},
        [4] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    };
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const void *)keep[channels]));
}

static void across(const uint8_t *row, const ei_taps *taps, int groups, int channels,
                   int16_t *out) {
    const __m256i pack = packing(channels);
    for (int g = 0; g < groups; g++, taps++, out += 4 * channels)
        group(row, taps->offset, _mm256_loadu_si256((const void *)taps->pick),
              _mm256_loadu_si256((const void *)taps->weight), pack, channels, out);
}

static void across2(const uint8_t *const *rows, const ei_taps *taps, int groups, int channels,
                    int16_t *const *out) {
    const __m256i pack = packing(channels);
    const uint8_t *a = rows[0], *b = rows[1];
    int16_t *x = out[0], *y = out[1];
    for (int g = 0; g < groups; g++, taps++, x += 4 * channels, y += 4 * channels) {
        const __m256i pick = _mm256_loadu_si256((const void *)taps->pick);
        const __m256i weight = _mm256_loadu_si256((const void *)taps->weight);
        group(a, taps->offset, pick, weight, pack, channels, x);
        group(b, taps->offset, pick, weight, pack, channels, y);
    }
}

typedef struct pair { /* of 16 elements: 0-3 8-11 and 4-7 12-15, as the unpacks leave them */
    __m256 low, high;
} pair;

static pair load_pair(const float *f) {
    return (pair){_mm256_set_m128(_mm_loadu_ps(f + 8), _mm_loadu_ps(f)),
                  _mm256_set_m128(_mm_loadu_ps(f + 12), _mm_loadu_ps(f + 4))};
}

static pair blend(const int16_t *above, const int16_t *below, __m256i w, pair mul, pair add) {
    __m256i a = _mm256_loadu_si256((const void *)above);
    __m256i b = _mm256_loadu_si256((const void *)below);
    __m256 low = _mm256_cvtepi32_ps(_mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), w));
    __m256 high = _mm256_cvtepi32_ps(_mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), w));
    return (pair){_mm256_add_ps(_mm256_mul_ps(low, mul.low), add.low),
                  _mm256_add_ps(_mm256_mul_ps(high, mul.high), add.high)};
}

static __m256i rounded(pair v) {
    return _mm256_packs_epi32(_mm256_cvtps_epi32(v.low), _mm256_cvtps_epi32(v.high));
}

static __m256i weights(int w0, int w1) {
    return _mm256_set1_epi32((int)((uint32_t)w1 << 16 | (uint32_t)w0));
}

static inline void down_q8(const int16_t *above, const int16_t *below, int w0, int w1,
                           const ei_affine *to, int n, uint8_t *out, int is_signed) {
    const __m256i w = weights(w0, w1);
    const pair m0 = load_pair(to->mul), m1 = load_pair(to->mul + 16), m2 = load_pair(to->mul + 32);
    const pair a0 = load_pair(to->add), a1 = load_pair(to->add + 16), a2 = load_pair(to->add + 32);
    for (int i = 0; i < n; i += EI_SPAN) {
        __m256i r0 = rounded(blend(above + i, below + i, w, m0, a0));
        __m256i r1 = rounded(blend(above + i + 16, below + i + 16, w, m1, a1));
        __m256i r2 = rounded(blend(above + i + 32, below + i + 32, w, m2, a2));
        __m256i x = is_signed ? _mm256_packs_epi16(r0, r1) : _mm256_packus_epi16(r0, r1);
        __m256i y = is_signed ? _mm256_packs_epi16(r2, r2) : _mm256_packus_epi16(r2, r2);
        x = _mm256_permute4x64_epi64(x, 0xd8);
        y = _mm256_permute4x64_epi64(y, 0xd8);
        uint8_t rest[EI_SPAN], *o = n - i >= EI_SPAN ? out + i : rest;
        _mm256_storeu_si256((void *)o, x);
        _mm_storeu_si128((void *)(o + 32), _mm256_castsi256_si128(y));
        if (o == rest) memcpy(out + i, rest, (size_t)(n - i));
    }
}

static void down_u8(const int16_t *above, const int16_t *below, int w0, int w1, const ei_affine *to,
                    int n, void *out) {
    down_q8(above, below, w0, w1, to, n, out, 0);
}

static void down_i8(const int16_t *above, const int16_t *below, int w0, int w1, const ei_affine *to,
                    int n, void *out) {
    down_q8(above, below, w0, w1, to, n, out, 1);
}

static void down_f32(const int16_t *above, const int16_t *below, int w0, int w1,
                     const ei_affine *to, int n, void *out) {
    const __m256i w = weights(w0, w1);
    for (int i = 0; i < n; i += EI_SPAN) {
        float rest[EI_SPAN], *o = n - i >= EI_SPAN ? (float *)out + i : rest;
        for (int k = 0; k < EI_SPAN; k += 16) {
            pair v = blend(above + i + k, below + i + k, w, load_pair(to->mul + k),
                           load_pair(to->add + k));
            _mm256_storeu_ps(o + k, _mm256_permute2f128_ps(v.low, v.high, 0x20));
            _mm256_storeu_ps(o + k + 8, _mm256_permute2f128_ps(v.low, v.high, 0x31));
        }
        if (o == rest) memcpy((float *)out + i, rest, (size_t)(n - i) * sizeof(float));
    }
}

static void gather(const uint8_t *row, uint32_t weight, int first, int n, uint32_t *sum) {
    const __m256i w = _mm256_set1_epi32((int)weight);
    int i = 0;
    for (; i + 8 <= n; i += 8) {
        __m256i p = _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)(row + i)));
        p = _mm256_mullo_epi32(p, w);
        if (!first) p = _mm256_add_epi32(p, _mm256_loadu_si256((const void *)(sum + i)));
        _mm256_storeu_si256((void *)(sum + i), p);
    }
    for (; i < n; i++) sum[i] = (first ? 0 : sum[i]) + weight * row[i];
}

const ei_rows ei_rows_avx2 = {EI_ISA_AVX2, across, across2, down_u8, down_i8, down_f32, gather};
