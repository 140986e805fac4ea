/* UNIDIRECTIONAL_SEQUENCE_LSTM without peepholes, projection or layer normalisation: the
 * definition, in float and in the integer form of TFLite (8-bit activations and weights, 16-bit
 * cell state; lstm_eval.cc, EvalInteger8x8_16). The integer form is the same under both roundings:
 * no delegate takes it.
 *
 * in[0] x [batch, time, depth] (time_major: [time, batch, depth]); in[1..4] input weights [units,
 * depth] of the input, forget, cell and output gate; in[5..8] recurrent weights [units, units];
 * in[9..12] bias [units]; in[13] output state [batch, units], in[14] cell state, both states. */
#include "elementwise.h"
#include "exp.h"
#include "fixed_point16.h"

#include <math.h>
#include <string.h>

enum { GATES = 4, X = 0, W = 1, R = 5, BIAS = 9, HIDDEN = 13, CELL = 14, INPUTS = 15 };

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
    for (int g = 0; g < GATES; g++) {
        const ei_tensor *b = n->in[BIAS + g];
        good = good && matrix(n->in[W + g], x->dtype, units, depth) &&
               matrix(n->in[R + g], x->dtype, units, units) && b &&
               b->dtype == (integer ? EI_I32 : EI_F32) && ei_count(b) == units &&
               shift_fits(p->input_shift[g]) && shift_fits(p->recurrent_shift[g]);
    }
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

static float dot(const float *a, const float *b, int32_t n) {
    float sums[4] = {0}; /* four chains: one would wait for itself */
    int32_t i = 0;
    for (; i + 4 <= n; i += 4)
        for (int k = 0; k < 4; k++) sums[k] += a[i + k] * b[i + k];
    for (; i < n; i++) sums[0] += a[i] * b[i];
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/* gates [4][units]: the sums of all gates, before their activations. */
static void gates_f32(const ei_node *n, const lstm_step *s, const float *h, float *gates) {
    const float *x = (const float *)n->in[X]->data + s->x;
    for (int g = 0; g < GATES; g++) {
        const float *w = n->in[W + g]->data, *r = n->in[R + g]->data, *b = n->in[BIAS + g]->data;
        for (int32_t u = 0; u < s->units; u++)
            gates[(int64_t)g * s->units + u] = b[u] + dot(x, w + (int64_t)u * s->depth, s->depth) +
                                               dot(h, r + (int64_t)u * s->units, s->units);
    }
}

static void step_f32(const ei_node *n, const lstm_step *s, float *gates) {
    const ei_lstm_params *p = n->params;
    float *h = (float *)n->in[HIDDEN]->data + s->state, *c = (float *)n->in[CELL]->data + s->state;
    float *y = (float *)n->out[0]->data + s->y;
    const float *in = gates, *forget = in + s->units, *cell = forget + s->units,
                *out = cell + s->units;
    float clip = p->cell_clip > 0 ? p->cell_clip : INFINITY;
    gates_f32(n, s, h, gates);
    EI_ELEMENTWISE
    for (int32_t u = 0; u < s->units; u++) {
        float v = ei_logistic(forget[u]) * c[u] + ei_logistic(in[u]) * ei_tanh(cell[u]);
        v = v < -clip ? -clip : v;
        c[u] = v > clip ? clip : v;
        y[u] = ei_logistic(out[u]) * ei_tanh(c[u]);
    }
    memcpy(h, y, (size_t)s->units * sizeof *h); /* not before: the gates read the old state */
}

/* The sum of one operand, scaled and added to the gate so far, saturated to 16 bits. */
static int16_t accumulate(const int8_t *a, const int8_t *w, int32_t n, int32_t zero, int32_t start,
                          int32_t multiplier, int32_t shift, int16_t before) {
    uint32_t acc = (uint32_t)start;
    for (int32_t i = 0; i < n; i++) acc += (uint32_t)((a[i] - zero) * w[i]);
    int64_t v = (int64_t)ei_mul_quantized((int32_t)acc, multiplier, shift) + before;
    return ei_sat16(v);
}

static int16_t gate_q8(const ei_node *n, const lstm_step *s, int g, int32_t u, const int8_t *h) {
    const ei_lstm_params *p = n->params;
    const int8_t *x = (const int8_t *)n->in[X]->data + s->x;
    const int8_t *w = (const int8_t *)n->in[W + g]->data + (int64_t)u * s->depth;
    const int8_t *r = (const int8_t *)n->in[R + g]->data + (int64_t)u * s->units;
    int32_t bias = ((const int32_t *)n->in[BIAS + g]->data)[u];
    int16_t v = accumulate(x, w, s->depth, n->in[X]->zero, bias, p->input_multiplier[g],
                           p->input_shift[g], 0);
    return accumulate(h, r, s->units, n->in[HIDDEN]->zero, 0, p->recurrent_multiplier[g],
                      p->recurrent_shift[g], v);
}

static int16_t product(int16_t a, int16_t b, int shift) {
    return (int16_t)ei_rounding_divide_by_pot((int32_t)a * b, shift);
}

static void step_q8(const ei_node *n, const lstm_step *s) {
    const ei_lstm_params *p = n->params;
    int8_t *h = (int8_t *)n->in[HIDDEN]->data + s->state;
    int16_t *c = (int16_t *)n->in[CELL]->data + s->state;
    int8_t *y = (int8_t *)n->out[0]->data + s->y;
    for (int32_t u = 0; u < s->units; u++) {
        int16_t in = ei_sigmoid16(gate_q8(n, s, 0, u, h)),
                out = ei_sigmoid16(gate_q8(n, s, 3, u, h));
        int16_t forget = ei_sigmoid16(gate_q8(n, s, 1, u, h));
        int16_t cell = ei_tanh16(gate_q8(n, s, 2, u, h), 3);
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
                step_q8(n, &s);
        }
    return EI_OK;
}

static size_t scratch(const ei_node *n) {
    const ei_tensor *y = n->out[0];
    return y->dtype == EI_F32 ? (size_t)y->dims[2] * GATES * sizeof(float) : 0;
}

const ei_kernel EI_KERNEL(lstm) = {.name = EI_KERNEL_NAME("lstm"),
                                   .op = EI_OP_LSTM,
                                   .check = check,
                                   .scratch = scratch,
                                   .run = run};
