/* LOGISTIC and SWISH of floats, 16 at a time: those functions of ref/exp.h with fused products, a
 * scaling instruction for 2^n and a refined reciprocal for the division. Relative errors below
 * 2^-21 over the whole range of normal results. */
#include "../ref/elementwise.h"

#include <immintrin.h>

/* exp of z <= 0: 2^n * p(r), z = n ln 2 + r, |r| <= ln(2) / 2. Keeps a NaN. */
static inline __m512 exp_below(__m512 z) {
    const int nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    z = _mm512_max_ps(_mm512_set1_ps(-104.0f), z);
    __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(z, _mm512_set1_ps(1.44269504f)), nearest);
    __m512 r = _mm512_fnmadd_ps(n, _mm512_set1_ps(0.693359375f), z);
    r = _mm512_fmadd_ps(n, _mm512_set1_ps(2.12194440e-4f), r);
    __m512 p = _mm512_set1_ps(1.9875691500e-4f);
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
    p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1f));
    p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r);
    return _mm512_scalef_ps(_mm512_add_ps(p, _mm512_set1_ps(1.0f)), n);
}

static inline __m512 logistic(__m512 x) {
    const __m512 one = _mm512_set1_ps(1.0f), sign = _mm512_set1_ps(-0.0f);
    __m512 e = exp_below(_mm512_or_ps(x, sign)), d = _mm512_add_ps(one, e);
    __m512 r = _mm512_rcp14_ps(d);
    r = _mm512_fmadd_ps(r, _mm512_fnmadd_ps(d, r, one), r);
    __m512 small = _mm512_mul_ps(e, r);
    return _mm512_mask_sub_ps(small, _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_NLT_UQ), one,
                              small);
}

static int check(const ei_node *node) {
    if (!ei_one_to_one(node, sizeof(ei_unary_params))) return EI_E_UNSUPPORTED;
    int function = ((const ei_unary_params *)node->params)->function;
    bool good = (function == EI_UNARY_LOGISTIC || function == EI_UNARY_SWISH) &&
                node->in[0]->dtype == EI_F32 && node->out[0]->dtype == EI_F32;
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static int run(const ei_node *node, const ei_work *work) {
    bool swish = ((const ei_unary_params *)node->params)->function == EI_UNARY_SWISH;
    const float *from = node->in[0]->data;
    float *to = node->out[0]->data;
    int64_t i, end;
    ei_elements(node, work, &i, &end);
    for (; i < end; i += 16) {
        __mmask16 mask = (__mmask16)(end - i >= 16 ? 0xffff : (1 << (end - i)) - 1);
        __m512 x = _mm512_maskz_loadu_ps(mask, from + i), y = logistic(x);
        _mm512_mask_storeu_ps(to + i, mask, swish ? _mm512_mul_ps(x, y) : y);
    }
    return EI_OK;
}

const ei_kernel ei_avx512vnni_logistic = {
    .name = "avx512vnni/logistic",
    .op = EI_OP_UNARY,
    .parallel = true,
    .check = check,
    .run = run,
};
