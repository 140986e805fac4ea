/* Parameters of activations and of operators that move, select or convert data. See ops.h.
 * Shapes come from the tensors; what a shape cannot say stands here. */
#ifndef EI_OPS_SHAPE_H
#define EI_OPS_SHAPE_H

#include <stdint.h>

#include "../edgeinfer.h"

/* cffi:begin */
/* UNARY: elementwise on f32; ABS, NEG, SQUARE and SIGN on i32 as well. */
typedef enum ei_unary {
    EI_UNARY_ABS = 0,
    EI_UNARY_NEG = 1,
    EI_UNARY_SQUARE = 2,
    EI_UNARY_SIGN = 3,
    EI_UNARY_SQRT = 4,
    EI_UNARY_RSQRT = 5,
    EI_UNARY_EXP = 6,
    EI_UNARY_LOG = 7,
    EI_UNARY_SIN = 8,
    EI_UNARY_COS = 9,
    EI_UNARY_FLOOR = 10,
    EI_UNARY_CEIL = 11,
    EI_UNARY_ROUND = 12, /* to nearest, ties to even */
    EI_UNARY_LOGISTIC = 13,
    EI_UNARY_TANH = 14,
    EI_UNARY_ELU = 15,       /* x < 0 ? exp(x) - 1 : x */
    EI_UNARY_GELU = 16,      /* x / 2 (1 + erf(x / sqrt 2)) */
    EI_UNARY_GELU_TANH = 17, /* its approximation through tanh */
    EI_UNARY_SWISH = 18      /* x * logistic(x), the product of two floats */
} ei_unary;

typedef struct ei_unary_params {
    int32_t function; /* ei_unary */
} ei_unary_params;

/* CLAMP: f32 between fmin and fmax, i8 | u8 between min and max (same quantisation in and out). */
typedef struct ei_clamp_params {
    int32_t min, max;
    float fmin, fmax;
} ei_clamp_params;

typedef struct ei_leaky_relu_params {
    float alpha;
} ei_leaky_relu_params;

/* PRELU: in[1] alpha, broadcast to in[0] from the right. 8-bit: the products with the positive
 * side's and the negative side's real multiplier, in fixed point (both roundings). */
typedef struct ei_prelu_params {
    int32_t positive_multiplier, positive_shift;
    int32_t negative_multiplier, negative_shift;
} ei_prelu_params;

/* SOFTMAX, LOG_SOFTMAX over the last dimension. f32: beta. 8-bit, EI_ROUND_XNNPACK: in[1] is a
 * f32[256] table, [255 - d] = exp(-d * scale * beta). 8-bit, EI_ROUND_TFLITE: the fixed-point
 * multiplier of differences to Q5.26, the least difference that counts, and for LOG_SOFTMAX the
 * way back from Q5.26. */
typedef struct ei_softmax_params {
    float beta;
    int32_t multiplier, shift, diff_min;
    int32_t reverse_multiplier, reverse_shift;
} ei_softmax_params;

/* TRANSPOSE: output dimension i is input dimension perm[i]. */
typedef struct ei_transpose_params {
    int32_t perm[6];
} ei_transpose_params;

/* CONCATENATION, PACK: in[0..count) side by side along `axis` of the output; in[count + i], where
 * there, is the 256-byte table that requantises in[i]. SPLIT, SPLIT_V, UNPACK: in[0] cut along
 * `axis` into the outputs, count of them. PACK and UNPACK differ in shape alone. */
typedef struct ei_axis_params {
    int32_t axis, count;
} ei_axis_params;

/* STRIDED_SLICE: size[i] elements of input dimension i from begin[i] by steps of stride[i] (not 0,
 * may be negative). The output holds as many elements, whatever its dimensions. */
typedef struct ei_strided_slice_params {
    int32_t begin[6], stride[6], size[6];
} ei_strided_slice_params;

/* PAD: `value` is the bit pattern of one element, low word first. */
typedef struct ei_pad_params {
    int32_t before[6], after[6];
    int32_t value[2];
} ei_pad_params;

/* MIRROR_PAD: offset 1 leaves the border out of the reflection (REFLECT), 0 repeats it. */
typedef struct ei_mirror_pad_params {
    int32_t before[6], after[6];
    int32_t offset;
} ei_mirror_pad_params;

/* REVERSE: reverse[i] is 1 where dimension i is reversed. */
typedef struct ei_reverse_params {
    int32_t reverse[6];
} ei_reverse_params;

