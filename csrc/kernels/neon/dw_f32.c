/* DEPTHWISE_CONV_2D in float, 4 outputs wide; see dw_f32.h for the layout. */
#include "../dw_f32.h"

#include <arm_neon.h>

enum { LANES = 4 };

#define TIMES(i, from)                                                                             \
    if (n > (i)) acc[i] = vfmaq_f32(acc[i], k, vld1q_f32(from))

static inline __attribute__((always_inline)) void tile(int n, const ei_dw_f32_tile *t) {
    int64_t step = t->step_x;
    float32x4_t lo = vdupq_n_f32(t->lo), hi = vdupq_n_f32(t->hi);
    for (int64_t b = 0; b < t->blocks; b++) {
        const float *w = t->w + b * t->block_w;
        float32x4_t bias = vld1q_f32(t->bias + b * LANES);
        float32x4_t start = t->d.w_scale ? vdupq_n_f32(0) : bias;
        float32x4_t acc[EI_DW_PIXELS] = {start, start, start, start, start, start, start, start};
        for (int i = 0; i < t->taps; i++) {
            const float *x = t->x[i] + b * LANES, *x4 = x + 4 * step;
            float32x4_t k = vld1q_f32(w + t->w_at[i]);
            TIMES(0, x);
            TIMES(1, x + step);
            TIMES(2, x + 2 * step);
            TIMES(3, x + 3 * step);
            TIMES(4, x4);
            TIMES(5, x4 + step);
            TIMES(6, x4 + 2 * step);
            TIMES(7, x4 + 3 * step);
        }
        if (t->d.w_scale) {
            float32x4_t scale = vld1q_f32(t->d.w_scale + b * LANES),
                        second = vdupq_n_f32(t->d.second);
            scale = vmulq_f32(scale, vdupq_n_f32(t->d.first));
#pragma GCC unroll 8
            for (int i = 0; i < n; i++)
                acc[i] = vaddq_f32(vmulq_f32(vmulq_f32(acc[i], scale), second), bias);
        }
        float *y = t->y + b * LANES;
        bool whole = t->last == LANES || b + 1 < t->blocks;
#pragma GCC unroll 8
        for (int i = 0; i < n; i++) {
            float last[LANES], *to = whole ? y + i * t->step_y : last;
            vst1q_f32(to, vminq_f32(vmaxq_f32(acc[i], lo), hi));
            if (!whole) memcpy(y + i * t->step_y, last, (size_t)t->last * sizeof *last);
        }
    }
}

#define TILE(n)                                                                                    \
    static __attribute__((noinline)) void tile##n(const ei_dw_f32_tile *t) {                       \
        tile(n, t);                                                                                \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)
TILE(7)
TILE(8)

static const ei_dw_f32_fn tiles[EI_DW_PIXELS] = {tile1, tile2, tile3, tile4,
                                                 tile5, tile6, tile7, tile8};

static int check(const ei_node *n) {
    return ei_dw_f32_check(n, LANES);
}
static size_t scratch(const ei_node *n) {
    return ei_dw_f32_scratch(n, LANES);
}

static int run(const ei_node *n, const ei_work *work) {
    return ei_dw_f32_run(n, work, LANES, tiles);
}

const ei_kernel ei_neon_depthwise_conv_2d_f32 = {
    .name = "neon/depthwise_conv_2d_f32",
    .op = EI_OP_DEPTHWISE_CONV_2D,
    .layout = EI_LAYOUT_NEON_DW_F32,
    .parallel = true,
    .check = check,
    .scratch = scratch,
    .run = run,
};
