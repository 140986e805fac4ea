/* The common part of the float depthwise convolution of every ISA (see depthwise.h).
 *
 * Layout EI_LAYOUT_<ISA>_DW_F32, n = lcm(channels, lanes) / lanes blocks: in[1] blob
 * [n][taps][lanes] f32, in[2] f32 [n * lanes] bias; element e of block b is channel
 * (lanes * b + e) % channels. Taps go column by column, which is the order in which XNNPACK adds
 * them up: so the sums are the same to the bit. x quantised at run time: in[3] f32 [n * lanes]
 * scale of the weights. */
#ifndef EI_DW_F32_H
#define EI_DW_F32_H

#include "depthwise.h"
#include "dynamic.h"

typedef struct ei_dw_f32_row {
    const float *w, *bias;
    const uint8_t *const *taps;
    float *y;
    int64_t width, depth, blocks;
    float lo, hi;
    ei_dynamic_depthwise d;
} ei_dw_f32_row;

static inline int ei_dw_f32_check(const ei_node *n, int lanes) {
    ei_conv g;
    if (!ei_depthwise_geometry(n, &g) || n->in[0]->dtype != EI_F32 || !ei_dw_fits(&g))
        return EI_E_UNSUPPORTED;
    const ei_tensor *w = n->in[1], *bias = n->in[2];
    int64_t columns = ei_dw_blocks(g.c, lanes) * lanes;
    bool good = w->dtype == EI_BLOB && w->constant && (int64_t)w->bytes == columns * g.depth * 4 &&
                bias && bias->constant && (int64_t)bias->bytes == columns * 4 &&
                (n->n_in == 3 || ei_dynamic_depthwise_check(n, &g, columns));
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static inline size_t ei_dw_f32_scratch(const ei_node *n) {
    ei_conv g;
    ei_depthwise_geometry(n, &g);
    return ei_dw_scratch(&g, 4);
}

static inline int ei_dw_f32_run(const ei_node *n, const ei_work *work, int lanes,
                                void (*run_row)(const ei_dw_f32_row *)) {
    ei_conv g;
    ei_depthwise_geometry(n, &g);
    const uint8_t *rows[EI_DW_TAPS], *taps[EI_DW_TAPS];
    int32_t kh = g.p->kernel_h, kw = g.p->kernel_w;
    int64_t width = (int64_t)g.ow * g.c, row, end;
    ei_dw_f32_row r = {.w = n->in[1]->data,
                       .bias = n->in[2]->data,
                       .taps = taps,
                       .width = width,
                       .depth = g.depth,
                       .blocks = ei_dw_blocks(g.c, lanes),
                       .lo = g.p->act_fmin,
                       .hi = g.p->act_fmax};
    ei_dw_ring ring;
    ei_dw_open(&ring, &g, n->in[0]->data, 4, 0, work->scratch);
    ei_split((int64_t)g.batch * g.oh, 1, work, &row, &end);
    for (; row < end; row++) {
        ei_dw_taps(&ring, row / g.oh, (int32_t)(row % g.oh), rows);
        for (int32_t i = 0; i < kh * kw; i++) taps[i] = rows[i % kh * kw + i / kh];
        r.y = (float *)n->out[0]->data + row * width;
        r.d = ei_dynamic_depthwise_at(n, row / g.oh);
        run_row(&r);
    }
    return EI_OK;
}

#endif
