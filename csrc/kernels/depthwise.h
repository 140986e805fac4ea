/* Rows of a depthwise convolution, laid out so that one vector covers any channels and pixels.
 *
 * In NHWC the outputs of one row are contiguous over pixels and channels alike. Where the inputs
 * of tap (ky, kx) for all those outputs are contiguous too, the row is one long elementwise
 * multiply-add and no vector lane is wasted, whatever the number of channels. They are, once the
 * input row is copied with its padding and, for stride s, its columns sorted into s planes (column
 * p goes to plane p % s). A ring holds the rows of one window, so each is copied once. */
#ifndef EI_DEPTHWISE_H
#define EI_DEPTHWISE_H

#include <string.h>

#include "conv.h"

enum { EI_DW_SPAN = 64, EI_DW_TAPS = 256, EI_DW_SLACK = 64 };

typedef struct ei_dw_ring {
    const ei_conv *g;
    const uint8_t *x;
    uint8_t *rows; /* span rows of row_bytes, then a row of padding */
    size_t size;   /* of an element */
    uint8_t padding;
    int32_t span, plane; /* rows of a window, columns of a plane */
    size_t row_bytes;
    int64_t held[EI_DW_SPAN]; /* which row of the batch a slot holds, -1 none */
} ei_dw_ring;

static inline int32_t ei_dw_span(const ei_conv *g) {
    return (g->p->kernel_h - 1) * g->p->dilation_h + 1;
}

/* Columns of one plane: those that the outputs of a row read. */
static inline int32_t ei_dw_plane(const ei_conv *g) {
    return g->ow + ((g->p->kernel_w - 1) * g->p->dilation_w) / g->p->stride_w;
}

static inline size_t ei_dw_row_bytes(const ei_conv *g, size_t size) {
    size_t bytes = (size_t)g->p->stride_w * ei_dw_plane(g) * g->c * size;
    return (bytes + EI_DW_SLACK + EI_ALIGN - 1) / EI_ALIGN * EI_ALIGN;
}

static inline bool ei_dw_fits(const ei_conv *g) {
    return (int64_t)(g->p->kernel_h - 1) * g->p->dilation_h < EI_DW_SPAN &&
           g->depth <= EI_DW_TAPS && (int64_t)(g->p->kernel_w - 1) * g->p->dilation_w < 1 << 20 &&
           g->p->stride_w < 1 << 10;
}

static inline size_t ei_dw_scratch(const ei_conv *g, size_t size) {
    return ei_dw_row_bytes(g, size) * (size_t)(ei_dw_span(g) + 1);
}

static inline void ei_dw_open(ei_dw_ring *r, const ei_conv *g, const void *x, size_t size,
                              uint8_t padding, void *scratch) {
    *r = (ei_dw_ring){.g = g,
                      .x = x,
                      .rows = scratch,
                      .size = size,
                      .padding = padding,
                      .span = ei_dw_span(g),
                      .plane = ei_dw_plane(g),
                      .row_bytes = ei_dw_row_bytes(g, size)};
    for (int i = 0; i < r->span; i++) r->held[i] = -1;
    memset(r->rows + r->span * r->row_bytes, padding, r->row_bytes);
}

/* Copies input row iy of an image into `to`: padding around it, columns sorted into planes. */
static inline void ei_dw_copy(const ei_dw_ring *r, int64_t image, int32_t iy, uint8_t *to) {
    const ei_conv *g = r->g;
    int32_t s = g->p->stride_w;
    size_t pixel = (size_t)g->c * r->size;
    const uint8_t *line = r->x + ((size_t)image * g->h + iy) * g->w * pixel;
    for (int32_t plane = 0; plane < s; plane++) {
        uint8_t *out = to + (size_t)plane * r->plane * pixel;
        for (int32_t i = 0; i < r->plane;) {
            int32_t ix = i * s + plane - g->p->pad_left, run = 1;
            if (ix < 0 || ix >= g->w) {
                memset(out, r->padding, pixel);
            } else {
                if (s == 1) {
                    run = r->plane - i < g->w - ix ? r->plane - i : g->w - ix;
                }
                memcpy(out, line + (size_t)ix * pixel, pixel * run);
            }
            out += pixel * run;
            i += run;
        }
    }
}

/* taps[ky * kernel_w + kx]: where the inputs of that tap for the whole output row begin. */
static inline void ei_dw_taps(ei_dw_ring *r, int64_t image, int32_t oy, const uint8_t **taps) {
    const ei_conv *g = r->g;
    const ei_conv_params *p = g->p;
    size_t pixel = (size_t)g->c * r->size;
    for (int32_t ky = 0; ky < p->kernel_h; ky++) {
        int32_t iy = oy * p->stride_h - p->pad_top + ky * p->dilation_h;
        uint8_t *row = r->rows + r->span * r->row_bytes;
        if (iy >= 0 && iy < g->h) {
            int64_t key = image * g->h + iy;
            int slot = (int)(key % r->span);
            row = r->rows + slot * r->row_bytes;
            if (r->held[slot] != key) ei_dw_copy(r, image, iy, row);
            r->held[slot] = key;
        }
        for (int32_t kx = 0; kx < p->kernel_w; kx++) {
            int32_t column = kx * p->dilation_w, s = p->stride_w;
            *taps++ = row + ((size_t)(column % s) * r->plane + column / s) * pixel;
        }
    }
}

/* Blocks of `lanes` elements after which channels repeat: lcm(c, lanes) / lanes. */
static inline int64_t ei_dw_blocks(int32_t c, int32_t lanes) {
    int64_t a = c, b = lanes;
    while (b) {
        int64_t t = a % b;
        a = b;
        b = t;
    }
    return c / a;
}

#endif
