/* What the pooling kernels check and where their windows lie. */
#ifndef EI_REF_POOL_H
#define EI_REF_POOL_H

#include "elementwise.h"

/* The taps of an output pixel that lie in the image: rows y0..y1, columns x0..x1 (exclusive). */
typedef struct ei_window {
    int64_t base; /* first element of the image */
    int32_t y0, y1, x0, x1;
} ei_window;

static inline bool ei_pool_covers(int32_t size, int32_t before, int32_t after, int32_t k,
                                  int32_t stride, int32_t out) {
    return k > 0 && stride > 0 && before >= 0 && after >= 0 && before < k && after < k &&
           (int64_t)(out - 1) * stride + k <= (int64_t)size + before + after;
}

static inline int ei_pool_check(const ei_node *n) {
    if (n->n_in != 1 || n->n_out != 1 || !n->in[0] || n->params_bytes != sizeof(ei_pool_params))
        return EI_E_UNSUPPORTED;
    const ei_tensor *x = n->in[0], *y = n->out[0];
    const ei_pool_params *p = n->params;
    int32_t lo, hi;
    ei_int_range(y->dtype, &lo, &hi);
    bool good =
        x->rank == 4 && y->rank == 4 && x->dtype == y->dtype &&
        (x->dtype == EI_F32 || ei_is_q8(x)) && x->dims[0] == y->dims[0] &&
        x->dims[3] == y->dims[3] && ei_count(x) > 0 && ei_count(y) > 0 &&
        ei_pool_covers(x->dims[1], p->pad_top, p->pad_bottom, p->kernel_h, p->stride_h,
                       y->dims[1]) &&
        ei_pool_covers(x->dims[2], p->pad_left, p->pad_right, p->kernel_w, p->stride_w, y->dims[2]);
    if (good && x->dtype != EI_F32) /* sums and taps fit 32 bits */
        good = (int64_t)p->kernel_h * p->kernel_w < 1 << 22 && p->act_min >= lo &&
               p->act_max <= hi && p->act_min <= p->act_max;
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static inline ei_window ei_window_of(const ei_node *n, int64_t image, int32_t oy, int32_t ox) {
    const ei_tensor *x = n->in[0];
    const ei_pool_params *p = n->params;
    int32_t top = oy * p->stride_h - p->pad_top, left = ox * p->stride_w - p->pad_left;
    return (ei_window){
        .base = image * x->dims[1] * x->dims[2] * x->stride,
        .y0 = top < 0 ? 0 : top,
        .y1 = top + p->kernel_h < x->dims[1] ? top + p->kernel_h : x->dims[1],
        .x0 = left < 0 ? 0 : left,
        .x1 = left + p->kernel_w < x->dims[2] ? left + p->kernel_w : x->dims[2],
    };
}

/* Bytes of the tap at (iy, ix), 8-bit images. */
static inline const uint8_t *ei_window_tap(const ei_tensor *x, const ei_window *w, int32_t iy,
                                           int32_t ix) {
    return (const uint8_t *)x->data + w->base + ((int64_t)iy * x->dims[2] + ix) * x->stride;
}

#endif
