/* Operators and their parameters: shared by the kernels and, through cffi, by the planner, so
 * that there is one definition of every field. Plain structs of 4-byte fields, no padding. */
#ifndef EI_OPS_H
#define EI_OPS_H

#include <stdint.h>

#include "../edgeinfer.h"

/* cffi:begin */
/* The operator of a step. Numbers are part of the plan format: append, never renumber. */
typedef enum ei_op {
    EI_OP_COPY = 0, /* bytes from in[0] to out[0]: reshape, squeeze, variables */
    EI_OP_CONV_2D = 1,
    EI_OP_DEPTHWISE_CONV_2D = 2,
    EI_OP_TRANSPOSE_CONV = 3,
    EI_OP_FULLY_CONNECTED = 4,
    EI_OP_BATCH_MATMUL = 5,
    EI_OP_ADD = 6,
    EI_OP_SUB = 7,
    EI_OP_MUL = 8,
    EI_OP_DIV = 9,
    EI_OP_MAXIMUM = 10,
    EI_OP_MINIMUM = 11,
    EI_OP_SQUARED_DIFFERENCE = 12,
    EI_OP_POW = 13,
    EI_OP_MAX_POOL_2D = 14,
    EI_OP_AVERAGE_POOL_2D = 15,
    EI_OP_MEAN = 16,
    EI_OP_SUM = 17,
    EI_OP_REDUCE_MAX = 18,
    EI_OP_REDUCE_MIN = 19,
    EI_OP_REDUCE_PROD = 20,
    EI_OP_SOFTMAX = 21,
    EI_OP_LOG_SOFTMAX = 22,
    EI_OP_UNARY = 23,  /* elementwise float function, ei_unary_params.function */
    EI_OP_LOOKUP = 24, /* 8-bit in, 8-bit out through a table of 256 bytes made at plan time */
    EI_OP_LEAKY_RELU = 25,
    EI_OP_PRELU = 26,
    EI_OP_HARD_SWISH = 27,
    EI_OP_CLAMP = 28, /* relu family */
    EI_OP_TRANSPOSE = 29,
    EI_OP_CONCATENATION = 30,
    EI_OP_SPLIT = 31,         /* SPLIT, SPLIT_V, UNPACK */
    EI_OP_STRIDED_SLICE = 32, /* STRIDED_SLICE and SLICE */
    EI_OP_PAD = 33,           /* PAD, PADV2 */
    EI_OP_MIRROR_PAD = 34,
    EI_OP_TILE = 35,
    EI_OP_GATHER = 36,
    EI_OP_BROADCAST_TO = 37,
    EI_OP_RESIZE_BILINEAR = 38,
    EI_OP_RESIZE_NEAREST = 39,
    EI_OP_DEPTH_TO_SPACE = 40,
    EI_OP_SPACE_TO_DEPTH = 41,
    EI_OP_SPACE_TO_BATCH = 42,
    EI_OP_BATCH_TO_SPACE = 43,
    EI_OP_QUANTIZE = 44,   /* float -> 8/16 bit, and requantise between quantised types */
    EI_OP_DEQUANTIZE = 45, /* quantised or f16 -> float */
    EI_OP_CAST = 46,
    EI_OP_ARG_MAX = 47, /* and ARG_MIN */
    EI_OP_COMPARE = 48,
    EI_OP_LOGICAL = 49,
    EI_OP_SELECT = 50,
    EI_OP_LSTM = 51, /* UNIDIRECTIONAL_SEQUENCE_LSTM */
    EI_OP_SVDF = 52,
    EI_OP_DETECTION_POSTPROCESS = 53, /* TFLite_Detection_PostProcess */
    EI_OP_FLIP_SIGN = 54,             /* int8 <-> uint8 by xor 0x80: same scale, zero + 128 */
    EI_OP_DELEGATE = 55,              /* a compiled part run by a delegate */
    EI_OP_REVERSE = 56,
    EI_OP_DYNAMIC_QUANTIZE = 57, /* f32 -> 8 bits with scales made at run time */
    EI_OPS = 58
} ei_op;

/* Layout of a step's weights. 0: as in the model file. Others are one ISA's packing, made by
 * edgeinfer/engine/layouts.py and documented at the kernel that reads them. */
