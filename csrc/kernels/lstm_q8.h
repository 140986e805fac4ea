/* The integer LSTM of ref/lstm.c on packed weights, the same to the bit, for an ISA's file to
 * include after it has brought its vectors:
 *   vec                      a register of EI_LSTM_LANES 16-bit, or half as many 32-bit, integers
 *   EI_LSTM_UNIT             activations that one instruction multiplies with a column
 *   v_*                      named after their instructions, below
 *   prepare(to, from, n)     n activations as that instruction takes them, in 16 bits or biased
 *   products(from, n, w, bias, to)  sums of 8 vectors of columns
 *
 * Layout: in[1] W and in[2] R blobs, the columns of each gate padded to EI_LSTM_LANES with zeros;
 * for every block of 8 vectors: [ceil(depth / unit)][columns of the block][unit], depth padded with
 * zeros. in[3] i32 [columns] bias less the activations' offset times the sum of the column;
 * in[4] output state, in[5] cell state; in[6] as in[3], of R and without the bias. */
#ifndef EI_LSTM_Q8_H
#define EI_LSTM_Q8_H

#include <string.h>

#include "ref/fixed_point16.h"

enum { GATES = 4, X = 0, W, R, BIAS, HIDDEN, CELL, R_BIAS, INPUTS };
enum { HALF = EI_LSTM_LANES / 2, BLOCK = 8 * HALF };

static inline int32_t padded(int32_t units) {
    return (units + EI_LSTM_LANES - 1) / EI_LSTM_LANES * EI_LSTM_LANES;
}

static bool blob(const ei_tensor *t, int32_t depth, int64_t columns) {
    int64_t k = ((int64_t)depth + EI_LSTM_UNIT - 1) / EI_LSTM_UNIT;
    return t && t->dtype == EI_BLOB && t->constant &&
           (int64_t)t->bytes == k * columns * EI_LSTM_UNIT * (int64_t)sizeof(ei_weight);
}

static bool constants(const ei_tensor *t, int64_t columns) {
    return t && t->dtype == EI_I32 && t->constant && ei_count(t) == columns;
}

static bool state(const ei_tensor *t, int dtype, int32_t batch, int32_t units) {
    return t && t->dtype == dtype && t->rank == 2 && t->dims[0] == batch && t->dims[1] == units;
}

static bool scales(const ei_lstm_params *p) {
    bool good = p->hidden_multiplier >= 0 && p->hidden_shift >= -31 && p->hidden_shift <= 30 &&
                p->hidden_zero >= -256 && p->hidden_zero <= 256 && p->cell_scale_log2 >= -15 &&
                p->cell_scale_log2 <= -9 && p->cell_clip_q <= INT16_MAX;
    for (int g = 0; g < GATES; g++)
        good = good && p->input_multiplier[g] >= 0 && p->recurrent_multiplier[g] >= 0 &&
               p->input_shift[g] >= -31 && p->input_shift[g] <= 30 &&
               p->recurrent_shift[g] >= -31 && p->recurrent_shift[g] <= 30;
    return good;
}

