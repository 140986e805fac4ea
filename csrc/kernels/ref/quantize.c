/* QUANTIZE: f32 to 8 or 16 bits, and integers of one quantisation to another. 8 bits to 8 bits is a
 * LOOKUP and does not come here, but where the two loops of LiteRT's built-in kernel differ. */
#include <math.h>
#include <string.h>

#include "../requant.h"
#include "elementwise.h"

static bool is_int(const ei_tensor *t) {
    return ei_is_q8(t) || t->dtype == EI_I16 || t->dtype == EI_I32;
}

static int check(const ei_node *node) {
    if (!ei_one_to_one(node, sizeof(ei_quantize_params))) return EI_E_UNSUPPORTED;
    const ei_tensor *x = node->in[0], *y = node->out[0];
    const ei_quantize_params *p = node->params;
    int32_t lo, hi;
    ei_int_range(y->dtype, &lo, &hi);
    bool good = y->zero >= lo && y->zero <= hi && p->shift >= -31 && p->shift <= 30 &&
                (x->dtype == EI_F32 ? ei_is_q8(y) || y->dtype == EI_I16 : is_int(x) && is_int(y));
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

/* Clamped before it is rounded, so that it fits an int; NaN becomes the least value. */
static inline float clamp(float v, int32_t zero, int32_t lo, int32_t hi) {
    float flo = (float)(lo - zero), fhi = (float)(hi - zero);
    v = v > flo ? v : flo;
    return v < fhi ? v : fhi;
}

/* Nearest even of |v| < 2^22 without a call: after adding 1.5 * 2^23 the low bits are the integer.
 */
static inline int32_t nearest(float v) {
    int32_t bits;
    v += 12582912.0f;
    memcpy(&bits, &v, sizeof bits);
    return bits - 0x4b400000;
}

#define FROM_FLOAT(type)                                                                           \
    do {                                                                                           \
        type *restrict y = out->data;                                                              \
        if (even)                                                                                  \
            for (int64_t i = begin; i < end; i++)                                                  \
                y[i] = (type)(nearest(clamp(x[i] * scale, zero, lo, hi)) + zero);                  \
        else                                                                                       \
            for (int64_t i = begin; i < end; i++)                                                  \
                y[i] = (type)((int32_t)roundf(clamp(x[i] / scale, zero, lo, hi)) + zero);          \
    } while (0)

static void from_float(const float *restrict x, const ei_tensor *out, float scale, bool even,
                       int64_t begin, int64_t end) {
    int32_t lo, hi, zero = out->zero;
    ei_int_range(out->dtype, &lo, &hi);
    if (out->dtype == EI_I8)
        FROM_FLOAT(int8_t);
    else if (out->dtype == EI_U8)
        FROM_FLOAT(uint8_t);
    else
        FROM_FLOAT(int16_t);
}

/* LiteRT's built-in kernel makes int16 in vectors of 8; what is left, from `first` on, it divides
 * by the scale in double and rounds ties away from zero. */
static void rest_int16(const float *restrict x, const ei_tensor *out, int64_t first, int64_t end) {
    for (int64_t i = first; i < end; i++) {
        double v = x[i] / (double)out->scale, lo = INT16_MIN - out->zero,
               hi = INT16_MAX - out->zero;
        v = v > lo ? v : lo;
        ((int16_t *)out->data)[i] = (int16_t)((int32_t)round(v < hi ? v : hi) + out->zero);
    }
}

/* Integers; of the plan's default rounding the ties of 8 bits to 8 go upward in whole vectors. */
static void from_int(const ei_node *node, int64_t begin, int64_t end) {
    const ei_tensor *x = node->in[0], *y = node->out[0];
    const ei_quantize_params *p = node->params;
    bool vectors = node->rounding == EI_ROUND_XNNPACK && ei_is_q8(x) && ei_is_q8(y);
    int64_t upward = vectors ? ei_count(y) / 16 * 16 : 0;
    int32_t lo, hi, m = p->multiplier, s = p->shift;
    ei_int_range(y->dtype, &lo, &hi);
    for (int64_t i = begin; i < end; i++) {
        int32_t v = (int32_t)((uint32_t)ei_load_int(x, i) - (uint32_t)x->zero);
        v = i < upward ? ei_requant_tflite_up(v, m, s, y->zero, lo, hi)
                       : ei_requant_tflite(v, m, s, y->zero, lo, hi);
        ei_store_int(y, i, v);
    }
}

static int run(const ei_node *node, const ei_work *work) {
    const ei_tensor *x = node->in[0], *y = node->out[0];
    const ei_quantize_params *p = node->params;
    bool even = node->rounding == EI_ROUND_XNNPACK;
    int64_t begin, end, vectors = ei_count(y);
    ei_elements(node, work, &begin, &end);
    if (x->dtype != EI_F32) {
        from_int(node, begin, end);
        return EI_OK;
    }
    if (even && y->dtype == EI_I16) vectors = vectors / 8 * 8;
    from_float(x->data, y, p->scale, even, begin, end < vectors ? end : vectors);
    if (end > vectors) rest_int16(x->data, y, begin > vectors ? begin : vectors, end);
    return EI_OK;
}

const ei_kernel EI_KERNEL(quantize) = {.name = EI_KERNEL_NAME("quantize"),
                                       .op = EI_OP_QUANTIZE,
                                       .parallel = true,
                                       .check = check,
                                       .run = run};
