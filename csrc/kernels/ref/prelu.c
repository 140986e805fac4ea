/* PRELU: x where x >= 0, else alpha * x, alpha broadcast from the right (usually per channel). The
 * 8-bit form is the fixed-point one of the TFLite reference under both roundings: no delegate of
 * LiteRT takes it. */
#include "../requant.h"
#include "elementwise.h"
#include "strided.h"

static int check(const ei_node *node) {
    if (node->n_in != 2 || node->n_out != 1 || node->params_bytes != sizeof(ei_prelu_params))
        return EI_E_UNSUPPORTED;
    const ei_tensor *x = node->in[0], *alpha = node->in[1], *y = node->out[0];
    const ei_prelu_params *p = node->params;
    int64_t strides[EI_MAX_DIMS];
    bool good = x && alpha && y && ei_same_shape(x, y) && x->dtype == y->dtype &&
                x->dtype == alpha->dtype && (x->dtype == EI_F32 || ei_is_q8(x)) &&
                ei_broadcast_strides(alpha, y, strides) && p->positive_shift >= -31 &&
                p->positive_shift <= 30 && p->negative_shift >= -31 && p->negative_shift <= 30;
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static void row_f32(const ei_node *node, int64_t at, int64_t a, int64_t n, int64_t step) {
    const float *x = (const float *)node->in[0]->data + at, *alpha = node->in[1]->data;
    float *y = (float *)node->out[0]->data + at;
    for (int64_t i = 0; i < n; i++) y[i] = x[i] < 0 ? x[i] * alpha[a + i * step] : x[i];
}

static void row_q8(const ei_node *node, int64_t at, int64_t a, int64_t n, int64_t step) {
    const ei_tensor *x = node->in[0], *alpha = node->in[1], *y = node->out[0];
    const ei_prelu_params *p = node->params;
    int32_t lo, hi;
    ei_int_range(y->dtype, &lo, &hi);
    for (int64_t i = 0; i < n; i++) {
        int32_t v = (int32_t)((uint32_t)ei_load_int(x, at + i) - (uint32_t)x->zero);
        int32_t slope =
            (int32_t)((uint32_t)ei_load_int(alpha, a + i * step) - (uint32_t)alpha->zero);
        v = v >= 0
                ? ei_requant_tflite(v, p->positive_multiplier, p->positive_shift, y->zero, lo, hi)
                : ei_requant_tflite((int32_t)((uint32_t)v * (uint32_t)slope),
                                    p->negative_multiplier, p->negative_shift, y->zero, lo, hi);
        ei_store_int(y, at + i, v);
    }
}

static int run(const ei_node *node, const ei_work *work) {
    const ei_tensor *y = node->out[0];
    int64_t dims[EI_MAX_DIMS], strides[EI_MAX_DIMS], begin, end;
    ei_full_dims(y, dims);
    ei_broadcast_strides(node->in[1], y, strides);
    int64_t n = dims[EI_MAX_DIMS - 1], step = strides[EI_MAX_DIMS - 1];
    ei_split(n ? ei_count(y) / n : 0, 1, work, &begin, &end);
    for (int64_t r = begin; r < end; r++) {
        int64_t a = 0, rest = r;
        for (int d = EI_MAX_DIMS - 2; d >= 0; d--) {
            a += rest % dims[d] * strides[d];
            rest /= dims[d];
        }
        if (y->dtype == EI_F32)
            row_f32(node, r * n, a, n, step);
        else
            row_q8(node, r * n, a, n, step);
    }
    return EI_OK;
}

const ei_kernel ei_ref_prelu = {
    .name = "ref/prelu", .op = EI_OP_PRELU, .parallel = true, .check = check, .run = run};
