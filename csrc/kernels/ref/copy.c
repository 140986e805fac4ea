/* COPY: the bytes of one tensor into another of any shape. */
#include <string.h>

#include "../kernel.h"

static int check(const ei_node *node) {
    bool good = node->n_in == 1 && node->n_out == 1 && node->in[0] && node->out[0] &&
                node->params_bytes == 0 && node->in[0]->bytes == node->out[0]->bytes;
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static int run(const ei_node *node, const ei_work *work) {
    int64_t begin, end;
    if (node->in[0]->data == node->out[0]->data) return EI_OK; /* planned in place */
    ei_split((int64_t)node->out[0]->bytes, EI_ALIGN, work, &begin, &end);
    memmove((char *)node->out[0]->data + begin, (const char *)node->in[0]->data + begin,
            (size_t)(end - begin));
    return EI_OK;
}

const ei_kernel ei_ref_copy = {
    .name = "ref/copy", .op = EI_OP_COPY, .parallel = true, .check = check, .run = run};
