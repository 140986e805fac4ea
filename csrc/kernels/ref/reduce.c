/* MEAN, SUM, REDUCE_MAX, REDUCE_MIN, REDUCE_PROD over neighbouring axes: the definition. */
#include "../requant.h"
#include "elementwise.h"

static int check(const ei_node *n) {
    if (n->n_in != 1 || n->n_out != 1 || !n->in[0] || n->params_bytes != sizeof(ei_reduce_params))
        return EI_E_UNSUPPORTED;
    const ei_tensor *x = n->in[0], *y = n->out[0];
    const ei_reduce_params *p = n->params;
    bool good = p->outer > 0 && p->reduced > 0 && p->inner > 0 && x->dtype == y->dtype &&
                (int64_t)p->outer * p->inner == ei_count(y) && ei_count(x) % p->reduced == 0 &&
                ei_count(x) / p->reduced == ei_count(y) && p->shift >= -31 && p->shift <= 30;
    bool typed = y->dtype == EI_F32 || y->dtype == EI_I32 ||
                 (ei_is_q8(y) && n->op != EI_OP_REDUCE_PROD && p->reduced < 1 << 23);
    return good && typed ? EI_OK : EI_E_UNSUPPORTED;
}

static float reduce_f32(const ei_node *n, int64_t at) {
    const ei_reduce_params *p = n->params;
    const float *x = (const float *)n->in[0]->data + at;
    float acc = x[0];
    for (int64_t i = 1; i < p->reduced; i++) {
        float v = x[i * p->inner];
        switch (n->op) {
        case EI_OP_REDUCE_MAX:
            acc = v > acc ? v : acc;
            break;
        case EI_OP_REDUCE_MIN:
            acc = v < acc ? v : acc;
            break;
        default:
            acc *= v;
        }
    }
    return acc;
}

/* The zero point of the output and that of the sum, as XNNPACK joins them: in float. */
static float joined_zero(const ei_node *n) {
    const ei_reduce_params *p = n->params;
    return (float)n->out[0]->zero - (float)p->reduced * (float)n->in[0]->zero * p->scale;
}

static int32_t finish_q8(const ei_node *n, int32_t sum) {
    const ei_reduce_params *p = n->params;
    int32_t lo, hi;
    ei_int_range(n->out[0]->dtype, &lo, &hi);
    if (n->rounding == EI_ROUND_TFLITE) {
        sum = (int32_t)((uint32_t)sum - (uint32_t)p->reduced * (uint32_t)n->in[0]->zero);
        return ei_requant_tflite(sum, p->multiplier, p->shift, n->out[0]->zero, lo, hi);
    }
    float v = (float)sum * p->scale + joined_zero(n);
    v = v > (float)lo ? v : (float)lo;
    return (int32_t)lrintf(v < (float)hi ? v : (float)hi);
}

enum { CHUNK = 64, PARTS = 32 };

/* The sum of a row. */
static int32_t row_q8(const uint8_t *x, int64_t n, bool is_signed) {
    int32_t sum = 0;
    if (is_signed)
        for (int64_t i = 0; i < n; i++) sum += (int8_t)x[i];
    else
        for (int64_t i = 0; i < n; i++) sum += x[i];
    return sum;
}

/* The same of floats: PARTS sums, of every PARTS-th element each, then their sum. */
static float row_f32(const float *x, int64_t n) {
    float parts[PARTS] = {0}, sum = 0;
    int64_t i = 0;
    for (; i + PARTS <= n; i += PARTS)
        for (int k = 0; k < PARTS; k++) parts[k] += x[i + k];
    for (int k = 0; i + k < n; k++) parts[k] += x[i + k];
    for (int k = 0; k < PARTS; k++) sum += parts[k];
    return sum;
}

/* Sums of `count` neighbouring columns of 8-bit values: row by row, so that the compiler can use
 * vectors. */
