/* DEPTHWISE_CONV_2D in 8 bits on VPDPBUSD: four taps at a time, 64 outputs wide (see depthwise.h).
 *
 * Layout EI_LAYOUT_VNNI_DW_Q8, n = lcm(channels, 64) / 64 blocks:
 *   in[0] x, u8
 *   in[1] blob [n][taps/4][4][16][4] int8: for each four taps, register r, lane element e = 4L + i
 *         holds the weights of channel (64 * block + 16 L + 4 r + i) % channels for those taps,
 * zero beyond the last tap; zero point as in gemm_q8.c in[2] i32 [n * 64] bias, in[3] f32 scale or
 * i32 multiplier, in[4] i32 shift, all in the same order [n][4][16] */
#include "../channels.h"
#include "../depthwise.h"
#include "fixed_point.h"

#include <immintrin.h>

enum { LANES = 64 };

static int64_t fours(const ei_conv *g) {
    return (g->depth + 3) / 4;
}

static int check(const ei_node *n) {
    ei_conv g;
    if (n->n_in < 5 || !ei_depthwise_geometry(n, &g) || n->in[0]->dtype != EI_U8 || !ei_dw_fits(&g))
        return EI_E_UNSUPPORTED;
    const ei_tensor *w = n->in[1], *bias = n->in[2], *scale = n->in[3], *shift = n->in[4];
    uint64_t columns = (uint64_t)ei_dw_blocks(g.c, LANES) * LANES;
    bool tflite = ei_conv_fixed_point(n);
    if (!ei_conv_affine(n, (int64_t)columns)) return EI_E_UNSUPPORTED;
    if (w->dtype != EI_BLOB || !w->constant || w->bytes != columns * (uint64_t)fours(&g) * 4 ||
        !bias || !bias->constant || bias->bytes != columns * 4 || !scale || !scale->constant ||
        scale->bytes != columns * 4 || tflite != (shift != NULL))
        return EI_E_UNSUPPORTED;
    if (tflite && (!shift->constant || shift->bytes != columns * 4)) return EI_E_UNSUPPORTED;
    for (uint64_t i = 0; tflite && i < columns; i++) {
        int32_t s = ((const int32_t *)shift->data)[i];
        if (s < -31 || s > 31) return EI_E_UNSUPPORTED;
    }
    if (g.p->act_min < 0 || g.p->act_max > 255 || g.p->act_min > g.p->act_max || w->zero < -256 ||
        w->zero > 256)
        return EI_E_UNSUPPORTED;
    return EI_OK;
}

static size_t scratch(const ei_node *n) {
    ei_conv g;
    ei_depthwise_geometry(n, &g);
    return ei_dw_scratch(&g, 1);
}

/* The 64 activations of four taps, transposed so that each 32-bit lane has one channel's four. */
static inline void transpose4(const uint8_t *const *taps, int64_t at, __m512i v[4]) {
    __m512i a = _mm512_loadu_si512(taps[0] + at), b = _mm512_loadu_si512(taps[1] + at);
    __m512i c = _mm512_loadu_si512(taps[2] + at), d = _mm512_loadu_si512(taps[3] + at);
    __m512i ab0 = _mm512_unpacklo_epi8(a, b), ab1 = _mm512_unpackhi_epi8(a, b);
    __m512i cd0 = _mm512_unpacklo_epi8(c, d), cd1 = _mm512_unpackhi_epi8(c, d);
    v[0] = _mm512_unpacklo_epi16(ab0, cd0);
    v[1] = _mm512_unpackhi_epi16(ab0, cd0);
    v[2] = _mm512_unpacklo_epi16(ab1, cd1);
    v[3] = _mm512_unpackhi_epi16(ab1, cd1);
}

typedef struct part {
    const int8_t *w;
    const int32_t *bias;
    const void *scale; /* f32, or i32 multipliers */
    const int32_t *shift;
    const float *affine; /* see channels.h */
} part;

/* Sums of 64 outputs, channels in the order of `transpose4`. */
static inline void sums(const part *b, const uint8_t *const *taps, int64_t at, int64_t n4,
                        int32_t z, int64_t depth, __m512i acc[4]) {
    __m512i total[4];
    for (int r = 0; r < 4; r++) {
        acc[r] = _mm512_loadu_si512(b->bias + 16 * r);
        total[r] = _mm512_setzero_si512();
    }
    for (int64_t t = 0; t < n4; t++) {
        __m512i v[4];
        transpose4(taps + 4 * t, at, v);
        const int8_t *w = b->w + t * 256;
        for (int r = 0; r < 4; r++)
            acc[r] = _mm512_dpbusd_epi32(acc[r], v[r], _mm512_loadu_si512(w + 64 * r));
        if (z) {
            int64_t left = depth - 4 * t;
            __m512i ones = _mm512_set1_epi32(left >= 4 ? 0x01010101 : (1 << 8 * left) / 255);
            for (int r = 0; r < 4; r++) total[r] = _mm512_dpbusd_epi32(total[r], v[r], ones);
        }
    }
    if (z)
        for (int r = 0; r < 4; r++)
            acc[r] = _mm512_sub_epi32(acc[r], _mm512_mullo_epi32(total[r], _mm512_set1_epi32(z)));
}