/* GATHER: in[1] i32 | i64 indices into `axis` of in[0], the first batch_dims dimensions shared. An
 * index out of range fails the run with EI_E_DATA. */
typedef struct ei_gather_params {
    int32_t axis, batch_dims;
} ei_gather_params;

/* RESIZE_BILINEAR, RESIZE_NEAREST: NHWC. */
typedef struct ei_resize_params {
    int32_t align_corners, half_pixel_centers;
} ei_resize_params;

/* DEPTH_TO_SPACE, SPACE_TO_DEPTH: block_h = block_w. SPACE_TO_BATCH pads, BATCH_TO_SPACE crops;
 * both take [N, H, W, C] or [N, H, C] (block_w 1). `value` is the padding element's bits. */
typedef struct ei_block_params {
    int32_t block_h, block_w;
    int32_t top, bottom, left, right;
    int32_t value;
} ei_block_params;

/* QUANTIZE. From f32: scale = 1 / output scale (EI_ROUND_XNNPACK) or the output scale itself.
 * Between integers: the fixed-point ratio of the scales. */
typedef struct ei_quantize_params {
    float scale;
    int32_t multiplier, shift;
} ei_quantize_params;

/* DYNAMIC_QUANTIZE: the input in `batches` equal parts, each with the scale and zero point that
 * cover its values and 0 (an f32 vector out[1] and an i32 vector out[2] of `batches`); i8 | u8 out,
 * u8 being the i8 value and its zero point + 128. Or f32 out: the i8 value less its zero point, and
 * out[1], or alone, times its scale. NaN becomes the least value. */
typedef enum ei_dynamic_method {
    EI_DYNAMIC_XNNPACK = 0,    /* asymmetric, ties to even: XNNPACK's qd8 */
    EI_DYNAMIC_ASYMMETRIC = 1, /* asymmetric, ties away from 0: TFLite's kernels */
    EI_DYNAMIC_SYMMETRIC = 2   /* zero point 0, -127..127, ties away from 0: TFLite's kernels */
} ei_dynamic_method;
typedef struct ei_dynamic_params {
    int32_t batches;
    int32_t method; /* ei_dynamic_method */
} ei_dynamic_params;

/* DEQUANTIZE to f32: f16, or integers by the tensor's scale, or, where in[1] f32 scales and in[2]
 * i32 zero points are given, per channel of dimension `axis`. */
typedef struct ei_dequantize_params {
    int32_t axis;
} ei_dequantize_params;

/* ARG_MAX, ARG_MIN along `axis`; the first of equals; i32 | i64 out. */
typedef struct ei_arg_max_params {
    int32_t axis, minimum;
} ei_arg_max_params;

typedef enum ei_comparison {
    EI_EQUAL = 0,
    EI_NOT_EQUAL = 1,
    EI_LESS = 2,
    EI_LESS_EQUAL = 3,
    EI_GREATER = 4,
    EI_GREATER_EQUAL = 5
} ei_comparison;

/* COMPARE: both inputs broadcast. 8-bit inputs of different quantisation (requantise 1) are
 * compared after (q - zero) << 8, each times its fixed-point multiplier. */
typedef struct ei_compare_params {
    int32_t comparison; /* ei_comparison */
    int32_t requantise;
    int32_t multiplier1, shift1, multiplier2, shift2;
} ei_compare_params;

typedef enum ei_logic { EI_LOGIC_AND = 0, EI_LOGIC_OR = 1, EI_LOGIC_NOT = 2 } ei_logic;

typedef struct ei_logical_params {
    int32_t function; /* ei_logic */
} ei_logical_params;

/* SELECT: in[0] bool, in[1], in[2] broadcast from the right; `leading` 1: in[0] of rank 1 chooses
 * along the first dimension. */
typedef struct ei_select_params {
    int32_t leading;
} ei_select_params;

/* DETECTION_POSTPROCESS: in[0] boxes [1, anchors, >= 4] and in[1] scores [1, anchors, classes or
 * one more with a leading background], f32 | i8 | u8; in[2] anchors [anchors, 4] f32 (or 8-bit):
 * ycenter, xcenter, h, w. out, all f32: boxes [1, n, 4], classes [1, n], scores [1, n], count. */
typedef struct ei_detection_params {
    int32_t max_detections, classes_per_detection, detections_per_class;
    int32_t classes, regular_nms;
    float score_threshold, iou_threshold;
    float y_scale, x_scale, h_scale, w_scale;
} ei_detection_params;
/* cffi:end */

#endif
