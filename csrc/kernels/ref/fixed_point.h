/* Fixed-point exp, log and reciprocal as the gemmlowp and TFLite reference kernels compute them,
 * for EI_ROUND_TFLITE. Qi: a raw int32 stands for raw * 2^(i - 31). */
#ifndef EI_REF_FIXED_POINT_H
#define EI_REF_FIXED_POINT_H

#include "../requant.h"

static inline int32_t ei_sat32(int64_t v) {
    return v < INT32_MIN ? INT32_MIN : v > INT32_MAX ? INT32_MAX : (int32_t)v;
}

static inline int ei_clz32(uint32_t x) {
    return x ? __builtin_clz(x) : 32;
}

/* x * 2^n, saturated; rounded to nearest where n < 0. */
static inline int32_t ei_scale_pot(int32_t x, int n) {
    return n < 0 ? ei_rounding_divide_by_pot(x, -n) : ei_sat32((int64_t)x * ((int64_t)1 << n));
}

static inline int32_t ei_half_sum(int32_t a, int32_t b) {
    int64_t sum = (int64_t)a + b;
    return (int32_t)((sum + (sum >= 0 ? 1 : -1)) / 2);
}

/* exp(a), a in [-1/4, 0) in Q0: a Taylor series of the fourth order around -1/8. */
static inline int32_t ei_exp_quarter(int32_t a) {
    const int32_t exp_minus_eighth = 1895147668, third = 715827883;
    int32_t x = a + (1 << 28);
    int32_t x2 = ei_doubling_high_mul(x, x);
    int32_t x3 = ei_doubling_high_mul(x2, x);
    int32_t x4 = ei_doubling_high_mul(x2, x2);
    int32_t tail = ei_doubling_high_mul(ei_scale_pot(x4, -2) + x3, third) + x2;
    tail = ei_scale_pot(tail, -1);
    return ei_sat32((int64_t)exp_minus_eighth + ei_doubling_high_mul(exp_minus_eighth, x + tail));
}

/* exp(a) in Q0, a <= 0 in Q5: exp of a modulo 1/4, times exp(-2^k) for each bit of the rest. */
static inline int32_t ei_exp_negative_q5(int32_t a) {
    static const int32_t factors[7] = {1672461947, 1302514674, 790015084, 290630308,
                                       39332535,   720401,     242}; /* exp(-2^k), k = -2..4 */
    const int fraction = 26;
    const int32_t quarter = 1 << (fraction - 2);
    int32_t part = (a & (quarter - 1)) - quarter;
    int32_t result = ei_exp_quarter(ei_scale_pot(part, 5));
    uint32_t rest = (uint32_t)part - (uint32_t)a;
    for (int k = 0; k < 7; k++)
        if (rest & (1u << (fraction - 2 + k))) result = ei_doubling_high_mul(result, factors[k]);
    return a == 0 ? INT32_MAX : result;
}

/* 1 / (1 + a) in Q0, a in [0, 1] in Q0: three Newton-Raphson steps from 48/17 - 32/17 d. */
static inline int32_t ei_reciprocal_one_plus(int32_t a) {
    int32_t d = ei_half_sum(a, INT32_MAX);
    int32_t x = (int32_t)(1515870810 + (int64_t)ei_doubling_high_mul(d, -1010580540)); /* Q2 */
    for (int i = 0; i < 3; i++) {
        int32_t error = (1 << 29) - ei_doubling_high_mul(d, x);
        x = (int32_t)((uint32_t)x + (uint32_t)ei_scale_pot(ei_doubling_high_mul(x, error), 2));
    }
    return ei_scale_pot(x, 1);
}

/* log(x) in Q5, x >= 1 in Q12. A rational approximation on [sqrt(1/2), 1], of whichever of x and
 * x * sqrt(1/2) lies better. */
static inline int32_t ei_log_q12_to_q5(int32_t x) {
    const int32_t log_2 = 1488522236, root_half = 1518500250, root_root_half = 1805811301;
    const int32_t alpha_n = 117049297, alpha_d = 127690142, alpha_i = 1057819769,
                  alpha_f = 638450708;
    const int accumulator = 6; /* integer bits */
    const int32_t quarter = ei_scale_pot(536870912, -accumulator);
    int head_a = ei_clz32((uint32_t)x);
    int32_t r_a = ei_scale_pot(ei_doubling_high_mul(ei_scale_pot(x, head_a - 1), root_half), 1);
    int32_t pow_a = ei_sat32((int64_t)ei_scale_pot(12 - head_a, 31 - accumulator) + quarter);
    int head_b = ei_clz32((uint32_t)ei_doubling_high_mul(x, root_half)) - 1;
    int32_t r_b = ei_scale_pot(x, head_b);
    int32_t pow_b = ei_sat32((int64_t)ei_scale_pot(12 - head_b, 31 - accumulator) - quarter);
    int32_t r = r_a < r_b ? r_a : r_b, power = pow_a > pow_b ? pow_a : pow_b;
    int32_t p = ei_half_sum(r, root_root_half), q = 2 * (r - root_root_half);
    int32_t square = ei_doubling_high_mul(q, q);
    int32_t top =
        ei_doubling_high_mul(q, r) + ei_doubling_high_mul(ei_doubling_high_mul(q, square), alpha_n);
    int32_t bottom = ei_doubling_high_mul(p, alpha_i + q + ei_doubling_high_mul(alpha_d, square)) +
                     ei_doubling_high_mul(alpha_f, q);
    int32_t sum =
        ei_doubling_high_mul(power, log_2) +
        ei_doubling_high_mul(ei_scale_pot(top, -accumulator), ei_reciprocal_one_plus(bottom));
    return ei_scale_pot(sum, 1);
}

#endif
