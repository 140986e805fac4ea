/* DEQUANTIZE to f32: scale * (q - zero), per tensor or per channel; and f16 widened. */
#include "elementwise.h"
#include "half.h"

static int check(const ei_node *node) {
    if ((node->n_in != 1 && node->n_in != 3) || node->n_out != 1 ||
        node->params_bytes != sizeof(ei_dequantize_params))
        return EI_E_UNSUPPORTED;
    const ei_tensor *x = node->in[0], *y = node->out[0];
    if (!x || !y || !ei_same_shape(x, y) || y->dtype != EI_F32) return EI_E_UNSUPPORTED;
    if (x->dtype == EI_F16) return node->n_in == 1 ? EI_OK : EI_E_UNSUPPORTED;
    if (!ei_is_q8(x) && x->dtype != EI_I16 && x->dtype != EI_I32) return EI_E_UNSUPPORTED;
    if (node->n_in == 1) return EI_OK;
    const ei_tensor *scale = node->in[1], *zero = node->in[2];
    int axis = ((const ei_dequantize_params *)node->params)->axis;
    bool good = scale && zero && axis >= 0 && axis < x->rank && scale->dtype == EI_F32 &&
                zero->dtype == EI_I32 && ei_count(scale) == x->dims[axis] &&
                ei_count(zero) == x->dims[axis];
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static float real(const ei_tensor *x, int64_t i, float scale, int32_t zero) {
    return scale * (float)(int32_t)((uint32_t)ei_load_int(x, i) - (uint32_t)zero);
}

static int run(const ei_node *node, const ei_work *work) {
    const ei_tensor *x = node->in[0];
    float *y = node->out[0]->data;
    int64_t begin, end;
    ei_elements(node, work, &begin, &end);
    if (x->dtype == EI_F16) {
        const uint16_t *h = x->data;
        for (int64_t i = begin; i < end; i++) y[i] = ei_half_to_float(h[i]);
    } else if (node->n_in == 1 && x->dtype == EI_I8) {
        const int8_t *q = x->data;
        const float scale = x->scale, zero = (float)x->zero;
        for (int64_t i = begin; i < end; i++) y[i] = scale * ((float)q[i] - zero);
    } else if (node->n_in == 1 && x->dtype == EI_U8) {
        const uint8_t *q = x->data;
        const float scale = x->scale, zero = (float)x->zero;
        for (int64_t i = begin; i < end; i++) y[i] = scale * ((float)q[i] - zero);
    } else if (node->n_in == 1) {
        for (int64_t i = begin; i < end; i++) y[i] = real(x, i, x->scale, x->zero);
    } else {
        int axis = ((const ei_dequantize_params *)node->params)->axis;
        const float *scale = node->in[1]->data;
        const int32_t *zero = node->in[2]->data;
        int64_t inner = 1;
        for (int d = axis + 1; d < x->rank; d++) inner *= x->dims[d];
        for (int64_t i = begin; i < end; i++) {
            int64_t c = i / inner % x->dims[axis];
            y[i] = real(x, i, scale[c], zero[c]);
        }
    }
    return EI_OK;
}

const ei_kernel ei_ref_dequantize = {
    .name = "ref/dequantize", .op = EI_OP_DEQUANTIZE, .parallel = true, .check = check, .run = run};
