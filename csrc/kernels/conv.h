/* Geometry of convolutions for kernels that gather patches into rows and multiply matrices.
 *
 * A fully connected layer is a 1x1 convolution over an image one row high. Rows of the left matrix
 * are output pixels, columns of the right one output channels, the depth is kernel_h * kernel_w *
 * channels of the group, in the order of the weights (OHWI). */
#ifndef EI_CONV_H
#define EI_CONV_H

#include <string.h>

#include "kernel.h"

typedef struct ei_conv {
    const ei_conv_params *p;
    int32_t batch, h, w, c;    /* input */
    int32_t oh, ow, oc;        /* output */
    int32_t group_c, group_oc; /* channels in and out of one group */
    int64_t rows, depth;       /* of the left matrix */
    bool direct;               /* rows of the left matrix are the input's own, at a distance of c */
} ei_conv;

/* Whether x was quantised at run time and the output is float (seven inputs, see ops.h). */
static inline bool ei_is_dynamic(const ei_node *node) {
    return node->n_in == 7;
}

/* Whether accumulators are requantised in fixed point (in[3] multiplier, in[4] shift) rather than
 * by a real scale (in[3]). EI_ROUND_TFLITE does so but for FULLY_CONNECTED. */
static inline bool ei_conv_fixed_point(const ei_node *node) {
    return node->rounding == EI_ROUND_TFLITE && node->op != EI_OP_FULLY_CONNECTED &&
           !ei_is_dynamic(node);
}

/* Whether the scale (in[3]) is f64: LiteRT 2.3's reference FULLY_CONNECTED multiplies so. */
static inline bool ei_conv_double(const ei_node *node) {
    return node->rounding == EI_ROUND_TFLITE && node->op == EI_OP_FULLY_CONNECTED &&
           !ei_is_dynamic(node);
}

/* Bytes of an element of in[3]. */
static inline int ei_conv_scale_bytes(const ei_node *node) {
    return ei_conv_double(node) ? 8 : 4;
}

/* Fills the geometry; false unless every shape of x, out and params agrees. Weights and constants
 * are checked by the caller, whose layout they have. */
bool ei_conv_geometry(const ei_node *node, ei_conv *g);

/* Fills the geometry of a DEPTHWISE_CONV_2D with multiplier 1; false unless everything agrees. */
bool ei_depthwise_geometry(const ei_node *node, ei_conv *g);

/* Whether the inputs after the weights are what an 8-bit kernel with packed weights can take: for
 * each of `columns` constants of bias, scale and, in fixed point, shift, in bounds; limits within
 * the output's type. Or what ei_dynamic_packed() says. */
bool ei_conv_constants(const ei_node *n, const ei_conv *g, int64_t columns);

/* Copies the patch of output pixel `row` (of the whole batch), channels of `group`, into `to`
 * (depth * size bytes); positions outside the image get `padding` (size bytes an element). */
static inline void ei_gather(const ei_conv *g, const uint8_t *x, int64_t row, int group,
                             size_t size, uint8_t padding, uint8_t *to) {
    const ei_conv_params *p = g->p;
    int64_t per_image = (int64_t)g->oh * g->ow;
    int64_t image = row / per_image, pixel = row % per_image;
    int32_t y0 = (int32_t)(pixel / g->ow) * p->stride_h - p->pad_top;
    int32_t x0 = (int32_t)(pixel % g->ow) * p->stride_w - p->pad_left;
    size_t run = (size_t)g->group_c * size;
    const uint8_t *base =
        x + ((size_t)image * g->h * g->w * g->c + (size_t)group * g->group_c) * size;
    /* One copy for a row of taps where they are adjacent in memory. */
    bool whole = p->dilation_w == 1 && g->group_c == g->c && x0 >= 0 && x0 + p->kernel_w <= g->w;
    for (int32_t ky = 0; ky < p->kernel_h; ky++) {
        int32_t iy = y0 + ky * p->dilation_h;
        if (iy < 0 || iy >= g->h) {
            memset(to, padding, run * p->kernel_w);
            to += run * p->kernel_w;
            continue;
        }
        const uint8_t *line = base + (size_t)iy * g->w * g->c * size;
        if (whole) {
            memcpy(to, line + (size_t)x0 * run, run * p->kernel_w);
            to += run * p->kernel_w;
            continue;
        }
        for (int32_t kx = 0; kx < p->kernel_w; kx++, to += run) {
            int32_t ix = x0 + kx * p->dilation_w;
            if (ix < 0 || ix >= g->w)
                memset(to, padding, run);
            else
                memcpy(to, line + (size_t)ix * g->c * size, run);
        }
    }
}

/* Worker's share of the work, as ranges of row tiles and of column blocks: rows where there are
 * enough of them, else columns (a fully connected layer has one row). */
typedef struct ei_share {
    int64_t row, row_end;
    int64_t block, block_end;
} ei_share;

static inline ei_share ei_conv_share(int64_t rows, int64_t tile, int64_t blocks,
                                     const ei_work *work) {
    ei_share s = {0, rows, 0, blocks};
    if (rows >= tile * work->threads * 2 || blocks < work->threads)
        ei_split(rows, tile, work, &s.row, &s.row_end);
    else
        ei_split(blocks, 1, work, &s.block, &s.block_end);
    return s;
}

#endif
