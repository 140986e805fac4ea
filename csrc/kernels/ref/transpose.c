/* TRANSPOSE: output dimension i is input dimension perm[i]. */
#include "strided.h"

static int check(const ei_node *node) {
    if (node->n_in != 1 || node->n_out != 1 || node->params_bytes != sizeof(ei_transpose_params))
        return EI_E_UNSUPPORTED;
    const ei_tensor *x = node->in[0], *y = node->out[0];
    const ei_transpose_params *p = node->params;
    if (!x || !y || x->rank != y->rank || x->dtype != y->dtype || !ei_element_bytes(x->dtype))
        return EI_E_UNSUPPORTED;
    int seen = 0;
    for (int i = 0; i < x->rank; i++) {
        if (p->perm[i] < 0 || p->perm[i] >= x->rank || y->dims[i] != x->dims[p->perm[i]])
            return EI_E_UNSUPPORTED;
        seen |= 1 << p->perm[i];
    }
    return seen == (1 << x->rank) - 1 ? EI_OK : EI_E_UNSUPPORTED;
}

static int run(const ei_node *node, const ei_work *work) {
    const ei_tensor *x = node->in[0], *y = node->out[0];
    const ei_transpose_params *p = node->params;
    int64_t in[EI_MAX_DIMS], out[EI_MAX_DIMS];
    ei_dense_strides(x, in);
    ei_dense_strides(y, out);
    ei_strided s = {.element = ei_element_bytes(x->dtype)};
    for (int i = 0; i < y->rank; i++) ei_strided_add(&s, y->dims[i], out[i], in[p->perm[i]]);
    ei_strided_copy(&s, y->data, x->data, work);
    return EI_OK;
}

const ei_kernel ei_ref_transpose = {
    .name = "ref/transpose", .op = EI_OP_TRANSPOSE, .parallel = true, .check = check, .run = run};
