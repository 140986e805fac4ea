/* BROADCAST_TO: dimensions of 1 repeated, missing ones added on the left. */
#include "strided.h"

static int check(const ei_node *node) {
    if (node->n_in != 1 || node->n_out != 1 || node->params_bytes != 0) return EI_E_UNSUPPORTED;
    const ei_tensor *x = node->in[0], *y = node->out[0];
    int64_t strides[EI_MAX_DIMS];
    bool good = x && y && x->dtype == y->dtype && ei_element_bytes(x->dtype) &&
                ei_broadcast_strides(x, y, strides);
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static int run(const ei_node *node, const ei_work *work) {
    const ei_tensor *x = node->in[0], *y = node->out[0];
    int64_t in[EI_MAX_DIMS], out[EI_MAX_DIMS], element = ei_element_bytes(x->dtype);
    ei_broadcast_strides(x, y, in);
    ei_dense_strides(y, out);
    ei_strided s = {.element = element};
    for (int i = 0; i < y->rank; i++)
        ei_strided_add(&s, y->dims[i], out[i], in[i + EI_MAX_DIMS - y->rank] * element);
    ei_strided_copy(&s, y->data, x->data, work);
    return EI_OK;
}

const ei_kernel ei_ref_broadcast_to = {.name = "ref/broadcast_to",
                                       .op = EI_OP_BROADCAST_TO,
                                       .parallel = true,
                                       .check = check,
                                       .run = run};
