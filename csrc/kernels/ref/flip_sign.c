/* FLIP_SIGN: int8 <-> uint8 of the same scale, zero points 128 apart. */
#include "elementwise.h"

static int check(const ei_node *node) {
    if (!ei_one_to_one(node, 0)) return EI_E_UNSUPPORTED;
    return ei_is_q8(node->in[0]) && ei_is_q8(node->out[0]) ? EI_OK : EI_E_UNSUPPORTED;
}

static int run(const ei_node *node, const ei_work *work) {
    const uint8_t *x = node->in[0]->data;
    uint8_t *y = node->out[0]->data;
    int64_t begin, end;
    ei_elements(node, work, &begin, &end);
    EI_ELEMENTWISE
    for (int64_t i = begin; i < end; i++) y[i] = x[i] ^ 0x80;
    return EI_OK;
}

const ei_kernel ei_ref_flip_sign = {
    .name = "ref/flip_sign", .op = EI_OP_FLIP_SIGN, .parallel = true, .check = check, .run = run};
