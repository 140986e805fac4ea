/* STRIDED_SLICE and SLICE, masks and negative indices resolved at plan time. */
#include "strided.h"

static int check(const ei_node *node) {
    if (node->n_in != 1 || node->n_out != 1 ||
        node->params_bytes != sizeof(ei_strided_slice_params))
        return EI_E_UNSUPPORTED;
    const ei_tensor *x = node->in[0], *y = node->out[0];
    const ei_strided_slice_params *p = node->params;
    if (!x || !y || x->dtype != y->dtype || !ei_element_bytes(x->dtype)) return EI_E_UNSUPPORTED;
    int64_t count = 1;
    for (int i = 0; i < x->rank; i++) {
        int64_t last = p->begin[i] + ((int64_t)p->size[i] - 1) * p->stride[i];
        if (p->size[i] < 1 || p->size[i] > x->dims[i] || p->stride[i] == 0 || p->begin[i] < 0 ||
            p->begin[i] >= x->dims[i] || last < 0 || last >= x->dims[i])
            return EI_E_UNSUPPORTED;
        count *= p->size[i];
    }
    return count == ei_count(y) ? EI_OK : EI_E_UNSUPPORTED;
}

static int run(const ei_node *node, const ei_work *work) {
    const ei_tensor *x = node->in[0];
    const ei_strided_slice_params *p = node->params;
    int64_t in[EI_MAX_DIMS], out[EI_MAX_DIMS], first = 0;
    int64_t dense = ei_element_bytes(x->dtype);
    ei_dense_strides(x, in);
    for (int i = x->rank - 1; i >= 0; i--) {
        out[i] = dense;
        dense *= p->size[i];
        first += p->begin[i] * in[i];
    }
    ei_strided s = {.element = ei_element_bytes(x->dtype)};
    for (int i = 0; i < x->rank; i++) ei_strided_add(&s, p->size[i], out[i], in[i] * p->stride[i]);
    ei_strided_copy(&s, node->out[0]->data, (const char *)x->data + first, work);
    return EI_OK;
}

const ei_kernel ei_ref_strided_slice = {.name = "ref/strided_slice",
                                        .op = EI_OP_STRIDED_SLICE,
                                        .parallel = true,
                                        .check = check,
                                        .run = run};
