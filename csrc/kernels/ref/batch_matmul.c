/* BATCH_MATMUL of floats, and of 8 bits in fixed point: double rounding, ties away from zero, under
 * both roundings (XNNPACK does not take it). */
#include "../matmul.h"
#include "../requant.h"
#include "elementwise.h"

#include <string.h>

static int check(const ei_node *n) {
    ei_matmul g;
    if (ei_matmul_q8(n, &g)) return EI_OK;
    bool floats = ei_matmul_geometry(n, &g) && n->in[0]->dtype == EI_F32 &&
                  n->in[1]->dtype == EI_F32 && n->out[0]->dtype == EI_F32;
    return floats ? EI_OK : EI_E_UNSUPPORTED;
}

static void row_f32(const ei_matmul *g, const float *a, const float *b, float *y) {
    memset(y, 0, (size_t)g->n * sizeof *y);
    for (int32_t k = 0; k < g->k; k++) {
        float v = a[k * g->a_k];
        EI_ELEMENTWISE
        for (int32_t j = 0; j < g->n; j++) y[j] += v * b[k * g->b_k + j * g->b_column];
    }
}

static void row_q8(const ei_node *n, const ei_matmul *g, int64_t a, int64_t b, int64_t y) {
    const ei_tensor *ta = n->in[0], *tb = n->in[1], *ty = n->out[0];
    const ei_matmul_params *p = n->params;
    int32_t lo, hi;
    ei_int_range(ty->dtype, &lo, &hi);
    for (int32_t j = 0; j < g->n; j++) {
        uint32_t sum = 0;
        for (int32_t k = 0; k < g->k; k++)
            sum += (uint32_t)((ei_load_int(ta, a + k * g->a_k) - ta->zero) *
                              (ei_load_int(tb, b + k * g->b_k + j * g->b_column) - tb->zero));
        ei_store_int(ty, y + j,
                     ei_requant_tflite((int32_t)sum, p->multiplier, p->shift, ty->zero, lo, hi));
    }
}

static int run(const ei_node *n, const ei_work *work) {
    ei_matmul g = {0};
    ei_matmul_geometry(n, &g);
    int64_t row, end, a, b;
    ei_split(g.batches * g.m, 1, work, &row, &end);
    for (; row < end; row++) {
        ei_matmul_at(&g, row / g.m, &a, &b);
        a += row % g.m * g.a_row;
        if (n->out[0]->dtype == EI_F32)
            row_f32(&g, (const float *)n->in[0]->data + a, (const float *)n->in[1]->data + b,
                    (float *)n->out[0]->data + row * g.n);
        else
            row_q8(n, &g, a, b, row * g.n);
    }
    return EI_OK;
}

const ei_kernel EI_KERNEL(batch_matmul) = {.name = EI_KERNEL_NAME("batch_matmul"),
                                           .op = EI_OP_BATCH_MATMUL,
                                           .parallel = true,
                                           .check = check,
                                           .run = run};
