/* exp, logistic and tanh of floats without branches or calls, so that a loop over them becomes
 * vector code on any ISA. Relative errors below 2^-22 over the whole range of normal results. */
#ifndef EI_REF_EXP_H
#define EI_REF_EXP_H

#include <math.h>
#include <stdint.h>
#include <string.h>

static inline uint32_t ei_bits(float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static inline float ei_float(uint32_t bits) {
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

/* which ? a : b, both computed: a conditional expression would be compiled into a branch, since
 * floating-point operations may trap. */
static inline float ei_select(int which, float a, float b) {
    uint32_t mask = 0u - (uint32_t)which;
    return ei_float((ei_bits(a) & mask) | (ei_bits(b) & ~mask));
}

/* 2^n * p(r), x = n ln 2 + r, |r| <= ln(2) / 2. Overflows to infinity, underflows to 0. */
static inline float ei_exp(float x) {
    float v = ei_select(x < -104.0f, -104.0f, x);
    v = ei_select(v > 89.0f, 89.0f, v);
    float shifted = v * 1.44269504f + 12582912.0f; /* the low bits hold n */
    float n = shifted - 12582912.0f;
    float r = v - n * 0.693359375f;
    r = r + n * 2.12194440e-4f;
    float p = 1.9875691500e-4f;
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * (r * r) + r + 1.0f;
    /* 2^128 is no float, nor 2^-150: two factors */
    int32_t whole = (int32_t)(ei_bits(shifted) - 0x4b400000u), half = whole >> 1;
    float a = ei_float((uint32_t)(half + 127) << 23);
    float b = ei_float((uint32_t)(whole - half + 127) << 23);
    return p * a * b;
}

/* exp of a negative number only: no overflow, full accuracy on both sides. */
static inline float ei_logistic(float x) {
    float e = ei_exp(-fabsf(x));
    float small = e / (1.0f + e), large = 1.0f - small;
    return ei_select(x < 0.0f, small, large);
}

/* An odd polynomial near 0, where 1 - 2 / (exp(2x) + 1) would cancel. */
static inline float ei_tanh(float x) {
    float s = x * x;
    float p = -5.70498872745e-3f;
    p = p * s + 2.06390887954e-2f;
    p = p * s - 5.37397155531e-2f;
    p = p * s + 1.33314422036e-1f;
    p = p * s - 3.33332819422e-1f;
    float near = p * s * x + x;
    float t = 1.0f - 2.0f / (ei_exp(2.0f * fabsf(x)) + 1.0f);
    float far = copysignf(t, x);
    return ei_select(fabsf(x) < 0.625f, near, far);
}

#endif
