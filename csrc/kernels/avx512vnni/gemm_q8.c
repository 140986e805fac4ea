/* CONV_2D and FULLY_CONNECTED in 8 bits as a matrix product on VPDPBUSD.
 *
 * Layout EI_LAYOUT_VNNI_GEMM_Q8 (made by edgeinfer/engine/layouts.py):
 *   in[0] x, u8
 *   in[1] blob, for every group, every block of 32 output channels and every segment of the patch
 *         (see rows.h): [length/4][32][4] int8, zeros beyond the segment and the last channel; its
 *         zero point z is 0 but for models with unsigned asymmetric weights: the true weight is
 *         w - z. Channels of a block in the order of channel_of() (a block of at most 16 channels
 *         in their own), here and below
 *   in[2] i32 [groups * blocks * 32]: bias - x_zero * sum(w - z)
 *   in[3] f32 or f64 scale, or i32 multiplier, in[4] i32 shift (EI_ROUND_TFLITE), as in[2]
 * x quantised at run time (dynamic.h): channels of every block in their own order.
 * A segment may be read up to 3 bytes beyond its end, against zero weights. */
#include "../dynamic.h"
#include "../requant.h"
#include "../rows.h"

#include <immintrin.h>

enum { MR = 14, NR = 32, UNIT = 4 };

/* The left matrix of a tile. */
typedef struct patch {
    const uint8_t *const *at;
    int64_t offset, lda, length4;
    int segments;
} patch;

typedef struct block {
    const int8_t *w;
    const int32_t *bias, *mult, *shift;
    const float *scale;
    const double *real; /* instead of scale, or NULL */
} block;

/* One row: broadcast four activations, multiply with 2 x 16 columns. In assembly because gcc 12
 * keeps an array of accumulators on the stack when this is written with intrinsics: half the
 * speed. */
#define STEP2(a, disp, c0, c1)                                                                     \
    __asm__("vpbroadcastd " disp ", %%zmm31\n\t"                                                   \
            "vpdpbusd %[b0], %%zmm31, %[x0]\n\t"                                                   \
            "vpdpbusd %[b1], %%zmm31, %[x1]"                                                       \
            : [x0] "+v"(c0), [x1] "+v"(c1)                                                         \
            : [b0] "v"(b0), [b1] "v"(b1), [p] "r"(a), [l] "r"(lda)                                 \
            : "zmm31", "memory")
/* The same for a block of at most 16 channels: the second half would be zeros. */
#define STEP1(a, disp, c0)                                                                         \
    __asm__("vpbroadcastd " disp ", %%zmm31\n\t"                                                   \
            "vpdpbusd %[b0], %%zmm31, %[x0]"                                                       \
            : [x0] "+v"(c0)                                                                        \
            : [b0] "v"(b0), [p] "r"(a), [l] "r"(lda)                                               \
            : "zmm31", "memory")

#define ROW(a, disp, i)                                                                            \
    if (rows > (i)) {                                                                              \
        if (wide)                                                                                  \
            STEP2(a, disp, acc0[i], acc1[i]);                                                      \
        else                                                                                       \
            STEP1(a, disp, acc0[i]);                                                               \
    }
#define ROW0(a, i) ROW(a, "(%[p])", i)
#define ROW1(a, i) ROW(a, "(%[p],%[l])", i)
#define ROW2(a, i) ROW(a, "(%[p],%[l],2)", i)

