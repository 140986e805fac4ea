/* Parameters of arithmetic operators. See ops.h. */
#ifndef EI_OPS_MATH_H
#define EI_OPS_MATH_H

#include <stdint.h>

/* cffi:begin */
/* ADD, SUB, MUL, DIV, MAXIMUM, MINIMUM, SQUARED_DIFFERENCE, POW on in[0] and in[1], broadcast from
 * the right: f32, i32, and 8 bits for all but DIV and POW.
 * 8-bit ADD, SUB, `tflite` 0: (a * a_multiplier + b * b_multiplier + 2^(shift-1)) >> shift,
 * a and b less their zero points (SUB: b_multiplier is negative).
 * 8-bit ADD, SUB, `tflite` 1: both operands << 20, times their multipliers and shifts, then the
 * output's (SUB subtracts). 8-bit SQUARED_DIFFERENCE: as SUB with `tflite` 1, but << 7, and squared
 * before the output's. 8-bit MUL: the product times `scale`, or out_multiplier and
 * out_shift. */
typedef struct ei_binary_params {
    int32_t tflite; /* 1: with EI_ROUND_TFLITE, and where XNNPACK refuses the scales */
    int32_t a_multiplier, a_shift;
    int32_t b_multiplier, b_shift;
    int32_t out_multiplier, out_shift;
    int32_t shift;
    float scale;
    int32_t act_min, act_max;
    float act_fmin, act_fmax;
} ei_binary_params;

/* MAX_POOL_2D, AVERAGE_POOL_2D over NHWC; average divides by the taps inside the image. */
typedef struct ei_pool_params {
    int32_t kernel_h, kernel_w;
    int32_t stride_h, stride_w;
    int32_t pad_top, pad_left, pad_bottom, pad_right;
    int32_t act_min, act_max;
    float act_fmin, act_fmax;
} ei_pool_params;

/* MEAN, SUM, REDUCE_MAX, REDUCE_MIN, REDUCE_PROD: in[0] seen as [outer, reduced, inner], where
 * neighbouring axes are reduced (a pass transposes others). 8-bit MEAN and SUM, EI_ROUND_XNNPACK:
 * the sum of q times `scale`, + (output's zero - reduced * zero * scale), all in float.
 * EI_ROUND_TFLITE: the sum of q - zero by multiplier and shift. */
typedef struct ei_reduce_params {
    int32_t outer, reduced, inner;
    int32_t multiplier, shift;
    float scale;
} ei_reduce_params;

/* UNIDIRECTIONAL_SEQUENCE_LSTM; arrays by gate: input, forget, cell, output. Integer form: the
 * scales of the two sums of each gate to Q3.12, and of output gate * tanh(cell) to the output. */
typedef struct ei_lstm_params {
    int32_t time_major;
    float cell_clip;     /* 0: none */
    int32_t cell_clip_q; /* in steps of the cell state */
    int32_t cell_scale_log2;
    int32_t input_multiplier[4], input_shift[4];
    int32_t recurrent_multiplier[4], recurrent_shift[4];
    int32_t hidden_multiplier, hidden_shift, hidden_zero;
} ei_lstm_params;

/* BATCH_MATMUL: in[0] [..., m, k] (adj_x: [..., k, m]) times in[1] [..., k, n] (adj_y: [..., n,
 * k]), the leading dimensions broadcast. 8 bits: multiplier and shift of the product of the scales.
 */
typedef struct ei_matmul_params {
    int32_t adj_x, adj_y;
    int32_t multiplier, shift;
} ei_matmul_params;
/* cffi:end */

#endif
