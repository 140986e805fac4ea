/* exp, logistic and tanh of floats, 16 at a time: those of ref/exp.h with fused products, a scaling
 * instruction for 2^n and a refined reciprocal for the division. Relative errors below 2^-21 over
 * the whole range of normal results. */
#ifndef EI_AVX512_EXP_H
#define EI_AVX512_EXP_H

#include <immintrin.h>

/* exp of z <= 0: 2^n * p(r), z = n ln 2 + r, |r| <= ln(2) / 2. Keeps a NaN. */
static inline __m512 ei_exp_below(__m512 z) {
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

static inline __m512 ei_logistic16f(__m512 x) {
    const __m512 one = _mm512_set1_ps(1.0f), sign = _mm512_set1_ps(-0.0f);
    __m512 e = ei_exp_below(_mm512_or_ps(x, sign)), d = _mm512_add_ps(one, e);
    __m512 r = _mm512_rcp14_ps(d);
    r = _mm512_fmadd_ps(r, _mm512_fnmadd_ps(d, r, one), r);
    __m512 small = _mm512_mul_ps(e, r);
    return _mm512_mask_sub_ps(small, _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_NLT_UQ), one,
                              small);
}

/* An odd polynomial near 0, where (1 - e) / (1 + e), e = exp(-2 |x|), would cancel. */
static inline __m512 ei_tanh16f(__m512 x) {
    const __m512 one = _mm512_set1_ps(1.0f), sign = _mm512_set1_ps(-0.0f);
    __m512 s = _mm512_mul_ps(x, x), p = _mm512_set1_ps(-5.70498872745e-3f);
    p = _mm512_fmadd_ps(p, s, _mm512_set1_ps(2.06390887954e-2f));
    p = _mm512_fmadd_ps(p, s, _mm512_set1_ps(-5.37397155531e-2f));
    p = _mm512_fmadd_ps(p, s, _mm512_set1_ps(1.33314422036e-1f));
    p = _mm512_fmadd_ps(p, s, _mm512_set1_ps(-3.33332819422e-1f));
    __m512 near = _mm512_fmadd_ps(_mm512_mul_ps(p, s), x, x);
    __m512 z = _mm512_or_ps(_mm512_add_ps(x, x), sign);
    __m512 e = ei_exp_below(z), d = _mm512_add_ps(one, e), r = _mm512_rcp14_ps(d);
    r = _mm512_fmadd_ps(r, _mm512_fnmadd_ps(d, r, one), r);
    __m512 far = _mm512_mul_ps(_mm512_sub_ps(one, e), r);
    far = _mm512_or_ps(far, _mm512_and_ps(x, sign));
    __mmask16 small =
        _mm512_cmp_ps_mask(_mm512_andnot_ps(sign, x), _mm512_set1_ps(0.625f), _CMP_LT_OQ);
    return _mm512_mask_blend_ps(small, far, near);
}

#endif
