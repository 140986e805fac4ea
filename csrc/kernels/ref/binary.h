/* Elementwise operators of two inputs, broadcast from the right: the definition, and the walk that
 * every ISA's rows share. */
#ifndef EI_REF_BINARY_H
#define EI_REF_BINARY_H

#include "../requant.h"
#include "elementwise.h"
#include "strided.h"

#include <math.h>

static inline bool ei_binary_arithmetic(const ei_node *n) {
    return n->op == EI_OP_ADD || n->op == EI_OP_SUB || n->op == EI_OP_MUL;
}

static inline bool ei_binary_shifts(const ei_binary_params *p) {
    return p->a_shift >= -31 && p->a_shift <= 30 && p->b_shift >= -31 && p->b_shift <= 30 &&
           p->out_shift >= -31 && p->out_shift <= 30 && p->shift >= 1 && p->shift <= 31;
}

static inline int ei_binary_check(const ei_node *n) {
    if (n->n_in != 2 || n->n_out != 1 || !n->in[0] || !n->in[1] ||
        n->params_bytes != sizeof(ei_binary_params))
        return EI_E_UNSUPPORTED;
    const ei_tensor *a = n->in[0], *b = n->in[1], *y = n->out[0];
    int64_t strides[EI_MAX_DIMS];
    bool extreme = n->op == EI_OP_MAXIMUM || n->op == EI_OP_MINIMUM;
    bool square = n->op == EI_OP_SQUARED_DIFFERENCE;
    bool good = a->dtype == b->dtype && a->dtype == y->dtype &&
                ei_broadcast_strides(a, y, strides) && ei_broadcast_strides(b, y, strides);
    if (ei_is_q8(y)) {
        const ei_binary_params *p = n->params;
        int32_t lo, hi;
        ei_int_range(y->dtype, &lo, &hi);
        good = good && (ei_binary_arithmetic(n) || extreme || square) && ei_binary_shifts(p) &&
               p->act_min >= lo && p->act_max <= hi && p->act_min <= p->act_max;
    } else {
        good = good && (y->dtype == EI_F32 || y->dtype == EI_I32) &&
               (n->op != EI_OP_POW || y->dtype == EI_F32);
    }
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static inline float ei_binary_f32(int op, float a, float b) {
    switch (op) {
    case EI_OP_ADD:
        return a + b;
    case EI_OP_SUB:
        return a - b;
    case EI_OP_MUL:
        return a * b;
    case EI_OP_DIV:
        return a / b;
    case EI_OP_MAXIMUM:
        return a > b ? a : b;
    case EI_OP_MINIMUM:
        return a < b ? a : b;
    case EI_OP_SQUARED_DIFFERENCE:
        return (a - b) * (a - b);
    default:
        return powf(a, b);
    }
}

/* Wraps on overflow, as two's complement machines do; x / 0 is 0 here, a trap elsewhere. */
static inline int32_t ei_binary_i32(int op, int32_t a, int32_t b) {
    uint32_t ua = (uint32_t)a, ub = (uint32_t)b;
    switch (op) {
    case EI_OP_ADD:
        return (int32_t)(ua + ub);
    case EI_OP_SUB:
        return (int32_t)(ua - ub);
    case EI_OP_MUL:
        return (int32_t)(ua * ub);
    case EI_OP_DIV:
        return b == 0 ? 0 : b == -1 ? (int32_t)(0u - ua) : a / b;
    case EI_OP_MAXIMUM:
        return a > b ? a : b;
    case EI_OP_MINIMUM:
        return a < b ? a : b;
    default:
        return (int32_t)((ua - ub) * (ua - ub));
    }
}

/* 8 bits; a and b are less their zero points. Products are bounded: |a|, |b| <= 255 and the
 * multipliers below 2^21. */
static inline int32_t ei_binary_q8(const ei_node *n, int32_t a, int32_t b) {
    const ei_binary_params *p = n->params;
    int32_t zero = n->out[0]->zero, lo = p->act_min, hi = p->act_max;
    if (n->op == EI_OP_MUL)
        return p->tflite ? ei_requant_tflite(a * b, p->out_multiplier, p->out_shift, zero, lo, hi)
                         : ei_requant_xnnpack(a * b, p->scale, zero, lo, hi);
    if (!p->tflite) {
        int64_t acc = (int64_t)a * p->a_multiplier + (int64_t)b * p->b_multiplier;
        acc = (acc + ((int64_t)1 << (p->shift - 1))) >> p->shift;
        return (int32_t)(acc + zero < lo ? lo : acc + zero > hi ? hi : acc + zero);
    }
    int32_t one = 1 << (n->op == EI_OP_SQUARED_DIFFERENCE ? 7 : 20);
    int32_t left = ei_mul_quantized(a * one, p->a_multiplier, p->a_shift);
    int32_t right = ei_mul_quantized(b * one, p->b_multiplier, p->b_shift);
    int32_t sum = ei_binary_i32(n->op, left, right);
    return ei_requant_tflite(sum, p->out_multiplier, p->out_shift, zero, lo, hi);
}

typedef struct ei_binary_row {
    int64_t y, a, b, n, step_a, step_b;
} ei_binary_row;

static inline void ei_binary_row_f32(const ei_node *n, const ei_binary_row *r) {
    const float *a = (const float *)n->in[0]->data + r->a,
                *b = (const float *)n->in[1]->data + r->b;
    float *y = (float *)n->out[0]->data + r->y;
    const ei_binary_params *p = n->params;
    for (int64_t i = 0; i < r->n; i++) {
        float v = ei_binary_f32(n->op, a[i * r->step_a], b[i * r->step_b]);
        v = v < p->act_fmin ? p->act_fmin : v;
        y[i] = v > p->act_fmax ? p->act_fmax : v;
    }
}

static inline void ei_binary_row_int(const ei_node *n, const ei_binary_row *r) {
    const ei_tensor *a = n->in[0], *b = n->in[1], *y = n->out[0];
    bool q8 = ei_is_q8(y), extreme = n->op == EI_OP_MAXIMUM || n->op == EI_OP_MINIMUM;
    for (int64_t i = 0; i < r->n; i++) {
        int32_t u = ei_load_int(a, r->a + i * r->step_a), v = ei_load_int(b, r->b + i * r->step_b);
        if (q8 && !extreme)
            v = ei_binary_q8(n, u - a->zero, v - b->zero);
        else
            v = ei_binary_i32(n->op, u, v);
        ei_store_int(y, r->y + i, v);
    }
}

/* Joins neighbouring dimensions that both operands walk alike, drops those of one element; returns
 * how many are left, at least one, outermost first. */
static inline int ei_binary_join(int64_t *dims, int64_t *a, int64_t *b) {
    int rank = 0;
    for (int d = 0; d < EI_MAX_DIMS; d++) {
        if (dims[d] == 1 && d + 1 < EI_MAX_DIMS) continue;
        bool joins = rank && a[rank - 1] == a[d] * dims[d] && b[rank - 1] == b[d] * dims[d];
        if (!joins) dims[rank++] = 1;
        dims[rank - 1] *= dims[d];
        a[rank - 1] = a[d], b[rank - 1] = b[d];
    }
    return rank;
}

/* Element of a broadcast operand at which output row `index` begins. */
static inline int64_t ei_binary_start(int rank, const int64_t *dims, const int64_t *strides,
                                      int64_t index) {
    int64_t at = 0;
    for (int d = rank - 2; d >= 0; d--) {
        at += index % dims[d] * strides[d];
        index /= dims[d];
    }
    return at;
}

/* One row, element by element. */
static inline void ei_binary_row_scalar(const ei_node *n, const ei_binary_row *r) {
    if (n->out[0]->dtype == EI_F32)
        ei_binary_row_f32(n, r);
    else
        ei_binary_row_int(n, r);
}

/* Calls `row` for this worker's rows: of the innermost dimension, or, where nothing is broadcast,
 * one long row. */
static inline int ei_binary_walk(const ei_node *n, const ei_work *work,
                                 void (*row)(const ei_node *, const ei_binary_row *)) {
    const ei_tensor *y = n->out[0];
    int64_t dims[EI_MAX_DIMS], a[EI_MAX_DIMS], b[EI_MAX_DIMS], begin, end;
    ei_full_dims(y, dims);
    ei_broadcast_strides(n->in[0], y, a);
    ei_broadcast_strides(n->in[1], y, b);
    int rank = ei_binary_join(dims, a, b);
    ei_binary_row r = {.n = dims[rank - 1], .step_a = a[rank - 1], .step_b = b[rank - 1]};
    if (rank == 1) {
        ei_split(r.n, EI_ALIGN, work, &begin, &end);
        r.y = begin, r.a = begin * r.step_a, r.b = begin * r.step_b, r.n = end - begin;
        row(n, &r);
        return EI_OK;
    }
    ei_split(r.n ? ei_count(y) / r.n : 0, 1, work, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        r.y = i * r.n;
        r.a = ei_binary_start(rank, dims, a, i);
        r.b = ei_binary_start(rank, dims, b, i);
        row(n, &r);
    }
    return EI_OK;
}

#endif
