/* GATHER, EMBEDDING_LOOKUP: slices of in[0] along an axis, chosen by indices known at run time. */
#include <string.h>

#include "strided.h"

static int64_t product(const ei_tensor *t, int from, int to) {
    int64_t n = 1;
    for (int i = from; i < to; i++) n *= t->dims[i];
    return n;
}

static int check(const ei_node *node) {
    if (node->n_in != 2 || node->n_out != 1 || node->params_bytes != sizeof(ei_gather_params))
        return EI_E_UNSUPPORTED;
    const ei_tensor *x = node->in[0], *index = node->in[1], *y = node->out[0];
    const ei_gather_params *p = node->params;
    if (!x || !index || !y || x->dtype != y->dtype || !ei_element_bytes(x->dtype) ||
        (index->dtype != EI_I32 && index->dtype != EI_I64) || p->axis < 0 || p->axis >= x->rank ||
        p->batch_dims < 0 || p->batch_dims > p->axis || p->batch_dims > index->rank)
        return EI_E_UNSUPPORTED;
    for (int i = 0; i < p->batch_dims; i++)
        if (x->dims[i] != index->dims[i]) return EI_E_UNSUPPORTED;
    if (x->rank - 1 + index->rank - p->batch_dims != y->rank) return EI_E_UNSUPPORTED;
    int d = 0;
    for (int i = 0; i < p->axis; i++, d++)
        if (y->dims[d] != x->dims[i]) return EI_E_UNSUPPORTED;
    for (int i = p->batch_dims; i < index->rank; i++, d++)
        if (y->dims[d] != index->dims[i]) return EI_E_UNSUPPORTED;
    for (int i = p->axis + 1; i < x->rank; i++, d++)
        if (y->dims[d] != x->dims[i]) return EI_E_UNSUPPORTED;
    return EI_OK;
}

static int run(const ei_node *node, const ei_work *work) {
    const ei_tensor *x = node->in[0], *index = node->in[1], *y = node->out[0];
    const ei_gather_params *p = node->params;
    int64_t batches = product(x, 0, p->batch_dims), outer = product(x, p->batch_dims, p->axis);
    int64_t inner = product(x, p->axis + 1, x->rank) * ei_element_bytes(x->dtype);
    int64_t picks = product(index, p->batch_dims, index->rank), n = x->dims[p->axis], begin, end;
    ei_split(batches * outer, 1, work, &begin, &end);
    for (int64_t o = begin; o < end; o++)
        for (int64_t i = 0; i < picks; i++) {
            int64_t at = o / outer * picks + i;
            int64_t j = index->dtype == EI_I32 ? ((const int32_t *)index->data)[at]
                                               : ((const int64_t *)index->data)[at];
            if (j < 0 || j >= n) return EI_E_DATA;
            memmove((char *)y->data + (o * picks + i) * inner,
                    (const char *)x->data + (o * n + j) * inner, (size_t)inner);
        }
    return EI_OK;
}

const ei_kernel ei_ref_gather = {
    .name = "ref/gather", .op = EI_OP_GATHER, .parallel = true, .check = check, .run = run};
