/* MAX_POOL_2D of bytes, at least 16 channels: 32 or 16 of them in a register over all taps. The
 * last ones overlap those before, which does no harm. */
#include "../ref/pool.h"

#include <immintrin.h>

static int check(const ei_node *n) {
    int status = ei_pool_check(n);
    bool fits = status == EI_OK && ei_is_q8(n->in[0]) && n->in[0]->dims[3] >= 16;
    return fits ? EI_OK : EI_E_UNSUPPORTED;
}

static inline __m128i max16(const ei_tensor *x, const ei_window *w, int32_t c, __m128i flip,
                            __m128i lo, __m128i hi) {
    __m128i acc = lo;
    for (int32_t iy = w->y0; iy < w->y1; iy++)
        for (int32_t ix = w->x0; ix < w->x1; ix++) {
            const uint8_t *in = ei_window_tap(x, w, iy, ix) + c;
            __m128i v = _mm_loadu_si128((const __m128i *)in);
            acc = _mm_max_epu8(acc, _mm_xor_si128(v, flip));
        }
    return _mm_xor_si128(_mm_min_epu8(acc, hi), flip);
}

static inline __m256i max32(const ei_tensor *x, const ei_window *w, int32_t c, __m256i flip,
                            __m256i lo, __m256i hi) {
    __m256i acc = lo;
    for (int32_t iy = w->y0; iy < w->y1; iy++)
        for (int32_t ix = w->x0; ix < w->x1; ix++) {
            const uint8_t *in = ei_window_tap(x, w, iy, ix) + c;
            __m256i v = _mm256_loadu_si256((const __m256i *)in);
            acc = _mm256_max_epu8(acc, _mm256_xor_si256(v, flip));
        }
    return _mm256_xor_si256(_mm256_min_epu8(acc, hi), flip);
}

static int run(const ei_node *n, const ei_work *work) {
    const ei_tensor *x = n->in[0], *y = n->out[0];
    const ei_pool_params *p = n->params;
    uint8_t sign = x->dtype == EI_I8 ? 0x80 : 0; /* compares int8 as uint8 */
    __m256i flip = _mm256_set1_epi8((char)sign),
            lo = _mm256_set1_epi8((char)((uint8_t)p->act_min ^ sign)),
            hi = _mm256_set1_epi8((char)((uint8_t)p->act_max ^ sign));
    __m128i flip16 = _mm256_castsi256_si128(flip), lo16 = _mm256_castsi256_si128(lo),
            hi16 = _mm256_castsi256_si128(hi);
    int32_t channels = x->dims[3];
    int64_t line, end;
    ei_split((int64_t)y->dims[0] * y->dims[1], 1, work, &line, &end);
    for (; line < end; line++)
        for (int32_t ox = 0; ox < y->dims[2]; ox++) {
            ei_window w = ei_window_of(n, line / y->dims[1], (int32_t)(line % y->dims[1]), ox);
            uint8_t *out = (uint8_t *)y->data + (line * y->dims[2] + ox) * y->stride;
            int32_t c = 0;
            for (; c + 32 <= channels; c += 32)
                _mm256_storeu_si256((__m256i *)(out + c), max32(x, &w, c, flip, lo, hi));
            for (; c < channels; c += 16) {
                if (c + 16 > channels) c = channels - 16;
                _mm_storeu_si128((__m128i *)(out + c), max16(x, &w, c, flip16, lo16, hi16));
            }
        }
    return EI_OK;
}

const ei_kernel ei_avx2_max_pool_q8 = {.name = "avx2/max_pool_q8",
                                       .op = EI_OP_MAX_POOL_2D,
                                       .parallel = true,
                                       .strided = EI_STRIDED_X | EI_STRIDED_Y,
                                       .check = check,
                                       .run = run};
