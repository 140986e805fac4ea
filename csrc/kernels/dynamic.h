/* What the matrix products on activations quantised at run time share. Packed layouts: in[0],
 * in[1], in[4], in[5] as in ops.h; for every column in[2] f32 bias, in[3] f32 scale of the weights,
 * in[6] i32 their sum. */
#ifndef EI_DYNAMIC_H
#define EI_DYNAMIC_H

#include "conv.h"

static inline bool ei_dynamic_vector(const ei_tensor *t, int dtype, int64_t n, bool constant) {
    return t && t->dtype == dtype && ei_count(t) == n && (!constant || t->constant);
}

/* Types, and one pair of scale and zero point for every image, or for every row where rows are not
 * padded. Weights and the constants of channels are checked by the caller, whose layout they have.
 */
static inline bool ei_dynamic_check(const ei_node *n, const ei_conv *g) {
    const ei_tensor *scale = n->in[4], *zero = n->in[5];
    if (!ei_is_dynamic(n) || !ei_is_q8(n->in[0]) || n->out[0]->dtype != EI_F32 || !scale || !zero)
        return false;
    int64_t batches = ei_count(scale);
    return (batches == g->batch || (g->direct && batches == g->rows)) &&
           ei_dynamic_vector(scale, EI_F32, batches, false) &&
           ei_dynamic_vector(zero, EI_I32, batches, false);
}

/* The same for packed layouts: bias, scale and sums are constants of `columns`. */
static inline bool ei_dynamic_packed(const ei_node *n, const ei_conv *g, int64_t columns) {
    return ei_dynamic_check(n, g) && n->in[1]->zero == 0 &&
           ei_dynamic_vector(n->in[2], EI_F32, columns, true) &&
           ei_dynamic_vector(n->in[3], EI_F32, columns, true) &&
           ei_dynamic_vector(n->in[6], EI_I32, columns, true);
}

/* Depthwise convolutions: what an integer sum in f32 is multiplied by, one after the other. */
typedef struct ei_dynamic_depthwise {
    const float *w_scale; /* NULL: a float convolution */
    float first, second;  /* y = sum * (w_scale * first) * second + bias */
} ei_dynamic_depthwise;

/* Whether in[3..6] are so: `channels` scales of the weights, constant, and one of every image. */
static inline bool ei_dynamic_depthwise_check(const ei_node *n, const ei_conv *g,
                                              int64_t channels) {
    return n->n_in == 7 && n->in[0]->dtype == EI_F32 && n->out[0]->dtype == EI_F32 &&
           ei_dynamic_vector(n->in[3], EI_F32, channels, true) &&
           ei_dynamic_vector(n->in[4], EI_F32, g->batch, false) && !n->in[5] && !n->in[6];
}

static inline ei_dynamic_depthwise ei_dynamic_depthwise_at(const ei_node *n, int64_t image) {
    if (!ei_is_dynamic(n)) return (ei_dynamic_depthwise){NULL, 1, 1};
    float scale = ((const float *)n->in[4]->data)[image];
    bool xnnpack = n->rounding == EI_ROUND_XNNPACK;
    return (ei_dynamic_depthwise){n->in[3]->data, xnnpack ? 1 : scale, xnnpack ? scale : 1};
}

enum { EI_DYNAMIC_ROWS = 16, EI_DYNAMIC_COLUMNS = 32 }; /* the most of any kernel's tile */

/* How the accumulators of a tile become floats:
 * y = fma(float(acc + factor[row] * sums[column]) * scale[row], weight scale, bias). */
typedef struct ei_dynamic {
    float scale[EI_DYNAMIC_ROWS];
    int32_t factor[EI_DYNAMIC_ROWS]; /* less the zero point */
    const int32_t *sums;             /* of the first column */
    const float *w_scale, *bias;
    float lo, hi;
} ei_dynamic;

/* What accumulators begin with instead of a bias. */
static const int32_t ei_dynamic_start[EI_DYNAMIC_COLUMNS] = {0};

/* The rows of a tile of `count` from `row` on. */
static inline void ei_dynamic_rows(ei_dynamic *d, const ei_node *n, const ei_conv *g, int64_t row,
                                   int count) {
    int64_t each = g->rows / ei_count(n->in[4]), batch = row / each, next = (batch + 1) * each;
    for (int i = 0; i < count; i++) {
        if (row + i == next) batch++, next += each;
        d->scale[i] = ((const float *)n->in[4]->data)[batch];
        d->factor[i] = (int32_t)(0u - ((const uint32_t *)n->in[5]->data)[batch]);
    }
}

/* The columns of a tile from `at` of the packed order on. */
static inline void ei_dynamic_columns(ei_dynamic *d, const ei_node *n, const ei_conv *g,
                                      int64_t at) {
    d->bias = (const float *)n->in[2]->data + at;
    d->w_scale = (const float *)n->in[3]->data + at;
    d->sums = (const int32_t *)n->in[6]->data + at;
    d->lo = g->p->act_fmin;
    d->hi = g->p->act_fmax;
}

#endif