/* rows x 32 accumulators, or x 16; `rows` and `wide` are constants after inlining. */
static inline __attribute__((always_inline)) void
multiply(int rows, bool wide, const patch *p, const block *b, __m512i *acc0, __m512i *acc1) {
    const int8_t *w = b->w;
    int64_t lda = p->lda;
    for (int s = 0; s < p->segments; s++) {
        const uint8_t *a = p->at[s] + p->offset, *a3 = a + 3 * lda, *a6 = a + 6 * lda,
                      *a9 = a + 9 * lda, *a12 = a + 12 * lda;
        for (int64_t k = p->length4; k > 0; k--) {
            __m512i b0 = _mm512_loadu_si512(w), b1 = b0;
            if (wide) b1 = _mm512_loadu_si512(w + 64);
            ROW0(a, 0);
            ROW1(a, 1);
            ROW2(a, 2);
            ROW0(a3, 3);
            ROW1(a3, 4);
            ROW2(a3, 5);
            ROW0(a6, 6);
            ROW1(a6, 7);
            ROW2(a6, 8);
            ROW0(a9, 9);
            ROW1(a9, 10);
            ROW2(a9, 11);
            ROW0(a12, 12);
            ROW1(a12, 13);
            a += 4, a3 += 4, a6 += 4, a9 += 4, a12 += 4, w += 128;
        }
    }
}

typedef struct output {
    uint8_t *y;
    int64_t stride;
    int columns; /* of this block, 1..32 */
    int32_t zero, lo, hi;
    bool exact;                /* EI_ROUND_TFLITE */
    const ei_dynamic *dynamic; /* float output, or NULL */
} output;

/* 16 columns from `at` on as floats; the channels are in their own order. */
static inline __attribute__((always_inline)) void store_floats(int rows, const output *o,
                                                               const __m512i *acc, int at) {
    const ei_dynamic *d = o->dynamic;
    __m512i sums = _mm512_loadu_si512(d->sums + at);
    __m512 scale = _mm512_loadu_ps(d->w_scale + at), bias = _mm512_loadu_ps(d->bias + at);
    __mmask16 mask = (__mmask16)(((1ull << o->columns) - 1) >> at);
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++) {
        __m512i term = _mm512_mullo_epi32(sums, _mm512_set1_epi32(d->factor[i]));
        __m512 v = _mm512_cvtepi32_ps(_mm512_add_epi32(acc[i], term));
        v = _mm512_fmadd_ps(_mm512_mul_ps(v, _mm512_set1_ps(d->scale[i])), scale, bias);
        v = _mm512_min_ps(_mm512_set1_ps(d->hi), _mm512_max_ps(_mm512_set1_ps(d->lo), v));
        _mm512_mask_storeu_ps((float *)(void *)(o->y + i * o->stride) + at, mask, v);
    }
}

/* Channel of accumulator `i` of a block. Where both halves are used, the order is such that packing
 * to bytes gives the natural one. */
static inline int channel_of(bool wide, int i) {
    return wide ? i % 16 / 4 * 8 + i / 16 * 4 + i % 4 : i;
}

static void store_exact(const output *o, const block *b, bool wide, __m512i acc0, __m512i acc1,
                        uint8_t *y) {
    int32_t sums[NR];
    _mm512_storeu_si512(sums, acc0);
    _mm512_storeu_si512(sums + 16, acc1);
    for (int i = 0; i < NR; i++) {
        int c = channel_of(wide, i);
        if (c < o->columns)
            y[c] =
                (uint8_t)ei_requant_tflite(sums[i], b->mult[i], b->shift[i], o->zero, o->lo, o->hi);
    }
}

/* As ei_requant_double. No instruction rounds ties away from zero, but adding the largest number
 * below a half and dropping the fraction does. */
static inline __m256i requant8_double(__m256i acc, const double *scale, const output *o) {
    const __m512d sign = _mm512_set1_pd(-0.0), half = _mm512_set1_pd(0x1.fffffffffffffp-2);
    __m512d v = _mm512_mul_pd(_mm512_cvtepi32_pd(acc), _mm512_loadu_pd(scale));
    v = _mm512_max_pd(v, _mm512_set1_pd(o->lo - o->zero));
    v = _mm512_min_pd(v, _mm512_set1_pd(o->hi - o->zero));
    v = _mm512_add_pd(v, _mm512_or_pd(_mm512_and_pd(v, sign), half));
    return _mm256_add_epi32(_mm512_cvttpd_epi32(v), _mm256_set1_epi32(o->zero));
}

