/* MEAN, SUM, REDUCE_MAX, REDUCE_MIN, REDUCE_PROD over neighbouring axes: the definition. */
#include "../requant.h"
#include "elementwise.h"

static int check(const ei_node *n) {
    if (n->n_in != 1 || n->n_out != 1 || !n->in[0] || n->params_bytes != sizeof(ei_reduce_params))
        return EI_E_UNSUPPORTED;
    const ei_tensor *x = n->in[0], *y = n->out[0];
    const ei_reduce_params *p = n->params;
    bool good = p->outer > 0 && p->reduced > 0 && p->inner > 0 && x->dtype == y->dtype &&
                (int64_t)p->outer * p->inner == ei_count(y) && ei_count(x) % p->reduced == 0 &&
                ei_count(x) / p->reduced == ei_count(y) && p->shift >= -31 && p->shift <= 30;
    bool typed = y->dtype == EI_F32 || y->dtype == EI_I32 ||
                 (ei_is_q8(y) && n->op != EI_OP_REDUCE_PROD && p->reduced < 1 << 23);
    return good && typed ? EI_OK : EI_E_UNSUPPORTED;
}

static float reduce_f32(const ei_node *n, int64_t at) {
    const ei_reduce_params *p = n->params;
    const float *x = (const float *)n->in[0]->data + at;
    float acc = x[0];
    for (int64_t i = 1; i < p->reduced; i++) {
        float v = x[i * p->inner];
        switch (n->op) {
        case EI_OP_REDUCE_MAX:
            acc = v > acc ? v : acc;
            break;
        case EI_OP_REDUCE_MIN:
            acc = v < acc ? v : acc;
            break;
        case EI_OP_REDUCE_PROD:
            acc *= v;
            break;
        default:
            acc += v;
        }
    }
    return n->op == EI_OP_MEAN ? acc / (float)p->reduced : acc;
}

static int32_t finish_q8(const ei_node *n, int32_t sum) {
    const ei_reduce_params *p = n->params;
    int32_t lo, hi, zero = n->out[0]->zero;
    ei_int_range(n->out[0]->dtype, &lo, &hi);
    if (n->rounding == EI_ROUND_XNNPACK) return ei_requant_xnnpack(sum, p->scale, zero, lo, hi);
    return ei_requant_tflite(sum, p->multiplier, p->shift, zero, lo, hi);
}

static int32_t reduce_int(const ei_node *n, int64_t at) {
    const ei_reduce_params *p = n->params;
    const ei_tensor *x = n->in[0];
    bool q8 = ei_is_q8(x), sums = n->op == EI_OP_MEAN || n->op == EI_OP_SUM;
    int32_t zero = q8 && sums ? x->zero : 0;
    int32_t acc = ei_load_int(x, at) - zero;
    for (int64_t i = 1; i < p->reduced; i++) {
        int32_t v = ei_load_int(x, at + i * p->inner) - zero;
        switch (n->op) {
        case EI_OP_REDUCE_MAX:
            acc = v > acc ? v : acc;
            break;
        case EI_OP_REDUCE_MIN:
            acc = v < acc ? v : acc;
            break;
        case EI_OP_REDUCE_PROD:
            acc = (int32_t)((uint32_t)acc * (uint32_t)v);
            break;
        default:
            acc = (int32_t)((uint32_t)acc + (uint32_t)v);
        }
    }
    if (q8 && sums) return finish_q8(n, acc);
    return n->op == EI_OP_MEAN ? acc / p->reduced : acc;
}

static int run(const ei_node *n, const ei_work *work) {
    const ei_reduce_params *p = n->params;
    const ei_tensor *y = n->out[0];
    int64_t i, end;
    ei_split(ei_count(y), 16, work, &i, &end);
    for (; i < end; i++) {
        int64_t at = i / p->inner * p->reduced * p->inner + i % p->inner;
        if (y->dtype == EI_F32)
            ((float *)y->data)[i] = reduce_f32(n, at);
        else
            ei_store_int(y, i, reduce_int(n, at));
    }
    return EI_OK;
}

#define KERNEL(NAME, OP)                                                                           \
    const ei_kernel ei_ref_##NAME = {                                                              \
        .name = "ref/" #NAME, .op = OP, .parallel = true, .check = check, .run = run};
KERNEL(mean, EI_OP_MEAN)
KERNEL(sum, EI_OP_SUM)
KERNEL(reduce_max, EI_OP_REDUCE_MAX)
KERNEL(reduce_min, EI_OP_REDUCE_MIN)
KERNEL(reduce_prod, EI_OP_REDUCE_PROD)
