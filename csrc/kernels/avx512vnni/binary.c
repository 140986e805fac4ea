/* ADD, SUB and MUL of 8-bit tensors, 64 elements at a time: the same results as ref/binary.h, which
 * does the fixed-point rounding. */
#include "../ref/binary.h"
#include "fixed_point.h"

enum { REPEATED = 1024 }; /* bytes of short rows that are widened together */

static int check(const ei_node *n) {
    bool good = ei_binary_check(n) == EI_OK && ei_is_q8(n->out[0]) && ei_binary_arithmetic(n);
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

/* Bytes are taken as unsigned: int8 by flipping the sign bit and moving the zero points. */
typedef struct constants {
    __m512i flip, start, a_mult, b_mult, a_zero, b_zero, zero, lo, hi;
    __m128i shift;
    __m512 scale, top;
    const ei_binary_params *p;
    int op;
} constants;

/* What becomes of two numbers: in XNNPACK's forms, or in TFLite's (params.tflite). */
typedef enum form { SUM, PRODUCT, FIXED } form;

static constants prepare(const ei_node *n) {
    const ei_binary_params *p = n->params;
    int32_t move = n->out[0]->dtype == EI_I8 ? 128 : 0, zero = n->out[0]->zero;
    int32_t a_zero = n->in[0]->zero + move, b_zero = n->in[1]->zero + move;
    /* (a - a_zero) * a_multiplier + ... + half in one constant; it may wrap, the sum does not. */
    uint32_t start = (1u << (p->shift - 1)) - (uint32_t)a_zero * (uint32_t)p->a_multiplier -
                     (uint32_t)b_zero * (uint32_t)p->b_multiplier;
    return (constants){.flip = _mm512_set1_epi8((char)move),
                       .start = _mm512_set1_epi32((int32_t)start),
                       .a_mult = _mm512_set1_epi32(p->a_multiplier),
                       .b_mult = _mm512_set1_epi32(p->b_multiplier),
                       .a_zero = _mm512_set1_epi32(a_zero),
                       .b_zero = _mm512_set1_epi32(b_zero),
                       .zero = _mm512_set1_epi16((short)(zero + move)),
                       .lo = _mm512_set1_epi8((char)(p->act_min + move)),
                       .hi = _mm512_set1_epi8((char)(p->act_max + move)),
                       .shift = _mm_cvtsi32_si128(p->shift),
                       .scale = _mm512_set1_ps(p->scale),
                       .top = _mm512_set1_ps((float)(p->act_max - zero)),
                       .p = p,
                       .op = n->op};
}

/* 64 bytes as four times 16 numbers, in the order that packing undoes. */
static inline void widen(__m512i v, __m512i out[4]) {
    const __m512i zero = _mm512_setzero_si512();
    __m512i low = _mm512_unpacklo_epi8(v, zero), high = _mm512_unpackhi_epi8(v, zero);
    out[0] = _mm512_unpacklo_epi16(low, zero);
    out[1] = _mm512_unpackhi_epi16(low, zero);
    out[2] = _mm512_unpacklo_epi16(high, zero);
    out[3] = _mm512_unpackhi_epi16(high, zero);
}

/* As ei_binary_q8() without the zero point; the bytes are cut to their limits later. */
static inline __m512i fixed(const constants *k, __m512i a, __m512i b) {
    const ei_binary_params *p = k->p;
    a = _mm512_sub_epi32(a, k->a_zero), b = _mm512_sub_epi32(b, k->b_zero);
    if (k->op == EI_OP_MUL) {
        a = _mm512_mullo_epi32(a, b);
    } else {
        a = ei_mul_quantized16(_mm512_slli_epi32(a, 20), p->a_multiplier, p->a_shift);
        b = ei_mul_quantized16(_mm512_slli_epi32(b, 20), p->b_multiplier, p->b_shift);
        a = k->op == EI_OP_SUB ? _mm512_sub_epi32(a, b) : _mm512_add_epi32(a, b);
    }
    return ei_mul_quantized16(a, p->out_multiplier, p->out_shift);
}

static inline __attribute__((always_inline)) __m512i combine(const constants *k, form f, __m512i a,
                                                             __m512i b) {
    if (f == FIXED) return fixed(k, a, b);
    if (f == PRODUCT) {
        a = _mm512_mullo_epi32(_mm512_sub_epi32(a, k->a_zero), _mm512_sub_epi32(b, k->b_zero));
        __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(a), k->scale);
        /* A float too small converts to INT32_MIN, one too large too: that end is cut. */
        return _mm512_cvtps_epi32(_mm512_min_ps(v, k->top));
    }
    a = _mm512_add_epi32(_mm512_mullo_epi32(a, k->a_mult), _mm512_mullo_epi32(b, k->b_mult));
    return _mm512_sra_epi32(_mm512_add_epi32(a, k->start), k->shift);
}

