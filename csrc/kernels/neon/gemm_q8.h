/* The common part of the 8-bit matrix products of AArch64: rows gathered or in place, column
 * blocks of `nr`, row tiles of `mr`, depth in units of `unit`; the tile is the caller's.
 *
 * Layout (made by edgeinfer/engine/layouts.py):
 *   in[0] x, i8
 *   in[1] blob, for every group and every block of nr output channels: [depth/unit][nr][unit]
 *         int8, zeros beyond depth and beyond the last channel; its zero point z is 0 but for
 *         models with unsigned asymmetric weights: the true weight is w - z
 *   in[2] i32 [groups * blocks * nr]: bias - x_zero * sum(w - z)
 *   in[3] f32 scale, or i32 multiplier, in[4] i32 shift (fixed-point rounding), as in[2]
 * Rows of the left matrix are read in place where the convolution is 1x1, else gathered into
 * scratch. A row may be read up to unit - 1 bytes beyond its end, against zero weights: the arena
 * has that much to spare. */
#ifndef EI_NEON_GEMM_Q8_H
#define EI_NEON_GEMM_Q8_H

#include "q8.h"

enum { EI_GEMM_Q8_ROWS = 8 }; /* the most that mr may be */

typedef struct ei_tile_q8 {
    const int8_t *a, *w;
    int64_t lda, depth;      /* of a row: to the next; padded to units */
    int rows, columns;       /* 1..mr, 1..nr */
    const int32_t *row_term; /* what to add to the accumulators of each row */
    ei_requant r;
    int8_t *y;
    int64_t stride;
} ei_tile_q8;

typedef void (*ei_tile_q8_fn)(const ei_tile_q8 *t);

typedef struct ei_gemm_q8 {
    int mr, nr, unit;
    const ei_tile_q8_fn *tiles; /* by rows - 1 */
} ei_gemm_q8;

/* Stores 4 outputs, or fewer at the last channels. */
static inline void ei_store4_q8(int8_t *y, int32x4_t v, int columns) {
    int8_t out[8];
    vst1_s8(out, ei_narrow8(v, v));
    if (columns >= 4)
        memcpy(y, out, 4);
    else
        for (int i = 0; i < columns; i++) y[i] = out[i];
}

static inline int64_t ei_gemm_q8_blocks(const ei_conv *g, int nr) {
    return (g->group_oc + nr - 1) / nr;
}

static inline int64_t ei_gemm_q8_depth(const ei_conv *g, int unit) {
    return (g->depth + unit - 1) / unit * unit;
}

/* A constant x may end with the file: it is not read beyond its end. */
static inline bool ei_gemm_q8_in_place(const ei_conv *g, const ei_tensor *x) {
    return g->direct && g->p->groups == 1 && !x->constant;
}

static inline int ei_gemm_q8_check(const ei_node *n, const ei_gemm_q8 *k) {
    ei_conv g;
    if (n->n_in != 5 || !ei_conv_geometry(n, &g) || n->in[0]->dtype != EI_I8)
        return EI_E_UNSUPPORTED;
    const ei_tensor *w = n->in[1];
    int64_t columns = g.p->groups * ei_gemm_q8_blocks(&g, k->nr) * k->nr;
    bool good = w->dtype == EI_BLOB && w->constant &&
                (int64_t)w->bytes == columns * ei_gemm_q8_depth(&g, k->unit) &&
                ei_q8_constants(n, &g, columns);
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static inline size_t ei_gemm_q8_scratch(const ei_node *n, const ei_gemm_q8 *k) {
    ei_conv g;
    ei_conv_geometry(n, &g);
    if (ei_gemm_q8_in_place(&g, n->in[0])) return 0;
    return (size_t)(k->mr * ei_gemm_q8_depth(&g, k->unit));
}

/* -z * sum of the row, which is what asymmetric weights add to each accumulator. */
static inline void ei_row_terms(const ei_tile_q8 *t, int64_t depth, int32_t z, int32_t *terms) {
    for (int i = 0; i < t->rows; i++) {
        int32_t sum = 0;
        for (int64_t k = 0; z && k < depth; k++) sum += t->a[i * t->lda + k];
        terms[i] = (int32_t)(0u - (uint32_t)z * (uint32_t)sum);
    }
}

static inline int ei_gemm_q8_run(const ei_node *n, const ei_work *work, const ei_gemm_q8 *k) {
    ei_conv g;
    ei_conv_geometry(n, &g);
    const ei_tensor *x = n->in[0], *w = n->in[1];
    bool in_place = ei_gemm_q8_in_place(&g, x);
    int64_t blocks = ei_gemm_q8_blocks(&g, k->nr);
    int32_t terms[EI_GEMM_Q8_ROWS];
    ei_tile_q8 t = {.depth = ei_gemm_q8_depth(&g, k->unit), .stride = g.oc, .row_term = terms};
    ei_share s = ei_conv_share(g.rows, k->mr, blocks, work);
    for (int group = 0; group < g.p->groups; group++)
        for (int64_t row = s.row; row < s.row_end; row += k->mr) {
            t.rows = (int)(s.row_end - row < k->mr ? s.row_end - row : k->mr);
            t.a = in_place ? (const int8_t *)x->data + row * g.c : work->scratch;
            t.lda = in_place ? g.c : t.depth;
            for (int i = 0; !in_place && i < t.rows; i++)
                ei_gather(&g, x->data, row + i, group, 1, (uint8_t)x->zero,
                          (uint8_t *)work->scratch + i * t.lda);
            ei_row_terms(&t, g.depth, w->zero, terms);
            for (int64_t j = s.block; j < s.block_end; j++) {
                int64_t at = (group * blocks + j) * k->nr, column = j * k->nr;
                t.w = (const int8_t *)w->data + at * t.depth;
                t.r = ei_requant_at(n, &g, at);
                t.columns = (int)(g.group_oc - column < k->nr ? g.group_oc - column : k->nr);
                t.y = (int8_t *)n->out[0]->data + row * g.oc + group * g.group_oc + column;
                k->tiles[t.rows - 1](&t);
            }
        }
    return EI_OK;
}

#endif
