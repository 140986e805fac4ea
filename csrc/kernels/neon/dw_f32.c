/* DEPTHWISE_CONV_2D in float, 4 outputs wide; see dw_f32.h for the layout. */
#include "../kernel.h"

#include <arm_neon.h>
#include <string.h>

enum { LANES = 4 };
typedef float32x4_t vec;

static inline vec load(const float *p) {
    return vld1q_f32(p);
}
static inline vec all(float x) {
    return vdupq_n_f32(x);
}
static inline vec madd(vec a, vec b, vec c) {
    return vfmaq_f32(c, a, b);
}
static inline vec times(vec a, vec b) {
    return vmulq_f32(a, b);
}
static inline vec plus(vec a, vec b) {
    return vaddq_f32(a, b);
}
static inline vec clamp(vec v, vec lo, vec hi) {
    return vminq_f32(vmaxq_f32(v, lo), hi);
}
static inline void store(float *y, vec v, int n) {
    float last[LANES], *to = n == LANES ? y : last;
    vst1q_f32(to, v);
    if (to != y) memcpy(y, last, (size_t)n * sizeof *last);
}

#include "../dw_f32_tile.h"

EI_CONV_KERNEL(neon, depthwise_conv_2d_f32, EI_OP_DEPTHWISE_CONV_2D, EI_LAYOUT_NEON_DW_F32, 0,
               check, scratch, run)
