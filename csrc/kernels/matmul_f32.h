/* BATCH_MATMUL of floats through the tiles of an ISA's matrix product (gemm_f32.h): the blocks of
 * columns of all batches are shared out, each packed as weights are before its rows are multiplied.
 * Sums run in the order of k. */
#ifndef EI_MATMUL_F32_H
#define EI_MATMUL_F32_H

#include <math.h>

#include "gemm_f32.h"
#include "matmul.h"

static inline int ei_matmul_f32_check(const ei_node *n) {
    ei_matmul g;
    bool good = ei_matmul_geometry(n, &g) && n->in[0]->dtype == EI_F32 &&
                n->in[1]->dtype == EI_F32 && n->out[0]->dtype == EI_F32;
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

/* A block of columns, a bias of zeros, and the left matrix where it lies transposed. */
static inline size_t ei_matmul_f32_scratch(const ei_node *n, const ei_gemm_f32 *kernel) {
    ei_matmul g = {0};
    ei_matmul_geometry(n, &g);
    int64_t left = g.a_k == 1 ? 0 : (int64_t)g.m * g.k;
    return (size_t)(((int64_t)g.k + 1) * kernel->nr + left) * sizeof(float);
}

/* [k][nr] of `columns` columns, zeros beyond. */
static inline void ei_matmul_f32_pack(const ei_matmul *g, const float *b, int columns, int nr,
                                      float *to) {
    if (g->b_column == 1) {
        for (int32_t k = 0; k < g->k; k++, to += nr) {
            memcpy(to, b + k * g->b_k, (size_t)columns * sizeof *to);
            for (int j = columns; j < nr; j++) to[j] = 0;
        }
        return;
    }
    for (int j = 0; j < nr; j++) {
        const float *from = b + j * g->b_column;
        for (int32_t k = 0; k < g->k; k++) to[(int64_t)k * nr + j] = j < columns ? from[k] : 0;
    }
}

static inline int ei_matmul_f32_run(const ei_node *n, const ei_work *work,
                                    const ei_gemm_f32 *kernel) {
    ei_matmul g = {0};
    ei_matmul_geometry(n, &g);
    int nr = kernel->nr, mr = kernel->mr;
    int64_t blocks = (g.n + nr - 1) / nr, at, end, from_a, from_b = 0, batch = -1;
    float *bias = work->scratch, *panel = bias + nr, *left = panel + (int64_t)g.k * nr;
    memset(bias, 0, (size_t)nr * sizeof *bias);
    const uint8_t *rows = NULL;
    ei_split(g.batches * blocks, 1, work, &at, &end);
    for (; at < end; at++) {
        int64_t column = at % blocks * nr;
        if (at / blocks != batch) {
            batch = at / blocks;
            ei_matmul_at(&g, batch, &from_a, &from_b);
            const float *a = (const float *)n->in[0]->data + from_a;
            for (int64_t i = 0; g.a_k != 1 && i < (int64_t)g.m * g.k; i++)
                left[i] = a[i / g.k + i % g.k * g.a_k];
            rows = (const uint8_t *)(g.a_k == 1 ? a : left);
        }
        int columns = (int)(g.n - column < nr ? g.n - column : nr);
        ei_matmul_f32_pack(&g, (const float *)n->in[1]->data + from_b + column * g.b_column,
                           columns, nr, panel);
        ei_tile_f32 t = {.at = &rows,
                         .w = panel,
                         .bias = bias,
                         .lda = g.k,
                         .stride = g.n,
                         .length = g.k,
                         .segments = 1,
                         .columns = columns,
                         .lo = -INFINITY,
                         .hi = INFINITY};
        int64_t tiles = (g.m + mr - 1) / mr;
        for (int64_t i = 0; i < tiles; i++) {
            int64_t row = g.m * i / tiles, count = g.m * (i + 1) / tiles - row;
            t.offset = row * g.k * (int64_t)sizeof(float);
            t.y = (float *)n->out[0]->data + (batch * g.m + row) * g.n + column;
            kernel->tiles[count - 1](&t);
        }
    }
    return EI_OK;
}

#define EI_MATMUL_F32_KERNEL(ISA, GEMM)                                                            \
    static size_t matmul_scratch(const ei_node *n) {                                               \
        return ei_matmul_f32_scratch(n, &(GEMM));                                                  \
    }                                                                                              \
    static int matmul_run(const ei_node *n, const ei_work *work) {                                 \
        return ei_matmul_f32_run(n, work, &(GEMM));                                                \
    }                                                                                              \
    const ei_kernel ei_##ISA##_batch_matmul_f32 = {.name = #ISA "/batch_matmul_f32",               \
                                                   .op = EI_OP_BATCH_MATMUL,                       \
                                                   .parallel = true,                               \
                                                   .check = ei_matmul_f32_check,                   \
                                                   .scratch = matmul_scratch,                      \
                                                   .run = matmul_run};

#endif
