/* QUANTIZE: f32 to 8 or 16 bits, and integers of one quantisation to another. 8 bits to 8 bits is a
 * LOOKUP and does not come here. */
#include <math.h>

#include "../requant.h"
#include "elementwise.h"

static bool is_int(const ei_tensor *t) {
    return ei_is_q8(t) || t->dtype == EI_I16 || t->dtype == EI_I32;
}

static int check(const ei_node *node) {
    if (!ei_one_to_one(node, sizeof(ei_quantize_params))) return EI_E_UNSUPPORTED;
    const ei_tensor *x = node->in[0], *y = node->out[0];
    const ei_quantize_params *p = node->params;
    int32_t lo, hi;
    ei_int_range(y->dtype, &lo, &hi);
    bool good = y->zero >= lo && y->zero <= hi && p->shift >= -31 && p->shift <= 30 &&
                (x->dtype == EI_F32 ? ei_is_q8(y) || y->dtype == EI_I16 : is_int(x) && is_int(y));
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

/* v / scale or v * (1 / scale), clamped before it is rounded so that it fits an int. */
static int32_t from_float(float v, int32_t zero, int32_t lo, int32_t hi, bool even) {
    float flo = (float)(lo - zero), fhi = (float)(hi - zero);
    v = v > flo ? v : flo; /* and NaN */
    v = v < fhi ? v : fhi;
    return (int32_t)(even ? lrintf(v) : lroundf(v)) + zero;
}

static int run(const ei_node *node, const ei_work *work) {
    const ei_tensor *x = node->in[0], *y = node->out[0];
    const ei_quantize_params *p = node->params;
    int64_t begin, end;
    int32_t lo, hi;
    ei_int_range(y->dtype, &lo, &hi);
    ei_elements(node, work, &begin, &end);
    if (x->dtype != EI_F32) {
        for (int64_t i = begin; i < end; i++) {
            int32_t v = (int32_t)((uint32_t)ei_load_int(x, i) - (uint32_t)x->zero);
            ei_store_int(y, i, ei_requant_tflite(v, p->multiplier, p->shift, y->zero, lo, hi));
        }
        return EI_OK;
    }
    const float *v = x->data;
    bool even = node->rounding == EI_ROUND_XNNPACK;
    for (int64_t i = begin; i < end; i++)
        ei_store_int(y, i,
                     from_float(even ? v[i] * p->scale : v[i] / p->scale, y->zero, lo, hi, even));
    return EI_OK;
}

const ei_kernel ei_ref_quantize = {
    .name = "ref/quantize", .op = EI_OP_QUANTIZE, .parallel = true, .check = check, .run = run};
