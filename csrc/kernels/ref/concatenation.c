/* CONCATENATION, PACK: inputs side by side along one axis of the output. */
#include <string.h>

#include "elementwise.h"
#include "strided.h"

/* Elements of one input per step of the dimensions before the axis; -1 where they do not fit. */
static int64_t chunk(const ei_tensor *t, int64_t outer) {
    int64_t n = t ? ei_count(t) : -1;
    return n < 0 || outer < 1 || n % outer ? -1 : n / outer;
}

static int64_t outer_of(const ei_tensor *y, int axis) {
    int64_t outer = 1;
    for (int i = 0; i < axis; i++) outer *= y->dims[i];
    return outer;
}

static int check(const ei_node *node) {
    if (node->n_out != 1 || node->params_bytes != sizeof(ei_axis_params)) return EI_E_UNSUPPORTED;
    const ei_axis_params *p = node->params;
    const ei_tensor *y = node->out[0];
    if (!y || p->count < 1 || p->count > node->n_in ||
        (node->n_in != p->count && node->n_in != 2 * p->count) || p->axis < 0 ||
        p->axis >= y->rank || !ei_element_bytes(y->dtype))
        return EI_E_UNSUPPORTED;
    int64_t outer = outer_of(y, p->axis), sum = 0;
    for (int i = 0; i < p->count; i++) {
        const ei_tensor *x = node->in[i];
        int64_t n = chunk(x, outer);
        if (n < 0 || x->dtype != y->dtype) return EI_E_UNSUPPORTED;
        sum += n;
        if (node->n_in == p->count || !node->in[p->count + i]) continue;
        const ei_tensor *table = node->in[p->count + i];
        if (table->dtype != EI_U8 || table->bytes != 256 || !ei_is_q8(x)) return EI_E_UNSUPPORTED;
    }
    return sum * outer == ei_count(y) ? EI_OK : EI_E_UNSUPPORTED;
}

static int run(const ei_node *node, const ei_work *work) {
    const ei_axis_params *p = node->params;
    const ei_tensor *y = node->out[0];
    int64_t outer = outer_of(y, p->axis), element = ei_element_bytes(y->dtype), begin, end;
    int64_t row = ei_count(y) / outer * element, at = 0;
    ei_split(outer, 1, work, &begin, &end);
    for (int i = 0; i < p->count; i++) {
        const uint8_t *table =
            node->n_in > p->count && node->in[p->count + i] ? node->in[p->count + i]->data : NULL;
        int64_t bytes = chunk(node->in[i], outer) * element;
        for (int64_t o = begin; o < end; o++) {
            const uint8_t *src = (const uint8_t *)node->in[i]->data + o * bytes;
            uint8_t *dst = (uint8_t *)y->data + o * row + at;
            if (!table)
                ei_copy(dst, src, bytes);
            else
                for (int64_t j = 0; j < bytes; j++) dst[j] = table[src[j]];
        }
        at += bytes;
    }
    return EI_OK;
}

const ei_kernel EI_KERNEL(concatenation) = {.name = EI_KERNEL_NAME("concatenation"),
                                            .op = EI_OP_CONCATENATION,
                                            .parallel = true,
                                            .check = check,
                                            .run = run};
