/* What the 8-bit kernels of AArch64 share: accumulators become int8 as requant.h defines it. */
#ifndef EI_NEON_Q8_H
#define EI_NEON_Q8_H

#include "../channels.h"
#include "../requant.h"

#include <arm_neon.h>

static inline int32x4_t ei_requant4_xnnpack(int32x4_t acc, const float *scale,
                                            const ei_requant *r) {
    float32x4_t lo = vdupq_n_f32((float)(r->lo - r->zero));
    float32x4_t hi = vdupq_n_f32((float)(r->hi - r->zero));
    float32x4_t v = vmulq_f32(vcvtq_f32_s32(acc), vld1q_f32(scale));
    v = vminq_f32(vmaxq_f32(v, lo), hi);
    return vaddq_s32(vcvtnq_s32_f32(v), vdupq_n_s32(r->zero));
}

/* SQRDMULH is gemmlowp's doubling high multiplication: both round ties upward. SRSHL rounds ties
 * upward too, RoundingDivideByPOT away from zero: one less for a negative value makes up for it. */
static inline int32x4_t ei_requant4_tflite(int32x4_t acc, const int32_t *mult, const int32_t *shift,
                                           const ei_requant *r) {
    int32x4_t s = vld1q_s32(shift), none = vdupq_n_s32(0);
    int32x4_t left = vmaxq_s32(s, none), right = vminq_s32(s, none);
    int32x4_t v = vqrdmulhq_s32(vshlq_s32(acc, left), vld1q_s32(mult));
    v = vqaddq_s32(v, vshrq_n_s32(vandq_s32(v, right), 31));
    v = vqaddq_s32(vrshlq_s32(v, right), vdupq_n_s32(r->zero));
    return vminq_s32(vmaxq_s32(v, vdupq_n_s32(r->lo)), vdupq_n_s32(r->hi));
}

static inline int32x2_t ei_requant2_double(int32x2_t acc, const double *scale,
                                           const ei_requant *r) {
    float64x2_t lo = vdupq_n_f64(r->lo - r->zero), hi = vdupq_n_f64(r->hi - r->zero);
    float64x2_t v = vmulq_f64(vcvtq_f64_s64(vmovl_s32(acc)), vld1q_f64(scale));
    v = vminq_f64(vmaxq_f64(v, lo), hi);
    return vadd_s32(vmovn_s64(vcvtaq_s64_f64(v)), vdup_n_s32(r->zero));
}

/* Channels i..i+3 of the block, within [lo, hi]. */
static inline int32x4_t ei_requant4(int32x4_t acc, const ei_requant *r, int i) {
    if (r->shift) return ei_requant4_tflite(acc, (const int32_t *)r->scale + i, r->shift + i, r);
    if (r->is_double) {
        const double *scale = (const double *)r->scale + i;
        return vcombine_s32(ei_requant2_double(vget_low_s32(acc), scale, r),
                            ei_requant2_double(vget_high_s32(acc), scale + 2, r));
    }
    return ei_requant4_xnnpack(acc, (const float *)r->scale + i, r);
}

static inline int8x8_t ei_narrow8(int32x4_t low, int32x4_t high) {
    return vqmovn_s16(vcombine_s16(vqmovn_s32(low), vqmovn_s32(high)));
}

#endif
