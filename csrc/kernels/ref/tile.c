/* TILE: the input repeated along each dimension; output dims are whole multiples of the input's. */
#include "strided.h"

static int check(const ei_node *node) {
    if (node->n_in != 1 || node->n_out != 1 || node->params_bytes != 0) return EI_E_UNSUPPORTED;
    const ei_tensor *x = node->in[0], *y = node->out[0];
    if (!x || !y || x->rank != y->rank || x->dtype != y->dtype || !ei_element_bytes(x->dtype))
        return EI_E_UNSUPPORTED;
    for (int i = 0; i < x->rank; i++)
        if (x->dims[i] == 0 || y->dims[i] % x->dims[i]) return EI_E_UNSUPPORTED;
    return EI_OK;
}

static int run(const ei_node *node, const ei_work *work) {
    const ei_tensor *x = node->in[0], *y = node->out[0];
    int64_t in[EI_MAX_DIMS], out[EI_MAX_DIMS];
    ei_dense_strides(x, in);
    ei_dense_strides(y, out);
    ei_strided s = {.element = ei_element_bytes(x->dtype)};
    for (int i = 0; i < x->rank; i++) {
        ei_strided_add(&s, y->dims[i] / x->dims[i], out[i] * x->dims[i], 0);
        ei_strided_add(&s, x->dims[i], out[i], in[i]);
    }
    ei_strided_copy(&s, y->data, x->data, work);
    return EI_OK;
}

const ei_kernel ei_ref_tile = {
    .name = "ref/tile", .op = EI_OP_TILE, .parallel = true, .check = check, .run = run};