typedef enum ei_layout {
    EI_LAYOUT_NATURAL = 0,
    EI_LAYOUT_AVX2_GEMM_Q8 = 16,
    EI_LAYOUT_AVX2_DW_Q8 = 17,
    EI_LAYOUT_AVX2_GEMM_F32 = 18,
    EI_LAYOUT_AVX2_DW_F32 = 19,
    EI_LAYOUT_AVX2_LSTM_Q8 = 20,
    EI_LAYOUT_VNNI_GEMM_Q8 = 32,
    EI_LAYOUT_VNNI_DW_Q8 = 33,
    EI_LAYOUT_AVX512_GEMM_F32 = 34,
    EI_LAYOUT_AVX512_DW_F32 = 35,
    EI_LAYOUT_VNNI_LSTM_Q8 = 36,
    EI_LAYOUT_VNNI_DW_TILES_Q8 = 37,
    EI_LAYOUT_NEON_GEMM_Q8 = 48,
    EI_LAYOUT_NEON_DW_Q8 = 49,
    EI_LAYOUT_NEON_GEMM_F32 = 50,
    EI_LAYOUT_NEON_DW_F32 = 51,
    EI_LAYOUT_NEON_GEMM_Q8_FULL = 52, /* as without FULL, for weights with pairs of -128 */
    EI_LAYOUT_NEON_DW_Q8_FULL = 53,
    EI_LAYOUT_DOTPROD_GEMM_Q8 = 64,
    EI_LAYOUT_I8MM_GEMM_Q8 = 80,
    EI_LAYOUT_AVXVNNI_GEMM_Q8 = 96
} ei_layout;

/* CONV_2D, DEPTHWISE_CONV_2D, TRANSPOSE_CONV, FULLY_CONNECTED (strides 1, pads 0, kernel 1x1).
 * Inputs, natural layout:
 *   in[0] x, NHWC, f32 | i8 | u8   (fully connected: [rows, depth])
 *   in[1] w, f32 | i8 | u8: conv OHWI (I = C / groups), depthwise [1,H,W,C*multiplier],
 *         transpose conv OHWI, fully connected [out, depth]
 *   in[2] bias, f32 or i32 [OC], or absent
 *   in[3] requantisation, quantised only: f32 scale[OC] for EI_ROUND_XNNPACK,
 *         i32 multiplier[OC] for EI_ROUND_TFLITE, but f64 scale[OC] where fully connected
 *   in[4] i32 shift[OC] for EI_ROUND_TFLITE (positive = left, as TFLite's output_shift)
 * Float output of an 8-bit x that was quantised at run time (hybrid models; CONV_2D and
 * FULLY_CONNECTED):
 *   in[1] w, i8, zero point 0; in[2] bias, f32 [OC], or absent
 *   in[3] f32 scale[OC] of the weights
 *   in[4] f32 scale, in[5] i32 zero point of x, one for each image or, without padding, output row
 *   in[6] absent (packed layouts: i32 sum of the weights of every column)
 * y = fma(float(acc) * x_scale, w_scale, bias), as XNNPACK computes it, then act_fmin/act_fmax.
 * DEPTHWISE_CONV_2D likewise, but in[0] and in[1] are integers in f32, in[0] less its zero point,
 * and in[5] is absent; y = acc * w_scale * x_scale + bias for EI_ROUND_XNNPACK, acc * (x_scale *
 * w_scale) + bias for EI_ROUND_TFLITE, as in TFLite's two kernels.
 * TRANSPOSE_CONV with in[4] and EI_ROUND_XNNPACK: as LiteRT's built-in kernel, see
 * ref/transpose_conv.c.
 * Zero points are in the tensors (w: 0 for i8, any for u8). act_min/act_max clamp the quantised
 * output (already within the type's range), act_fmin/fmax the float output. */
typedef struct ei_conv_params {
    int32_t kernel_h, kernel_w;
    int32_t stride_h, stride_w;
    int32_t dilation_h, dilation_w;
    int32_t pad_top, pad_left, pad_bottom, pad_right;
    int32_t groups;     /* conv; depthwise: = C */
    int32_t multiplier; /* depthwise: output channels per input channel, else 1 */
    int32_t act_min, act_max;
    float act_fmin, act_fmax;
} ei_conv_params;
/* cffi:end */

/* Parameters of the other operators stand in ops_math.h and ops_shape.h. */
#include "ops_math.h"
#include "ops_shape.h"

#endif
