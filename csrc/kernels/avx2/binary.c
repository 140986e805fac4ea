/* Elementwise operators of two inputs, 16 bytes or 8 floats at a time: the same results as
 * ref/binary.h, which does what is left at the end of a row and what has no vector form. */
#include "../ref/binary.h"

#include <immintrin.h>

/* 8 values of an 8-bit operand less its zero point, or one value in all lanes. */
static inline __m256i load8(const ei_tensor *t, int64_t at, int64_t step, __m256i zero) {
    const uint8_t *p = (const uint8_t *)t->data + at;
    __m256i v;
    if (!step) {
        v = _mm256_set1_epi32(t->dtype == EI_I8 ? (int8_t)*p : *p);
    } else {
        __m128i bytes = _mm_loadl_epi64((const __m128i *)p);
        v = t->dtype == EI_I8 ? _mm256_cvtepi8_epi32(bytes) : _mm256_cvtepu8_epi32(bytes);
    }
    return _mm256_sub_epi32(v, zero);
}

typedef struct constants {
    __m256i a_zero, b_zero, a_mult, b_mult, half, zero, lo, hi;
    __m128i shift;
    __m256 scale, flo, fhi;
    bool mul;
} constants;

static constants prepare(const ei_node *n) {
    const ei_binary_params *p = n->params;
    int32_t zero = n->out[0]->zero;
    return (constants){
        .a_zero = _mm256_set1_epi32(n->in[0]->zero),
        .b_zero = _mm256_set1_epi32(n->in[1]->zero),
        .a_mult = _mm256_set1_epi32(p->a_multiplier),
        .b_mult = _mm256_set1_epi32(p->b_multiplier),
        .half = _mm256_set1_epi32((int32_t)(1u << (p->shift - 1))),
        .shift = _mm_cvtsi32_si128(p->shift),
        .zero = _mm256_set1_epi32(zero),
        .lo = _mm256_set1_epi32(p->act_min),
        .hi = _mm256_set1_epi32(p->act_max),
        .scale = _mm256_set1_ps(p->scale),
        .flo = _mm256_set1_ps((float)(p->act_min - zero)),
        .fhi = _mm256_set1_ps((float)(p->act_max - zero)),
        .mul = n->op == EI_OP_MUL,
    };
}

static inline __m256i combine(const constants *k, __m256i a, __m256i b) {
    if (k->mul) {
        __m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(_mm256_mullo_epi32(a, b)), k->scale);
        v = _mm256_min_ps(_mm256_max_ps(v, k->flo), k->fhi);
        return _mm256_add_epi32(_mm256_cvtps_epi32(v), k->zero);
    }
    /* |a|, |b| <= 255 and multipliers below 2^21: the sum fits. */
    __m256i acc = _mm256_add_epi32(_mm256_mullo_epi32(a, k->a_mult), k->half);
    acc = _mm256_add_epi32(acc, _mm256_mullo_epi32(b, k->b_mult));
    acc = _mm256_add_epi32(_mm256_sra_epi32(acc, k->shift), k->zero);
    return _mm256_min_epi32(_mm256_max_epi32(acc, k->lo), k->hi);
}

static int64_t row_q8(const ei_node *n, const ei_binary_row *r) {
    const ei_tensor *a = n->in[0], *b = n->in[1], *y = n->out[0];
    constants k = prepare(n);
    int64_t i = 0;
    for (; i + 16 <= r->n; i += 16) {
        __m256i v[2];
        for (int h = 0; h < 2; h++) {
            int64_t at = i + 8 * h;
            v[h] = combine(&k, load8(a, r->a + at * r->step_a, r->step_a, k.a_zero),
                           load8(b, r->b + at * r->step_b, r->step_b, k.b_zero));
        }
        __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(v[0], v[1]), 0xd8);
        __m128i low = _mm256_castsi256_si128(words), high = _mm256_extracti128_si256(words, 1);
        __m128i bytes =
            y->dtype == EI_I8 ? _mm_packs_epi16(low, high) : _mm_packus_epi16(low, high);
        _mm_storeu_si128((__m128i *)((uint8_t *)y->data + r->y + i), bytes);
    }
    return i;
}

static inline __m256 apply(int op, __m256 a, __m256 b) {
    switch (op) {
    case EI_OP_ADD:
        return _mm256_add_ps(a, b);
    case EI_OP_SUB:
        return _mm256_sub_ps(a, b);
    case EI_OP_MUL:
        return _mm256_mul_ps(a, b);
    case EI_OP_DIV:
        return _mm256_div_ps(a, b);
    case EI_OP_MAXIMUM:
        return _mm256_max_ps(a, b);
    case EI_OP_MINIMUM:
        return _mm256_min_ps(a, b);
    default:
        return _mm256_mul_ps(_mm256_sub_ps(a, b), _mm256_sub_ps(a, b));
    }
}

static int64_t row_f32(const ei_node *n, const ei_binary_row *r) {
    const ei_binary_params *p = n->params;
    const float *a = (const float *)n->in[0]->data + r->a,
                *b = (const float *)n->in[1]->data + r->b;
    float *y = (float *)n->out[0]->data + r->y;
    __m256 lo = _mm256_set1_ps(p->act_fmin), hi = _mm256_set1_ps(p->act_fmax);
    int64_t i = 0;
    for (; i + 8 <= r->n; i += 8) {
        __m256 u = r->step_a ? _mm256_loadu_ps(a + i) : _mm256_set1_ps(*a);
        __m256 v = r->step_b ? _mm256_loadu_ps(b + i) : _mm256_set1_ps(*b);
        /* The operand order of max and min keeps a NaN, as the comparisons of the definition do. */
        v = _mm256_max_ps(lo, apply(n->op, u, v));
        _mm256_storeu_ps(y + i, _mm256_min_ps(hi, v));
    }
    return i;
}

static void row(const ei_node *n, const ei_binary_row *r) {
    int dtype = n->out[0]->dtype;
    int64_t done = 0;
    bool steps = r->step_a >= 0 && r->step_a <= 1 && r->step_b >= 0 && r->step_b <= 1;
    if (steps && dtype == EI_F32 && n->op != EI_OP_POW)
        done = row_f32(n, r);
    else if (steps && ei_is_q8(n->out[0]) && ei_binary_arithmetic(n) &&
             !((const ei_binary_params *)n->params)->tflite)
        done = row_q8(n, r);
    ei_binary_row rest = {
        r->y + done, r->a + done * r->step_a, r->b + done * r->step_b, r->n - done, r->step_a,
        r->step_b};
    if (rest.n) ei_binary_row_scalar(n, &rest);
}

static int run(const ei_node *n, const ei_work *work) {
    return ei_binary_walk(n, work, row);
}

#define KERNEL(NAME, OP)                                                                           \
    const ei_kernel ei_avx2_##NAME = {                                                             \
        .name = "avx2/" #NAME, .op = OP, .parallel = true, .check = ei_binary_check, .run = run};
KERNEL(add, EI_OP_ADD)
KERNEL(sub, EI_OP_SUB)
KERNEL(mul, EI_OP_MUL)
KERNEL(div, EI_OP_DIV)
KERNEL(maximum, EI_OP_MAXIMUM)
KERNEL(minimum, EI_OP_MINIMUM)
KERNEL(squared_difference, EI_OP_SQUARED_DIFFERENCE)
