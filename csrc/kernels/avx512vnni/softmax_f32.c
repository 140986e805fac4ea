/* SOFTMAX of floats, 16 at a time, the exponential that of exp.h; 32 sums of a row, then theirs. */
#include "../kernel.h"
#include "exp.h"

static int check(const ei_node *n) {
    if (n->n_in != 1 || n->n_out != 1 || n->params_bytes != sizeof(ei_softmax_params) ||
        !n->in[0] || !n->out[0])
        return EI_E_UNSUPPORTED;
    const ei_tensor *x = n->in[0], *y = n->out[0];
    bool good = ei_same_shape(x, y) && x->rank >= 1 && x->dtype == EI_F32 && y->dtype == EI_F32 &&
                ((const ei_softmax_params *)n->params)->beta >= 0;
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static inline __mmask16 first(int64_t n) {
    return (__mmask16)(n >= 16 ? 0xffff : (1 << n) - 1);
}

static void row(const float *x, float *y, int64_t n, __m512 beta) {
    __m512 max = _mm512_set1_ps(x[0]), sum[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    for (int64_t i = 0; i < n; i += 16)
        max =
            _mm512_mask_max_ps(max, first(n - i), max, _mm512_maskz_loadu_ps(first(n - i), x + i));
    max = _mm512_set1_ps(_mm512_reduce_max_ps(max));
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 mask = first(n - i);
        __m512 v = _mm512_sub_ps(_mm512_maskz_loadu_ps(mask, x + i), max);
        v = ei_exp_below(_mm512_mul_ps(v, beta));
        sum[i / 16 % 2] = _mm512_mask_add_ps(sum[i / 16 % 2], mask, sum[i / 16 % 2], v);
        _mm512_mask_storeu_ps(y + i, mask, v);
    }
    __m512 scale = _mm512_set1_ps(1.0f / _mm512_reduce_add_ps(_mm512_add_ps(sum[0], sum[1])));
    for (int64_t i = 0; i < n; i += 16) {
        __mmask16 mask = first(n - i);
        _mm512_mask_storeu_ps(y + i, mask,
                              _mm512_mul_ps(_mm512_maskz_loadu_ps(mask, y + i), scale));
    }
}

static int run(const ei_node *n, const ei_work *work) {
    const ei_tensor *x = n->in[0];
    __m512 beta = _mm512_set1_ps(((const ei_softmax_params *)n->params)->beta);
    int64_t length = x->dims[x->rank - 1], r, end;
    ei_split(length ? ei_count(x) / length : 0, 1, work, &r, &end);
    for (; r < end; r++)
        row((const float *)x->data + r * length, (float *)n->out[0]->data + r * length, length,
            beta);
    return EI_OK;
}

const ei_kernel ei_avx512vnni_softmax_f32 = {.name = "avx512vnni/softmax_f32",
                                             .op = EI_OP_SOFTMAX,
                                             .parallel = true,
                                             .check = check,
                                             .run = run};
