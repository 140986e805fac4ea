/* SPLIT, SPLIT_V, UNPACK: one axis of the input cut into the outputs. */
#include <string.h>

#include "strided.h"

static int64_t outer_of(const ei_tensor *x, int axis) {
    int64_t outer = 1;
    for (int i = 0; i < axis; i++) outer *= x->dims[i];
    return outer;
}

static int check(const ei_node *node) {
    if (node->n_in != 1 || node->n_out < 1 || node->params_bytes != sizeof(ei_axis_params))
        return EI_E_UNSUPPORTED;
    const ei_axis_params *p = node->params;
    const ei_tensor *x = node->in[0];
    if (!x || p->count != node->n_out || p->axis < 0 || p->axis >= x->rank ||
        !ei_element_bytes(x->dtype))
        return EI_E_UNSUPPORTED;
    int64_t outer = outer_of(x, p->axis), sum = 0;
    if (outer < 1) return EI_E_UNSUPPORTED;
    for (int i = 0; i < p->count; i++) {
        const ei_tensor *y = node->out[i];
        if (!y || y->dtype != x->dtype || ei_count(y) % outer) return EI_E_UNSUPPORTED;
        sum += ei_count(y);
    }
    return sum == ei_count(x) ? EI_OK : EI_E_UNSUPPORTED;
}

static int run(const ei_node *node, const ei_work *work) {
    const ei_axis_params *p = node->params;
    const ei_tensor *x = node->in[0];
    int64_t outer = outer_of(x, p->axis), element = ei_element_bytes(x->dtype), begin, end;
    int64_t row = ei_count(x) / outer * element, at = 0;
    ei_split(outer, 1, work, &begin, &end);
    for (int i = 0; i < p->count; i++) {
        int64_t bytes = ei_count(node->out[i]) / outer * element;
        for (int64_t o = begin; o < end; o++)
            memmove((char *)node->out[i]->data + o * bytes, (const char *)x->data + o * row + at,
                    (size_t)bytes);
        at += bytes;
    }
    return EI_OK;
}

const ei_kernel ei_ref_split = {
    .name = "ref/split", .op = EI_OP_SPLIT, .parallel = true, .check = check, .run = run};
