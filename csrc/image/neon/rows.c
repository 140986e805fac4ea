/* Row functions of the image path for AArch64 NEON: two pixels, 16 elements a step. */
#include "../rows.h"

#include <arm_neon.h>
#include <string.h>

/* Two pixels: [channel][tap] products of 16 bits, added in pairs, made signed. */
static inline int16x8_t two(const uint8_t *row, const ei_taps *t, int i) {
    uint8x16_t p = vcombine_u8(vld1_u8(row + t->offset[i]), vld1_u8(row + t->offset[i + 1]));
    p = vqtbl1q_u8(p, vld1q_u8(t->pick[i]));
    uint8x16_t w = vld1q_u8(t->weight[i]);
    uint16x8_t low = vmull_u8(vget_low_u8(p), vget_low_u8(w)), high = vmull_high_u8(p, w);
    return vreinterpretq_s16_u16(veorq_u16(vpaddq_u16(low, high), vdupq_n_u16(0x8000)));
}

static void across(const uint8_t *row, const ei_taps *taps, int groups, int channels,
                   int16_t *out) {
    static const uint8_t keep[5][16] = {
        [1] = {0, 1, 8, 9, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255},
        [3] = {0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, 255, 255, 255, 255},
        [4] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15},
    };
    const uint8x16_t pack = vld1q_u8(keep[channels]);
    for (int g = 0; g < groups; g++, taps++)
        for (int i = 0; i < 4; i += 2, out += 2 * channels) {
            uint8x16_t p = vreinterpretq_u8_s16(two(row, taps, i));
            vst1q_u8((uint8_t *)out, vqtbl1q_u8(p, pack)); /* the next overwrites the tail */
        }
}

/* Multiply, then add: vmlaq may be fused, and the definition rounds twice. */
static inline float32x4_t scaled(int32x4_t v, const ei_affine *to, int k) {
    float32x4_t product = vmulq_f32(vcvtq_f32_s32(v), vld1q_f32(to->mul + k));
    return vaddq_f32(product, vld1q_f32(to->add + k));
}

static inline void blend(const int16_t *above, const int16_t *below, int w0, int w1,
                         const ei_affine *to, int k, float32x4_t *out) {
    int16x8_t a = vld1q_s16(above), b = vld1q_s16(below);
    int32x4_t low = vmull_n_s16(vget_low_s16(a), (int16_t)w0);
    int32x4_t high = vmull_n_s16(vget_high_s16(a), (int16_t)w0);
    low = vmlal_n_s16(low, vget_low_s16(b), (int16_t)w1);
    high = vmlal_n_s16(high, vget_high_s16(b), (int16_t)w1);
    out[0] = scaled(low, to, k);
    out[1] = scaled(high, to, k + 4);
}

static inline int16x8_t rounded(const float32x4_t *v) {
    return vcombine_s16(vqmovn_s32(vcvtnq_s32_f32(v[0])), vqmovn_s32(vcvtnq_s32_f32(v[1])));
}

static inline void down_q8(const int16_t *above, const int16_t *below, int w0, int w1,
                           const ei_affine *to, int n, uint8_t *out, int is_signed) {
    for (int i = 0, k = 0; i < n; i += 16, k = k == 32 ? 0 : k + 16) {
        float32x4_t v[4];
        blend(above + i, below + i, w0, w1, to, k, v);
        blend(above + i + 8, below + i + 8, w0, w1, to, k + 8, v + 2);
        int16x8_t x = rounded(v), y = rounded(v + 2);
        uint8x16_t bytes = is_signed
                               ? vreinterpretq_u8_s8(vcombine_s8(vqmovn_s16(x), vqmovn_s16(y)))
                               : vcombine_u8(vqmovun_s16(x), vqmovun_s16(y));
        uint8_t rest[16], *o = n - i >= 16 ? out + i : rest;
        vst1q_u8(o, bytes);
        if (o == rest) memcpy(out + i, rest, (size_t)(n - i));
    }
}

static void down_u8(const int16_t *above, const int16_t *below, int w0, int w1, const ei_affine *to,
                    int n, void *out) {
    down_q8(above, below, w0, w1, to, n, out, 0);
}

static void down_i8(const int16_t *above, const int16_t *below, int w0, int w1, const ei_affine *to,
                    int n, void *out) {
    down_q8(above, below, w0, w1, to, n, out, 1);
}

static void down_f32(const int16_t *above, const int16_t *below, int w0, int w1,
                     const ei_affine *to, int n, void *out) {
    for (int i = 0, k = 0; i < n; i += 8, k = k == 40 ? 0 : k + 8) {
        float32x4_t v[2];
        blend(above + i, below + i, w0, w1, to, k, v);
        float rest[8], *o = n - i >= 8 ? (float *)out + i : rest;
        vst1q_f32(o, v[0]);
        vst1q_f32(o + 4, v[1]);
        if (o == rest) memcpy((float *)out + i, rest, (size_t)(n - i) * sizeof(float));
    }
}

static void gather(const uint8_t *row, uint32_t weight, int first, int n, uint32_t *sum) {
    int i = 0;
    for (; i + 8 <= n; i += 8) {
        uint16x8_t p = vmovl_u8(vld1_u8(row + i));
        uint32x4_t low = vmovl_u16(vget_low_u16(p)), high = vmovl_high_u16(p);
        uint32x4_t s0 = first ? vdupq_n_u32(0) : vld1q_u32(sum + i);
        uint32x4_t s1 = first ? vdupq_n_u32(0) : vld1q_u32(sum + i + 4);
        vst1q_u32(sum + i, vmlaq_n_u32(s0, low, weight));
        vst1q_u32(sum + i + 4, vmlaq_n_u32(s1, high, weight));
    }
    for (; i < n; i++) sum[i] = (first ? 0 : sum[i]) + weight * row[i];
}

const ei_rows ei_rows_neon = {EI_ISA_NEON, across, NULL, down_u8, down_i8, down_f32, gather};
