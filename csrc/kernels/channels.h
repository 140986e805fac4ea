/* What the packed 8-bit kernels need to know of the output channels of a block. */
#ifndef EI_CHANNELS_H
#define EI_CHANNELS_H

#include "dynamic.h"
#include "requant.h"

/* Requantisation of the channels of one block. */
typedef struct ei_requant {
    const int32_t *bias;
    const void *scale;    /* f32 or f64 scales, or i32 multipliers where there are shifts */
    const int32_t *shift; /* NULL: float arithmetic */
    const float *affine;  /* EI_ROUND_TFLITE as a multiply-add (engine/affine.py), or NULL */
    bool is_double;
    int32_t zero, lo, hi;
} ei_requant;

/* Added to what the affine form gives: sums are small about it. */
static inline int32_t ei_affine_centre(bool is_signed) {
    return is_signed ? 0 : 128;
}

/* Whether the affine form holds for a block, [scale, positive, negative][lanes]. */
static inline bool ei_affine_holds(const float *block) {
    return block && block[0] == block[0];
}

/* The constants from channel `at` of the packed order on. */
static inline ei_requant ei_requant_at(const ei_node *n, const ei_conv *g, int64_t at) {
    if (ei_is_dynamic(n)) return (ei_requant){.bias = ei_dynamic_start};
    return (ei_requant){.bias = (const int32_t *)n->in[2]->data + at,
                        .scale = (const char *)n->in[3]->data + at * ei_conv_scale_bytes(n),
                        .is_double = ei_conv_double(n),
                        .shift = n->in[4] ? (const int32_t *)n->in[4]->data + at : NULL,
                        .affine = n->n_in == 6 ? (const float *)n->in[5]->data + at * 3 : NULL,
                        .zero = n->out[0]->zero,
                        .lo = g->p->act_min,
                        .hi = g->p->act_max};
}

/* The same of constants that are there already: to channel `at`, scales being `size` bytes. */
static inline void ei_requant_move(ei_requant *r, const ei_node *n, int64_t at, int64_t size) {
    r->bias = (const int32_t *)n->in[2]->data + at;
    r->scale = (const char *)n->in[3]->data + at * size;
    if (r->shift) r->shift = (const int32_t *)n->in[4]->data + at;
    if (r->affine) r->affine = (const float *)n->in[5]->data + at * 3;
}

/* Channel i of the block in fixed point, one at a time. */
static inline uint8_t ei_requant_channel(const ei_requant *r, int32_t acc, int i) {
    return (uint8_t)ei_requant_tflite(acc, ((const int32_t *)r->scale)[i], r->shift[i], r->zero,
                                      r->lo, r->hi);
}

#endif
