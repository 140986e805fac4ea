/* COPY: the bytes of one tensor into another of any shape, or of the same where rows lie apart. */
#include <string.h>

#include "elementwise.h"
#include "strided.h"

static int check(const ei_node *node) {
    bool good = node->n_in == 1 && node->n_out == 1 && node->in[0] && node->out[0] &&
                node->params_bytes == 0 && node->in[0]->bytes == node->out[0]->bytes;
    if (good && (ei_is_strided(node->in[0]) || ei_is_strided(node->out[0])))
        good =
            ei_same_shape(node->in[0], node->out[0]) && node->in[0]->dtype == node->out[0]->dtype;
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static int run(const ei_node *node, const ei_work *work) {
    const ei_tensor *x = node->in[0], *y = node->out[0];
    int64_t begin, end;
    if (x->data == y->data) return EI_OK; /* planned in place */
    if (ei_is_strided(x) || ei_is_strided(y)) {
        ei_lines l = ei_lines_of(node, work);
        int64_t size = (int64_t)y->bytes / ei_count(y);
        for (int64_t i = 0; i < l.count; i++)
            ei_copy((char *)y->data + (l.y + i * l.y_step) * size,
                    (const char *)x->data + (l.x + i * l.x_step) * size, l.width * size);
        return EI_OK;
    }
    ei_split((int64_t)y->bytes, EI_ALIGN, work, &begin, &end);
    memmove((char *)y->data + begin, (const char *)x->data + begin, (size_t)(end - begin));
    return EI_OK;
}

const ei_kernel ei_ref_copy = {.name = "ref/copy",
                               .op = EI_OP_COPY,
                               .parallel = true,
                               .strided = EI_STRIDED_X | EI_STRIDED_Y,
                               .check = check,
                               .run = run};
