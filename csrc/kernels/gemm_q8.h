/* The common part of the 8-bit matrix products of every ISA: column blocks of `nr`, tiles of at
 * most `mr` pixels (rows.h), segments in units of `unit`; the tile is the caller's.
 *
 * Layout (made by edgeinfer/engine/layouts.py), in which an ISA may order the nr channels of a
 * block in its own way: in[0] x, 8 bits, of the types that the ISA takes in[1] blob, for every
 * group, every block of nr output channels and every segment of the patch: [length/unit][nr][unit],
 * zeros beyond the segment and beyond the last channel; int8 with a zero point z, 0 but for models
 * with unsigned asymmetric weights: the true weight is w - z; or int16, the true weights themselves
 *   in[2] i32 [groups * blocks * nr]: bias - x_zero * sum(w - z)
 *   in[3] f32 or f64 scale, or i32 multiplier, in[4] i32 shift (fixed-point rounding), as in[2]
 * x quantised at run time: see dynamic.h.
 * A segment may be read up to unit - 1 elements beyond its end, against zero weights. */
#ifndef EI_GEMM_Q8_H
#define EI_GEMM_Q8_H

#include "channels.h"
#include "rows.h"

typedef struct ei_tile_q8 {
    const uint8_t *const *at; /* segments of the patch of the line's first pixel */
    int64_t offset;           /* bytes from there to the tile */
    int64_t lda;              /* from a pixel to the next, elements */
    const void *w;
    int64_t length; /* of a segment, padded to units */
    int segments;
    int rows, columns;       /* 1..mr, 1..nr */
    const int32_t *row_term; /* what to add to the accumulators of each row, or NULL */
    ei_requant r;
    const ei_dynamic *dynamic; /* float output, or NULL */
    bool is_signed;            /* of the output's bytes */
    uint8_t *y;
    int64_t stride; /* bytes */
} ei_tile_q8;

typedef void (*ei_tile_q8_fn)(const ei_tile_q8 *t);

typedef struct ei_gemm_q8 {
    int mr, nr, unit;
    int dtype; /* of x, where its bytes are read as they are */
    /* Where they are widened to int16 as they are copied into the ring: from i8 and from u8. */
    void (*widen[2])(void *to, const uint8_t *from, int64_t n);
    const ei_tile_q8_fn *tiles; /* by rows - 1 */
} ei_gemm_q8;

/* Bytes of an element of both matrices. */
static inline int ei_gemm_q8_size(const ei_gemm_q8 *k) {
    return k->widen[0] ? 2 : 1;
}

/* Segment `s` of the tile's first pixel. */
static inline const void *ei_tile_segment(const ei_tile_q8 *t, int s) {
    return t->at[s] + t->offset;
}

