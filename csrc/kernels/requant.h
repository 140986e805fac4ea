/* The two named integer arithmetics: THE DEFINITION of how an int32 accumulator becomes 8 bits.
 * Every optimised kernel must give the same byte for every accumulator. */
#ifndef EI_REQUANT_H
#define EI_REQUANT_H

#include <math.h>
#include <stdint.h>

static inline int32_t ei_clamp_i32(int32_t v, int32_t lo, int32_t hi) {
    return v < lo ? lo : v > hi ? hi : v;
}

/* EI_ROUND_XNNPACK: float(acc) * scale, clamped in float, rounded to nearest even, + zero.
 * Clamping before rounding (XNNPACK's "fmagic") keeps the conversion in range for any scale. */
static inline int32_t ei_requant_xnnpack(int32_t acc, float scale, int32_t zero, int32_t lo,
                                         int32_t hi) {
    float v = (float)acc * scale;
    float flo = (float)(lo - zero), fhi = (float)(hi - zero);
    v = v < flo ? flo : v > fhi ? fhi : v;
    return (int32_t)lrintf(v) + zero;
}

/* EI_ROUND_TFLITE, FULLY_CONNECTED: double(acc) * scale, rounded to nearest, ties away from zero,
 * + zero. Clamped first, so that the conversion is in range. */
static inline int32_t ei_requant_double(int32_t acc, double scale, int32_t zero, int32_t lo,
                                        int32_t hi) {
    double v = (double)acc * scale;
    v = v > lo - zero ? v : lo - zero;
    v = v < hi - zero ? v : hi - zero;
    return (int32_t)round(v) + zero;
}

/* gemmlowp's SaturatingRoundingDoublingHighMul: (a * b * 2) >> 32 with rounding away from zero
 * at ties, saturated where both are INT32_MIN. */
static inline int32_t ei_doubling_high_mul(int32_t a, int32_t b) {
    if (a == INT32_MIN && b == INT32_MIN) return INT32_MAX;
    int64_t ab = (int64_t)a * b;
    int64_t nudge = ab >= 0 ? (1 << 30) : 1 - (1 << 30);
    return (int32_t)((ab + nudge) / ((int64_t)1 << 31));
}

/* gemmlowp's RoundingDivideByPOT: ties away from zero; 0 <= exponent <= 31. */
static inline int32_t ei_rounding_divide_by_pot(int32_t x, int exponent) {
    int32_t mask = (int32_t)(((int64_t)1 << exponent) - 1);
    int32_t remainder = x & mask;
    int32_t threshold = (mask >> 1) + (x < 0 ? 1 : 0);
    return (x >> exponent) + (remainder > threshold ? 1 : 0);
}

/* TFLite's MultiplyByQuantizedMultiplier, double rounding form. The left shift wraps as the
 * reference's int32 multiplication does on two's complement machines. */
static inline int32_t ei_mul_quantized(int32_t x, int32_t multiplier, int32_t shift) {
    int left = shift > 0 ? shift : 0, right = shift > 0 ? 0 : -shift;
    int32_t shifted = (int32_t)((uint32_t)x << left);
    return ei_rounding_divide_by_pot(ei_doubling_high_mul(shifted, multiplier), right);
}

/* The same with the ties of the shift upward, as vector instructions do it. */
static inline int32_t ei_requant_tflite_up(int32_t acc, int32_t multiplier, int32_t shift,
                                           int32_t zero, int32_t lo, int32_t hi) {
    int left = shift > 0 ? shift : 0, right = shift > 0 ? 0 : -shift;
    int64_t v = ei_doubling_high_mul((int32_t)((uint32_t)acc << left), multiplier);
    v = ((v + ((int64_t)1 << right >> 1)) >> right) + zero;
    return v < lo ? lo : v > hi ? hi : (int32_t)v;
}

/* EI_ROUND_TFLITE. */
static inline int32_t ei_requant_tflite(int32_t acc, int32_t multiplier, int32_t shift,
                                        int32_t zero, int32_t lo, int32_t hi) {
    int64_t v = (int64_t)ei_mul_quantized(acc, multiplier, shift) + zero;
    return v < lo ? lo : v > hi ? hi : (int32_t)v;
}

#endif
