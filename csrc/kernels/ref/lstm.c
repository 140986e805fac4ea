/* UNIDIRECTIONAL_SEQUENCE_LSTM without peepholes, projection or layer normalisation: the
 * definition, in float and in the integer form of TFLite (8-bit activations and weights, 16-bit
 * cell state; lstm_eval.cc, EvalInteger8x8_16). The integer form is the same under both roundings:
 * no delegate takes it.
 *
 * in[0] x [batch, time, depth] (time_major: [time, batch, depth]); in[1] input weights [depth, 4 *
 * units] and in[2] recurrent weights [units, 4 * units] of the input, forget, cell and output gate
 * side by side, so that all sums of a step advance together; in[3] bias [4 * units]; in[4] output
 * state [batch, units], in[5] cell state, both states. */
#include "elementwise.h"
#include "exp.h"
#include "fixed_point16.h"

#include <math.h>
#include <string.h>

enum { GATES = 4, X = 0, W, R, BIAS, HIDDEN, CELL, INPUTS };

static bool matrix(const ei_tensor *t, int dtype, int64_t rows, int64_t columns) {
    return t && t->dtype == dtype && t->rank == 2 && t->dims[0] == rows && t->dims[1] == columns;
}

static bool shift_fits(int32_t s) {
    return s >= -31 && s <= 30;
}

