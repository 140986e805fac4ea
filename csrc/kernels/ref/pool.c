/* MAX_POOL_2D and AVERAGE_POOL_2D: the definition. Taps outside the image do not count. The 8-bit
 * average is rounded to nearest, ties away from zero, of the raw values, as in TFLite's kernels. */
#include "pool.h"

#include <math.h>

static void pixel_f32(const ei_node *n, const ei_window *w, float *out) {
    const ei_tensor *x = n->in[0];
    const ei_pool_params *p = n->params;
    const float *data = x->data;
    int32_t channels = x->dims[3];
    bool max = n->op == EI_OP_MAX_POOL_2D;
    float taps = (float)((w->y1 - w->y0) * (w->x1 - w->x0));
    for (int32_t c = 0; c < channels; c++) out[c] = max ? -INFINITY : 0;
    for (int32_t iy = w->y0; iy < w->y1; iy++)
        for (int32_t ix = w->x0; ix < w->x1; ix++) {
            const float *in = data + w->base + ((int64_t)iy * x->dims[2] + ix) * x->stride;
            for (int32_t c = 0; c < channels; c++)
                out[c] = max ? (in[c] > out[c] ? in[c] : out[c]) : out[c] + in[c];
        }
    for (int32_t c = 0; c < channels; c++) {
        float v = max ? out[c] : out[c] / taps;
        v = v < p->act_fmin ? p->act_fmin : v;
        out[c] = v > p->act_fmax ? p->act_fmax : v;
    }
}

enum { CHUNK = 64 };

/* Maximum of bytes, in rows of channels so that the compiler can use vectors. */
static void pixel_max(const ei_node *n, const ei_window *w, uint8_t *out) {
    const ei_tensor *x = n->in[0];
    const ei_pool_params *p = n->params;
    int32_t channels = x->dims[3];
    uint8_t flip = x->dtype == EI_I8 ? 0x80 : 0; /* compares int8 as uint8 */
    uint8_t lo = (uint8_t)p->act_min ^ flip, hi = (uint8_t)p->act_max ^ flip;
    for (int32_t c = 0; c < channels; c++) out[c] = lo;
    for (int32_t iy = w->y0; iy < w->y1; iy++)
        for (int32_t ix = w->x0; ix < w->x1; ix++) {
            const uint8_t *in = ei_window_tap(x, w, iy, ix);
            for (int32_t c = 0; c < channels; c++) {
                uint8_t v = in[c] ^ flip;
                out[c] = v > out[c] ? v : out[c];
            }
        }
    for (int32_t c = 0; c < channels; c++) out[c] = (out[c] > hi ? hi : out[c]) ^ flip;
}

static void average_chunk(const ei_node *node, const ei_window *w, int32_t at, int n, int64_t to) {
    const ei_tensor *x = node->in[0];
    const ei_pool_params *p = node->params;
    int32_t taps = (w->y1 - w->y0) * (w->x1 - w->x0), acc[CHUNK] = {0};
    for (int32_t iy = w->y0; iy < w->y1; iy++)
        for (int32_t ix = w->x0; ix < w->x1; ix++) {
            const uint8_t *u8 = ei_window_tap(x, w, iy, ix) + at;
            const int8_t *i8 = (const int8_t *)u8;
            if (x->dtype == EI_I8)
                for (int c = 0; c < n; c++) acc[c] += i8[c];
            else
                for (int c = 0; c < n; c++) acc[c] += u8[c];
        }
    for (int c = 0; c < n; c++) {
        int32_t v = (acc[c] > 0 ? acc[c] + taps / 2 : acc[c] - taps / 2) / taps;
        v = v < p->act_min ? p->act_min : v > p->act_max ? p->act_max : v;
        ei_store_int(node->out[0], to + c, v);
    }
}

static void pixel_average(const ei_node *n, const ei_window *w, int64_t at) {
    int32_t channels = n->in[0]->dims[3];
    for (int32_t c = 0; c < channels; c += CHUNK)
        average_chunk(n, w, c, channels - c < CHUNK ? channels - c : CHUNK, at + c);
}

static int run(const ei_node *n, const ei_work *work) {
    const ei_tensor *y = n->out[0];
    int64_t line, end;
    ei_split((int64_t)y->dims[0] * y->dims[1], 1, work, &line, &end);
    for (; line < end; line++)
        for (int32_t ox = 0; ox < y->dims[2]; ox++) {
            ei_window w = ei_window_of(n, line / y->dims[1], (int32_t)(line % y->dims[1]), ox);
            int64_t at = (line * y->dims[2] + ox) * y->stride;
            if (y->dtype == EI_F32)
                pixel_f32(n, &w, (float *)y->data + at);
            else if (n->op == EI_OP_MAX_POOL_2D)
                pixel_max(n, &w, (uint8_t *)y->data + at);
            else
                pixel_average(n, &w, at);
        }
    return EI_OK;
}

const ei_kernel EI_KERNEL(max_pool_2d) = {.name = EI_KERNEL_NAME("max_pool_2d"),
                                          .op = EI_OP_MAX_POOL_2D,
                                          .parallel = true,
                                          .strided = EI_STRIDED_X | EI_STRIDED_Y,
                                          .check = ei_pool_check,
                                          .run = run};
const ei_kernel EI_KERNEL(average_pool_2d) = {.name = EI_KERNEL_NAME("average_pool_2d"),
                                              .op = EI_OP_AVERAGE_POOL_2D,
                                              .parallel = true,
                                              .strided = EI_STRIDED_X | EI_STRIDED_Y,
                                              .check = ei_pool_check,
                                              .run = run};
