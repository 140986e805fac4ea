/* The float LSTM of ref/lstm.c with fused products, its sums in the same order: those of x for
 * several steps at a time, since the weights come from the second cache; those of the state, which
 * depends on itself, DEEP rows of the weights at a time. Gates as in exp.h. */
#include <math.h>
#include <string.h>

#include "../kernel.h"
#include "exp.h"

enum { GATES = 4, X = 0, W, R, BIAS, HIDDEN, CELL, INPUTS };
enum { STEPS = 8, DEEP = 8 };

static bool matrix(const ei_tensor *t, int64_t rows, int64_t columns) {
    return t && t->dtype == EI_F32 && t->rank == 2 && t->dims[0] == rows && t->dims[1] == columns;
}

static int check(const ei_node *n) {
    if (n->n_in != INPUTS || n->n_out != 1 || n->params_bytes != sizeof(ei_lstm_params))
        return EI_E_UNSUPPORTED;
    const ei_lstm_params *p = n->params;
    const ei_tensor *x = n->in[X], *y = n->out[0], *b = n->in[BIAS];
    if (!x || x->rank != 3 || y->rank != 3 || x->dtype != EI_F32 || y->dtype != EI_F32 ||
        x->dims[0] != y->dims[0] || x->dims[1] != y->dims[1] || ei_count(x) <= 0 ||
        ei_count(y) <= 0)
        return EI_E_UNSUPPORTED;
    int32_t batch = x->dims[p->time_major ? 1 : 0], depth = x->dims[2], units = y->dims[2];
    if (units > INT32_MAX / 64) return EI_E_UNSUPPORTED;
    int64_t columns = (int64_t)units * GATES;
    bool good = matrix(n->in[W], depth, columns) && matrix(n->in[R], units, columns) && b &&
                b->dtype == EI_F32 && ei_count(b) == columns &&
                matrix(n->in[HIDDEN], batch, units) && matrix(n->in[CELL], batch, units);
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static size_t scratch(const ei_node *n) {
    return (size_t)n->out[0]->dims[2] * GATES * STEPS * sizeof(float);
}

static inline __mmask16 first(int64_t n) {
    return (__mmask16)(n >= 16 ? 0xffff : (1 << n) - 1);
}

/* gates[s][columns] = bias + x[s] * w of `steps` rows of x, `stride` elements apart; `steps` is a
 * constant after inlining. */
static inline __attribute__((always_inline)) void
input_gates(int steps, const float *x, int64_t stride, const ei_node *n, float *gates) {
    int32_t depth = n->in[X]->dims[2];
    int64_t columns = (int64_t)n->out[0]->dims[2] * GATES;
    const float *bias = n->in[BIAS]->data;
    for (int64_t j = 0; j < columns; j += 32) {
        __mmask16 m0 = first(columns - j), m1 = columns - j > 16 ? first(columns - j - 16) : 0;
        const float *w = (const float *)n->in[W]->data + j;
        __m512 c0[STEPS], c1[STEPS];
        __m512 b0 = _mm512_maskz_loadu_ps(m0, bias + j),
               b1 = _mm512_maskz_loadu_ps(m1, bias + j + 16);
#pragma GCC unroll 8
        for (int s = 0; s < steps; s++) c0[s] = b0, c1[s] = b1;
        for (int32_t k = 0; k < depth; k++, w += columns) {
            __m512 w0 = _mm512_maskz_loadu_ps(m0, w), w1 = _mm512_maskz_loadu_ps(m1, w + 16);
#pragma GCC unroll 8
            for (int s = 0; s < steps; s++) {
                __m512 v = _mm512_set1_ps(x[s * stride + k]);
                c0[s] = _mm512_fmadd_ps(v, w0, c0[s]);
                c1[s] = _mm512_fmadd_ps(v, w1, c1[s]);
            }
        }
#pragma GCC unroll 8
        for (int s = 0; s < steps; s++) {
            _mm512_mask_storeu_ps(gates + s * columns + j, m0, c0[s]);
            _mm512_mask_storeu_ps(gates + s * columns + j + 16, m1, c1[s]);
        }
    }
}

/* gates[columns] += h * r, `deep` rows of r; `deep` is a constant after inlining. */
static inline __attribute__((always_inline)) void add_rows(int deep, const float *h, const float *r,
                                                           int64_t columns, float *gates) {
    __m512 v[DEEP];
#pragma GCC unroll 8
    for (int k = 0; k < deep; k++) v[k] = _mm512_set1_ps(h[k]);
    int64_t j = 0;
    for (; j + 64 <= columns; j += 64) {
        __m512 c0 = _mm512_loadu_ps(gates + j), c1 = _mm512_loadu_ps(gates + j + 16),
               c2 = _mm512_loadu_ps(gates + j + 32), c3 = _mm512_loadu_ps(gates + j + 48);
#pragma GCC unroll 8
        for (int k = 0; k < deep; k++) {
            const float *row = r + k * columns + j;
            c0 = _mm512_fmadd_ps(v[k], _mm512_loadu_ps(row), c0);
            c1 = _mm512_fmadd_ps(v[k], _mm512_loadu_ps(row + 16), c1);
            c2 = _mm512_fmadd_ps(v[k], _mm512_loadu_ps(row + 32), c2);
            c3 = _mm512_fmadd_ps(v[k], _mm512_loadu_ps(row + 48), c3);
        }
        _mm512_storeu_ps(gates + j, c0);
        _mm512_storeu_ps(gates + j + 16, c1);
        _mm512_storeu_ps(gates + j + 32, c2);
        _mm512_storeu_ps(gates + j + 48, c3);
    }
    for (; j < columns; j += 16) {
        __mmask16 m = first(columns - j);
        __m512 c = _mm512_maskz_loadu_ps(m, gates + j);
#pragma GCC unroll 8
        for (int k = 0; k < deep; k++)
            c = _mm512_fmadd_ps(v[k], _mm512_maskz_loadu_ps(m, r + k * columns + j), c);
        _mm512_mask_storeu_ps(gates + j, m, c);
    }
}

static void state_step(const ei_node *n, float *gates, float *h, float *c, float *y) {
    int32_t units = n->out[0]->dims[2], k = 0;
    int64_t columns = (int64_t)units * GATES;
    const float *r = n->in[R]->data;
    for (; k + DEEP <= units; k += DEEP) add_rows(DEEP, h + k, r + k * columns, columns, gates);
    for (; k < units; k++) add_rows(1, h + k, r + k * columns, columns, gates);
    float limit = ((const ei_lstm_params *)n->params)->cell_clip;
    __m512 clip = _mm512_set1_ps(limit > 0 ? limit : INFINITY),
           low = _mm512_xor_ps(clip, _mm512_set1_ps(-0.0f));
    for (int32_t u = 0; u < units; u += 16) {
        __mmask16 m = first(units - u);
        __m512 in = ei_logistic16f(_mm512_maskz_loadu_ps(m, gates + u));
        __m512 forget = ei_logistic16f(_mm512_maskz_loadu_ps(m, gates + units + u));
        __m512 cell = ei_tanh16f(_mm512_maskz_loadu_ps(m, gates + 2 * units + u));
        __m512 out = ei_logistic16f(_mm512_maskz_loadu_ps(m, gates + 3 * units + u));
        __m512 v = _mm512_mul_ps(forget, _mm512_maskz_loadu_ps(m, c + u));
        v = _mm512_fmadd_ps(in, cell, v);
        v = _mm512_min_ps(clip, _mm512_max_ps(low, v)); /* keeps a NaN */
        _mm512_mask_storeu_ps(c + u, m, v);
        v = _mm512_mul_ps(out, ei_tanh16f(v));
        _mm512_mask_storeu_ps(h + u, m, v);
        _mm512_mask_storeu_ps(y + u, m, v);
    }
}

static int run(const ei_node *n, const ei_work *work) {
    const ei_lstm_params *p = n->params;
    const ei_tensor *x = n->in[X];
    int32_t time = x->dims[p->time_major ? 0 : 1], batch = x->dims[p->time_major ? 1 : 0];
    int64_t depth = x->dims[2], units = n->out[0]->dims[2], apart = p->time_major ? batch : 1;
    float *gates = work->scratch;
    for (int32_t b = 0; b < batch; b++) {
        float *h = (float *)n->in[HIDDEN]->data + b * units;
        float *c = (float *)n->in[CELL]->data + b * units;
        int64_t row = p->time_major ? b : (int64_t)b * time;
        for (int32_t t = 0, count; t < time; t += count) {
            count = time - t >= STEPS ? STEPS : 1;
            const float *from = (const float *)x->data + row * depth;
            if (count == STEPS)
                input_gates(STEPS, from, apart * depth, n, gates);
            else
                input_gates(1, from, 0, n, gates);
            for (int s = 0; s < count; s++, row += apart)
                state_step(n, gates + s * units * GATES, h, c,
                           (float *)n->out[0]->data + row * units);
        }
    }
    return EI_OK;
}

const ei_kernel ei_avx512vnni_lstm_f32 = {.name = "avx512vnni/lstm_f32",
                                          .op = EI_OP_LSTM,
                                          .check = check,
                                          .scratch = scratch,
                                          .run = run};
