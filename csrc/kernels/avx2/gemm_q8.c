/* CONV_2D and FULLY_CONNECTED in 8 bits as a matrix product of 16-bit pairs on VPMADDWD, which is
 * exact: VPMADDUBSW would be faster but saturates.
 *
 * Layout EI_LAYOUT_AVX2_GEMM_Q8:
 *   in[0] x, i8 | u8
 *   in[1] blob, for every group and block of 16 output channels [depth/2][16][2] int16: weights
 * less their zero point, zeros beyond depth and the last channel in[2] i32 [groups * blocks * 16]:
 * bias - x_zero * sum of the weights in[3] f32 scale or i32 multiplier, in[4] i32 shift, as in[2]
 * Rows are widened to int16 in scratch, once for all columns. */
#include "../conv.h"
#include "../requant.h"

#include <immintrin.h>

enum { MR = 6, NR = 16 };

typedef struct block {
    const int16_t *w;
    const int32_t *bias, *mult, *shift;
    const float *scale;
    int64_t pairs;
} block;

typedef struct output {
    uint8_t *y;
    int64_t stride;
    int columns; /* 1..16 */
    int32_t zero, lo, hi;
    bool exact, is_signed;
} output;

static inline __m256i requant8(__m256i acc, const float *scale, const output *o) {
    __m256 v = _mm256_mul_ps(_mm256_cvtepi32_ps(acc), _mm256_loadu_ps(scale));
    v = _mm256_max_ps(v, _mm256_set1_ps((float)(o->lo - o->zero)));
    v = _mm256_min_ps(v, _mm256_set1_ps((float)(o->hi - o->zero)));
    return _mm256_add_epi32(_mm256_cvtps_epi32(v), _mm256_set1_epi32(o->zero));
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
    __m256i v0 = requant8(acc0, b->scale, o), v1 = requant8(acc1, b->scale + 8, o);
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

static inline __attribute__((always_inline)) void tile(int rows, const int16_t *a, int64_t lda,
                                                       const block *b, const output *o) {
    __m256i acc[MR][2];
    const int16_t *w = b->w;
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        acc[i][0] = _mm256_loadu_si256((const __m256i *)b->bias);
        acc[i][1] = _mm256_loadu_si256((const __m256i *)(b->bias + 8));
    }
    for (int64_t k = 0; k < b->pairs; k++, w += 2 * NR) {
        __m256i b0 = _mm256_loadu_si256((const __m256i *)w);
        __m256i b1 = _mm256_loadu_si256((const __m256i *)(w + NR));
#pragma GCC unroll 6
        for (int i = 0; i < rows; i++) {
            int32_t pair;
            memcpy(&pair, a + i * lda + 2 * k, sizeof pair);
            __m256i v = _mm256_set1_epi32(pair);
            acc[i][0] = _mm256_add_epi32(acc[i][0], _mm256_madd_epi16(v, b0));
            acc[i][1] = _mm256_add_epi32(acc[i][1], _mm256_madd_epi16(v, b1));
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) store_row(o, b, acc[i][0], acc[i][1], o->y + i * o->stride);
}

#define TILE(n)                                                                                    \
    static __attribute__((noinline)) void tile##n(const int16_t *a, int64_t lda, const block *b,   \
                                                  const output *o) {                               \
        tile(n, a, lda, b, o);                                                                     \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)

typedef void (*tile_fn)(const int16_t *, int64_t, const block *, const output *);
static const tile_fn tiles[MR] = {tile1, tile2, tile3, tile4, tile5, tile6};

static int64_t blocks_of(const ei_conv *g) {
    return (g->group_oc + NR - 1) / NR;
}
static int64_t pairs_of(const ei_conv *g) {
    return (g->depth + 1) / 2;
}

