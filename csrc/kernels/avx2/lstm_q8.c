/* The integer LSTM on VPMADDWD; see ../lstm_q8.h. Activations and weights are words. */
#include "../kernel.h"

#include <immintrin.h>

typedef __m256i vec;
typedef int16_t ei_weight;
#define EI_LSTM_LANES 16
#define EI_LSTM_UNIT  2

#define v_load(p)           _mm256_loadu_si256((const void *)(p))
#define v_store(p, v)       _mm256_storeu_si256((void *)(p), v)
#define v_set16(x)          _mm256_set1_epi16(x)
#define v_set32(x)          _mm256_set1_epi32(x)
#define v_set64(x)          _mm256_set1_epi64x(x)
#define v_add16(a, b)       _mm256_add_epi16(a, b)
#define v_sub16(a, b)       _mm256_sub_epi16(a, b)
#define v_adds16(a, b)      _mm256_adds_epi16(a, b)
#define v_mulhrs(a, b)      _mm256_mulhrs_epi16(a, b)
#define v_mullo16(a, b)     _mm256_mullo_epi16(a, b)
#define v_mulhi16(a, b)     _mm256_mulhi_epi16(a, b)
#define v_min16(a, b)       _mm256_min_epi16(a, b)
#define v_max16(a, b)       _mm256_max_epi16(a, b)
#define v_abs16(a)          _mm256_abs_epi16(a)
#define v_sra16(a, n)       _mm256_srai_epi16(a, n)
#define v_sll16(a, n)       _mm256_slli_epi16(a, n)
#define v_average(a, b)     _mm256_avg_epu16(a, b)
#define v_and(a, b)         _mm256_and_si256(a, b)
#define v_andnot(a, b)      _mm256_andnot_si256(a, b)
#define v_add32(a, b)       _mm256_add_epi32(a, b)
#define v_min32(a, b)       _mm256_min_epi32(a, b)
#define v_max32(a, b)       _mm256_max_epi32(a, b)
#define v_sll32(a, n)       _mm256_sll_epi32(a, _mm_cvtsi32_si128(n))
#define v_mul32(a, b)       _mm256_mul_epi32(a, b)
#define v_add64(a, b)       _mm256_add_epi64(a, b)
#define v_srl64(a, n)       _mm256_srli_epi64(a, n)
#define v_sll64(a, n)       _mm256_slli_epi64(a, n)
#define v_odd32(even, odd)  _mm256_blend_epi32(even, odd, 0xaa)
#define v_packs32(a, b)     _mm256_packs_epi32(a, b)
#define v_unpack_lo16(a, b) _mm256_unpacklo_epi16(a, b)
#define v_unpack_hi16(a, b) _mm256_unpackhi_epi16(a, b)
#define v_widen(p)          _mm256_cvtepi16_epi32(_mm_loadu_si128((const void *)(p)))

static inline vec v_where_bit(vec x, int bit, vec a, vec b) {
    vec mask = v_set16((int16_t)(1 << bit));
    return _mm256_blendv_epi8(b, a, _mm256_cmpeq_epi16(v_and(x, mask), mask));
}

static inline vec v_where_zero(vec x, vec a, vec b) {
    return _mm256_blendv_epi8(b, a, _mm256_cmpeq_epi16(x, _mm256_setzero_si256()));
}

static inline vec v_where_positive(vec x, vec a, vec b) {
    return _mm256_blendv_epi8(b, a, _mm256_cmpgt_epi16(x, _mm256_setzero_si256()));
}

/* Two registers of 32 bits, one after the other, as words. */
static inline vec v_words(vec a, vec b) {
    return _mm256_permute4x64_epi64(v_packs32(a, b), 0xd8);
}

static inline void v_store_bytes(int8_t *to, vec words) {
    vec bytes = _mm256_permute4x64_epi64(_mm256_packs_epi16(words, words), 0xd8);
    _mm_storeu_si128((void *)to, _mm256_castsi256_si128(bytes));
}

/* ei_rounding_divide_by_pot(). */
static inline vec v_divide_pot32(vec x, int exponent) {
    int32_t mask = (int32_t)((1ll << exponent) - 1);
    vec threshold = _mm256_sub_epi32(v_set32(mask >> 1), _mm256_srai_epi32(x, 31));
    vec up = _mm256_cmpgt_epi32(v_and(x, v_set32(mask)), threshold); /* -1 where so */
    return _mm256_sub_epi32(_mm256_sra_epi32(x, _mm_cvtsi32_si128(exponent)), up);
}

static void prepare(void *to, const int8_t *from, int32_t n) {
    int16_t *words = to;
    for (int32_t i = 0; i < n; i++) words[i] = from[i];
    if (n % 2) words[n] = 0;
}

static void products(const void *activations, int32_t k, const int16_t *w, const int32_t *bias,
                     int32_t *sums) {
    const int32_t *a = activations;
    vec c0 = v_load(bias), c1 = v_load(bias + 8), c2 = v_load(bias + 16), c3 = v_load(bias + 24),
        c4 = v_load(bias + 32), c5 = v_load(bias + 40), c6 = v_load(bias + 48),
        c7 = v_load(bias + 56);
    for (int32_t i = 0; i < k; i++, w += 128) {
        vec v = v_set32(a[i]);
        c0 = v_add32(c0, _mm256_madd_epi16(v, v_load(w)));
        c1 = v_add32(c1, _mm256_madd_epi16(v, v_load(w + 16)));
        c2 = v_add32(c2, _mm256_madd_epi16(v, v_load(w + 32)));
        c3 = v_add32(c3, _mm256_madd_epi16(v, v_load(w + 48)));
        c4 = v_add32(c4, _mm256_madd_epi16(v, v_load(w + 64)));
        c5 = v_add32(c5, _mm256_madd_epi16(v, v_load(w + 80)));
        c6 = v_add32(c6, _mm256_madd_epi16(v, v_load(w + 96)));
        c7 = v_add32(c7, _mm256_madd_epi16(v, v_load(w + 112)));
    }
    vec c[] = {c0, c1, c2, c3, c4, c5, c6, c7};
    for (int i = 0; i < 8; i++) v_store(sums + 8 * i, c[i]);
}

#include "../lstm_q8.h"

const ei_kernel ei_avx2_lstm_q8 = {.name = "avx2/lstm_q8",
                                   .op = EI_OP_LSTM,
                                   .layout = EI_LAYOUT_AVX2_LSTM_Q8,
                                   .check = check,
                                   .scratch = scratch,
                                   .run = run};
