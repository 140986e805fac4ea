/* DEPTHWISE_CONV_2D in 8 bits on SMULL and SMLAL, 16 outputs wide (see depthwise.h).
 *
 * Layout EI_LAYOUT_NEON_DW_Q8, n = lcm(channels, 16) / 16 blocks:
 *   in[0] x, i8
 *   in[1] blob [n][taps][16] int8: element e of block b is channel (16 * b + e) % channels; zero
 *         point as in gemm_q8.h
 *   in[2] i32 [n * 16] bias, in[3] f32 scale or i32 multiplier, in[4] i32 shift, same order
 * Taps 2t and 2t + 1 are summed in int16 first; EI_LAYOUT_NEON_DW_Q8_FULL is for weights with -128
 * in both taps of such a pair (see gemm_q8.c) and sums every tap on its own.
 *
 * Inner loop, 16 outputs x 2 taps = 32 multiply-adds: 2 addresses, 4 loads, 8 arithmetic, so 0.44
 * instructions a multiply-add (FULL: 16 by 9, 0.56). */
#include "../depthwise.h"
#include "q8.h"

enum { LANES = 16 };

static int check(const ei_node *n) {
    ei_conv g;
    if (n->n_in != 5 || !ei_depthwise_geometry(n, &g) || n->in[0]->dtype != EI_I8 ||
        !ei_dw_fits(&g))
        return EI_E_UNSUPPORTED;
    const ei_tensor *w = n->in[1];
    int64_t columns = ei_dw_blocks(g.c, LANES) * LANES;
    bool good = w->dtype == EI_BLOB && w->constant && (int64_t)w->bytes == columns * g.depth &&
                ei_conv_constants(n, &g, columns);
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static size_t scratch(const ei_node *n) {
    ei_conv g;
    ei_depthwise_geometry(n, &g);
    return ei_dw_scratch(&g, 1);
}

/* The int16 products of 16 outputs, to be added to their sums. */
static inline __attribute__((always_inline)) void add(int32x4_t acc[4], int16x8_t low,
                                                      int16x8_t high) {
    acc[0] = vaddw_s16(acc[0], vget_low_s16(low));
    acc[1] = vaddw_high_s16(acc[1], low);
    acc[2] = vaddw_s16(acc[2], vget_low_s16(high));
    acc[3] = vaddw_high_s16(acc[3], high);
}

/* Adds all taps; `pairs` is a constant after inlining. */
static inline __attribute__((always_inline)) void sums(bool pairs, const int8_t *w,
                                                       const uint8_t *const *taps, int64_t at,
                                                       int64_t depth, int32x4_t acc[4]) {
    int64_t t = 0;
    for (; pairs && t + 1 < depth; t += 2, w += 2 * LANES) {
        int8x16_t x0 = vld1q_s8((const int8_t *)taps[t] + at), w0 = vld1q_s8(w);
        int8x16_t x1 = vld1q_s8((const int8_t *)taps[t + 1] + at), w1 = vld1q_s8(w + LANES);
        int16x8_t low = vmull_s8(vget_low_s8(x0), vget_low_s8(w0));
        int16x8_t high = vmull_high_s8(x0, w0);
        low = vmlal_s8(low, vget_low_s8(x1), vget_low_s8(w1));
        add(acc, low, vmlal_high_s8(high, x1, w1));
    }
    for (; t < depth; t++, w += LANES) {
        int8x16_t x = vld1q_s8((const int8_t *)taps[t] + at), w0 = vld1q_s8(w);
        add(acc, vmull_s8(vget_low_s8(x), vget_low_s8(w0)), vmull_high_s8(x, w0));
    }
}

/* What asymmetric weights add: -z * sum of the taps. At most 256 taps: their sum fits in int16. */
static void add_zero(const uint8_t *const *taps, int64_t at, int64_t depth, int32_t z,
                     int32x4_t acc[4]) {
    int16x8_t low = vdupq_n_s16(0), high = low;
    for (int64_t t = 0; t < depth; t++) {
        int8x16_t x = vld1q_s8((const int8_t *)taps[t] + at);
        low = vaddw_s8(low, vget_low_s8(x));
        high = vaddw_high_s8(high, x);
    }
    int16_t minus = (int16_t)-z;
    acc[0] = vmlal_n_s16(acc[0], vget_low_s16(low), minus);
    acc[1] = vmlal_high_n_s16(acc[1], low, minus);
    acc[2] = vmlal_n_s16(acc[2], vget_low_s16(high), minus);
    acc[3] = vmlal_high_n_s16(acc[3], high, minus);
}

static inline __attribute__((always_inline)) int run(bool pairs, const ei_node *n,
                                                     const ei_work *work) {
    ei_conv g;
    ei_depthwise_geometry(n, &g);
    const ei_tensor *x = n->in[0], *w = n->in[1];
    int64_t blocks = ei_dw_blocks(g.c, LANES), width = (int64_t)g.ow * g.c, row, end;
    const uint8_t *taps[EI_DW_TAPS];
    ei_dw_ring ring;
    ei_dw_open(&ring, &g, x->data, 1, (uint8_t)x->zero, work->scratch);
    ei_split((int64_t)g.batch * g.oh, 1, work, &row, &end);
    for (; row < end; row++) {
        ei_dw_taps(&ring, row / g.oh, (int32_t)(row % g.oh), taps);
        int8_t *out = (int8_t *)n->out[0]->data + row * width;
        int64_t block = 0;
        for (int64_t at = 0; at < width; at += LANES) {
            ei_requant r = ei_requant_at(n, &g, block * LANES);
            int32x4_t acc[4];
            for (int i = 0; i < 4; i++) acc[i] = vld1q_s32(r.bias + 4 * i);
            sums(pairs, (const int8_t *)w->data + block * g.depth * LANES, taps, at, g.depth, acc);
            if (w->zero) add_zero(taps, at, g.depth, w->zero, acc);
            for (int i = 0; i < 4; i++) acc[i] = ei_requant4(acc[i], &r, 4 * i);
            int8x16_t v = vcombine_s8(ei_narrow8(acc[0], acc[1]), ei_narrow8(acc[2], acc[3]));
            if (width - at >= LANES) {
                vst1q_s8(out + at, v);
            } else {
                int8_t last[LANES];
                vst1q_s8(last, v);
                memcpy(out + at, last, (size_t)(width - at));
            }
            if (++block == blocks) block = 0;
        }
    }
    return EI_OK;
}

static int run_pairs(const ei_node *n, const ei_work *work) {
    return run(true, n, work);
}
static int run_full(const ei_node *n, const ei_work *work) {
    return run(false, n, work);
}

const ei_kernel ei_neon_depthwise_conv_2d_q8 = {
    .name = "neon/depthwise_conv_2d_q8",
    .op = EI_OP_DEPTHWISE_CONV_2D,
    .layout = EI_LAYOUT_NEON_DW_Q8,
    .parallel = true,
    .check = check,
    .scratch = scratch,
    .run = run_pairs,
};

const ei_kernel ei_neon_depthwise_conv_2d_q8_full = {
    .name = "neon/depthwise_conv_2d_q8_full",
    .op = EI_OP_DEPTHWISE_CONV_2D,
    .layout = EI_LAYOUT_NEON_DW_Q8_FULL,
    .parallel = true,
    .check = check,
    .scratch = scratch,
    .run = run_full,
};
