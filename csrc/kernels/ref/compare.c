/* COMPARE: EQUAL, NOT_EQUAL, LESS, LESS_EQUAL, GREATER, GREATER_EQUAL; both sides broadcast. 8-bit
 * inputs of different quantisation are brought to one scale in fixed point, as TFLite does. */
#include "../requant.h"
#include "elementwise.h"
#include "strided.h"

static int check(const ei_node *node) {
    if (node->n_in != 2 || node->n_out != 1 || node->params_bytes != sizeof(ei_compare_params))
        return EI_E_UNSUPPORTED;
    const ei_tensor *a = node->in[0], *b = node->in[1], *y = node->out[0];
    const ei_compare_params *p = node->params;
    int64_t strides[EI_MAX_DIMS];
    bool good = a && b && y && a->dtype == b->dtype && a->dtype < EI_BLOB && a->dtype != EI_F16 &&
                y->dtype == EI_BOOL && p->comparison >= EI_EQUAL &&
                p->comparison <= EI_GREATER_EQUAL && (!p->requantise || ei_is_q8(a)) &&
                p->shift1 >= -31 && p->shift1 <= 8 && p->shift2 >= -31 && p->shift2 <= 8 &&
                ei_broadcast_strides(a, y, strides) && ei_broadcast_strides(b, y, strides);
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

#define COMPARE(which, a, b)                                                                       \
    ((which) == EI_EQUAL        ? (a) == (b)                                                       \
     : (which) == EI_NOT_EQUAL  ? (a) != (b)                                                       \
     : (which) == EI_LESS       ? (a) < (b)                                                        \
     : (which) == EI_LESS_EQUAL ? (a) <= (b)                                                       \
     : (which) == EI_GREATER    ? (a) > (b)                                                        \
                                : (a) >= (b))

static int32_t common(const ei_tensor *t, int64_t i, int32_t multiplier, int32_t shift) {
    uint32_t v = ((uint32_t)ei_load_int(t, i) - (uint32_t)t->zero) << 8;
    return ei_mul_quantized((int32_t)v, multiplier, shift);
}

static bool element(const ei_node *node, int64_t i, int64_t j) {
    const ei_tensor *a = node->in[0], *b = node->in[1];
    const ei_compare_params *p = node->params;
    if (a->dtype == EI_F32) {
        float x = ((const float *)a->data)[i], y = ((const float *)b->data)[j];
        return COMPARE(p->comparison, x, y);
    }
    if (a->dtype == EI_I64) {
        int64_t x = ((const int64_t *)a->data)[i], y = ((const int64_t *)b->data)[j];
        return COMPARE(p->comparison, x, y);
    }
    int32_t x = p->requantise ? common(a, i, p->multiplier1, p->shift1) : ei_load_int(a, i);
    int32_t y = p->requantise ? common(b, j, p->multiplier2, p->shift2) : ei_load_int(b, j);
    return COMPARE(p->comparison, x, y);
}

static int run(const ei_node *node, const ei_work *work) {
    const ei_tensor *y = node->out[0];
    int64_t dims[EI_MAX_DIMS], sa[EI_MAX_DIMS], sb[EI_MAX_DIMS], begin, end;
    ei_full_dims(y, dims);
    ei_broadcast_strides(node->in[0], y, sa);
    ei_broadcast_strides(node->in[1], y, sb);
    ei_elements(node, work, &begin, &end);
    for (int64_t o = begin; o < end; o++) {
        int64_t i = 0, j = 0, rest = o;
        for (int d = EI_MAX_DIMS - 1; d >= 0; d--) {
            i += rest % dims[d] * sa[d];
            j += rest % dims[d] * sb[d];
            rest /= dims[d];
        }
        ((uint8_t *)y->data)[o] = element(node, i, j);
    }
    return EI_OK;
}

const ei_kernel ei_ref_compare = {
    .name = "ref/compare", .op = EI_OP_COMPARE, .parallel = true, .check = check, .run = run};
