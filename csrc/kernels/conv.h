/* Geometry of convolutions for kernels that multiply matrices.
 *
 * A fully connected layer is a 1x1 convolution over an image one row high. Rows of the left matrix
 * are output pixels, columns of the right one output channels, the depth is kernel_h * kernel_w *
 * channels of the group, in the order of the weights (OHWI). */
#ifndef EI_CONV_H
#define EI_CONV_H

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

/* Whether in[5], which packed layouts may add for EI_ROUND_TFLITE, is there as it must be, or not
 * at all: f32, for every block of `lanes` columns [scale, positive, negative][lanes]; see
 * channels.h. */
bool ei_conv_affine(const ei_node *n, int64_t columns);

/* Blocks of `nr` columns that the output channels of one group fill. */
static inline int64_t ei_conv_blocks(const ei_conv *g, int nr) {
    return (g->group_oc + nr - 1) / nr;
}

/* CONV_2D and FULLY_CONNECTED are one product: the two kernels ei_<ISA>_conv_2d<SUFFIX> and
 * ei_<ISA>_fully_connected<SUFFIX>. */
#define EI_CONV_KERNEL(ISA, NAME, OP, LAYOUT, STRIDED, CHECK, SCRATCH, RUN)                        \
    const ei_kernel ei_##ISA##_##NAME = {                                                          \
        .name = #ISA "/" #NAME,                                                                    \
        .op = OP,                                                                                  \
        .layout = LAYOUT,                                                                          \
        .parallel = true,                                                                          \
        .strided = STRIDED,                                                                        \
        .check = CHECK,                                                                            \
        .scratch = SCRATCH,                                                                        \
        .run = RUN,                                                                                \
    };
#define EI_CONV_KERNELS(ISA, SUFFIX, LAYOUT, CHECK, SCRATCH, RUN)                                  \
    EI_CONV_KERNEL(ISA, conv_2d##SUFFIX, EI_OP_CONV_2D, LAYOUT, EI_STRIDED_X | EI_STRIDED_Y,       \
                   CHECK, SCRATCH, RUN)                                                            \
    EI_CONV_KERNEL(ISA, fully_connected##SUFFIX, EI_OP_FULLY_CONNECTED, LAYOUT, 0, CHECK, SCRATCH, \
                   RUN)

#endif
