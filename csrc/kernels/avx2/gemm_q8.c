/* CONV_2D and FULLY_CONNECTED in 8 bits as a matrix product of 16-bit pairs on VPMADDWD, which is
 * exact: VPMADDUBSW would be faster but saturates.
 *
 * Layout EI_LAYOUT_AVX2_GEMM_Q8:
 *   in[0] x, i8 | u8
 *   in[1] blob, for every group, block of 16 output channels and segment of the patch (rows.h):
 *         [length/2][16][2] int16, weights less their zero point, zeros beyond the segment and the
 *         last channel
 *   in[2] i32 [groups * blocks * 16]: bias - x_zero * sum of the weights
 *   in[3] f32 or f64 scale or i32 multiplier, in[4] i32 shift, as in[2]
 * x quantised at run time: see dynamic.h.
 * Rows are widened to int16 as they are copied into the ring. */
#include "../dynamic.h"
#include "../requant.h"
#include "../rows.h"

#include <immintrin.h>

enum { MR = 6, NR = 16, UNIT = 2 };

/* The left matrix of a tile. */
typedef struct patch {
    const uint8_t *const *at;
    int64_t offset, lda, pairs; /* bytes, elements, of a segment */
    int segments;
} patch;

typedef struct block {
    const int16_t *w;
    const int32_t *bias, *mult, *shift;
    const float *scale;
    const double *real; /* instead of scale, or NULL */
} block;

typedef struct output {
    uint8_t *y;
    int64_t stride;
    int columns; /* 1..16 */
    int32_t zero, lo, hi;
    bool exact, is_signed;
    const ei_dynamic *dynamic; /* float output, or NULL */
} output;

static inline __m256i requant8(__m256i acc, const float *scale, const output *o) {
    __m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(acc), _mm256_loadu_ps(scale));
    v = _mm256_max_ps(v, _mm256_set1_ps((float)(o->lo - o->zero)));
    v = _mm256_min_ps(v, _mm256_set1_ps((float)(o->hi - o->zero)));
    return _mm256_add_epi32(_mm256_cvtps_epi32(v), _mm256_set1_epi32(o->zero));
}

/* As ei_requant_double. No instruction rounds ties away from zero, but adding the largest number
 * below a half and dropping the fraction does. */
static inline __m128i requant4_double(__m128i acc, const double *scale, const output *o) {
    const __m256d sign = _mm256_set1_pd(-0.0), half = _mm256_set1_pd(0x1.fffffffffffffp-2);
    __m256d v = _mm256_mul_pd(_mm256_cvtepi32_pd(acc), _mm256_loadu_pd(scale));
    v = _mm256_max_pd(v, _mm256_set1_pd(o->lo - o->zero));
    v = _mm256_min_pd(v, _mm256_set1_pd(o->hi - o->zero));
    v = _mm256_add_pd(v, _mm256_or_pd(_mm256_and_pd(v, sign), half));
    return _mm_add_epi32(_mm256_cvttpd_epi32(v), _mm_set1_epi32(o->zero));
}

static inline __m256i requant8_double(__m256i acc, const double *scale, const output *o) {
    __m128i low = requant4_double(_mm256_castsi256_si128(acc), scale, o);
    __m128i high = requant4_double(_mm256_extracti128_si256(acc, 1), scale + 4, o);
    return _mm256_inserti128_si256(_mm256_castsi128_si256(low), high, 1);
}

