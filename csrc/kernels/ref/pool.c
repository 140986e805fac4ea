/* MAX_POOL_2D and AVERAGE_POOL_2D: the definition. Taps outside the image do not count. The 8-bit
 * average is rounded to nearest, ties away from zero, of the raw values, as in TFLite's kernels. */
#include "elementwise.h"

#include <math.h>

typedef struct window {
    int64_t base; /* first element of the image */
    int32_t y0, y1, x0, x1;
} window;

static bool covers(int32_t size, int32_t before, int32_t after, int32_t k, int32_t stride,
                   int32_t out) {
    return k > 0 && stride > 0 && before >= 0 && after >= 0 && before < k && after < k &&
           (int64_t)(out - 1) * stride + k <= (int64_t)size + before + after;
}

static int check(const ei_node *n) {
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
        covers(x->dims[1], p->pad_top, p->pad_bottom, p->kernel_h, p->stride_h, y->dims[1]) &&
        covers(x->dims[2], p->pad_left, p->pad_right, p->kernel_w, p->stride_w, y->dims[2]);
    if (good && x->dtype != EI_F32)
        good = p->act_min >= lo && p->act_max <= hi && p->act_min <= p->act_max;
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static window window_of(const ei_node *n, int64_t pixel) {
    const ei_tensor *x = n->in[0], *y = n->out[0];
    const ei_pool_params *p = n->params;
    int64_t image = pixel / ((int64_t)y->dims[1] * y->dims[2]);
    pixel %= (int64_t)y->dims[1] * y->dims[2];
    int32_t top = (int32_t)(pixel / y->dims[2]) * p->stride_h - p->pad_top;
    int32_t left = (int32_t)(pixel % y->dims[2]) * p->stride_w - p->pad_left;
    return (window){
        .base = image * x->dims[1] * x->dims[2] * x->dims[3],
        .y0 = top < 0 ? 0 : top,
        .y1 = top + p->kernel_h < x->dims[1] ? top + p->kernel_h : x->dims[1],
        .x0 = left < 0 ? 0 : left,
        .x1 = left + p->kernel_w < x->dims[2] ? left + p->kernel_w : x->dims[2],
    };
}

static void pixel_f32(const ei_node *n, const window *w, float *out) {
    const ei_tensor *x = n->in[0];
    const ei_pool_params *p = n->params;
    const float *data = x->data;
    int32_t channels = x->dims[3];
    bool max = n->op == EI_OP_MAX_POOL_2D;
    float taps = (float)((w->y1 - w->y0) * (w->x1 - w->x0));
    for (int32_t c = 0; c < channels; c++) out[c] = max ? -INFINITY : 0;
    for (int32_t iy = w->y0; iy < w->y1; iy++)
        for (int32_t ix = w->x0; ix < w->x1; ix++) {
            const float *in = data + w->base + ((int64_t)iy * x->dims[2] + ix) * channels;
            for (int32_t c = 0; c < channels; c++)
                out[c] = max ? (in[c] > out[c] ? in[c] : out[c]) : out[c] + in[c];
        }
    for (int32_t c = 0; c < channels; c++) {
        float v = max ? out[c] : out[c] / taps;
        v = v < p->act_fmin ? p->act_fmin : v;
        out[c] = v > p->act_fmax ? p->act_fmax : v;
    }
}

/* Maximum of bytes, in rows of channels so that the compiler can use vectors. */
static void pixel_max(const ei_node *n, const window *w, uint8_t *out) {
    const ei_tensor *x = n->in[0];
    const ei_pool_params *p = n->params;
    int32_t channels = x->dims[3];
    uint8_t flip = x->dtype == EI_I8 ? 0x80 : 0; /* compares int8 as uint8 */
    for (int32_t iy = w->y0; iy < w->y1; iy++)
        for (int32_t ix = w->x0; ix < w->x1; ix++) {
            const uint8_t *in =
                (const uint8_t *)x->data + w->base + ((int64_t)iy * x->dims[2] + ix) * channels;
            if (iy == w->y0 && ix == w->x0) {
                for (int32_t c = 0; c < channels; c++) out[c] = in[c] ^ flip;
                continue;
            }
            for (int32_t c = 0; c < channels; c++) {
                uint8_t v = in[c] ^ flip;
                out[c] = v > out[c] ? v : out[c];
            }
        }
    uint8_t lo = (uint8_t)p->act_min ^ flip, hi = (uint8_t)p->act_max ^ flip;
    for (int32_t c = 0; c < channels; c++) {
        uint8_t v = out[c] < lo ? lo : out[c] > hi ? hi : out[c];
        out[c] = v ^ flip;
    }
}

static void pixel_average(const ei_node *n, const window *w, int64_t at) {
    const ei_tensor *x = n->in[0], *y = n->out[0];
    const ei_pool_params *p = n->params;
    int32_t channels = x->dims[3], taps = (w->y1 - w->y0) * (w->x1 - w->x0);
    for (int32_t c = 0; c < channels; c++) {
        int64_t sum = 0;
        for (int32_t iy = w->y0; iy < w->y1; iy++)
            for (int32_t ix = w->x0; ix < w->x1; ix++)
                sum += ei_load_int(x, w->base + ((int64_t)iy * x->dims[2] + ix) * channels + c);
        int64_t v = (sum > 0 ? sum + taps / 2 : sum - taps / 2) / taps;
        v = v < p->act_min ? p->act_min : v > p->act_max ? p->act_max : v;
        ei_store_int(y, at + c, (int32_t)v);
    }
}

static int run(const ei_node *n, const ei_work *work) {
    const ei_tensor *y = n->out[0];
    int64_t channels = y->dims[3], pixel, end;
    ei_split(ei_count(y) / channels, 1, work, &pixel, &end);
    for (; pixel < end; pixel++) {
        window w = window_of(n, pixel);
        int64_t at = pixel * channels;
        if (y->dtype == EI_F32)
            pixel_f32(n, &w, (float *)y->data + at);
        else if (n->op == EI_OP_MAX_POOL_2D)
            pixel_max(n, &w, (uint8_t *)y->data + at);
        else
            pixel_average(n, &w, at);
    }
    return EI_OK;
}

const ei_kernel ei_ref_max_pool_2d = {.name = "ref/max_pool_2d",
                                      .op = EI_OP_MAX_POOL_2D,
                                      .parallel = true,
                                      .check = check,
                                      .run = run};
const ei_kernel ei_ref_average_pool_2d = {.name = "ref/average_pool_2d",
                                          .op = EI_OP_AVERAGE_POOL_2D,
                                          .parallel = true,
                                          .check = check,
                                          .run = run};
