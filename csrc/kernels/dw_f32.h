/* The common part of the float depthwise convolution of every ISA.
 *
 * Layout EI_LAYOUT_<ISA>_DW_F32, n = lcm(channels, lanes) / lanes blocks: in[1] blob
 * [n][taps][lanes] f32, in[2] f32 [n * lanes] bias; element e of block b is channel
 * (lanes * b + e) % channels. Taps go column by column, which is the order in which XNNPACK adds
 * them up: so the sums are the same to the bit. x quantised at run time: in[3] f32 [n * lanes]
 * scale of the weights.
 *
 * A tile is all blocks of up to EI_DW_PIXELS positions one fixed step apart, so that a weight is
 * loaded once for all of them. Where whole vectors make up the channels, positions are the output
 * pixels that have the same taps inside the image, read in place: one at a time at the left and
 * right edge, many between. Other images go through the ring of depthwise.h, in which any vector
 * of a row of outputs has its inputs side by side. */
#ifndef EI_DW_F32_H
#define EI_DW_F32_H

#include "depthwise.h"
#include "dynamic.h"

enum { EI_DW_PIXELS = 8 };

typedef struct ei_dw_f32_tile {
    const float *x[EI_DW_TAPS]; /* the first position's input of every tap that counts */
    int32_t w_at[EI_DW_TAPS];   /* that tap's weights in a block, elements */
    int taps;
    const float *w, *bias; /* of the first block */
    float *y;
    int64_t step_x, step_y;  /* between positions, elements */
    int64_t blocks, block_w; /* how many, and the elements of one's weights */
    int last;                /* lanes of the last block that are stored */
    float lo, hi;
    ei_dynamic_depthwise d;
} ei_dw_f32_tile;

/* [EI_DW_PIXELS]: tiles of 1.. positions. */
typedef void (*ei_dw_f32_fn)(const ei_dw_f32_tile *t);

static inline bool ei_dw_f32_direct(const ei_conv *g, int lanes) {
    return g->c % lanes == 0;
}

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

static inline size_t ei_dw_f32_scratch(const ei_node *n, int lanes) {
    ei_conv g;
    ei_depthwise_geometry(n, &g);
    return ei_dw_f32_direct(&g, lanes) ? 0 : ei_dw_scratch(&g, 4);
}

/* Runs positions [0, n), in tiles of about one size. */
static inline void ei_dw_f32_spread(ei_dw_f32_tile *t, int64_t n, const ei_dw_f32_fn *tiles) {
    for (int64_t left = n, parts = (n + EI_DW_PIXELS - 1) / EI_DW_PIXELS; parts; parts--) {
        int64_t now = (left + parts - 1) / parts;
        tiles[now - 1](t);
        for (int i = 0; i < t->taps; i++) t->x[i] += now * t->step_x;
        t->y += now * t->step_y;
        left -= now;
    }
}

/* The first output column of which tap column kx lies at or right of input column `edge`. */
static inline int64_t ei_dw_f32_from(const ei_conv *g, int32_t kx, int64_t edge) {
    int64_t x = edge + g->p->pad_left - (int64_t)kx * g->p->dilation_w;
    int64_t first = x <= 0 ? 0 : (x + g->p->stride_w - 1) / g->p->stride_w;
    return first < g->ow ? first : g->ow;
}

/* Outputs [begin, end) of row oy of an image, all of the same taps. */
static inline void ei_dw_f32_pixels(ei_dw_f32_tile *t, const ei_node *n, const ei_conv *g,
                                    int64_t row, int64_t begin, int64_t end, int lanes,
                                    const ei_dw_f32_fn *tiles) {
    const ei_conv_params *p = g->p;
    int64_t image = row / g->oh, y0 = row % g->oh * p->stride_h - p->pad_top;
    const float *x = (const float *)n->in[0]->data + image * g->h * g->w * g->c;
    t->taps = 0;
    for (int32_t kx = 0; kx < p->kernel_w; kx++) {
        int64_t ix = begin * p->stride_w - p->pad_left + (int64_t)kx * p->dilation_w;
        if (ix < 0 || ix >= g->w) continue;
        for (int32_t ky = 0; ky < p->kernel_h; ky++) {
            int64_t iy = y0 + (int64_t)ky * p->dilation_h;
            if (iy < 0 || iy >= g->h) continue;
            t->x[t->taps] = x + (iy * g->w + ix) * g->c;
            t->w_at[t->taps++] = (kx * p->kernel_h + ky) * lanes;
        }
    }
    t->y = (float *)n->out[0]->data + (row * g->ow + begin) * g->c;
    ei_dw_f32_spread(t, end - begin, tiles);
}

