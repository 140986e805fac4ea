/* BATCH_MATMUL: geometry of the products of the last two dimensions, the others broadcast from the
 * right as in numpy. */
#ifndef EI_MATMUL_H
#define EI_MATMUL_H

#include "kernel.h"

typedef struct ei_matmul {
    int32_t m, n, k;
    int64_t batches;
    int rank;                                                                /* of the batch */
    int64_t dims[EI_MAX_DIMS], a_stride[EI_MAX_DIMS], b_stride[EI_MAX_DIMS]; /* elements */
    int64_t a_row, a_k, b_k, b_column; /* strides within a matrix, elements */
} ei_matmul;

/* Strides of the batch dimensions of `t`, 0 where it is repeated; false unless it broadcasts. */
static inline bool ei_matmul_strides(const ei_tensor *t, const ei_tensor *y, int64_t *strides) {
    int64_t stride = (int64_t)t->dims[t->rank - 2] * t->dims[t->rank - 1];
    for (int d = y->rank - 3, i = t->rank - 3; d >= 0; d--, i--) {
        int32_t size = i >= 0 ? t->dims[i] : 1;
        if (size != 1 && size != y->dims[d]) return false;
        strides[d] = size == 1 ? 0 : stride;
        stride *= size;
    }
    return true;
}

/* Fills the geometry; false unless types, shapes and params agree. */
static inline bool ei_matmul_geometry(const ei_node *node, ei_matmul *g) {
    if (node->n_in != 2 || node->n_out != 1 || !node->in[0] || !node->in[1] ||
        node->params_bytes != sizeof(ei_matmul_params))
        return false;
    const ei_tensor *a = node->in[0], *b = node->in[1], *y = node->out[0];
    const ei_matmul_params *p = node->params;
    if (a->rank < 2 || b->rank < 2 || y->rank < 2 || a->rank > y->rank || b->rank > y->rank)
        return false;
    if (ei_count(a) <= 0 || ei_count(b) <= 0 || ei_count(y) <= 0) return false;
    const int32_t *ad = a->dims + a->rank - 2, *bd = b->dims + b->rank - 2;
    *g = (ei_matmul){.m = ad[p->adj_x ? 1 : 0],
                     .k = ad[p->adj_x ? 0 : 1],
                     .n = bd[p->adj_y ? 0 : 1],
                     .rank = y->rank - 2,
                     .batches = 1,
                     .a_row = p->adj_x ? 1 : ad[1],
                     .a_k = p->adj_x ? ad[1] : 1,
                     .b_k = p->adj_y ? 1 : bd[1],
                     .b_column = p->adj_y ? bd[1] : 1};
    for (int d = 0; d < g->rank; d++) g->batches *= g->dims[d] = y->dims[d];
    bool sizes = bd[p->adj_y ? 1 : 0] == g->k && y->dims[y->rank - 2] == g->m &&
                 y->dims[y->rank - 1] == g->n;
    return sizes && ei_matmul_strides(a, y, g->a_stride) && ei_matmul_strides(b, y, g->b_stride);
}

/* Elements from the start of a and b to the matrices of a batch. */
static inline void ei_matmul_at(const ei_matmul *g, int64_t batch, int64_t *a, int64_t *b) {
    *a = *b = 0;
    for (int d = g->rank - 1; d >= 0; d--) {
        *a += batch % g->dims[d] * g->a_stride[d];
        *b += batch % g->dims[d] * g->b_stride[d];
        batch /= g->dims[d];
    }
}

/* The same for 8 bits: types, one zero point and scale each, at most 2^15 products a sum. */
static inline bool ei_matmul_q8(const ei_node *node, ei_matmul *g) {
    if (!ei_matmul_geometry(node, g)) return false;
    const ei_tensor *a = node->in[0], *b = node->in[1], *y = node->out[0];
    const ei_matmul_params *p = node->params;
    bool zeros = a->zero >= -256 && a->zero <= 256 && b->zero >= -256 && b->zero <= 256 &&
                 y->zero >= -256 && y->zero <= 256;
    return ei_is_q8(a) && ei_is_q8(b) && ei_is_q8(y) && zeros && g->k <= 1 << 15 &&
           p->multiplier >= 0 && p->shift >= -31 && p->shift <= 30;
}

#endif
