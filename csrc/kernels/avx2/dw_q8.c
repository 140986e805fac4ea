/* DEPTHWISE_CONV_2D in 8 bits on VPMADDWD: two taps at a time, 16 outputs wide (see depthwise.h).
 *
 * Layout EI_LAYOUT_AVX2_DW_Q8, n = lcm(channels, 16) / 16 blocks:
 *   in[0] x, i8 | u8
 *   in[1] blob [n][taps/2][2][8][2] int16: for each two taps, register r, lane element e of 0..7
 * holds the weights, less their zero point, of element 8 (e / 4) + 4 r + e % 4 of the block for
 *         those taps, zero beyond the last tap; element i of block b is channel (16 b + i) %
 * channels in[2] i32 [n * 16] bias - x_zero * sum of the weights, in[3] f32 scale or i32
 * multiplier, in[4] i32 shift, in the same order [n][2][8] */
#include "../channels.h"
#include "../depthwise.h"
#include "requant8.h"

enum { LANES = 16 };

static int64_t twos(const ei_conv *g) {
    return (g->depth + 1) / 2;
}

static int check(const ei_node *n) {
    ei_conv g;
    if (n->n_in < 5 || !ei_depthwise_geometry(n, &g) || !ei_is_q8(n->in[0]) || !ei_dw_fits(&g))
        return EI_E_UNSUPPORTED;
    const ei_tensor *w = n->in[1], *bias = n->in[2], *scale = n->in[3], *shift = n->in[4];
    uint64_t columns = (uint64_t)ei_dw_blocks(g.c, LANES) * LANES;
    bool tflite = ei_conv_fixed_point(n);
    if (!ei_conv_affine(n, (int64_t)columns)) return EI_E_UNSUPPORTED;
    if (w->dtype != EI_BLOB || !w->constant || w->bytes != columns * (uint64_t)twos(&g) * 4 ||
        !bias || !bias->constant || bias->bytes != columns * 4 || !scale || !scale->constant ||
        scale->bytes != columns * 4 || tflite != (shift != NULL))
        return EI_E_UNSUPPORTED;
    if (tflite && (!shift->constant || shift->bytes != columns * 4)) return EI_E_UNSUPPORTED;
    for (uint64_t i = 0; tflite && i < columns; i++) {
        int32_t s = ((const int32_t *)shift->data)[i];
        if (s < -31 || s > 30) return EI_E_UNSUPPORTED;
    }
    int32_t lo = n->in[0]->dtype == EI_I8 ? -128 : 0;
    bool range = g.p->act_min >= lo && g.p->act_max <= lo + 255 && g.p->act_min <= g.p->act_max;
    return range ? EI_OK : EI_E_UNSUPPORTED;
}

static size_t scratch(const ei_node *n) {
    ei_conv g;
    ei_depthwise_geometry(n, &g);
    return ei_dw_scratch(&g, 1);
}

typedef struct part {
    const int16_t *w;
    const int32_t *bias, *mult, *shift;
    const float *scale, *affine; /* affine: see channels.h */
} part;

typedef struct limits {
    int32_t zero, lo, hi;
    bool is_signed;
} limits;

static inline __m256i load16(const uint8_t *p, bool is_signed) {
    __m128i v = _mm_loadu_si128((const __m128i *)p);
    return is_signed ? _mm256_cvtepi8_epi16(v) : _mm256_cvtepu8_epi16(v);
}

static inline void sums(const part *b, const uint8_t *const *taps, int64_t at, int64_t n2,
                        bool is_signed, __m256i acc[2]) {
    for (int r = 0; r < 2; r++) acc[r] = _mm256_loadu_si256((const __m256i *)(b->bias + 8 * r));
    for (int64_t t = 0; t < n2; t++) {
        __m256i u = load16(taps[2 * t] + at, is_signed),
                v = load16(taps[2 * t + 1] + at, is_signed);
        const __m256i *w = (const __m256i *)(b->w + t * 32);
        __m256i low = _mm256_unpacklo_epi16(u, v), high = _mm256_unpackhi_epi16(u, v);
        acc[0] = _mm256_add_epi32(acc[0], _mm256_madd_epi16(low, _mm256_loadu_si256(w)));
        acc[1] = _mm256_add_epi32(acc[1], _mm256_madd_epi16(high, _mm256_loadu_si256(w + 1)));
    }
}

