/* 8-bit SQUARED_DIFFERENCE, 16 at a time, in the fixed point of ref/binary.h. */
#include "../ref/binary.h"
#include "fixed_point.h"

enum { SHIFT = 7 };

static int check(const ei_node *n) {
    int status = ei_binary_check(n);
    if (status != EI_OK || !ei_is_q8(n->out[0])) return EI_E_UNSUPPORTED;
    const ei_binary_params *p = n->params;
    bool good = p->a_multiplier >= 0 && p->b_multiplier >= 0 && p->out_multiplier >= 0;
    for (int i = 0; i < 2; i++) good = good && n->in[i]->zero >= -256 && n->in[i]->zero <= 256;
    return good && n->out[0]->zero >= -256 && n->out[0]->zero <= 256 ? EI_OK : EI_E_UNSUPPORTED;
}

/* Values of an operand less its zero point, scaled. */
static inline __m512i load(const ei_tensor *t, int64_t at, int64_t step, __mmask16 mask,
                           int32_t multiplier, int32_t shift) {
    const uint8_t *p = (const uint8_t *)t->data + at;
    __m512i v =
        step ? _mm512_setzero_si512() : _mm512_set1_epi32(t->dtype == EI_I8 ? (int8_t)*p : *p);
    if (step) {
        __m128i bytes = _mm_maskz_loadu_epi8(mask, p);
        v = t->dtype == EI_I8 ? _mm512_cvtepi8_epi32(bytes) : _mm512_cvtepu8_epi32(bytes);
    }
    v = _mm512_slli_epi32(_mm512_sub_epi32(v, _mm512_set1_epi32(t->zero)), SHIFT);
    return ei_mul_quantized16(v, multiplier, shift);
}

static void row(const ei_node *n, const ei_binary_row *r) {
    const ei_tensor *a = n->in[0], *b = n->in[1], *y = n->out[0];
    const ei_binary_params *p = n->params;
    if (r->step_a < 0 || r->step_a > 1 || r->step_b < 0 || r->step_b > 1) {
        ei_binary_row_scalar(n, r);
        return;
    }
    __mmask16 all = 0xffff;
    __m512i u = load(a, r->a, 0, all, p->a_multiplier, p->a_shift);
    __m512i v = load(b, r->b, 0, all, p->b_multiplier, p->b_shift);
    for (int64_t i = 0; i < r->n; i += 16) {
        __mmask16 mask = r->n - i >= 16 ? all : (__mmask16)((1 << (r->n - i)) - 1);
        if (r->step_a) u = load(a, r->a + i, 1, mask, p->a_multiplier, p->a_shift);
        if (r->step_b) v = load(b, r->b + i, 1, mask, p->b_multiplier, p->b_shift);
        __m512i d = _mm512_sub_epi32(u, v);
        d = ei_mul_quantized16(_mm512_mullo_epi32(d, d), p->out_multiplier, p->out_shift);
        d = ei_shifted16(d, y->zero, p->act_min, p->act_max);
        _mm512_mask_cvtepi32_storeu_epi8((uint8_t *)y->data + r->y + i, mask, d);
    }
}

static int run(const ei_node *n, const ei_work *work) {
    return ei_binary_walk(n, work, row);
}

const ei_kernel ei_avx512vnni_squared_difference_q8 = {.name = "avx512vnni/squared_difference_q8",
                                                       .op = EI_OP_SQUARED_DIFFERENCE,
                                                       .parallel = true,
                                                       .check = check,
                                                       .run = run};