static inline void store_row(const output *o, const block *b, __m256i acc0, __m256i acc1,
                             uint8_t *y) {
    if (o->exact) {
        int32_t sums[NR];
        _mm256_storeu_si256((__m256i *)sums, acc0);
        _mm256_storeu_si256((__m256i *)(sums + 8), acc1);
        for (int i = 0; i < o->columns; i++)
            y[i] =
                (uint8_t)ei_requant_tflite(sums[i], b->mult[i], b->shift[i], o->zero, o->lo, o->hi);
        return;
    }
    __m256i v0, v1;
    if (b->real)
        v0 = requant8_double(acc0, b->real, o), v1 = requant8_double(acc1, b->real + 8, o);
    else
        v0 = requant8(acc0, b->scale, o), v1 = requant8(acc1, b->scale + 8, o);
    __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(v0, v1), 0xd8);
    __m128i low = _mm256_castsi256_si128(words), high = _mm256_extracti128_si256(words, 1);
    __m128i bytes = o->is_signed ? _mm_packs_epi16(low, high) : _mm_packus_epi16(low, high);
    if (o->columns == NR) {
        _mm_storeu_si128((__m128i *)y, bytes);
    } else {
        uint8_t row[NR];
        _mm_storeu_si128((__m128i *)row, bytes);
        memcpy(y, row, (size_t)o->columns);
    }
}

static inline void store_floats(const ei_dynamic *d, int row, const __m256i *acc, int columns,
                                float *y) {
    float out[NR];
    for (int i = 0; i < NR; i += 8) {
        __m256i sums = _mm256_loadu_si256((const __m256i *)(d->sums + i));
        sums = _mm256_mullo_epi32(sums, _mm256_set1_epi32(d->factor[row]));
        __m256 v = _mm256_cvtepi32_ps(_mm256_add_epi32(acc[i / 8], sums));
        v = _mm256_mul_ps(v, _mm256_set1_ps(d->scale[row]));
        v = _mm256_fmadd_ps(v, _mm256_loadu_ps(d->w_scale + i), _mm256_loadu_ps(d->bias + i));
        v = _mm256_min_ps(_mm256_set1_ps(d->hi), _mm256_max_ps(_mm256_set1_ps(d->lo), v));
        _mm256_storeu_ps(columns == NR ? y + i : out + i, v);
    }
    if (columns < NR) memcpy(y, out, (size_t)columns * 4);
}

static inline __attribute__((always_inline)) void tile(int rows, const patch *p, const block *b,
                                                       const output *o) {
    __m256i acc[MR][2];
    const int16_t *w = b->w;
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        acc[i][0] = _mm256_loadu_si256((const __m256i *)b->bias);
        acc[i][1] = _mm256_loadu_si256((const __m256i *)(b->bias + 8));
    }
    int64_t lda = p->lda;
    for (int s = 0; s < p->segments; s++) {
        const int16_t *a = (const int16_t *)(const void *)(p->at[s] + p->offset);
        for (int64_t k = p->pairs; k > 0; k--, a += UNIT, w += UNIT * NR) {
            __m256i b0 = _mm256_loadu_si256((const __m256i *)w);
            __m256i b1 = _mm256_loadu_si256((const __m256i *)(w + NR));
#pragma GCC unroll 6
            for (int i = 0; i < rows; i++) {
                int32_t pair;
                memcpy(&pair, a + i * lda, sizeof pair);
                __m256i v = _mm256_set1_epi32(pair);
                acc[i][0] = _mm256_add_epi32(acc[i][0], _mm256_madd_epi16(v, b0));
                acc[i][1] = _mm256_add_epi32(acc[i][1], _mm256_madd_epi16(v, b1));
            }
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        uint8_t *y = o->y + i * o->stride;
        if (o->dynamic)
            store_floats(o->dynamic, i, acc[i], o->columns, (float *)(void *)y);
        else
            store_row(o, b, acc[i][0], acc[i][1], y);
    }
}

#define TILE(n)                                                                                    \
    static __attribute__((noinline)) void tile##n(const patch *p, const block *b,                  \
                                                  const output *o) {                               \
        tile(n, p, b, o);                                                                          \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)

typedef void (*tile_fn)(const patch *, const block *, const output *);
static const tile_fn tiles[MR] = {tile1, tile2, tile3, tile4, tile5, tile6};

static int64_t blocks_of(const ei_conv *g) {
    return (g->group_oc + NR - 1) / NR;
}

