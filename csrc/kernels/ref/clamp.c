/* CLAMP: the relu family, where input and output are quantised alike. */
#include "elementwise.h"

static int check(const ei_node *node) {
    if (!ei_one_to_one(node, sizeof(ei_clamp_params))) return EI_E_UNSUPPORTED;
    const ei_tensor *x = node->in[0], *y = node->out[0];
    bool good = x->dtype == y->dtype && (x->dtype == EI_F32 || ei_is_q8(x));
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static int run(const ei_node *node, const ei_work *work) {
    const ei_clamp_params *p = node->params;
    int64_t begin, end;
    ei_elements(node, work, &begin, &end);
    if (node->in[0]->dtype == EI_F32) {
        const float *x = node->in[0]->data;
        float *y = node->out[0]->data, lo = p->fmin, hi = p->fmax;
        EI_ELEMENTWISE
        for (int64_t i = begin; i < end; i++) {
            float v = x[i] < lo ? lo : x[i];
            y[i] = v > hi ? hi : v;
        }
        return EI_OK;
    }
    if (node->in[0]->dtype == EI_I8) {
        const int8_t *x = node->in[0]->data;
        int8_t *y = node->out[0]->data, lo = (int8_t)p->min, hi = (int8_t)p->max;
        EI_ELEMENTWISE
        for (int64_t i = begin; i < end; i++) y[i] = x[i] < lo ? lo : x[i] > hi ? hi : x[i];
        return EI_OK;
    }
    const uint8_t *x = node->in[0]->data;
    uint8_t *y = node->out[0]->data, lo = (uint8_t)p->min, hi = (uint8_t)p->max;
    EI_ELEMENTWISE
    for (int64_t i = begin; i < end; i++) y[i] = x[i] < lo ? lo : x[i] > hi ? hi : x[i];
    return EI_OK;
}

const ei_kernel ei_ref_clamp = {
    .name = "ref/clamp", .op = EI_OP_CLAMP, .parallel = true, .check = check, .run = run};
