/* The common part of the 8-bit matrix products of AArch64: column blocks of `nr`, tiles of at most
 * `mr` pixels (rows.h), segments in units of `unit`; the tile is the caller's.
 *
 * Layout (made by edgeinfer/engine/layouts.py):
 *   in[0] x, i8
 *   in[1] blob, for every group, every block of nr output channels and every segment of the patch:
 *         [length/unit][nr][unit] int8, zeros beyond the segment and beyond the last channel; its
 *         zero point z is 0 but for models with unsigned asymmetric weights: the true weight is
 *         w - z
 *   in[2] i32 [groups * blocks * nr]: bias - x_zero * sum(w - z)
 *   in[3] f32 or f64 scale, or i32 multiplier, in[4] i32 shift (fixed-point rounding), as in[2]
 * A segment may be read up to unit - 1 bytes beyond its end, against zero weights. */
#ifndef EI_NEON_GEMM_Q8_H
#define EI_NEON_GEMM_Q8_H

#include "../rows.h"
#include "q8.h"

enum { EI_GEMM_Q8_ROWS = 8 }; /* the most that mr may be */

typedef struct ei_tile_q8 {
    const uint8_t *const *at; /* segments of the patch of the line's first pixel */
    int64_t offset, lda;      /* bytes from there to the tile, from a pixel to the next */
    const int8_t *w;
    int64_t length; /* of a segment, padded to units */
    int segments;
    int rows, columns;       /* 1..mr, 1..nr */
    const int32_t *row_term; /* what to add to the accumulators of each row */
    ei_requant r;
    const ei_dynamic *dynamic; /* float output, or NULL */
    int8_t *y;
    int64_t stride; /* bytes */
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

/* Stores 4 float outputs of a row from column `i` of the tile on, or fewer at the last channels. */
static inline void ei_store4_f32(const ei_tile_q8 *t, int row, int i, int32x4_t acc) {
    const ei_dynamic *d = t->dynamic;
    float *y = (float *)(void *)(t->y + row * t->stride) + i, out[4];
    acc = vmlaq_n_s32(acc, vld1q_s32(d->sums + i), d->factor[row]);
    float32x4_t v = vmulq_n_f32(vcvtq_f32_s32(acc), d->scale[row]);
    v = vfmaq_f32(vld1q_f32(d->bias + i), v, vld1q_f32(d->w_scale + i));
    vst1q_f32(out, vminq_f32(vmaxq_f32(v, vdupq_n_f32(d->lo)), vdupq_n_f32(d->hi)));
    for (int j = 0; j < 4 && j < t->columns - i; j++) y[j] = out[j];
}

static inline int64_t ei_gemm_q8_blocks(const ei_conv *g, int nr) {
    return (g->group_oc + nr - 1) / nr;
}

/* Segment `s` of the tile's first pixel. */
static inline const int8_t *ei_tile_segment(const ei_tile_q8 *t, int s) {
    return (const int8_t *)t->at[s] + t->offset;
}

static inline int ei_gemm_q8_check(const ei_node *n, const ei_gemm_q8 *k) {
    ei_conv g;
    if (!ei_conv_geometry(n, &g) || n->in[0]->dtype != EI_I8) return EI_E_UNSUPPORTED;
    const ei_tensor *w = n->in[1];
    int64_t columns = g.p->groups * ei_gemm_q8_blocks(&g, k->nr) * k->nr;
    bool good = w->dtype == EI_BLOB && w->constant &&
                (int64_t)w->bytes == columns * ei_rows_depth(&g, k->unit) &&
                ei_conv_constants(n, &g, columns);
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static inline void ei_gemm_q8_plan(ei_rows *r, const ei_conv *g, const ei_node *n,
                                   const ei_gemm_q8 *k) {
    ei_rows_plan(r, g, n->in[0], k->mr, 1, k->unit, NULL);
}

static inline size_t ei_gemm_q8_scratch(const ei_node *n, const ei_gemm_q8 *k) {
    ei_conv g;
    ei_rows r;
    ei_conv_geometry(n, &g);
    ei_gemm_q8_plan(&r, &g, n, k);
    return ei_rows_scratch(&r);
}

/* -z * sum of the patch, which is what asymmetric weights add to each accumulator. */
static inline void ei_row_terms(const ei_tile_q8 *t, int64_t length, int32_t z, int32_t *terms) {
    for (int i = 0; i < t->rows; i++) {
        int32_t sum = 0;
        for (int s = 0; z && s < t->segments; s++) {
            const int8_t *a = ei_tile_segment(t, s) + i * t->lda;
            for (int64_t k = 0; k < length; k++) sum += a[k];
        }
        terms[i] = (int32_t)(0u - (uint32_t)z * (uint32_t)sum);
    }
}

static inline int ei_gemm_q8_run(const ei_node *n, const ei_work *work, const ei_gemm_q8 *k) {
    ei_conv g;
    ei_rows r;
    ei_conv_geometry(n, &g);
    ei_gemm_q8_plan(&r, &g, n, k);
    ei_rows_begin(&r, work->scratch);
    const ei_tensor *w = n->in[1];
    int64_t blocks = ei_gemm_q8_blocks(&g, k->nr), depth = ei_rows_depth(&g, k->unit);
    bool dynamic = ei_is_dynamic(n);
    int64_t size = dynamic ? 4 : 1;
    if (dynamic) r.fills = n->in[5]->data;
    ei_dynamic d;
    int32_t terms[EI_GEMM_Q8_ROWS];
    ei_tile_q8 t = {.at = r.at,
                    .lda = r.lda,
                    .segments = r.segments,
                    .length = (r.length + k->unit - 1) / k->unit * k->unit,
                    .stride = g.oc * size,
                    .dynamic = dynamic ? &d : NULL,
                    .row_term = terms};
    ei_share s = ei_rows_share(&r, blocks, work);
    for (int64_t tile = s.row; tile < s.row_end; tile++) {
        ei_span span = ei_rows_tile(&r, tile);
        t.rows = span.pixels;
        if (dynamic) ei_dynamic_rows(&d, n, &g, span.pixel, span.pixels);
        for (int group = 0; span.pixels && group < g.p->groups; group++) {
            t.offset = span.offset + (int64_t)group * g.group_c;
            ei_row_terms(&t, r.length, w->zero, terms);
            for (int64_t j = s.block; j < s.block_end; j++) {
                int64_t at = (group * blocks + j) * k->nr, column = j * k->nr;
                t.w = (const int8_t *)w->data + at * depth;
                t.r = ei_requant_at(n, &g, at);
                if (dynamic) ei_dynamic_columns(&d, n, &g, at);
                t.columns = (int)(g.group_oc - column < k->nr ? g.group_oc - column : k->nr);
                t.y = (int8_t *)n->out[0]->data +
                      (span.pixel * g.oc + group * g.group_oc + column) * size;
                k->tiles[t.rows - 1](&t);
            }
        }
    }
    return EI_OK;
}

#endif