/* 16 bytes in natural order: the packs undo what unpacking did, within each half. */
static inline __m128i finish(const part *b, const __m256i acc[2], const limits *l) {
    __m256i v[2];
    int32_t centre = ei_affine_centre(l->is_signed);
    for (int r = 0; r < 2; r++)
        v[r] = b->affine ? affine8(acc[r], b->affine + 8 * r, centre, l->lo, l->hi)
                         : requant8(acc[r], b->scale + 8 * r, l->zero, l->lo, l->hi);
    __m256i words = _mm256_packs_epi32(v[0], v[1]);
    __m128i low = _mm256_castsi256_si128(words), high = _mm256_extracti128_si256(words, 1);
    return l->is_signed ? _mm_packs_epi16(low, high) : _mm_packus_epi16(low, high);
}

static __m128i finish_exact(const part *b, const __m256i acc[2], const limits *l) {
    int32_t sum[LANES];
    uint8_t out[LANES];
    for (int r = 0; r < 2; r++) _mm256_storeu_si256((__m256i *)(sum + 8 * r), acc[r]);
    for (int i = 0; i < LANES; i++) {
        int natural = 8 * (i % 8 / 4) + 4 * (i / 8) + i % 4;
        out[natural] =
            (uint8_t)ei_requant_tflite(sum[i], b->mult[i], b->shift[i], l->zero, l->lo, l->hi);
    }
    return _mm_loadu_si128((const __m128i *)out);
}

static int run(const ei_node *n, const ei_work *work) {
    ei_conv g;
    ei_depthwise_geometry(n, &g);
    const ei_tensor *x = n->in[0], *y = n->out[0];
    bool exact = ei_conv_fixed_point(n);
    int64_t n2 = twos(&g), blocks = ei_dw_blocks(g.c, LANES), width = (int64_t)g.ow * g.c;
    limits l = {y->zero, g.p->act_min, g.p->act_max, x->dtype == EI_I8};
    ei_dw_ring ring;
    ei_dw_open(&ring, &g, x->data, 1, (uint8_t)x->zero, work->scratch);
    const uint8_t *taps[EI_DW_TAPS + 2];
    int64_t row, end;
    ei_split((int64_t)g.batch * g.oh, 1, work, &row, &end);
    for (; row < end; row++) {
        ei_dw_taps(&ring, row / g.oh, (int32_t)(row % g.oh), taps);
        if (g.depth % 2) taps[g.depth] = taps[0];
        uint8_t *out = (uint8_t *)y->data + row * width;
        int64_t block = 0;
        for (int64_t at = 0; at < width; at += LANES) {
            part b = {.w = (const int16_t *)n->in[1]->data + block * n2 * 32,
                      .bias = (const int32_t *)n->in[2]->data + block * LANES};
            if (exact) {
                b.mult = (const int32_t *)n->in[3]->data + block * LANES;
                b.shift = (const int32_t *)n->in[4]->data + block * LANES;
            } else {
                b.scale = (const float *)n->in[3]->data + block * LANES;
            }
            if (n->n_in == 6) b.affine = (const float *)n->in[5]->data + block * LANES * 3;
            if (!ei_affine_holds(b.affine)) b.affine = NULL;
            __m256i acc[2];
            sums(&b, taps, at, n2, l.is_signed, acc);
            __m128i v = exact && !b.affine ? finish_exact(&b, acc, &l) : finish(&b, acc, &l);
            if (width - at >= LANES) {
                _mm_storeu_si128((__m128i *)(out + at), v);
            } else {
                uint8_t rest[LANES];
                _mm_storeu_si128((__m128i *)rest, v);
                memcpy(out + at, rest, (size_t)(width - at));
            }
            if (++block == blocks) block = 0;
        }
    }
    return EI_OK;
}

const ei_kernel ei_avx2_depthwise_conv_2d_q8 = {
    .name = "avx2/depthwise_conv_2d_q8",
    .op = EI_OP_DEPTHWISE_CONV_2D,
    .layout = EI_LAYOUT_AVX2_DW_Q8,
    .parallel = true,
    .check = check,
    .scratch = scratch,
    .run = run,
};