static int check(const ei_node *n) {
    ei_conv g;
    if (!ei_conv_geometry(n, &g)) return EI_E_UNSUPPORTED;
    const ei_tensor *w = n->in[1];
    int64_t columns = g.p->groups * blocks_of(&g) * NR;
    bool good = w->dtype == EI_BLOB && w->constant &&
                (int64_t)w->bytes == columns * ei_rows_depth(&g, UNIT) * 2 &&
                ei_conv_constants(n, &g, columns);
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static inline void widen(int16_t *to, const uint8_t *from, int64_t n, bool is_signed) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(from + i));
        __m256i words = is_signed ? _mm256_cvtepi8_epi16(v) : _mm256_cvtepu8_epi16(v);
        _mm256_storeu_si256((__m256i *)(to + i), words);
    }
    for (; i < n; i++) to[i] = is_signed ? (int8_t)from[i] : from[i];
}
static void widen_i8(void *to, const uint8_t *from, int64_t n) {
    widen(to, from, n, true);
}
static void widen_u8(void *to, const uint8_t *from, int64_t n) {
    widen(to, from, n, false);
}

static void plan(ei_rows *r, const ei_conv *g, const ei_tensor *x) {
    ei_rows_plan(r, g, x, MR, 2, UNIT, x->dtype == EI_I8 ? widen_i8 : widen_u8);
}

static size_t scratch(const ei_node *n) {
    ei_conv g;
    ei_rows r;
    ei_conv_geometry(n, &g);
    plan(&r, &g, n->in[0]);
    return ei_rows_scratch(&r);
}

static int run(const ei_node *n, const ei_work *work) {
    ei_conv g;
    ei_rows r;
    ei_conv_geometry(n, &g);
    plan(&r, &g, n->in[0]);
    ei_rows_begin(&r, work->scratch);
    const ei_tensor *w = n->in[1], *y = n->out[0];
    bool tflite = ei_conv_fixed_point(n), dynamic = ei_is_dynamic(n);
    int64_t size = dynamic ? 4 : 1;
    if (dynamic) r.fills = n->in[5]->data;
    ei_dynamic d;
    int64_t blocks = blocks_of(&g), depth = ei_rows_depth(&g, UNIT);
    ei_share s = ei_rows_share(&r, blocks, work);
    patch p = {.at = r.at, .lda = r.lda, .pairs = (r.length + 1) / 2, .segments = r.segments};
    output o = {.stride = g.oc * size,
                .dynamic = dynamic ? &d : NULL,
                .zero = y->zero,
                .lo = g.p->act_min,
                .hi = g.p->act_max,
                .exact = tflite,
                .is_signed = n->in[0]->dtype == EI_I8};
    for (int64_t t = s.row; t < s.row_end; t++) {
        ei_span span = ei_rows_tile(&r, t);
        if (dynamic) ei_dynamic_rows(&d, n, &g, span.pixel, span.pixels);
        for (int group = 0; span.pixels && group < g.p->groups; group++) {
            p.offset = span.offset + (int64_t)group * g.group_c * 2;
            for (int64_t j = s.block; j < s.block_end; j++) {
                int64_t at = group * blocks + j, column = j * NR;
                block b = {.w = (const int16_t *)w->data + at * depth * NR,
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
                tiles[span.pixels - 1](&p, &b, &o);
            }
        }
    }
    return EI_OK;
}

#define KERNEL(NAME, OP)                                                                           \
    const ei_kernel ei_avx2_##NAME##_q8 = {                                                        \
        .name = "avx2/" #NAME "_q8",                                                               \
        .op = OP,                                                                                  \
        .layout = EI_LAYOUT_AVX2_GEMM_Q8,                                                          \
        .parallel = true,                                                                          \
        .check = check,                                                                            \
        .scratch = scratch,                                                                        \
        .run = run,                                                                                \
    };
KERNEL(conv_2d, EI_OP_CONV_2D)
KERNEL(fully_connected, EI_OP_FULLY_CONNECTED)
