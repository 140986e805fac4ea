/* The common part of the float matrix product of every ISA: rows of the image in place or from a
 * ring (rows.h), column blocks of `nr`, row tiles of `mr`; an ISA's file brings the tiles.
 *
 * Layout (EI_LAYOUT_<ISA>_GEMM_F32): in[1] blob, per group and block of nr output channels
 * [depth][nr] f32, zeros beyond the last channel; in[2] f32 [groups * blocks * nr] bias.
 *
 * Every output is one chain of fused multiply-adds from the bias on, in the order of the weights
 * (OHWI): its value depends neither on the tile it falls in nor on the number of threads. Its error
 * is at most depth * 2^-24 * (|bias| + sum |x w|). */
#ifndef EI_GEMM_F32_H
#define EI_GEMM_F32_H

#include "rows.h"

typedef struct ei_tile_f32 {
    const uint8_t *const *at; /* [segments]: */
    int64_t offset;           /* bytes from there to the first row's segment */
    const float *w, *bias;
    float *y;
    int64_t lda, stride; /* between rows of the left matrix and of y, elements */
    int64_t length;      /* of a segment, elements */
    int64_t panel;       /* from a block's weights to the next one's, elements */
    int segments;
    int columns; /* 1..nr; EI_PANELS * nr for a group of blocks */
    float lo, hi;
} ei_tile_f32;

typedef void (*ei_tile_f32_fn)(const ei_tile_f32 *t);

/* A single row (fully connected layers) has too few sums of its own to hide the latency of a
 * multiply-add: it goes through this many column blocks at a time. */
enum { EI_PANELS = 4 };

typedef struct ei_gemm_f32 {
    int mr, nr;
    const ei_tile_f32_fn *tiles; /* [mr]: of 1..mr rows and one block */
    ei_tile_f32_fn panels;       /* of one row and EI_PANELS whole blocks */
} ei_gemm_f32;

static inline int ei_gemm_f32_check(const ei_node *n, const ei_gemm_f32 *k) {
    ei_conv g;
    if (n->n_in != 3 || !ei_conv_geometry(n, &g) || n->in[0]->dtype != EI_F32)
        return EI_E_UNSUPPORTED;
    const ei_tensor *w = n->in[1], *bias = n->in[2];
    int64_t columns = g.p->groups * ei_conv_blocks(&g, k->nr) * k->nr;
    bool good = w->dtype == EI_BLOB && w->constant && (int64_t)w->bytes == columns * g.depth * 4 &&
                bias && bias->constant && (int64_t)bias->bytes == columns * 4;
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static inline size_t ei_gemm_f32_scratch(const ei_node *n, const ei_gemm_f32 *k) {
    ei_conv g;
    ei_rows r;
    ei_conv_geometry(n, &g);
    ei_rows_plan(&r, &g, n->in[0], k->mr, 4, 0, NULL);
    return ei_rows_scratch(&r);
}

/* The tiles of one span of pixels and one group of channels: column blocks from `j` to `end`. */
static inline void ei_gemm_f32_columns(const ei_gemm_f32 *k, ei_tile_f32 *t, int pixels,
                                       int64_t left, int64_t j, int64_t end) {
    t->w += j * t->panel;
    t->bias += j * k->nr;
    t->y += j * k->nr;
    left -= j * k->nr;
    while (j < end) {
        bool many = pixels == 1 && end - j >= EI_PANELS && left >= EI_PANELS * k->nr;
        int step = many ? EI_PANELS : 1;
        t->columns = (int)(left < step * k->nr ? left : step * k->nr);
        (many ? k->panels : k->tiles[pixels - 1])(t);
        j += step;
        left -= step * k->nr;
        t->w += step * t->panel;
        t->bias += step * k->nr;
        t->y += step * k->nr;
    }
}

static inline int ei_gemm_f32_run(const ei_node *n, const ei_work *work, const ei_gemm_f32 *k) {
    ei_conv g;
    ei_rows r;
    ei_conv_geometry(n, &g);
    ei_rows_plan(&r, &g, n->in[0], k->mr, 4, 0, NULL);
    ei_rows_begin(&r, work->scratch);
    int64_t blocks = ei_conv_blocks(&g, k->nr), panel = g.depth * k->nr;
    ei_share s = ei_rows_share(&r, blocks, work);
    for (int64_t i = s.row; i < s.row_end; i++) {
        ei_span span = ei_rows_tile(&r, i);
        for (int group = 0; span.pixels && group < g.p->groups; group++) {
            ei_tile_f32 t = {.at = r.at,
                             .offset = span.offset + (int64_t)group * g.group_c * 4,
                             .w = (const float *)n->in[1]->data + group * blocks * panel,
                             .bias = (const float *)n->in[2]->data + group * blocks * k->nr,
                             .y = (float *)n->out[0]->data + span.pixel * n->out[0]->stride +
                                  (int64_t)group * g.group_oc,
                             .lda = r.lda,
                             .stride = n->out[0]->stride,
                             .length = r.length,
                             .panel = panel,
                             .segments = r.segments,
                             .lo = g.p->act_fmin,
                             .hi = g.p->act_fmax};
            ei_gemm_f32_columns(k, &t, span.pixels, g.group_oc, s.block, s.block_end);
        }
    }
    return EI_OK;
}

/* CONV_2D and FULLY_CONNECTED of an ISA on one `ei_gemm_f32`. */
#define EI_GEMM_F32_KERNELS(ISA, LAYOUT, GEMM)                                                     \
    static int check(const ei_node *n) {                                                           \
        return ei_gemm_f32_check(n, &(GEMM));                                                      \
    }                                                                                              \
    static size_t scratch(const ei_node *n) {                                                      \
        return ei_gemm_f32_scratch(n, &(GEMM));                                                    \
    }                                                                                              \
    static int run(const ei_node *n, const ei_work *work) {                                        \
        return ei_gemm_f32_run(n, work, &(GEMM));                                                  \
    }                                                                                              \
    EI_CONV_KERNELS(ISA, _f32, LAYOUT, check, scratch, run)

#endif