/* 16 outputs, in the order of the accumulators, as words. */
static inline __m256i words_double(__m512i acc, const double *scale, const output *o) {
    __m256i low = requant8_double(_mm512_castsi512_si256(acc), scale, o);
    __m256i high = requant8_double(_mm512_extracti64x4_epi64(acc, 1), scale + 8, o);
    return _mm512_cvtepi32_epi16(_mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1));
}

static __attribute__((noinline)) void store_double(const output *o, const block *b, bool wide,
                                                   __m512i acc0, __m512i acc1, uint8_t *y) {
    __mmask32 mask = (__mmask32)((1ull << o->columns) - 1);
    __m256i w0 = words_double(acc0, b->real, o), w1 = w0;
    if (wide) w1 = words_double(acc1, b->real + 16, o);
    /* channel_of: fours of the first and of the second half by turns */
    const __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    __m512i v = _mm512_inserti64x4(_mm512_castsi256_si512(w0), w1, 1);
    if (wide) v = _mm512_permutexvar_epi64(order, v);
    _mm256_mask_storeu_epi8(y, mask, _mm512_cvtepi16_epi8(v));
}

/* What packing needs: the upper bound holds before it, so that no conversion overflows upwards; the
 * packing itself saturates at 0. */
typedef struct packer {
    __m512 hi;
    __m512i zero, lo;
} packer;

static inline __m512i scaled(__m512i acc, const float *scale, const packer *p) {
    __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(acc), _mm512_loadu_ps(scale));
    return _mm512_cvtps_epi32(_mm512_min_ps(v, p->hi));
}

static inline __m512i words(__m512i v0, __m512i v1, const packer *p) {
    return _mm512_adds_epi16(_mm512_packs_epi32(v0, v1), p->zero);
}

static inline __m512i bytes(__m512i w0, __m512i w1, const packer *p) {
    return _mm512_max_epu8(_mm512_packus_epi16(w0, w1), p->lo);
}

/* Two rows of 32 at a time. */
static inline __attribute__((always_inline)) void store_wide(int rows, const output *o,
                                                             const block *b, const packer *p,
                                                             const __m512i *acc0,
                                                             const __m512i *acc1) {
    const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    __mmask32 mask = (__mmask32)((1ull << o->columns) - 1);
#pragma GCC unroll 7
    for (int i = 0; i < rows; i += 2) {
        int j = i + 1 < rows ? i + 1 : i;
        __m512i w0 = words(scaled(acc0[i], b->scale, p), scaled(acc1[i], b->scale + 16, p), p),
                w1 = w0;
        if (j > i) w1 = words(scaled(acc0[j], b->scale, p), scaled(acc1[j], b->scale + 16, p), p);
        __m512i v = _mm512_permutexvar_epi64(order, bytes(w0, w1, p));
        uint8_t *y = o->y + i * o->stride;
        _mm256_mask_storeu_epi8(y, mask, _mm512_castsi512_si256(v));
        if (j > i) _mm256_mask_storeu_epi8(y + o->stride, mask, _mm512_extracti64x4_epi64(v, 1));
    }
}

/* Four rows of 16 at a time. */
static inline __attribute__((always_inline)) void
store_narrow(int rows, const output *o, const block *b, const packer *p, const __m512i *acc) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __mmask16 mask = (__mmask16)((1u << o->columns) - 1);
#pragma GCC unroll 4
    for (int i = 0; i < rows; i += 4) {
        __m512i v[4];
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) v[k] = i + k < rows ? scaled(acc[i + k], b->scale, p) : v[0];
        __m512i all = bytes(words(v[0], v[1], p), words(v[2], v[3], p), p);
        all = _mm512_permutexvar_epi32(order, all);
        uint8_t *y = o->y + i * o->stride;
        _mm_mask_storeu_epi8(y, mask, _mm512_castsi512_si128(all));
        if (i + 1 < rows)
            _mm_mask_storeu_epi8(y + o->stride, mask, _mm512_extracti32x4_epi32(all, 1));
        if (i + 2 < rows)
            _mm_mask_storeu_epi8(y + 2 * o->stride, mask, _mm512_extracti32x4_epi32(all, 2));
        if (i + 3 < rows)
            _mm_mask_storeu_epi8(y + 3 * o->stride, mask, _mm512_extracti32x4_epi32(all, 3));
    }
}