static int check(const ei_node *n) {
    if (n->n_in != INPUTS || n->n_out != 1 || n->params_bytes != sizeof(ei_lstm_params))
        return EI_E_UNSUPPORTED;
    const ei_lstm_params *p = n->params;
    const ei_tensor *x = n->in[X], *y = n->out[0];
    bool integer = x && x->dtype == EI_I8;
    if (!x || x->rank != 3 || y->rank != 3 || (!integer && x->dtype != EI_F32) ||
        y->dtype != x->dtype || x->dims[0] != y->dims[0] || x->dims[1] != y->dims[1] ||
        ei_count(x) <= 0 || ei_count(y) <= 0)
        return EI_E_UNSUPPORTED;
    int32_t batch = x->dims[p->time_major ? 1 : 0], depth = x->dims[2], units = y->dims[2];
    bool good = true;
    const ei_tensor *b = n->in[BIAS];
    if (units > INT32_MAX / GATES || !b || b->dtype != (integer ? EI_I32 : EI_F32) ||
        ei_count(b) != (int64_t)units * GATES)
        return EI_E_UNSUPPORTED;
    good = matrix(n->in[W], x->dtype, depth, (int64_t)units * GATES) &&
           matrix(n->in[R], x->dtype, units, (int64_t)units * GATES);
    for (int g = 0; g < GATES; g++)
        good = good && shift_fits(p->input_shift[g]) && shift_fits(p->recurrent_shift[g]);
    good = good && matrix(n->in[HIDDEN], x->dtype, batch, units) &&
           matrix(n->in[CELL], integer ? EI_I16 : EI_F32, batch, units) &&
           shift_fits(p->hidden_shift) && p->cell_scale_log2 >= -15 && p->cell_scale_log2 <= -9;
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

/* One step of one sequence: x [depth], state h and c [units], y [units]. */
typedef struct lstm_step {
    int64_t x, state, y;
    int32_t depth, units;
} lstm_step;

/* gates[j] += a[i] * w[i][j] over all i. */
static void add_products_f32(float *gates, const float *a, const float *w, int32_t n,
                             int32_t columns) {
    for (int32_t i = 0; i < n; i++, w += columns) {
        float v = a[i];
        EI_ELEMENTWISE
        for (int32_t j = 0; j < columns; j++) gates[j] += v * w[j];
    }
}

static void step_f32(const ei_node *n, const lstm_step *s, float *gates) {
    const ei_lstm_params *p = n->params;
    float *h = (float *)n->in[HIDDEN]->data + s->state, *c = (float *)n->in[CELL]->data + s->state;
    float *y = (float *)n->out[0]->data + s->y;
    const float *in = gates, *forget = in + s->units, *cell = forget + s->units,
                *out = cell + s->units;
    float clip = p->cell_clip > 0 ? p->cell_clip : INFINITY;
    int32_t columns = GATES * s->units;
    memcpy(gates, n->in[BIAS]->data, (size_t)columns * sizeof *gates);
    add_products_f32(gates, (const float *)n->in[X]->data + s->x, n->in[W]->data, s->depth,
                     columns);
    add_products_f32(gates, h, n->in[R]->data, s->units, columns);
    EI_ELEMENTWISE
    for (int32_t u = 0; u < s->units; u++) {
        float v = ei_logistic(forget[u]) * c[u] + ei_logistic(in[u]) * ei_tanh(cell[u]);
        v = v < -clip ? -clip : v;
        c[u] = v > clip ? clip : v;
        y[u] = ei_logistic(out[u]) * ei_tanh(c[u]);
    }
    memcpy(h, y, (size_t)s->units * sizeof *h); /* not before: the gates read the old state */
}

/* sums[j] += (a[i] - zero) * w[i][j] over all i; wraps. */
static void add_products_q8(uint32_t *sums, const int8_t *a, int32_t zero, const int8_t *w,
                            int32_t n, int32_t columns) {
    for (int32_t i = 0; i < n; i++, w += columns) {
        int32_t v = a[i] - zero;
        EI_ELEMENTWISE
        for (int32_t j = 0; j < columns; j++) sums[j] += (uint32_t)(v * w[j]);
    }
}

/* The gates [4][units] in Q3.12: the sum of x, scaled and saturated to 16 bits, plus that of the
 * old output. */
static void gates_q8(const ei_node *n, const lstm_step *s, const int8_t *h, uint32_t *sums,
                     int16_t *gates) {
    const ei_lstm_params *p = n->params;
    int32_t columns = GATES * s->units;
    memcpy(sums, n->in[BIAS]->data, (size_t)columns * sizeof *sums);
    add_products_q8(sums, (const int8_t *)n->in[X]->data + s->x, n->in[X]->zero, n->in[W]->data,
                    s->depth, columns);
    for (int32_t j = 0; j < columns; j++) {
        int g = j / s->units;
        gates[j] =
            ei_sat16(ei_mul_quantized((int32_t)sums[j], p->input_multiplier[g], p->input_shift[g]));
    }
    memset(sums, 0, (size_t)columns * sizeof *sums);
    add_products_q8(sums, h, n->in[HIDDEN]->zero, n->in[R]->data, s->units, columns);
    for (int32_t j = 0; j < columns; j++) {
        int g = j / s->units;
        gates[j] = ei_sat16((int64_t)ei_mul_quantized((int32_t)sums[j], p->recurrent_multiplier[g],
                                                      p->recurrent_shift[g]) +
                            gates[j]);
    }
}

static int16_t product(int16_t a, int16_t b, int shift) {
    return (int16_t)ei_rounding_divide_by_pot((int32_t)a * b, shift);
}

static void step_q8(const ei_node *n, const lstm_step *s, void *work) {
    const ei_lstm_params *p = n->params;
    int8_t *h = (int8_t *)n->in[HIDDEN]->data + s->state;
    int16_t *c = (int16_t *)n->in[CELL]->data + s->state;
    int8_t *y = (int8_t *)n->out[0]->data + s->y;
    uint32_t *sums = work;
    int16_t *gates = (int16_t *)(sums + (int64_t)GATES * s->units);
    gates_q8(n, s, h, sums, gates);
    for (int32_t u = 0; u < s->units; u++) {
        int16_t in = ei_sigmoid16(gates[u]), forget = ei_sigmoid16(gates[s->units + u]);
        int16_t cell = ei_tanh16(gates[2 * s->units + u], 3);
        int16_t out = ei_sigmoid16(gates[3 * s->units + u]);
        int32_t v = product(forget, c[u], 15) + product(in, cell, 30 + p->cell_scale_log2);
        v = ei_sat16(v);
        if (p->cell_clip_q > 0) v = ei_clamp_i32(v, -p->cell_clip_q, p->cell_clip_q);
        c[u] = (int16_t)v;
        int32_t hidden = (int32_t)out * ei_tanh16(c[u], 15 + p->cell_scale_log2);
        hidden = ei_mul_quantized(hidden, p->hidden_multiplier, p->hidden_shift) + p->hidden_zero;
        y[u] = (int8_t)ei_clamp_i32(hidden, -128, 127);
    }
    memcpy(h, y, (size_t)s->units);
}

static int run(const ei_node *n, const ei_work *work) {
    const ei_lstm_params *p = n->params;
    const ei_tensor *x = n->in[X], *y = n->out[0];
    int32_t time = x->dims[p->time_major ? 0 : 1], batch = x->dims[p->time_major ? 1 : 0];
    for (int32_t b = 0; b < batch; b++)
        for (int32_t t = 0; t < time; t++) {
            int64_t row = p->time_major ? (int64_t)t * batch + b : (int64_t)b * time + t;
            lstm_step s = {row * x->dims[2], (int64_t)b * y->dims[2], row * y->dims[2], x->dims[2],
                           y->dims[2]};
            if (x->dtype == EI_F32)
                step_f32(n, &s, work->scratch);
            else
                step_q8(n, &s, work->scratch);
        }
    return EI_OK;
}

static size_t scratch(const ei_node *n) {
    const ei_tensor *y = n->out[0];
    return (size_t)y->dims[2] * GATES * (sizeof(float) + sizeof(int16_t));
}

const ei_kernel EI_KERNEL(lstm) = {.name = EI_KERNEL_NAME("lstm"),
                                   .op = EI_OP_LSTM,
                                   .check = check,
                                   .scratch = scratch,
                                   .run = run};