static int check(const ei_node *n) {
    ei_conv g;
    if (n->n_in != 5 || !ei_conv_geometry(n, &g) || !ei_is_q8(n->in[0])) return EI_E_UNSUPPORTED;
    const ei_tensor *w = n->in[1], *bias = n->in[2], *scale = n->in[3], *shift = n->in[4];
    int64_t columns = g.p->groups * blocks_of(&g) * NR;
    bool tflite = ei_conv_fixed_point(n);
    if (w->dtype != EI_BLOB || !w->constant || !bias || !bias->constant || !scale ||
        !scale->constant || (int64_t)w->bytes != columns * pairs_of(&g) * 4 ||
        (int64_t)bias->bytes != columns * 4 || (int64_t)scale->bytes != columns * 4 ||
        tflite != (shift != NULL))
        return EI_E_UNSUPPORTED;
    if (tflite && (!shift->constant || (int64_t)shift->bytes != columns * 4))
        return EI_E_UNSUPPORTED;
    for (int64_t i = 0; tflite && i < columns; i++) {
        int32_t s = ((const int32_t *)shift->data)[i];
        if (s < -31 || s > 30) return EI_E_UNSUPPORTED;
    }
    int32_t lo = n->in[0]->dtype == EI_I8 ? -128 : 0;
    bool range = g.p->act_min >= lo && g.p->act_max <= lo + 255 && g.p->act_min <= g.p->act_max;
    return range ? EI_OK : EI_E_UNSUPPORTED;
}

/* A row as int16, and before that as bytes where it must be gathered. */
static size_t scratch(const ei_node *n) {
    ei_conv g;
    ei_conv_geometry(n, &g);
    return (size_t)(MR * pairs_of(&g) * 4 + g.depth + EI_ALIGN);
}

static void widen(const uint8_t *from, int64_t n, bool is_signed, int16_t *to) {
    int64_t i = 0;
    for (; i + 16 <= n; i += 16) {
        __m128i v = _mm_loadu_si128((const __m128i *)(from + i));
        __m256i words = is_signed ? _mm256_cvtepi8_epi16(v) : _mm256_cvtepu8_epi16(v);
        _mm256_storeu_si256((__m256i *)(to + i), words);
    }
    for (; i < n; i++) to[i] = is_signed ? (int8_t)from[i] : from[i];
    if (n % 2) to[n] = 0;
}

static int run(const ei_node *n, const ei_work *work) {
    ei_conv g;
    ei_conv_geometry(n, &g);
    const ei_tensor *x = n->in[0], *w = n->in[1], *y = n->out[0];
    bool tflite = ei_conv_fixed_point(n), in_place = g.direct && g.p->groups == 1;
    bool is_signed = x->dtype == EI_I8;
    int64_t blocks = blocks_of(&g), pairs = pairs_of(&g);
    ei_share s = ei_conv_share(g.rows, MR, blocks, work);
    output o = {.stride = g.oc,
                .zero = y->zero,
                .lo = g.p->act_min,
                .hi = g.p->act_max,
                .exact = tflite,
                .is_signed = is_signed};
    int16_t *rows16 = work->scratch;
    uint8_t *bytes = (uint8_t *)(rows16 + MR * pairs * 2);
    for (int group = 0; group < g.p->groups; group++)
        for (int64_t row = s.row; row < s.row_end; row += MR) {
            int rows = (int)(s.row_end - row < MR ? s.row_end - row : MR);
            for (int i = 0; i < rows; i++) {
                const uint8_t *from = (const uint8_t *)x->data + (row + i) * g.c;
                if (!in_place) {
                    ei_gather(&g, x->data, row + i, group, 1, (uint8_t)x->zero, bytes);
                    from = bytes;
                }
                widen(from, g.depth, is_signed, rows16 + i * pairs * 2);
            }
            for (int64_t j = s.block; j < s.block_end; j++) {
                int64_t at = group * blocks + j, column = j * NR;
                block b = {.w = (const int16_t *)w->data + at * pairs * 2 * NR,
                           .bias = (const int32_t *)n->in[2]->data + at * NR,
                           .pairs = pairs};
                if (tflite) {
                    b.mult = (const int32_t *)n->in[3]->data + at * NR;
                    b.shift = (const int32_t *)n->in[4]->data + at * NR;
                } else {
                    b.scale = (const float *)n->in[3]->data + at * NR;
                }
                o.columns = (int)(g.group_oc - column < NR ? g.group_oc - column : NR);
                o.y = (uint8_t *)y->data + row * g.oc + group * g.group_oc + column;
                tiles[rows - 1](rows16, pairs * 2, &b, &o);
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