static void sum_q8(const ei_node *n, int64_t at, int count, int32_t *acc) {
    const ei_reduce_params *p = n->params;
    const ei_tensor *x = n->in[0];
    if (p->inner == 1) {
        *acc = row_q8((const uint8_t *)x->data + at, p->reduced, x->dtype == EI_I8);
        return;
    }
    for (int c = 0; c < count; c++) acc[c] = 0;
    for (int64_t i = 0; i < p->reduced; i++, at += p->inner) {
        const uint8_t *u8 = (const uint8_t *)x->data + at;
        const int8_t *i8 = (const int8_t *)u8;
        if (x->dtype == EI_I8)
            for (int c = 0; c < count; c++) acc[c] += i8[c];
        else
            for (int c = 0; c < count; c++) acc[c] += u8[c];
    }
}

static void sum_f32(const ei_node *n, int64_t at, int count, float *acc) {
    const ei_reduce_params *p = n->params;
    const float *x = (const float *)n->in[0]->data + at;
    if (p->inner == 1) {
        *acc = row_f32(x, p->reduced);
        return;
    }
    for (int c = 0; c < count; c++) acc[c] = x[c];
    for (int64_t i = 1; i < p->reduced; i++) {
        x += p->inner;
        for (int c = 0; c < count; c++) acc[c] += x[c];
    }
}

/* MEAN and SUM of `count` columns from element `at` on, to output `to` on. */
static void sum_chunk(const ei_node *n, int64_t at, int count, int64_t to) {
    const ei_reduce_params *p = n->params;
    const ei_tensor *y = n->out[0];
    if (y->dtype == EI_F32) {
        float acc[CHUNK];
        sum_f32(n, at, count, acc);
        for (int c = 0; c < count; c++)
            ((float *)y->data)[to + c] = n->op == EI_OP_MEAN ? acc[c] / (float)p->reduced : acc[c];
        return;
    }
    int32_t acc[CHUNK];
    sum_q8(n, at, count, acc);
    for (int c = 0; c < count; c++) ei_store_int(y, to + c, finish_q8(n, acc[c]));
}

static int32_t reduce_int(const ei_node *n, int64_t at) {
    const ei_reduce_params *p = n->params;
    const ei_tensor *x = n->in[0];
    int32_t acc = ei_load_int(x, at);
    for (int64_t i = 1; i < p->reduced; i++) {
        int32_t v = ei_load_int(x, at + i * p->inner);
        switch (n->op) {
        case EI_OP_REDUCE_MAX:
            acc = v > acc ? v : acc;
            break;
        case EI_OP_REDUCE_MIN:
            acc = v < acc ? v : acc;
            break;
        case EI_OP_REDUCE_PROD:
            acc = (int32_t)((uint32_t)acc * (uint32_t)v);
            break;
        default:
            acc = (int32_t)((uint32_t)acc + (uint32_t)v);
        }
    }
    return n->op == EI_OP_MEAN ? acc / p->reduced : acc;
}

static int run(const ei_node *n, const ei_work *work) {
    const ei_reduce_params *p = n->params;
    const ei_tensor *y = n->out[0];
    bool sums = (n->op == EI_OP_MEAN || n->op == EI_OP_SUM) && y->dtype != EI_I32;
    int64_t i, end;
    ei_split(ei_count(y), 16, work, &i, &end);
    while (i < end) {
        int64_t column = i % p->inner, at = i / p->inner * p->reduced * p->inner + column;
        if (sums) {
            int64_t left = p->inner - column < end - i ? p->inner - column : end - i;
            int count = (int)(left < CHUNK ? left : CHUNK);
            sum_chunk(n, at, count, i);
            i += count;
            continue;
        }
        if (y->dtype == EI_F32)
            ((float *)y->data)[i] = reduce_f32(n, at);
        else
            ei_store_int(y, i, reduce_int(n, at));
        i++;
    }
    return EI_OK;
}

#define KERNEL(NAME, OP)                                                                           \
    const ei_kernel EI_KERNEL(NAME) = {                                                            \
        .name = EI_KERNEL_NAME(#NAME), .op = OP, .parallel = true, .check = check, .run = run};
KERNEL(mean, EI_OP_MEAN)
KERNEL(sum, EI_OP_SUM)
KERNEL(reduce_max, EI_OP_REDUCE_MAX)
KERNEL(reduce_min, EI_OP_REDUCE_MIN)
KERNEL(reduce_prod, EI_OP_REDUCE_PROD)
