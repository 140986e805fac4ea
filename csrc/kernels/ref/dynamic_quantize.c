/* DYNAMIC_QUANTIZE: floats to 8 bits with a scale and a zero point taken from the values
 * themselves, one pair for each of `batches` equal parts of the input. See ei_dynamic_params. */
#include <math.h>

#include "../dynamic.h"
#include "dynamic_quantize.h"
#include "elementwise.h"

enum { LANES = 32, AT_ONCE = 32 };

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
           (outputs < 2 || ei_dynamic_vector(node->out[1], EI_F32, p->batches, false)) &&
           (outputs < 3 || ei_dynamic_vector(node->out[2], EI_I32, p->batches, false));
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

#ifndef EI_EXTENT
#define EI_EXTENT extent
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

/* q = rounded(x * inverse) + zero in -128..127, or -127..127 where symmetric, of AT_ONCE batches.
 */
typedef struct mappings {
    float inverse[AT_ONCE], scale[AT_ONCE];
    float lo[AT_ONCE], hi[AT_ONCE]; /* least and greatest q - zero */
    int32_t zero[AT_ONCE];
} mappings;

static inline float between(float v, float lo, float hi) {
    v = v > lo ? v : lo; /* NaN becomes lo */
    return v < hi ? v : hi;
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

/* XNNPACK, quantization.h: all in float. Without branches, so that it is done for many at once. */
static void map_xnnpack(mappings *m, const float *min, const float *max, int n) {
    for (int i = 0; i < n; i++) {
        float inverse = 255.0f / (max[i] - min[i]);
        inverse = min[i] == max[i] ? 1.0f : inverse;
        float low = min[i] * inverse, high = max[i] * inverse;
        float below = -128.0f - low, above = 127.0f - high;
        float zero = (-128.0f + low) + (127.0f + high) > 0 ? below : above;
        m->zero[i] = rounded(between(zero, -128.0f, 127.0f), true);
        m->inverse[i] = inverse;
        m->scale[i] = 1.0f / inverse;
    }
}

/* TFLite, tensor_utils: AsymmetricQuantizeFloats. */
static void map_asymmetric(mappings *m, const float *min, const float *max, int n) {
    for (int i = 0; i < n; i++) {
        m->inverse[i] = 0, m->scale[i] = 1, m->zero[i] = 0;
        if (min[i] == max[i]) continue;
        double scale = (double)(max[i] - min[i]) / 255.0, low = min[i] / scale;
        double high = max[i] / scale,
               zero = 128.0 - low < 127.0 + high ? -128.0 - low : 127.0 - high;
        zero = zero > -128.0 ? zero : -128.0;
        m->zero[i] = (int32_t)round(zero < 127.0 ? zero : 127.0);
        m->scale[i] = (float)scale;
        m->inverse[i] = m->scale[i] == 0 ? 0 : (float)(1.0 / m->scale[i]);
    }
}

/* TFLite, tensor_utils: SymmetricQuantizeFloats. */
static void map_symmetric(mappings *m, const float *min, const float *max, int n) {
    for (int i = 0; i < n; i++) {
        float range = -min[i] > max[i] ? -min[i] : max[i];
        m->inverse[i] = range == 0 ? 0 : 127.0f / range;
        m->scale[i] = range == 0 ? 1 : range / 127.0f;
        m->zero[i] = 0;
    }
}

static void map(mappings *m, int32_t method, const float *min, const float *max, int n) {
    if (method == EI_DYNAMIC_XNNPACK)
        map_xnnpack(m, min, max, n);
    else if (method == EI_DYNAMIC_ASYMMETRIC)
        map_asymmetric(m, min, max, n);
    else
        map_symmetric(m, min, max, n);
    float least = method == EI_DYNAMIC_SYMMETRIC ? -127.0f : -128.0f;
    for (int i = 0; i < n; i++) {
        m->lo[i] = least - (float)m->zero[i];
        m->hi[i] = 127.0f - (float)m->zero[i];
    }
}

static ei_mapping mapping_of(const mappings *m, int i, const ei_node *node) {
    const ei_dynamic_params *p = node->params;
    int32_t offset = node->out[0]->dtype == EI_U8 ? 128 : 0;
    return (ei_mapping){m->inverse[i], m->lo[i], m->hi[i], m->zero[i] + offset,
                        p->method == EI_DYNAMIC_XNNPACK};
}

/* y = q + zero for bytes; q * scale for floats. */
#define EACH(expression)                                                                           \
    do {                                                                                           \
        if (m->even)                                                                               \
            for (int64_t i = 0; i < n; i++) {                                                      \
                int32_t q = rounded(between(x[i] * m->inverse, m->lo, m->hi), true);               \
                y[i] = expression;                                                                 \
            }                                                                                      \
        else                                                                                       \
            for (int64_t i = 0; i < n; i++) {                                                      \
                int32_t q = rounded(between(x[i] * m->inverse, m->lo, m->hi), false);              \
                y[i] = expression;                                                                 \
            }                                                                                      \
    } while (0)

#ifndef EI_QUANTIZE
#define EI_QUANTIZE quantize_q8
static void quantize_q8(const float *restrict x, uint8_t *restrict y, int64_t n,
                        const ei_mapping *m) {
    EACH((uint8_t)(q + m->zero));
}
#endif

static void quantize_f32(const float *restrict x, float *restrict y, int64_t n, const ei_mapping *m,
                         float scale) {
    EACH((float)q * scale);
}

/* Part [from, to) of `count` batches of `size`. In three passes, so that batches do not wait for
 * each other's divisions. */
static void convert(const ei_node *node, int64_t batch, int count, int64_t size, int64_t from,
                    int64_t to) {
    const float *x = (const float *)node->in[0]->data + batch * size;
    const ei_tensor *y = node->out[0];
    float min[AT_ONCE], max[AT_ONCE];
    mappings all;
    for (int i = 0; i < count; i++) EI_EXTENT(x + i * size, size, &min[i], &max[i]);
    map(&all, ((const ei_dynamic_params *)node->params)->method, min, max, count);
    for (int i = 0; i < count; i++) {
        int64_t at = (batch + i) * size;
        const float *part = x + i * size + from;
        ei_mapping m = mapping_of(&all, i, node);
        if (y->dtype == EI_F32)
            quantize_f32(part, (float *)y->data + at + from, to - from, &m,
                         node->n_out == 1 ? all.scale[i] : 1);
        else
            EI_QUANTIZE(part, (uint8_t *)y->data + at + from, to - from, &m);
        if (from == 0 && node->n_out > 1) ((float *)node->out[1]->data)[batch + i] = all.scale[i];
        if (from == 0 && node->n_out > 2) ((int32_t *)node->out[2]->data)[batch + i] = m.zero;
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