static int check(const ei_node *n) {
    if (n->n_in != INPUTS || n->n_out != 1 || n->params_bytes != sizeof(ei_lstm_params))
        return EI_E_UNSUPPORTED;
    const ei_lstm_params *p = n->params;
    const ei_tensor *x = n->in[X], *y = n->out[0];
    if (!x || x->rank != 3 || y->rank != 3 || x->dtype != EI_I8 || y->dtype != EI_I8 ||
        x->dims[0] != y->dims[0] || x->dims[1] != y->dims[1] || ei_count(x) <= 0 ||
        ei_count(y) <= 0)
        return EI_E_UNSUPPORTED;
    int32_t batch = x->dims[p->time_major ? 1 : 0], units = y->dims[2];
    if (units > INT32_MAX / 64 || x->dims[2] > INT32_MAX / 64) return EI_E_UNSUPPORTED;
    int64_t columns = (int64_t)padded(units) * GATES;
    bool good = blob(n->in[W], x->dims[2], columns) && blob(n->in[R], units, columns) &&
                constants(n->in[BIAS], columns) && constants(n->in[R_BIAS], columns) &&
                state(n->in[HIDDEN], EI_I8, batch, units) &&
                state(n->in[CELL], EI_I16, batch, units) && scales(p);
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

/* Activations of the longer of x and h, then sums, then gates; each part of whole vectors. */
static size_t activations_bytes(const ei_node *n) {
    int32_t depth = n->in[X]->dims[2], units = n->out[0]->dims[2];
    return (size_t)(depth > units ? depth : units) * 2 / EI_ALIGN * EI_ALIGN + 2 * EI_ALIGN;
}

static size_t scratch(const ei_node *n) {
    size_t columns = (size_t)padded(n->out[0]->dims[2]) * GATES;
    return activations_bytes(n) + columns * (sizeof(int32_t) + sizeof(int16_t));
}

/* A register of 32-bit values times a multiplier in [0, 2^31): ei_mul_quantized(). */
static inline vec mul_quantized(vec x, int32_t multiplier, int32_t shift) {
    vec m = v_set32(multiplier), half = v_set64(1 << 30);
    if (shift > 0) x = v_sll32(x, shift);
    vec even = v_add64(v_mul32(x, m), half);
    vec odd = v_add64(v_mul32(v_srl64(x, 32), m), half);
    x = v_odd32(v_srl64(even, 31), v_sll64(odd, 1));
    return shift < 0 ? v_divide_pot32(x, -shift) : x;
}

/* HALF x 2 sums as words, saturated. */
static inline vec gate_of(const int32_t *sums, int32_t multiplier, int32_t shift) {
    vec a = mul_quantized(v_load(sums), multiplier, shift);
    vec b = mul_quantized(v_load(sums + HALF), multiplier, shift);
    return v_words(a, b);
}

/* The same, added to words before it is saturated. */
static inline vec gate_plus(const int32_t *sums, int32_t multiplier, int32_t shift,
                            const int16_t *words) {
    const vec lo = v_set32(-(1 << 30)), hi = v_set32(1 << 30); /* far beyond 16 bits */
    vec a = mul_quantized(v_load(sums), multiplier, shift);
    vec b = mul_quantized(v_load(sums + HALF), multiplier, shift);
    a = v_add32(v_max32(v_min32(a, hi), lo), v_widen(words));
    b = v_add32(v_max32(v_min32(b, hi), lo), v_widen(words + HALF));
    return v_words(a, b);
}

/* ei_exp_quarter16() of words in [-1/4, 0). v_mulhrs rounds as ei_high_mul16 does. */
static inline vec exp_quarter(vec a) {
    const vec one = v_set16(ei_constant16(1895147668)), third = v_set16(ei_constant16(715827883));
    vec x = v_add16(a, v_set16(1 << 12));
    vec x2 = v_mulhrs(x, x), x3 = v_mulhrs(x2, x), x4 = v_mulhrs(x2, x2);
    x4 = v_sra16(v_add16(x4, v_set16(2)), 2); /* x4 >= 0 */
    vec tail = v_add16(v_mulhrs(v_add16(x4, x3), third), x2);
    /* half of it, ties away from zero */
    vec odd = v_and(v_andnot(v_sra16(tail, 15), tail), v_set16(1));
    tail = v_add16(v_sra16(tail, 1), odd);
    return v_adds16(one, v_mulhrs(one, v_add16(x, tail)));
}

/* ei_exp_negative16(); `bits` is a constant after inlining. */
static inline __attribute__((always_inline)) vec exp_negative(vec a, int bits) {
    static const int32_t factors[7] = {1672461947, 1302514674, 790015084, 290630308,
                                       39332535,   720401,     242};
    const int fraction = 15 - bits;
    vec quarter = v_set16((int16_t)(1 << (fraction - 2)));
    vec part = v_sub16(v_and(a, v_sub16(quarter, v_set16(1))), quarter);
    vec result = exp_quarter(v_sll16(part, bits));
    vec rest = v_sub16(part, a);
#pragma GCC unroll 7
    for (int k = 0; k < 7; k++)
        if (bits > k - 2)
            result = v_where_bit(rest, fraction - 2 + k,
                                 v_mulhrs(result, v_set16(ei_constant16(factors[k]))), result);
    return v_where_zero(a, v_set16(INT16_MAX), result);
}

/* ei_newton16() of words >= 0. */
static inline vec newton(vec a) {
    vec d = v_average(a, v_set16(INT16_MAX));
    vec x = v_add16(v_set16(ei_constant16(1515870810)),
                    v_mulhrs(d, v_set16(ei_constant16(-1010580540))));
#pragma GCC unroll 3
    for (int i = 0; i < 3; i++) {
        vec error = v_sub16(v_set16(1 << 13), v_mulhrs(d, x));
        vec step = v_mulhrs(x, error);
        step = v_adds16(step, step);
        x = v_add16(x, v_adds16(step, step));
    }
    return x;
}

static inline vec negative_of(vec a) {
    return v_sub16(v_set16(0), v_abs16(a));
}

static inline vec sigmoid(vec a) {
    vec x = newton(exp_negative(negative_of(a), 3));
    vec positive = v_adds16(x, x);
    vec y = v_where_positive(a, positive, v_sub16(v_set16(INT16_MAX), positive));
    return v_where_zero(a, v_set16(1 << 14), y);
}

static inline __attribute__((always_inline)) vec tanh_of(vec a, int bits) {
    vec x = v_sub16(newton(exp_negative(negative_of(a), bits + 1)), v_set16(1 << 13));
    x = v_adds16(x, x);
    x = v_adds16(x, x);
    vec y = v_where_positive(a, x, v_sub16(v_set16(0), x));
    return v_where_zero(a, v_set16(0), y);
}

/* Of the cell state: its integer bits, 0..6. */
static vec tanh_cell(vec a, int bits) {
    switch (bits) {
    case 0:
        return tanh_of(a, 0);
    case 1:
        return tanh_of(a, 1);
    case 2:
        return tanh_of(a, 2);
    case 3:
        return tanh_of(a, 3);
    case 4:
        return tanh_of(a, 4);
    case 5:
        return tanh_of(a, 5);
    default:
        return tanh_of(a, 6);
    }
}

/* Words a * b * 2^-shift, ties away from zero. */
static inline vec product(vec a, vec b, int shift) {
    vec lo = v_mullo16(a, b), hi = v_mulhi16(a, b);
    return v_packs32(v_divide_pot32(v_unpack_lo16(lo, hi), shift),
                     v_divide_pot32(v_unpack_hi16(lo, hi), shift));
}

static inline vec hidden32(vec v, const ei_lstm_params *p) {
    v = v_add32(mul_quantized(v, p->hidden_multiplier, p->hidden_shift), v_set32(p->hidden_zero));
    return v_min32(v_max32(v, v_set32(-128)), v_set32(127));
}

/* One step of one sequence from its gates, `units` of `all`; c, h and y of `units`. */
static void step(const ei_lstm_params *p, const int16_t *gates, int32_t units, int16_t *c,
                 int8_t *h, int8_t *y) {
    int32_t all = padded(units);
    for (int32_t u = 0; u < units; u += EI_LSTM_LANES) {
        int count = units - u < EI_LSTM_LANES ? units - u : EI_LSTM_LANES;
        int16_t old[EI_LSTM_LANES] = {0};
        memcpy(old, c + u, (size_t)count * sizeof *c);
        vec in = sigmoid(v_load(gates + u)), forget = sigmoid(v_load(gates + all + u));
        vec cell = tanh_of(v_load(gates + 2 * all + u), 3);
        vec out = sigmoid(v_load(gates + 3 * all + u));
        vec v =
            v_adds16(product(forget, v_load(old), 15), product(in, cell, 30 + p->cell_scale_log2));
        if (p->cell_clip_q > 0) {
            vec clip = v_set16((int16_t)p->cell_clip_q);
            v = v_max16(v_min16(v, clip), v_sub16(v_set16(0), clip));
        }
        v_store(old, v);
        memcpy(c + u, old, (size_t)count * sizeof *c);
        vec t = tanh_cell(v, 15 + p->cell_scale_log2);
        vec lo = v_mullo16(out, t), hi = v_mulhi16(out, t);
        vec hidden =
            v_packs32(hidden32(v_unpack_lo16(lo, hi), p), hidden32(v_unpack_hi16(lo, hi), p));
        int8_t bytes[EI_LSTM_LANES];
        v_store_bytes(bytes, hidden);
        memcpy(h + u, bytes, (size_t)count);
        memcpy(y + u, bytes, (size_t)count);
    }
}

/* sums[columns] of one row of activations. */
static void multiply(const int8_t *from, int32_t n, const ei_tensor *w, const ei_tensor *bias,
                     int64_t columns, void *activations, int32_t *sums) {
    prepare(activations, from, n);
    int32_t k = (n + EI_LSTM_UNIT - 1) / EI_LSTM_UNIT;
    const ei_weight *at = w->data;
    for (int64_t j = 0; j < columns; j += BLOCK, at += (int64_t)k * BLOCK * EI_LSTM_UNIT)
        products(activations, k, at, (const int32_t *)bias->data + j, sums + j);
}

static void run_step(const ei_node *n, int64_t row, int64_t batch, void *work) {
    const ei_lstm_params *p = n->params;
    int32_t depth = n->in[X]->dims[2], units = n->out[0]->dims[2], all = padded(units);
    int64_t columns = (int64_t)all * GATES;
    int32_t *sums = (int32_t *)(void *)((char *)work + activations_bytes(n));
    int16_t *gates = (int16_t *)(void *)(sums + columns);
    int8_t *h = (int8_t *)n->in[HIDDEN]->data + batch * units;
    multiply((const int8_t *)n->in[X]->data + row * depth, depth, n->in[W], n->in[BIAS], columns,
             work, sums);
    for (int64_t j = 0; j < columns; j += EI_LSTM_LANES) {
        int g = (int)(j / all);
        v_store(gates + j, gate_of(sums + j, p->input_multiplier[g], p->input_shift[g]));
    }
    multiply(h, units, n->in[R], n->in[R_BIAS], columns, work, sums);
    for (int64_t j = 0; j < columns; j += EI_LSTM_LANES) {
        int g = (int)(j / all);
        v_store(gates + j,
                gate_plus(sums + j, p->recurrent_multiplier[g], p->recurrent_shift[g], gates + j));
    }
    step(p, gates, units, (int16_t *)n->in[CELL]->data + batch * units, h,
         (int8_t *)n->out[0]->data + row * units);
}

static int run(const ei_node *n, const ei_work *work) {
    const ei_lstm_params *p = n->params;
    const ei_tensor *x = n->in[X];
    int32_t time = x->dims[p->time_major ? 0 : 1], batch = x->dims[p->time_major ? 1 : 0];
    for (int32_t b = 0; b < batch; b++)
        for (int32_t t = 0; t < time; t++)
            run_step(n, p->time_major ? (int64_t)t * batch + b : (int64_t)b * time + t, b,
                     work->scratch);
    return EI_OK;
}

#endif
