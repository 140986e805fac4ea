/* The integer LSTM on VPDPBUSD; see ../lstm_q8.h. Activations are biased by 128. */
#include "../kernel.h"

#include <immintrin.h>

typedef __m512i vec;
typedef int8_t ei_weight;
#define EI_LSTM_LANES 32
#define EI_LSTM_UNIT  4

#define v_load(p)           _mm512_loadu_si512(p)
#define v_store(p, v)       _mm512_storeu_si512(p, v)
#define v_set16(x)          _mm512_set1_epi16(x)
#define v_set32(x)          _mm512_set1_epi32(x)
#define v_set64(x)          _mm512_set1_epi64(x)
#define v_add16(a, b)       _mm512_add_epi16(a, b)
#define v_sub16(a, b)       _mm512_sub_epi16(a, b)
#define v_adds16(a, b)      _mm512_adds_epi16(a, b)
#define v_mulhrs(a, b)      _mm512_mulhrs_epi16(a, b)
#define v_mullo16(a, b)     _mm512_mullo_epi16(a, b)
#define v_mulhi16(a, b)     _mm512_mulhi_epi16(a, b)
#define v_min16(a, b)       _mm512_min_epi16(a, b)
#define v_max16(a, b)       _mm512_max_epi16(a, b)
#define v_abs16(a)          _mm512_abs_epi16(a)
#define v_sra16(a, n)       _mm512_srai_epi16(a, n)
#define v_sll16(a, n)       _mm512_slli_epi16(a, n)
#define v_average(a, b)     _mm512_avg_epu16(a, b)
#define v_and(a, b)         _mm512_and_si512(a, b)
#define v_andnot(a, b)      _mm512_andnot_si512(a, b)
#define v_add32(a, b)       _mm512_add_epi32(a, b)
#define v_min32(a, b)       _mm512_min_epi32(a, b)
#define v_max32(a, b)       _mm512_max_epi32(a, b)
#define v_sll32(a, n)       _mm512_sll_epi32(a, _mm_cvtsi32_si128(n))
#define v_mul32(a, b)       _mm512_mul_epi32(a, b)
#define v_add64(a, b)       _mm512_add_epi64(a, b)
#define v_srl64(a, n)       _mm512_srli_epi64(a, n)
#define v_sll64(a, n)       _mm512_slli_epi64(a, n)
#define v_odd32(even, odd)  _mm512_mask_blend_epi32(0xaaaa, even, odd)
#define v_packs32(a, b)     _mm512_packs_epi32(a, b)
#define v_unpack_lo16(a, b) _mm512_unpacklo_epi16(a, b)
#define v_unpack_hi16(a, b) _mm512_unpackhi_epi16(a, b)
#define v_widen(p)          _mm512_cvtepi16_epi32(_mm256_loadu_si256((const void *)(p)))
#define v_store_bytes(p, v) _mm256_storeu_si256((void *)(p), _mm512_cvtepi16_epi8(v))
#define v_where_bit(x, bit, a, b)                                                                  \
    _mm512_mask_blend_epi16(_mm512_test_epi16_mask(x, v_set16((int16_t)(1 << (bit)))), b, a)
#define v_where_zero(x, a, b) _mm512_mask_blend_epi16(_mm512_test_epi16_mask(x, x), a, b)
#define v_where_positive(x, a, b)                                                                  \
    _mm512_mask_blend_epi16(_mm512_cmpgt_epi16_mask(x, _mm512_setzero_si512()), b, a)

/* Two registers of 32 bits, one after the other, as words. */
static inline vec v_words(vec a, vec b) {
    return _mm512_permutexvar_epi64(_mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7), v_packs32(a, b));
}

/* ei_rounding_divide_by_pot(). */
static inline vec v_divide_pot32(vec x, int exponent) {
    int32_t mask = (int32_t)((1ll << exponent) - 1);
    vec threshold = _mm512_sub_epi32(v_set32(mask >> 1), _mm512_srai_epi32(x, 31));
    __mmask16 up = _mm512_cmpgt_epi32_mask(v_and(x, v_set32(mask)), threshold);
    vec y = _mm512_sra_epi32(x, _mm_cvtsi32_si128(exponent));
    return _mm512_mask_add_epi32(y, up, y, v_set32(1));
}

static void prepare(void *to, const int8_t *from, int32_t n) {
    uint8_t *bytes = to;
    for (int32_t i = 0; i < n; i++) bytes[i] = (uint8_t)from[i] ^ 0x80;
    for (int32_t i = n; i % EI_LSTM_UNIT; i++) bytes[i] = 0;
}

static void products(const void *activations, int32_t k, const int8_t *w, const int32_t *bias,
                     int32_t *sums) {
    const int32_t *a = activations;
    vec c0 = v_load(bias), c1 = v_load(bias + 16), c2 = v_load(bias + 32), c3 = v_load(bias + 48),
        c4 = v_load(bias + 64), c5 = v_load(bias + 80), c6 = v_load(bias + 96),
        c7 = v_load(bias + 112);
    for (int32_t i = 0; i < k; i++, w += 512) {
        vec v = v_set32(a[i]);
        c0 = _mm512_dpbusd_epi32(c0, v, v_load(w));
        c1 = _mm512_dpbusd_epi32(c1, v, v_load(w + 64));
        c2 = _mm512_dpbusd_epi32(c2, v, v_load(w + 128));
        c3 = _mm512_dpbusd_epi32(c3, v, v_load(w + 192));
        c4 = _mm512_dpbusd_epi32(c4, v, v_load(w + 256));
        c5 = _mm512_dpbusd_epi32(c5, v, v_load(w + 320));
        c6 = _mm512_dpbusd_epi32(c6, v, v_load(w + 384));
        c7 = _mm512_dpbusd_epi32(c7, v, v_load(w + 448));
    }
    vec c[] = {c0, c1, c2, c3, c4, c5, c6, c7};
    for (int i = 0; i < 8; i++) v_store(sums + 16 * i, c[i]);
}

#include "../lstm_q8.h"

const ei_kernel ei_avx512vnni_lstm_q8 = {.name = "avx512vnni/lstm_q8",
                                         .op = EI_OP_LSTM,
                                         .layout = EI_LAYOUT_VNNI_LSTM_Q8,
                                         .check = check,
                                         .scratch = scratch,
                                         .run = run};
