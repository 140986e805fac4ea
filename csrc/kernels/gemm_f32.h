/* The common part of the float matrix product of every ISA: rows gathered or in place, column
 * blocks of `nr`, row tiles of `mr`; an ISA's file brings the tile.
 *
 * Layout (EI_LAYOUT_<ISA>_GEMM_F32): in[1] blob, per group and block of nr output channels
 * [depth][nr] f32, zeros beyond the last channel; in[2] f32 [groups * blocks * nr] bias. */
#ifndef EI_GEMM_F32_H
#define EI_GEMM_F32_H

#include "conv.h"

typedef struct ei_tile_f32 {
    const float *a, *w, *bias;
    float *y;
    int64_t lda, stride; /* between rows of a and of y, elements */
    int64_t depth;
    int rows, columns; /* 1..mr, 1..nr */
    float lo, hi;
} ei_tile_f32;

typedef void (*ei_tile_f32_fn)(const ei_tile_f32 *t);

static inline int64_t ei_gemm_f32_blocks(const ei_conv *g, int nr) {
    return (g->group_oc + nr - 1) / nr;
}

static inline int ei_gemm_f32_check(const ei_node *n, int nr) {
    ei_conv g;
    if (n->n_in != 3 || !ei_conv_geometry(n, &g) || n->in[0]->dtype != EI_F32)
        return EI_E_UNSUPPORTED;
    const ei_tensor *w = n->in[1], *bias = n->in[2];
    int64_t columns = g.p->groups * ei_gemm_f32_blocks(&g, nr) * nr;
    bool good = w->dtype == EI_BLOB && w->constant && (int64_t)w->bytes == columns * g.depth * 4 &&
                bias && bias->constant && (int64_t)bias->bytes == columns * 4;
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static inline size_t ei_gemm_f32_scratch(const ei_node *n, int mr) {
    ei_conv g;
    ei_conv_geometry(n, &g);
    return g.direct && g.p->groups == 1 ? 0 : (size_t)(mr * g.depth) * 4;
}

static inline int ei_gemm_f32_run(const ei_node *n, const ei_work *work, int mr, int nr,
                                  const ei_tile_f32_fn *tiles) {
    ei_conv g;
    ei_conv_geometry(n, &g);
    const float *x = n->in[0]->data, *w = n->in[1]->data, *bias = n->in[2]->data;
    float *y = n->out[0]->data;
    bool in_place = g.direct && g.p->groups == 1;
    int64_t blocks = ei_gemm_f32_blocks(&g, nr);
    ei_share s = ei_conv_share(g.rows, mr, blocks, work);
    ei_tile_f32 t = {.stride = g.oc, .depth = g.depth, .lo = g.p->act_fmin, .hi = g.p->act_fmax};
    for (int group = 0; group < g.p->groups; group++)
        for (int64_t row = s.row; row < s.row_end; row += mr) {
            t.rows = (int)(s.row_end - row < mr ? s.row_end - row : mr);
            t.a = x + row * g.c;
            t.lda = g.c;
            if (!in_place) {
                t.a = work->scratch;
                t.lda = g.depth;
                for (int i = 0; i < t.rows; i++)
                    ei_gather(&g, (const uint8_t *)x, row + i, group, 4, 0,
                              (uint8_t *)work->scratch + i * g.depth * 4);
            }
            for (int64_t j = s.block; j < s.block_end; j++) {
                int64_t at = group * blocks + j, column = j * nr;
                t.w = w + at * g.depth * nr;
                t.bias = bias + at * nr;
                t.columns = (int)(g.group_oc - column < nr ? g.group_oc - column : nr);
                t.y = y + row * g.oc + group * g.group_oc + column;
                tiles[t.rows - 1](&t);
            }
        }
    return EI_OK;
}

#endif
