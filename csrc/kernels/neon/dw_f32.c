/* DEPTHWISE_CONV_2D in float, 16 outputs wide; see dw_f32.h for the layout.
 *
 * Inner loop, 16 outputs x 1 tap: 1 address, 4 + 4 loads, 4 FMLA, so 0.81 instructions a
 * multiply-add. */
#include "../dw_f32.h"

#include <arm_neon.h>

enum { LANES = 16 };

static void run_row(const ei_dw_f32_row *r) {
    float32x4_t lo = vdupq_n_f32(r->lo), hi = vdupq_n_f32(r->hi);
    int64_t block = 0;
    for (int64_t at = 0; at < r->width; at += LANES) {
        const float *w = r->w + block * r->depth * LANES;
        float32x4_t acc[4], bias[4];
        for (int i = 0; i < 4; i++) {
            bias[i] = vld1q_f32(r->bias + block * LANES + 4 * i);
            acc[i] = r->d.w_scale ? vdupq_n_f32(0) : bias[i];
        }
        for (int64_t t = 0; t < r->depth; t++, w += LANES) {
            const float *x = (const float *)r->taps[t] + at;
            for (int i = 0; i < 4; i++)
                acc[i] = vfmaq_f32(acc[i], vld1q_f32(x + 4 * i), vld1q_f32(w + 4 * i));
        }
        for (int i = 0; r->d.w_scale && i < 4; i++) {
            float32x4_t scale = vld1q_f32(r->d.w_scale + block * LANES + 4 * i);
            acc[i] = vmulq_f32(acc[i], vmulq_n_f32(scale, r->d.first));
            acc[i] = vaddq_f32(vmulq_n_f32(acc[i], r->d.second), bias[i]);
        }
        float last[LANES];
        bool whole = r->width - at >= LANES;
        float *y = whole ? r->y + at : last;
        for (int i = 0; i < 4; i++) vst1q_f32(y + 4 * i, vminq_f32(vmaxq_f32(acc[i], lo), hi));
        if (!whole) memcpy(r->y + at, last, (size_t)(r->width - at) * sizeof *last);
        if (++block == r->blocks) block = 0;
    }
}

static int check(const ei_node *n) {
    return ei_dw_f32_check(n, LANES);
}

static int run(const ei_node *n, const ei_work *work) {
    return ei_dw_f32_run(n, work, LANES, run_row);
}

const ei_kernel ei_neon_depthwise_conv_2d_f32 = {
    .name = "neon/depthwise_conv_2d_f32",
    .op = EI_OP_DEPTHWISE_CONV_2D,
    .layout = EI_LAYOUT_NEON_DW_F32,
    .parallel = true,
    .check = check,
    .scratch = ei_dw_f32_scratch,
    .run = run,
};
