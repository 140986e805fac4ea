/* Sigmoid and tanh of 16-bit fixed point, as gemmlowp computes them (fixedpoint.h): the arithmetic
 * of TFLite's integer LSTM. A raw int16 in Qi stands for raw * 2^(i - 15). */
#ifndef EI_REF_FIXED_POINT16_H
#define EI_REF_FIXED_POINT16_H

#include "../requant.h"

static inline int16_t ei_sat16(int64_t v) {
    return (int16_t)(v < INT16_MIN ? INT16_MIN : v > INT16_MAX ? INT16_MAX : v);
}

/* SaturatingRoundingDoublingHighMul of int16. */
static inline int16_t ei_high_mul16(int16_t a, int16_t b) {
    if (a == INT16_MIN && b == INT16_MIN) return INT16_MAX;
    int32_t ab = (int32_t)a * b;
    return (int16_t)((ab + (ab >= 0 ? 1 << 14 : 1 - (1 << 14))) / (1 << 15));
}

/* x * 2^n, saturated; rounded to nearest where n < 0. */
static inline int16_t ei_scale_pot16(int16_t x, int n) {
    return n < 0 ? (int16_t)ei_rounding_divide_by_pot(x, -n) : ei_sat16((int32_t)x * (1 << n));
}

static inline int16_t ei_half_sum16(int16_t a, int16_t b) {
    int32_t sum = (int32_t)a + b;
    return (int16_t)((sum + (sum >= 0 ? 1 : -1)) / 2);
}

/* A Q-constant given with 31 bits, rounded to 15. */
static inline int16_t ei_constant16(int32_t v) {
    return (int16_t)ei_rounding_divide_by_pot(v, 16);
}

/* exp(a), a in [-1/4, 0) in Q0. */
static inline int16_t ei_exp_quarter16(int16_t a) {
    int16_t one = ei_constant16(1895147668), third = ei_constant16(715827883);
    int16_t x = (int16_t)(a + (1 << 12));
    int16_t x2 = ei_high_mul16(x, x), x3 = ei_high_mul16(x2, x), x4 = ei_high_mul16(x2, x2);
    int16_t tail = (int16_t)(ei_high_mul16((int16_t)(ei_scale_pot16(x4, -2) + x3), third) + x2);
    tail = ei_scale_pot16(tail, -1);
    return ei_sat16((int32_t)one + ei_high_mul16(one, (int16_t)(x + tail)));
}

/* exp(a) in Q0, a <= 0 in Q(bits). */
static inline int16_t ei_exp_negative16(int16_t a, int bits) {
    static const int32_t factors[7] = {1672461947, 1302514674, 790015084, 290630308,
                                       39332535,   720401,     242};
    int fraction = 15 - bits;
    int16_t quarter = (int16_t)(fraction >= 2 ? 1 << (fraction - 2) : 0);
    int16_t part = (int16_t)((a & (quarter - 1)) - quarter);
    int16_t result = ei_exp_quarter16(ei_scale_pot16(part, bits));
    uint16_t rest = (uint16_t)(part - a);
    for (int k = 0; k < 7; k++)
        if (bits > k - 2 && (rest & (1u << (fraction - 2 + k))))
            result = ei_high_mul16(result, ei_constant16(factors[k]));
    return a == 0 ? INT16_MAX : result;
}

/* The Newton-Raphson part of 1 / (1 + a): x in Q2 with x ~ 2 / (1 + a). */
static inline int16_t ei_newton16(int16_t a) {
    int16_t d = ei_half_sum16(a, INT16_MAX);
    int16_t x = (int16_t)(ei_constant16(1515870810) + ei_high_mul16(d, ei_constant16(-1010580540)));
    for (int i = 0; i < 3; i++) {
        int16_t error = (int16_t)((1 << 13) - ei_high_mul16(d, x));
        x = (int16_t)(x + ei_scale_pot16(ei_high_mul16(x, error), 2));
    }
    return x;
}

/* sigmoid of Q3, in Q0. */
static inline int16_t ei_sigmoid16(int16_t a) {
    if (a == 0) return 1 << 14;
    int16_t negative = a > 0 ? (int16_t)-a : a;
    /* half of x in Q2 is x in Q1, then to Q0. */
    int16_t positive = ei_scale_pot16(ei_newton16(ei_exp_negative16(negative, 3)), 1);
    return a > 0 ? positive : (int16_t)(INT16_MAX - positive);
}

/* tanh of Q(bits), in Q0, 0 <= bits <= 6. */
static inline int16_t ei_tanh16(int16_t a, int bits) {
    if (a == 0) return 0;
    int16_t negative = a > 0 ? (int16_t)-a : a;
    /* tanh(-|a|) = -(1 - e) / (1 + e), e = exp(-2 |a|): the same raw value in Q(bits + 1). */
    int16_t x = ei_newton16(ei_exp_negative16(negative, bits + 1));
    int16_t value = ei_scale_pot16((int16_t)(x - (1 << 13)), 2);
    return a > 0 ? value : (int16_t)-value;
}

#endif
