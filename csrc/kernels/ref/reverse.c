/* REVERSE: the order of the elements along some dimensions turned round. */
#include "elementwise.h"
#include "strided.h"

static int check(const ei_node *node) {
    if (!ei_one_to_one(node, sizeof(ei_reverse_params))) return EI_E_UNSUPPORTED;
    const ei_tensor *x = node->in[0];
    bool good = x->dtype == node->out[0]->dtype && ei_element_bytes(x->dtype);
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static int run(const ei_node *node, const ei_work *work) {
    const ei_tensor *x = node->in[0], *y = node->out[0];
    const ei_reverse_params *p = node->params;
    int64_t strides[EI_MAX_DIMS], first = 0;
    ei_dense_strides(x, strides);
    ei_strided s = {.element = ei_element_bytes(x->dtype)};
    for (int i = 0; i < x->rank; i++) {
        if (p->reverse[i] && x->dims[i]) first += (x->dims[i] - 1) * strides[i];
        ei_strided_add(&s, x->dims[i], strides[i], p->reverse[i] ? -strides[i] : strides[i]);
    }
    ei_strided_copy(&s, y->data, (const char *)x->data + first, work);
    return EI_OK;
}

const ei_kernel ei_ref_reverse = {
    .name = "ref/reverse", .op = EI_OP_REVERSE, .parallel = true, .check = check, .run = run};
