/* How the 8-bit matrix products of AArch64 store their outputs; see ../gemm_q8.h for the rest. */
#ifndef EI_NEON_GEMM_Q8_H
#define EI_NEON_GEMM_Q8_H

#include "../gemm_q8.h"
#include "q8.h"

/* Stores 4 outputs, or fewer at the last channels. */
static inline void ei_store4_q8(int8_t *y, int32x4_t v, int columns) {
    int8_t out[8];
    vst1_s8(out, ei_narrow8(v, v));
    if (columns >= 4)
        memcpy(y, out, 4);
    else
        for (int i = 0; i < columns; i++) y[i] = out[i];
}

/* Stores 4 float outputs of a row from column `i` of the tile on, or fewer at the last channels. */
static inline void ei_store4_f32(const ei_tile_q8 *t, int row, int i, int32x4_t acc) {
    const ei_dynamic *d = t->dynamic;
    float *y = (float *)(void *)(t->y + row * t->stride) + i, out[4];
    acc = vmlaq_n_s32(acc, vld1q_s32(d->sums + i), d->factor[row]);
    float32x4_t v = vmulq_n_f32(vcvtq_f32_s32(acc), d->scale[row]);
    v = vfmaq_f32(vld1q_f32(d->bias + i), v, vld1q_f32(d->w_scale + i));
    vst1q_f32(out, vminq_f32(vmaxq_f32(v, vdupq_n_f32(d->lo)), vdupq_n_f32(d->hi)));
    for (int j = 0; j < 4 && j < t->columns - i; j++) y[j] = out[j];
}

/* Stores a row of a tile of 8 columns. */
static inline void ei_store_row8(const ei_tile_q8 *t, int row, int32x4_t acc0, int32x4_t acc1) {
    if (t->dynamic) {
        ei_store4_f32(t, row, 0, acc0);
        ei_store4_f32(t, row, 4, acc1);
        return;
    }
    int8_t *y = (int8_t *)t->y + row * t->stride;
    int32x4_t low = ei_requant4(acc0, &t->r, 0), high = ei_requant4(acc1, &t->r, 4);
    if (t->columns == 8) {
        vst1_s8(y, ei_narrow8(low, high));
    } else {
        ei_store4_q8(y, low, t->columns);
        ei_store4_q8(y + 4, high, t->columns - 4);
    }
}

/* What is added to the accumulators of a row. */
static inline int32x4_t ei_row_term(const ei_tile_q8 *t, int row) {
    return vdupq_n_s32(t->row_term ? t->row_term[row] : 0);
}

#endif