static inline __attribute__((always_inline)) void store(int rows, bool wide, const output *o,
                                                        const block *b, const __m512i *acc0,
                                                        const __m512i *acc1) {
    if (o->exact) {
#pragma GCC unroll 14
        for (int i = 0; i < rows; i++)
            store_exact(o, b, wide, acc0[i], wide ? acc1[i] : acc0[i], o->y + i * o->stride);
        return;
    }
    if (o->dynamic) {
        store_floats(rows, o, acc0, 0);
        if (wide) store_floats(rows, o, acc1, 16);
        return;
    }
    if (b->real) {
#pragma GCC unroll 14
        for (int i = 0; i < rows; i++)
            store_double(o, b, wide, acc0[i], wide ? acc1[i] : acc0[i], o->y + i * o->stride);
        return;
    }
    packer p = {_mm512_set1_ps((float)(o->hi - o->zero)), _mm512_set1_epi16((short)o->zero),
                _mm512_set1_epi8((char)o->lo)};
    if (wide)
        store_wide(rows, o, b, &p, acc0, acc1);
    else
        store_narrow(rows, o, b, &p, acc0);
}

/* rows x 32 outputs; row_term[i] is added to every accumulator of row i, or NULL. */
static inline __attribute__((always_inline)) void tile(int rows, bool wide, const patch *p,
                                                       const block *b, const int32_t *row_term,
                                                       const output *o) {
    __m512i acc0[MR], acc1[MR];
    __m512i bias0 = _mm512_loadu_si512(b->bias), bias1 = _mm512_loadu_si512(b->bias + 16);
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++) acc0[i] = bias0, acc1[i] = bias1;
    multiply(rows, wide, p, b, acc0, acc1);
    if (row_term) {
#pragma GCC unroll 14
        for (int i = 0; i < rows; i++) {
            __m512i extra = _mm512_set1_epi32(row_term[i]);
            acc0[i] = _mm512_add_epi32(acc0[i], extra);
            if (wide) acc1[i] = _mm512_add_epi32(acc1[i], extra);
        }
    }
    store(rows, wide, o, b, acc0, acc1);
}

#define TILE(n)                                                                                    \
    static __attribute__((noinline)) void tile##n(const patch *p, const block *b,                  \
                                                  const int32_t *row_term, const output *o) {      \
        if (o->columns > 16)                                                                       \
            tile(n, true, p, b, row_term, o);                                                      \
        else                                                                                       \
            tile(n, false, p, b, row_term, o);                                                     \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)
TILE(7)
TILE(8)
TILE(9)
TILE(10)
TILE(11)
TILE(12)
TILE(13)
TILE(14)

typedef void (*tile_fn)(const patch *, const block *, const int32_t *, const output *);
static const tile_fn tiles[MR] = {tile1, tile2, tile3,  tile4,  tile5,  tile6,  tile7,
                                  tile8, tile9, tile10, tile11, tile12, tile13, tile14};

static int64_t blocks_of(const ei_conv *g) {
    return (g->group_oc + NR - 1) / NR;
}

