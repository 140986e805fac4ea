/* DYNAMIC_QUANTIZE: floats to 8 bits with a scale and a zero point taken from the values
 * themselves, one pair for each of `batches` equal parts of the input. See ei_dynamic_params. */
#include <math.h>

#include "elementwise.h"

enum { LANES = 32, AT_ONCE = 32 };

static bool vector(const ei_tensor *t, int dtype, int64_t n) {
    return t && t->dtype == dtype && ei_count(t) == n;
}

static int check(const ei_node *node) {
    if (node->n_in != 1 || !node->in[0] || node->n_out < 1 || !node->out[0] ||
        node->params_bytes != sizeof(ei_dynamic_params))
        return EI_E_UNSUPPORTED;
    const ei_tensor *x = node->in[0], *y = node->out[0];
    const ei_dynamic_params *p = node->params;
    bool good = x->dtype == EI_F32 && ei_same_shape(x, y) && p->batches > 0 && ei_count(x) > 0 &&
                ei_count(x) % p->batches == 0 && p->method >= EI_DYNAMIC_XNNPACK &&
                p->method <= EI_DYNAMIC_SYMMETRIC;
    int outputs = good && y->dtype == EI_F32 ? (node->n_out == 1 ? 1 : 2) : 3;
    good = good && (y->dtype == EI_F32 || ei_is_q8(y)) && node->n_out == outputs &&
           (outputs < 2 || vector(node->out[1], EI_F32, p->batches)) &&
           (outputs < 3 || vector(node->out[2], EI_I32, p->batches));
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

#ifndef EI_EXTENT
/* Least and greatest value, 0 among them; NaN is passed over. In lanes, since a compiler may not
 * reorder the comparisons of one chain. */
static void extent(const float *x, int64_t n, float *min, float *max) {
    float low[LANES] = {0}, high[LANES] = {0};
    for (; n >= LANES; n -= LANES, x += LANES)
        for (int i = 0; i < LANES; i++) {
            low[i] = x[i] < low[i] ? x[i] : low[i];
            high[i] = x[i] > high[i] ? x[i] : high[i];
        }
    for (int64_t i = 0; i < n; i++) {
        low[i] = x[i] < low[i] ? x[i] : low[i];
        high[i] = x[i] > high[i] ? x[i] : high[i];
    }
    for (int half = LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++) {
            low[i] = low[i + half] < low[i] ? low[i + half] : low[i];
            high[i] = high[i + half] > high[i] ? high[i + half] : high[i];
        }
    *min = low[0];
    *max = high[0];
}

#endif

/* q = rounded(x * inverse) + zero in -128..127, or -127..127 where symmetric. */
typedef struct mapping {
    float inverse, scale, lo, hi; /* lo, hi: least and greatest q - zero */
    int32_t zero;
    bool even; /* ties to even, else away from zero */
} mapping;

static float between(float v, float lo, float hi) {
    v = v > lo ? v : lo; /* NaN becomes lo */
    return v < hi ? v : hi;
}

/* XNNPACK, quantization.h: all in float. */
static void map_xnnpack(mapping *m, float min, float max) {
    m->inverse = min == max ? 1.0f : 255.0f / (max - min);
    float low = min * m->inverse, high = max * m->inverse;
    float zero = (-128.0f + low) + (127.0f + high) > 0 ? -128.0f - low : 127.0f - high;
    m->zero = (int32_t)lrintf(between(zero, -128.0f, 127.0f));
    m->scale = 1.0f / m->inverse;
    m->even = true;
}

/* TFLite, tensor_utils: AsymmetricQuantizeFloats. */
static void map_asymmetric(mapping *m, float min, float max) {
    *m = (mapping){.inverse = 0, .scale = 1};
    if (min == max) return;
    double scale = (double)(max - min) / 255.0, low = min / scale, high = max / scale;
    double zero = 128.0 - low < 127.0 + high ? -128.0 - low : 127.0 - high;
    zero = zero > -128.0 ? zero : -128.0;
    m->zero = (int32_t)round(zero < 127.0 ? zero : 127.0);
    m->scale = (float)scale;
    m->inverse = m->scale == 0 ? 0 : (float)(1.0 / m->scale);
}

/* TFLite, tensor_utils: SymmetricQuantizeFloats. */
static void map_symmetric(mapping *m, float min, float max) {
    float range = -min > max ? -min : max;
    *m = (mapping){.inverse = range == 0 ? 0 : 127.0f / range,
                   .scale = range == 0 ? 1 : range / 127.0f};
}

static mapping map_of(int32_t method, float min, float max) {
    mapping m;
    if (method == EI_DYNAMIC_XNNPACK)
        map_xnnpack(&m, min, max);
    else if (method == EI_DYNAMIC_ASYMMETRIC)
        map_asymmetric(&m, min, max);
    else
        map_symmetric(&m, min, max);
    m.lo = (method == EI_DYNAMIC_SYMMETRIC ? -127.0f : -128.0f) - (float)m.zero;
    m.hi = 127.0f - (float)m.zero;
    return m;
}

/* |v| < 2^22 to the nearest integer without a call: see nearest() in quantize.c. */
static inline int32_t rounded(float v, bool even) {
    if (!even) return (int32_t)(v + (v < 0 ? -0.5f : 0.5f));
    union {
        float f;
        int32_t i;
    } magic = {.f = v + 12582912.0f};
    return magic.i - 0x4b400000;
}

#define EACH(expression)                                                                           \
    do {                                                                                           \
        if (m.even)                                                                                \
            for (int64_t i = begin; i < end; i++) {                                                \
                int32_t q = rounded(between(x[i] * m.inverse, m.lo, m.hi), true);                  \
                y[i] = expression;                                                                 \
            }                                                                                      \
        else                                                                                       \
            for (int64_t i = begin; i < end; i++) {                                                \
                int32_t q = rounded(between(x[i] * m.inverse, m.lo, m.hi), false);                 \
                y[i] = expression;                                                                 \
            }                                                                                      \
    } while (0)

static void quantize_q8(const float *restrict x, uint8_t *restrict y, mapping m, int64_t begin,
                        int64_t end) {
    EACH((uint8_t)(q + m.zero));
}

static void quantize_f32(const float *restrict x, float *restrict y, mapping m, bool scaled,
                         int64_t begin, int64_t end) {
    float scale = scaled ? m.scale : 1;
    EACH((float)q * scale);
}

/* Part [from, to) of `count` batches of `size`. In three passes, so that batches do not wait for
 * each other's divisions. */
static void convert(const ei_node *node, int64_t batch, int count, int64_t size, int64_t from,
                    int64_t to) {
    const float *x = (const float *)node->in[0]->data + batch * size;
    const ei_tensor *y = node->out[0];
    float min[AT_ONCE], max[AT_ONCE];
    mapping m[AT_ONCE];
    for (int i = 0; i < count; i++) extent(x + i * size, size, &min[i], &max[i]);
    for (int i = 0; i < count; i++) {
        m[i] = map_of(((const ei_dynamic_params *)node->params)->method, min[i], max[i]);
        if (y->dtype == EI_U8) m[i].zero += 128;
    }
    for (int i = 0; i < count; i++) {
        int64_t at = (batch + i) * size;
        if (y->dtype == EI_F32)
            quantize_f32(x + i * size, (float *)y->data + at, m[i], node->n_out == 1, from, to);
        else
            quantize_q8(x + i * size, (uint8_t *)y->data + at, m[i], from, to);
    }
    for (int i = 0; from == 0 && i < count; i++) {
        if (node->n_out > 1) ((float *)node->out[1]->data)[batch + i] = m[i].scale;
        if (node->n_out > 2) ((int32_t *)node->out[2]->data)[batch + i] = m[i].zero;
    }
}

static int run(const ei_node *node, const ei_work *work) {
    const ei_dynamic_params *p = node->params;
    int64_t size = ei_count(node->out[0]) / p->batches, batch = 0, end = p->batches, from = 0;
    int64_t to = size;
    /* Few batches: each worker looks at the whole of every one and writes its part. */
    if (p->batches < work->threads)
        ei_split(size, EI_ALIGN, work, &from, &to);
    else
        ei_split(p->batches, 1, work, &batch, &end);
    if (from == to) return EI_OK;
    for (; batch < end; batch += AT_ONCE)
        convert(node, batch, (int)(end - batch < AT_ONCE ? end - batch : AT_ONCE), size, from, to);
    return EI_OK;
}

const ei_kernel EI_KERNEL(dynamic_quantize) = {.name = EI_KERNEL_NAME("dynamic_quantize"),
                                               .op = EI_OP_DYNAMIC_QUANTIZE,
                                               .parallel = true,
                                               .check = check,
                                               .run = run};