typedef struct row {
    const uint8_t *a, *b;
    uint8_t *y;
    int64_t n, step_a, step_b;
} row;

static inline __m512i load(const uint8_t *p, int64_t i, int64_t step, __mmask64 mask) {
    return step ? _mm512_maskz_loadu_epi8(mask, p + i) : _mm512_set1_epi8((char)*p);
}

static inline __attribute__((always_inline)) void run_row(const constants *k, form f,
                                                          const row *r) {
    for (int64_t i = 0; i < r->n; i += 64) {
        __mmask64 mask = r->n - i >= 64 ? ~0ull : (1ull << (r->n - i)) - 1;
        __m512i a[4], b[4];
        widen(_mm512_xor_si512(load(r->a, i, r->step_a, mask), k->flip), a);
        widen(_mm512_xor_si512(load(r->b, i, r->step_b, mask), k->flip), b);
        for (int j = 0; j < 4; j++) a[j] = combine(k, f, a[j], b[j]);
        __m512i low = _mm512_adds_epi16(_mm512_packs_epi32(a[0], a[1]), k->zero);
        __m512i high = _mm512_adds_epi16(_mm512_packs_epi32(a[2], a[3]), k->zero);
        __m512i v = _mm512_packus_epi16(low, high);
        v = _mm512_min_epu8(_mm512_max_epu8(v, k->lo), k->hi);
        _mm512_mask_storeu_epi8(r->y + i, mask, _mm512_xor_si512(v, k->flip));
    }
}

static __attribute__((noinline)) void one_row(const constants *k, const row *r) {
    if (k->p->tflite)
        run_row(k, FIXED, r);
    else if (k->op == EI_OP_MUL)
        run_row(k, PRODUCT, r);
    else
        run_row(k, SUM, r);
}

/* Rows that all take the same n elements of an operand: several of them as one, with that operand
 * repeated. */
static void repeated(const constants *k, row r, bool b_repeats, int64_t rows) {
    uint8_t copy[REPEATED];
    int64_t n = r.n, most = REPEATED / n < rows ? REPEATED / n : rows;
    const uint8_t *from = b_repeats ? r.b : r.a;
    for (int64_t i = 0; i < most; i++) memcpy(copy + i * n, from, (size_t)n);
    *(b_repeats ? &r.b : &r.a) = copy;
    for (int64_t done = 0; done < rows; done += most) {
        int64_t count = rows - done < most ? rows - done : most;
        r.n = count * n;
        one_row(k, &r);
        r.y += r.n, r.a += b_repeats ? r.n : 0, r.b += b_repeats ? 0 : r.n;
    }
}

static int run(const ei_node *n, const ei_work *work) {
    const ei_tensor *y = n->out[0];
    int64_t dims[EI_MAX_DIMS], a[EI_MAX_DIMS], b[EI_MAX_DIMS], begin, end;
    ei_full_dims(y, dims);
    ei_broadcast_strides(n->in[0], y, a);
    ei_broadcast_strides(n->in[1], y, b);
    int rank = ei_binary_join(dims, a, b);
    int64_t length = dims[rank - 1], sa = a[rank - 1], sb = b[rank - 1];
    constants k = prepare(n);
    row r = {n->in[0]->data, n->in[1]->data, y->data, length, sa, sb};
    if (rank == 1) {
        ei_split(length, EI_ALIGN, work, &begin, &end);
        r.a += begin * sa, r.b += begin * sb, r.y += begin, r.n = end - begin;
        one_row(&k, &r);
        return EI_OK;
    }
    ei_split(length ? ei_count(y) / length : 0, 1, work, &begin, &end);
    r.y += begin * length;
    bool b_repeats = !b[0] && sb && a[0] == length, a_repeats = !a[0] && sa && b[0] == length;
    if (rank == 2 && sa == sb && length <= REPEATED / 2 && (a_repeats || b_repeats)) {
        r.a += begin * a[0], r.b += begin * b[0];
        if (end > begin) repeated(&k, r, b_repeats, end - begin);
        return EI_OK;
    }
    for (int64_t i = begin; i < end; i++, r.y += length) {
        r.a = (const uint8_t *)n->in[0]->data + ei_binary_start(rank, dims, a, i);
        r.b = (const uint8_t *)n->in[1]->data + ei_binary_start(rank, dims, b, i);
        one_row(&k, &r);
    }
    return EI_OK;
}

#define KERNEL(NAME, OP)                                                                           \
    const ei_kernel ei_avx512vnni_##NAME = {                                                       \
        .name = "avx512vnni/" #NAME, .op = OP, .parallel = true, .check = check, .run = run};
KERNEL(add_q8, EI_OP_ADD)
KERNEL(sub_q8, EI_OP_SUB)
KERNEL(mul_q8, EI_OP_MUL)
