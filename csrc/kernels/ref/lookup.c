/* LOOKUP: y = table[x], bytes. The table is indexed by the bit pattern of x, so that int8 and uint8
 * are one kernel; it was filled at plan time. */
#include "elementwise.h"

static int check(const ei_node *node) {
    if (node->n_in != 2 || node->n_out != 1 || node->params_bytes != 0) return EI_E_UNSUPPORTED;
    const ei_tensor *x = node->in[0], *table = node->in[1], *y = node->out[0];
    bool good = x && table && y && ei_same_shape(x, y) && ei_is_q8(x) && ei_is_q8(y) &&
                table->dtype == EI_U8 && table->bytes == 256;
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static int run(const ei_node *node, const ei_work *work) {
    const uint8_t *x = node->in[0]->data, *table = node->in[1]->data;
    uint8_t *y = node->out[0]->data;
    ei_lines l = ei_lines_of(node, work);
    x += l.x, y += l.y;
    for (; l.count; l.count--, x += l.x_step, y += l.y_step)
        for (int64_t i = 0; i < l.width; i++) y[i] = table[x[i]];
    return EI_OK;
}

const ei_kernel ei_ref_lookup = {.name = "ref/lookup",
                                 .op = EI_OP_LOOKUP,
                                 .parallel = true,
                                 .strided = EI_STRIDED_X | EI_STRIDED_Y,
                                 .check = check,
                                 .run = run};
