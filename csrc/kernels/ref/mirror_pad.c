/* MIRROR_PAD: a border that reflects the input, with (SYMMETRIC) or without (REFLECT) its edge. */
#include <string.h>

#include "strided.h"

static int check(const ei_node *node) {
    if (node->n_in != 1 || node->n_out != 1 || node->params_bytes != sizeof(ei_mirror_pad_params))
        return EI_E_UNSUPPORTED;
    const ei_tensor *x = node->in[0], *y = node->out[0];
    const ei_mirror_pad_params *p = node->params;
    if (!x || !y || x->rank != y->rank || x->dtype != y->dtype || !ei_element_bytes(x->dtype) ||
        (p->offset != 0 && p->offset != 1))
        return EI_E_UNSUPPORTED;
    for (int i = 0; i < x->rank; i++) {
        int64_t most = (int64_t)x->dims[i] - p->offset;
        if (p->before[i] < 0 || p->after[i] < 0 || p->before[i] > most || p->after[i] > most ||
            y->dims[i] != (int64_t)x->dims[i] + p->before[i] + p->after[i])
            return EI_E_UNSUPPORTED;
    }
    return EI_OK;
}

/* Where output index i of a dimension of n elements comes from. */
static int64_t source(int64_t i, int64_t before, int64_t n, int64_t offset) {
    i -= before;
    if (i < 0) return -i - 1 + offset;
    return i < n ? i : 2 * n - 1 - offset - i;
}

static int run(const ei_node *node, const ei_work *work) {
    const ei_tensor *x = node->in[0], *y = node->out[0];
    const ei_mirror_pad_params *p = node->params;
    int64_t element = ei_element_bytes(x->dtype), begin, end;
    int last = y->rank - 1;
    if (ei_count(y) == 0) return EI_OK;
    if (last < 0) {
        if (work->tid == 0) memmove(y->data, x->data, (size_t)element);
        return EI_OK;
    }
    ei_split(ei_count(y) / y->dims[last], 1, work, &begin, &end);
    for (int64_t r = begin; r < end; r++) {
        int64_t rest = r, from = 0, stride = x->dims[last];
        for (int d = last - 1; d >= 0; d--) {
            from += source(rest % y->dims[d], p->before[d], x->dims[d], p->offset) * stride;
            rest /= y->dims[d];
            stride *= x->dims[d];
        }
        char *dst = (char *)y->data + r * y->dims[last] * element;
        for (int64_t i = 0; i < y->dims[last]; i++) {
            int64_t j = from + source(i, p->before[last], x->dims[last], p->offset);
            memcpy(dst + i * element, (const char *)x->data + j * element, (size_t)element);
        }
    }
    return EI_OK;
}

const ei_kernel ei_ref_mirror_pad = {
    .name = "ref/mirror_pad", .op = EI_OP_MIRROR_PAD, .parallel = true, .check = check, .run = run};
