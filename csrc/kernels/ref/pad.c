/* PAD, PADV2: a border of one value; the value is a bit pattern, so that one kernel does all types.
 */
#include <string.h>

#include "strided.h"

static int check(const ei_node *node) {
    if (node->n_in != 1 || node->n_out != 1 || node->params_bytes != sizeof(ei_pad_params))
        return EI_E_UNSUPPORTED;
    const ei_tensor *x = node->in[0], *y = node->out[0];
    const ei_pad_params *p = node->params;
    if (!x || !y || x->rank != y->rank || x->dtype != y->dtype || !ei_element_bytes(x->dtype))
        return EI_E_UNSUPPORTED;
    for (int i = 0; i < x->rank; i++)
        if (p->before[i] < 0 || p->after[i] < 0 ||
            y->dims[i] != (int64_t)x->dims[i] + p->before[i] + p->after[i])
            return EI_E_UNSUPPORTED;
    return EI_OK;
}

static void fill(char *dst, int64_t bytes, const char *pattern, int64_t element) {
    if (element == 1) {
        memset(dst, pattern[0], (size_t)bytes);
        return;
    }
    for (int64_t i = 0; i < bytes; i += element) memcpy(dst + i, pattern, (size_t)element);
}

/* Rows of the last dimension in order: all border, or border, input, border. */
static int run(const ei_node *node, const ei_work *work) {
    const ei_tensor *x = node->in[0], *y = node->out[0];
    const ei_pad_params *p = node->params;
    int64_t element = ei_element_bytes(x->dtype), begin, end;
    int last = y->rank - 1;
    char pattern[8];
    memcpy(pattern, p->value, 8);
    if (ei_count(y) == 0) return EI_OK;
    if (last < 0) { /* a scalar */
        if (work->tid == 0) memmove(y->data, x->data, (size_t)element);
        return EI_OK;
    }
    int64_t in_row = x->dims[last] * element, out_row = y->dims[last] * element;
    int64_t before = p->before[last] * element, after = p->after[last] * element;
    ei_split(ei_count(y) / y->dims[last], 1, work, &begin, &end);
    for (int64_t r = begin; r < end; r++) {
        char *dst = (char *)y->data + r * out_row;
        int64_t rest = r, from = 0, stride = 1;
        bool inside = true;
        for (int d = last - 1; d >= 0; d--) {
            int64_t i = rest % y->dims[d] - p->before[d];
            rest /= y->dims[d];
            inside = inside && i >= 0 && i < x->dims[d];
            from += i * stride;
            stride *= x->dims[d];
        }
        if (!inside) {
            fill(dst, out_row, pattern, element);
            continue;
        }
        fill(dst, before, pattern, element);
        memmove(dst + before, (const char *)x->data + from * in_row, (size_t)in_row);
        fill(dst + before + in_row, after, pattern, element);
    }
    return EI_OK;
}

const ei_kernel ei_ref_pad = {
    .name = "ref/pad", .op = EI_OP_PAD, .parallel = true, .check = check, .run = run};