typedef struct limits {
    __m512 top;
    __m512i zero, lo, hi;
    int32_t z, act_min, act_max;
} limits;

static inline __m512i finish(const part *b, const __m512i acc[4], const limits *l) {
    __m512i q[4];
    for (int r = 0; r < 4; r++) {
        __m512 scale = _mm512_loadu_ps((const float *)b->scale + 16 * r);
        __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(acc[r]), scale);
        /* Only the top must be cut: a float too small converts to INT32_MIN, one too large too. */
        q[r] = _mm512_cvtps_epi32(_mm512_min_ps(v, l->top));
    }
    __m512i low = _mm512_adds_epi16(_mm512_packs_epi32(q[0], q[1]), l->zero);
    __m512i high = _mm512_adds_epi16(_mm512_packs_epi32(q[2], q[3]), l->zero);
    __m512i bytes = _mm512_packus_epi16(low, high);
    return _mm512_min_epu8(_mm512_max_epu8(bytes, l->lo), l->hi);
}

/* Under EI_ROUND_TFLITE: affine where that holds for the block, else in fixed point. */
static __m512i finish_exact(const part *b, const __m512i acc[4], const limits *l) {
    bool affine = ei_affine_holds(b->affine);
    __m512i q[4], zero = _mm512_set1_epi16((short)(affine ? ei_affine_centre(false) : 0));
    for (int r = 0; r < 4; r++) {
        if (affine) {
            q[r] = ei_affine16(acc[r], b->affine + 16 * r, LANES);
        } else {
            __m512i m = _mm512_loadu_si512((const int32_t *)b->scale + 16 * r);
            q[r] = ei_mul_quantized_lanes16(acc[r], m, _mm512_loadu_si512(b->shift + 16 * r));
            q[r] = ei_shifted16(q[r], l->z, l->act_min, l->act_max);
        }
    }
    __m512i low = _mm512_adds_epi16(_mm512_packs_epi32(q[0], q[1]), zero);
    __m512i high = _mm512_adds_epi16(_mm512_packs_epi32(q[2], q[3]), zero);
    __m512i bytes = _mm512_packus_epi16(low, high);
    return _mm512_min_epu8(_mm512_max_epu8(bytes, l->lo), l->hi);
}

static int run(const ei_node *n, const ei_work *work) {
    ei_conv g;
    ei_depthwise_geometry(n, &g);
    const ei_tensor *x = n->in[0], *w = n->in[1], *y = n->out[0];
    bool exact = ei_conv_fixed_point(n);
    int64_t n4 = fours(&g), blocks = ei_dw_blocks(g.c, LANES), width = (int64_t)g.ow * g.c;
    limits l = {.top = _mm512_set1_ps((float)(g.p->act_max - y->zero)),
                .zero = _mm512_set1_epi16((short)y->zero),
                .lo = _mm512_set1_epi8((char)g.p->act_min),
                .hi = _mm512_set1_epi8((char)g.p->act_max),
                .z = y->zero,
                .act_min = g.p->act_min,
                .act_max = g.p->act_max};
    ei_dw_ring ring;
    ei_dw_open(&ring, &g, x->data, 1, (uint8_t)x->zero, work->scratch);
    const uint8_t *taps[EI_DW_TAPS + 4];
    int64_t row, end;
    ei_split((int64_t)g.batch * g.oh, 1, work, &row, &end);
    for (; row < end; row++) {
        ei_dw_taps(&ring, row / g.oh, (int32_t)(row % g.oh), taps);
        for (int64_t t = g.depth; t < n4 * 4; t++) taps[t] = taps[0];
        uint8_t *out = (uint8_t *)y->data + row * width;
        int64_t block = 0;
        for (int64_t at = 0; at < width; at += LANES) {
            part b = {.w = (const int8_t *)w->data + block * n4 * 256,
                      .bias = (const int32_t *)n->in[2]->data + block * LANES,
                      .scale = (const float *)n->in[3]->data + block * LANES,
                      .shift = exact ? (const int32_t *)n->in[4]->data + block * LANES : NULL};
            if (n->n_in == 6) b.affine = (const float *)n->in[5]->data + block * LANES * 3;
            __m512i acc[4];
            sums(&b, taps, at, n4, w->zero, g.depth, acc);
            __m512i v = exact ? finish_exact(&b, acc, &l) : finish(&b, acc, &l);
            if (width - at >= LANES)
                _mm512_storeu_si512(out + at, v);
            else
                _mm512_mask_storeu_epi8(out + at, (1ull << (width - at)) - 1, v);
            if (++block == blocks) block = 0;
        }
    }
    return EI_OK;
}

const ei_kernel ei_avx512vnni_depthwise_conv_2d_q8 = {
    .name = "avx512vnni/depthwise_conv_2d_q8",
    .op = EI_OP_DEPTHWISE_CONV_2D,
    .layout = EI_LAYOUT_VNNI_DW_Q8,
    .parallel = true,
    .check = check,
    .scratch = scratch,
    .run = run,
};
