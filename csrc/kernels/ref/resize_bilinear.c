/* RESIZE_BILINEAR on NHWC. Four arithmetics, each that of the kernel LiteRT runs:
 *   f32                              float weights
 *   i8, u8, EI_ROUND_XNNPACK         weights of 11 bits, one rounding at the end (XNNPACK)
 *   i8, EI_ROUND_TFLITE; i16         positions and weights of 10 bits (TFLite reference)
 *   u8, EI_ROUND_TFLITE              float weights, rounded half up (TFLite reference) */
#include <math.h>

#include "elementwise.h"

typedef enum form { FLOAT, Q11, Q10, FLOAT_U8 } form;

/* Between which two input positions an output position lies, and how far along. */
typedef struct tap {
    int32_t low, high;
    int32_t weight; /* of `high`; in Q10 `weight_low` is not 1 - weight at the borders */
    float f;
} tap;

static form form_of(const ei_node *node) {
    int dtype = node->in[0]->dtype;
    if (dtype == EI_F32) return FLOAT;
    if (dtype == EI_I16) return Q10;
    if (node->rounding == EI_ROUND_XNNPACK) return Q11;
    return dtype == EI_I8 ? Q10 : FLOAT_U8;
}

static int check(const ei_node *node) {
    if (!(node->n_in == 1 && node->n_out == 1 && node->in[0] && node->out[0] &&
          node->params_bytes == sizeof(ei_resize_params)))
        return EI_E_UNSUPPORTED;
    const ei_tensor *x = node->in[0], *y = node->out[0];
    const int32_t most = 1 << 20; /* positions in Q10 stay within int32 */
    bool good = x->rank == 4 && y->rank == 4 && x->dtype == y->dtype &&
                (x->dtype == EI_F32 || ei_is_q8(x) || x->dtype == EI_I16) &&
                x->dims[0] == y->dims[0] && x->dims[3] == y->dims[3];
    for (int i = 1; good && i < 3; i++)
        good = x->dims[i] > 0 && y->dims[i] > 0 && x->dims[i] <= most && y->dims[i] <= most;
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static int32_t min_i32(int32_t a, int32_t b) {
    return a < b ? a : b;
}

/* The XNNPACK position, for float and Q11. */
static tap tap_float(const ei_resize_params *p, int32_t i, int32_t in, int32_t out) {
    int32_t less = p->align_corners && out > 1;
    float scale = (float)(in - less) / (float)(out - less);
    float at = (float)i * scale;
    if (p->half_pixel_centers && !p->align_corners) {
        float offset = 0.5f * scale - 0.5f;
        at += offset;
        at = at < 0.0f ? 0.0f : at;
    }
    at = at > (float)(in - 1) ? (float)(in - 1) : at;
    tap t = {.low = (int32_t)at};
    t.high = min_i32(t.low + 1, in - 1);
    t.f = at - (float)t.low;
    t.weight = (int32_t)lrintf(t.f * 2048.0f);
    return t;
}

static tap tap_q10(const ei_resize_params *p, int32_t i, int32_t in, int32_t out) {
    int32_t less = p->align_corners && out > 1, n = out - less;
    int32_t scale = (int32_t)((1024 * (int64_t)(in - less) + n / 2) / n);
    int64_t at = (int64_t)i * scale;
    if (p->half_pixel_centers) at += scale / 2 - 512;
    tap t = {.low = (int32_t)(at / 1024 > 0 ? at / 1024 : 0)};
    t.low = min_i32(t.low, in - 1); /* never needed by consistent scales */
    int64_t high = (at + 1023) / 1024;
    t.high = high < in - 1 ? (int32_t)(high > 0 ? high : 0) : in - 1;
    t.weight = (int32_t)(at - 1024 * (int64_t)t.low);
    return t;
}

/* TFLite's float position, kept unclamped: outside, both taps are the same element. */
static tap tap_u8(const ei_resize_params *p, int32_t i, int32_t in, int32_t out) {
    int32_t less = p->align_corners && out > 1;
    float scale = (float)(in - less) / (float)(out - less);
    float at = p->half_pixel_centers ? ((float)i + 0.5f) * scale - 0.5f : (float)i * scale;
    float low = floorf(at), high = ceilf(at);
    tap t = {.low = low > 0 ? min_i32((int32_t)low, in - 1) : 0,
             .high = high > 0 ? min_i32((int32_t)high, in - 1) : 0};
    t.f = at - (float)t.low;
    return t;
}

static tap tap_of(const ei_node *node, form f, int32_t i, int dim) {
    int32_t in = node->in[0]->dims[dim], out = node->out[0]->dims[dim];
    const ei_resize_params *p = node->params;
    return f == Q10        ? tap_q10(p, i, in, out)
           : f == FLOAT_U8 ? tap_u8(p, i, in, out)
                           : tap_float(p, i, in, out);
}

static inline int32_t mix_q11(int32_t tl, int32_t tr, int32_t bl, int32_t br, const tap *x,
                              const tap *y) {
    int32_t top = tl * 2048 + (tr - tl) * x->weight, bottom = bl * 2048 + (br - bl) * x->weight;
    return (top * 2048 + (bottom - top) * y->weight + (1 << 21)) >> 22;
}

static inline int32_t mix_q10(int32_t tl, int32_t tr, int32_t bl, int32_t br, const tap *x,
                              const tap *y) {
    int64_t v = (int64_t)tl * (1024 - y->weight) * (1024 - x->weight) +
                (int64_t)bl * y->weight * (1024 - x->weight) +
                (int64_t)tr * (1024 - y->weight) * x->weight + (int64_t)br * y->weight * x->weight;
    return (int32_t)((v + (v > 0 ? 1 << 19 : -(1 << 19))) / (1 << 20));
}

static inline float mix_f32(float tl, float tr, float bl, float br, const tap *x, const tap *y) {
    float top = tl + (tr - tl) * x->f, bottom = bl + (br - bl) * x->f;
    return top + (bottom - top) * y->f;
}

static inline uint8_t mix_u8(float tl, float tr, float bl, float br, const tap *x, const tap *y) {
    float v = tl * (1 - y->f) * (1 - x->f) + bl * y->f * (1 - x->f) + tr * (1 - y->f) * x->f +
              br * y->f * x->f + 0.5f;
    return (uint8_t)(v < 0 ? 0 : v > 255 ? 255 : v);
}

/* c channels of one output pixel from those of its four corners. */
#define PIXEL(type, mix)                                                                           \
    do {                                                                                           \
        const type *s = x->data, *tl = s + at[0], *tr = s + at[1], *bl = s + at[2],                \
                   *br = s + at[3];                                                                \
        type *restrict d = (type *)y->data + to;                                                   \
        const tap h = *tx, v = *ty;                                                                \
        for (int64_t i = 0; i < c; i++) d[i] = (type)mix(tl[i], tr[i], bl[i], br[i], &h, &v);      \
    } while (0)

/* `at`: element offsets of the corners; `to`: of the output pixel. */
static void pixel(const ei_node *node, form f, const int64_t at[4], int64_t to, const tap *tx,
                  const tap *ty) {
    const ei_tensor *x = node->in[0], *y = node->out[0];
    const int64_t c = x->dims[3];
    if (f == FLOAT)
        PIXEL(float, mix_f32);
    else if (f == FLOAT_U8)
        PIXEL(uint8_t, mix_u8);
    else if (x->dtype == EI_I16)
        PIXEL(int16_t, mix_q10);
    else if (f == Q10)
        PIXEL(int8_t, mix_q10);
    else if (x->dtype == EI_I8)
        PIXEL(int8_t, mix_q11);
    else
        PIXEL(uint8_t, mix_q11);
}

static size_t scratch(const ei_node *node) {
    return (size_t)node->out[0]->dims[2] * sizeof(tap);
}

static int run(const ei_node *node, const ei_work *work) {
    const ei_tensor *x = node->in[0], *y = node->out[0];
    form f = form_of(node);
    int64_t c = x->dims[3], width = y->dims[2], height = y->dims[1], row = x->dims[2] * c;
    int64_t begin, end;
    tap *taps = work->scratch;
    ei_split(y->dims[0] * height, 1, work, &begin, &end);
    if (begin == end) return EI_OK;
    for (int64_t j = 0; j < width; j++) taps[j] = tap_of(node, f, (int32_t)j, 2);
    for (int64_t r = begin; r < end; r++) {
        tap ty = tap_of(node, f, (int32_t)(r % height), 1);
        int64_t image = r / height * x->dims[1] * row;
        int64_t top = image + ty.low * row, bottom = image + ty.high * row;
        for (int64_t j = 0; j < width; j++) {
            int64_t at[4] = {top + taps[j].low * c, top + taps[j].high * c,
                             bottom + taps[j].low * c, bottom + taps[j].high * c};
            pixel(node, f, at, (r * width + j) * c, &taps[j], &ty);
        }
    }
    return EI_OK;
}

const ei_kernel EI_KERNEL(resize_bilinear) = {.name = EI_KERNEL_NAME("resize_bilinear"),
                                              .op = EI_OP_RESIZE_BILINEAR,
                                              .parallel = true,
                                              .check = check,
                                              .scratch = scratch,
                                              .run = run};
