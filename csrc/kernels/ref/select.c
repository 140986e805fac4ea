/* SELECT, SELECT_V2: in[1] where in[0] is true, else in[2]. */
#include <string.h>

#include "strided.h"

/* SELECT of the first version: a vector of conditions chooses along the first dimension. */
static bool leading(const ei_node *node) {
    return ((const ei_select_params *)node->params)->leading != 0;
}

static int check(const ei_node *node) {
    if (node->n_in != 3 || node->n_out != 1 || node->params_bytes != sizeof(ei_select_params))
        return EI_E_UNSUPPORTED;
    const ei_tensor *when = node->in[0], *a = node->in[1], *b = node->in[2], *y = node->out[0];
    int64_t strides[EI_MAX_DIMS];
    bool good = when && a && b && y && when->dtype == EI_BOOL && a->dtype == y->dtype &&
                b->dtype == y->dtype && ei_element_bytes(y->dtype) &&
                ei_broadcast_strides(a, y, strides) && ei_broadcast_strides(b, y, strides);
    if (good && leading(node))
        good = when->rank == 1 && y->rank >= 1 && when->dims[0] == y->dims[0];
    else
        good = good && ei_broadcast_strides(when, y, strides);
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static int run(const ei_node *node, const ei_work *work) {
    const ei_tensor *y = node->out[0];
    int64_t dims[EI_MAX_DIMS], strides[3][EI_MAX_DIMS] = {{0}}, begin, end;
    int64_t element = ei_element_bytes(y->dtype);
    ei_full_dims(y, dims);
    for (int k = leading(node) ? 1 : 0; k < 3; k++)
        ei_broadcast_strides(node->in[k], y, strides[k]);
    if (leading(node)) strides[0][EI_MAX_DIMS - y->rank] = 1;
    ei_split(ei_count(y), EI_ALIGN, work, &begin, &end);
    for (int64_t o = begin; o < end; o++) {
        int64_t at[3] = {0, 0, 0}, rest = o;
        for (int d = EI_MAX_DIMS - 1; d >= 0; d--) {
            for (int k = 0; k < 3; k++) at[k] += rest % dims[d] * strides[k][d];
            rest /= dims[d];
        }
        int k = ((const uint8_t *)node->in[0]->data)[at[0]] ? 1 : 2;
        memmove((char *)y->data + o * element, (const char *)node->in[k]->data + at[k] * element,
                (size_t)element);
    }
    return EI_OK;
}

const ei_kernel ei_ref_select = {
    .name = "ref/select", .op = EI_OP_SELECT, .parallel = true, .check = check, .run = run};