static int check(const ei_node *n) {
    ei_conv g;
    if (!ei_conv_geometry(n, &g) || n->in[0]->dtype != EI_U8) return EI_E_UNSUPPORTED;
    const ei_tensor *w = n->in[1];
    int64_t columns = g.p->groups * blocks_of(&g) * NR;
    bool good = w->dtype == EI_BLOB && w->constant &&
                (int64_t)w->bytes == columns * ei_rows_depth(&g, UNIT) &&
                ei_conv_constants(n, &g, columns);
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static size_t scratch(const ei_node *n) {
    ei_conv g;
    ei_rows r;
    ei_conv_geometry(n, &g);
    ei_rows_plan(&r, &g, n->in[0], MR, 1, UNIT, NULL);
    return ei_rows_scratch(&r);
}

/* -z * sum of the patch, which is what asymmetric weights add to each accumulator. */
static void row_terms(const patch *p, int64_t length, int rows, int32_t z, int32_t *terms) {
    for (int i = 0; i < rows; i++) {
        int32_t sum = 0;
        for (int s = 0; s < p->segments; s++) {
            const uint8_t *a = p->at[s] + p->offset + i * p->lda;
            for (int64_t k = 0; k < length; k++) sum += a[k];
        }
        terms[i] = (int32_t)(0u - (uint32_t)z * (uint32_t)sum);
    }
}

static int run(const ei_node *n, const ei_work *work) {
    ei_conv g;
    ei_rows r;
    ei_conv_geometry(n, &g);
    ei_rows_plan(&r, &g, n->in[0], MR, 1, UNIT, NULL);
    ei_rows_begin(&r, work->scratch);
    const ei_tensor *w = n->in[1], *y = n->out[0];
    bool tflite = ei_conv_fixed_point(n), dynamic = ei_is_dynamic(n);
    int64_t blocks = blocks_of(&g), depth = ei_rows_depth(&g, UNIT), size = dynamic ? 4 : 1;
    ei_share s = ei_rows_share(&r, blocks, work);
    patch p = {.at = r.at, .lda = r.lda, .length4 = (r.length + 3) / 4, .segments = r.segments};
    output o = {.zero = y->zero, .lo = g.p->act_min, .hi = g.p->act_max, .exact = tflite};
    o.stride = g.oc * size;
    ei_dynamic d;
    if (dynamic) o.dynamic = &d, r.fills = n->in[5]->data;
    int32_t terms[MR];
    for (int64_t t = s.row; t < s.row_end; t++) {
        ei_span span = ei_rows_tile(&r, t);
        if (dynamic) ei_dynamic_rows(&d, n, &g, span.pixel, span.pixels);
        for (int group = 0; span.pixels && group < g.p->groups; group++) {
            p.offset = span.offset + (int64_t)group * g.group_c;
            if (w->zero) row_terms(&p, r.length, span.pixels, w->zero, terms);
            for (int64_t j = s.block; j < s.block_end; j++) {
                int64_t at = group * blocks + j, column = j * NR;
                block b = {.w = (const int8_t *)w->data + at * depth * NR,
                           .bias = (const int32_t *)n->in[2]->data + at * NR};
                if (dynamic) {
                    b.bias = ei_dynamic_start;
                    ei_dynamic_columns(&d, n, &g, at * NR);
                } else if (tflite) {
                    b.mult = (const int32_t *)n->in[3]->data + at * NR;
                    b.shift = (const int32_t *)n->in[4]->data + at * NR;
                } else if (ei_conv_double(n)) {
                    b.real = (const double *)n->in[3]->data + at * NR;
                } else {
                    b.scale = (const float *)n->in[3]->data + at * NR;
                }
                o.columns = (int)(g.group_oc - column < NR ? g.group_oc - column : NR);
                o.y = (uint8_t *)y->data + (span.pixel * g.oc + group * g.group_oc + column) * size;
                tiles[span.pixels - 1](&p, &b, w->zero ? terms : NULL, &o);
            }
        }
    }
    return EI_OK;
}

#define KERNEL(NAME, OP)                                                                           \
    const ei_kernel ei_avx512vnni_##NAME##_q8 = {                                                  \
        .name = "avx512vnni/" #NAME "_q8",                                                         \
        .op = OP,                                                                                  \
        .layout = EI_LAYOUT_VNNI_GEMM_Q8,                                                          \
        .parallel = true,                                                                          \
        .check = check,                                                                            \
        .scratch = scratch,                                                                        \
        .run = run,                                                                                \
    };
KERNEL(conv_2d, EI_OP_CONV_2D)
KERNEL(fully_connected, EI_OP_FULLY_CONNECTED)