static inline int ei_gemm_q8_check(const ei_node *n, const ei_gemm_q8 *k) {
    ei_conv g;
    if (!ei_conv_geometry(n, &g)) return EI_E_UNSUPPORTED;
    const ei_tensor *x = n->in[0], *w = n->in[1];
    if (k->widen[0] ? !ei_is_q8(x) : x->dtype != k->dtype) return EI_E_UNSUPPORTED;
    int64_t columns = g.p->groups * ei_conv_blocks(&g, k->nr) * k->nr;
    bool good = w->dtype == EI_BLOB && w->constant &&
                (int64_t)w->bytes == columns * ei_rows_depth(&g, k->unit) * ei_gemm_q8_size(k) &&
                ei_conv_constants(n, &g, columns);
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static inline void ei_gemm_q8_plan(ei_rows *r, const ei_conv *g, const ei_node *n,
                                   const ei_gemm_q8 *k) {
    const ei_tensor *x = n->in[0];
    ei_rows_plan(r, g, x, k->mr, (size_t)ei_gemm_q8_size(k), k->unit, k->widen[x->dtype == EI_U8]);
}

static inline size_t ei_gemm_q8_scratch(const ei_node *n, const ei_gemm_q8 *k) {
    ei_conv g;
    ei_rows r;
    ei_conv_geometry(n, &g);
    ei_gemm_q8_plan(&r, &g, n, k);
    return ei_rows_scratch(&r);
}

/* -z * sum of the patch, which is what asymmetric weights add to each accumulator. */
static inline void ei_row_terms(const ei_tile_q8 *t, int64_t length, bool is_signed, int32_t z,
                                int32_t *terms) {
    for (int i = 0; i < t->rows; i++) {
        int32_t sum = 0;
        for (int s = 0; s < t->segments; s++) {
            const uint8_t *a = t->at[s] + t->offset + i * t->lda;
            for (int64_t k = 0; k < length; k++) sum += is_signed ? (int8_t)a[k] : a[k];
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
    int64_t blocks = ei_conv_blocks(&g, k->nr), size = ei_gemm_q8_size(k);
    int64_t depth = ei_rows_depth(&g, k->unit) * size;
    bool dynamic = ei_is_dynamic(n), is_signed = n->in[0]->dtype == EI_I8;
    int32_t z = size == 1 ? w->zero : 0; /* 16 bits hold the true weights */
    int64_t out_size = dynamic ? 4 : 1, scale_size = ei_conv_scale_bytes(n);
    if (dynamic) r.fills = n->in[5]->data;
    ei_dynamic d;
    int32_t terms[EI_DYNAMIC_ROWS];
    ei_tile_q8 t = {.at = r.at,
                    .lda = r.lda,
                    .segments = r.segments,
                    .length = (r.length + k->unit - 1) / k->unit * k->unit,
                    .stride = n->out[0]->stride * out_size,
                    .is_signed = is_signed,
                    .r = ei_requant_at(n, &g, 0),
                    .dynamic = dynamic ? &d : NULL,
                    .row_term = z ? terms : NULL};
    ei_share s = ei_rows_share(&r, blocks, work);
    for (int64_t tile = s.row; tile < s.row_end; tile++) {
        ei_span span = ei_rows_tile(&r, tile);
        t.rows = span.pixels;
        if (dynamic) ei_dynamic_rows(&d, n, &g, span.pixel, span.pixels);
        for (int group = 0; span.pixels && group < g.p->groups; group++) {
            t.offset = span.offset + (int64_t)group * g.group_c * size;
            if (z) ei_row_terms(&t, r.length, is_signed, z, terms);
            for (int64_t j = s.block; j < s.block_end; j++) {
                int64_t at = (group * blocks + j) * k->nr, column = j * k->nr;
                t.w = (const uint8_t *)w->data + at * depth;
                if (dynamic)
                    ei_dynamic_columns(&d, n, &g, at);
                else
                    ei_requant_move(&t.r, n, at, scale_size);
                t.columns = (int)(g.group_oc - column < k->nr ? g.group_oc - column : k->nr);
                t.y = (uint8_t *)n->out[0]->data +
                      (span.pixel * n->out[0]->stride + group * g.group_oc + column) * out_size;
                k->tiles[t.rows - 1](&t);
            }
        }
    }
    return EI_OK;
}

/* CONV_2D and FULLY_CONNECTED of an ISA on one `ei_gemm_q8`, ei_<ISA>_conv_2d<SUFFIX> and
 * ei_<ISA>_fully_connected<SUFFIX>. */
#define EI_GEMM_Q8_KERNELS(ISA, SUFFIX, LAYOUT, GEMM)                                              \
    static int check##SUFFIX(const ei_node *n) {                                                   \
        return ei_gemm_q8_check(n, &(GEMM));                                                       \
    }                                                                                              \
    static size_t scratch##SUFFIX(const ei_node *n) {                                              \
        return ei_gemm_q8_scratch(n, &(GEMM));                                                     \
    }                                                                                              \
    static int run##SUFFIX(const ei_node *n, const ei_work *work) {                                \
        return ei_gemm_q8_run(n, work, &(GEMM));                                                   \
    }                                                                                              \
    EI_CONV_KERNELS(ISA, SUFFIX, LAYOUT, check##SUFFIX, scratch##SUFFIX, run##SUFFIX)

#endif