static inline void ei_dw_f32_row(ei_dw_f32_tile *t, const ei_node *n, const ei_conv *g, int64_t row,
                                 int lanes, const ei_dw_f32_fn *tiles) {
    /* Between these columns every tap is inside. */
    int64_t left = ei_dw_f32_from(g, 0, 0), right = ei_dw_f32_from(g, g->p->kernel_w - 1, g->w);
    int64_t x = 0;
    for (; x < left; x++) ei_dw_f32_pixels(t, n, g, row, x, x + 1, lanes, tiles);
    if (x < right) ei_dw_f32_pixels(t, n, g, row, x, right, lanes, tiles), x = right;
    for (; x < g->ow; x++) ei_dw_f32_pixels(t, n, g, row, x, x + 1, lanes, tiles);
}

/* The same through the ring: the row is one line of elements. */
static inline void ei_dw_f32_line(ei_dw_f32_tile *t, const ei_node *n, const ei_conv *g,
                                  ei_dw_ring *ring, int64_t row, int lanes,
                                  const ei_dw_f32_fn *tiles) {
    const uint8_t *rows[EI_DW_TAPS];
    int32_t kh = g->p->kernel_h, kw = g->p->kernel_w;
    int64_t width = (int64_t)g->ow * g->c, whole = t->blocks * lanes;
    ei_dw_taps(ring, row / g->oh, (int32_t)(row % g->oh), rows);
    t->taps = kh * kw;
    for (int32_t i = 0; i < t->taps; i++) {
        t->x[i] = (const float *)(const void *)rows[i % kh * kw + i / kh];
        t->w_at[i] = i * lanes;
    }
    t->y = (float *)n->out[0]->data + row * width;
    ei_dw_f32_spread(t, width / whole, tiles);
    int64_t rest = width % whole, blocks = t->blocks;
    if (!rest) return;
    t->blocks = (rest + lanes - 1) / lanes;
    t->last = (int)(rest - (t->blocks - 1) * lanes);
    tiles[0](t);
    t->blocks = blocks;
    t->last = lanes;
}

static inline int ei_dw_f32_run(const ei_node *n, const ei_work *work, int lanes,
                                const ei_dw_f32_fn *tiles) {
    ei_conv g;
    ei_depthwise_geometry(n, &g);
    ei_dw_f32_tile t;
    t.w = n->in[1]->data, t.bias = n->in[2]->data;
    t.blocks = ei_dw_blocks(g.c, lanes), t.block_w = g.depth * lanes, t.last = lanes;
    t.lo = g.p->act_fmin, t.hi = g.p->act_fmax;
    bool direct = ei_dw_f32_direct(&g, lanes);
    t.step_x = direct ? (int64_t)g.p->stride_w * g.c : t.blocks * lanes;
    t.step_y = direct ? g.c : t.step_x;
    ei_dw_ring ring = {.g = &g};
    if (!direct) ei_dw_open(&ring, &g, n->in[0]->data, 4, 0, work->scratch);
    int64_t row, end;
    ei_split((int64_t)g.batch * g.oh, 1, work, &row, &end);
    for (; row < end; row++) {
        t.d = ei_dynamic_depthwise_at(n, row / g.oh);
        if (direct)
            ei_dw_f32_row(&t, n, &g, row, lanes, tiles);
        else
            ei_dw_f32_line(&t, n, &g, &ring, row, lanes, tiles);
    }
    return EI_OK;
}

#endif
