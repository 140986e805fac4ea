/* CONV_2D and FULLY_CONNECTED in 8 bits as a matrix product on VPDPBUSD.
 *
 * Layout EI_LAYOUT_VNNI_GEMM_Q8: that of ../gemm_q8.h with x u8, nr = 32 and unit = 4, channels of
 * a block in the order of channel_of() (a block of at most 16 channels, and every block where x is
 * quantised at run time, in their own). */
#include "../gemm_q8.h"
#include "../requant.h"
#include "fixed_point.h"
#include "tile.h"

#include <immintrin.h>

enum { MR = 14, NR = 32, UNIT = 4 };

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

/* rows x 32 accumulators, or x 16; `rows` and `wide` are constants after inlining. */
static inline __attribute__((always_inline)) void multiply(int rows, bool wide, const ei_tile_q8 *t,
                                                           __m512i *acc0, __m512i *acc1) {
    const int8_t *w = t->w;
    int64_t lda = t->lda;
    for (int s = 0; s < t->segments; s++) {
        const uint8_t *a = ei_tile_segment(t, s), *a3 = a + 3 * lda, *a6 = a + 6 * lda,
                      *a9 = a + 9 * lda, *a12 = a + 12 * lda;
        for (int64_t k = t->length; k > 0; k -= UNIT) {
            __m512i b0 = _mm512_loadu_si512(w), b1 = b0;
            if (wide) b1 = _mm512_loadu_si512(w + 64);
            EI_ROWS14("1", "2")
            a += 4, a3 += 4, a6 += 4, a9 += 4, a12 += 4, w += 128;
        }
    }
}

/* A row of 16 columns from `at` on as floats; the channels are in their own order. */
static inline void store_floats(const ei_tile_q8 *t, __m512i acc, int row, int at) {
    const ei_dynamic *d = t->dynamic;
    __m512i term =
        _mm512_mullo_epi32(_mm512_loadu_si512(d->sums + at), _mm512_set1_epi32(d->factor[row]));
    __m512 v = _mm512_cvtepi32_ps(_mm512_add_epi32(acc, term));
    v = _mm512_mul_ps(v, _mm512_set1_ps(d->scale[row]));
    v = _mm512_fmadd_ps(v, _mm512_loadu_ps(d->w_scale + at), _mm512_loadu_ps(d->bias + at));
    v = _mm512_min_ps(_mm512_set1_ps(d->hi), _mm512_max_ps(_mm512_set1_ps(d->lo), v));
    __mmask16 mask = (__mmask16)(((1ull << t->columns) - 1) >> at);
    _mm512_mask_storeu_ps((float *)(void *)(t->y + row * t->stride) + at, mask, v);
}

/* Channel of accumulator `i` of a block. Where both halves are used, the order is such that packing
 * to bytes gives the natural one. */
static inline int channel_of(bool wide, int i) {
    return wide ? i % 16 / 4 * 8 + i / 16 * 4 + i % 4 : i;
}

/* 16 words into bytes at their channels (channel_of: fours of the first and of the second half by
 * turns). */
static inline void store_words(const ei_tile_q8 *t, bool wide, __m256i w0, __m256i w1, uint8_t *y) {
    const __m512i order = _mm512_setr_epi64(0, 4, 1, 5, 2, 6, 3, 7);
    __mmask32 mask = (__mmask32)((1ull << t->columns) - 1);
    __m512i v = _mm512_inserti64x4(_mm512_castsi256_si512(w0), w1, 1);
    if (wide) v = _mm512_permutexvar_epi64(order, v);
    _mm256_mask_storeu_epi8(y, mask, _mm512_cvtepi16_epi8(v));
}

/* 16 outputs in fixed point, in the order of the accumulators, as words. */
static inline __m256i words_exact(__m512i acc, const ei_requant *r, int at) {
    __m512i m = _mm512_loadu_si512((const int32_t *)r->scale + at);
    __m512i v = ei_mul_quantized_lanes16(acc, m, _mm512_loadu_si512(r->shift + at));
    return _mm512_cvtepi32_epi16(ei_shifted16(v, r->zero, r->lo, r->hi));
}

static void store_exact(const ei_tile_q8 *t, bool wide, __m512i acc0, __m512i acc1, uint8_t *y) {
    __m256i w0 = words_exact(acc0, &t->r, 0), w1 = w0;
    if (wide) w1 = words_exact(acc1, &t->r, 16);
    store_words(t, wide, w0, w1, y);
}

/* As ei_requant_double. No instruction rounds ties away from zero, but adding the largest number
 * below a half and dropping the fraction does. */
static inline __m256i requant8_double(__m256i acc, const double *scale, const ei_requant *r) {
    const __m512d sign = _mm512_set1_pd(-0.0), half = _mm512_set1_pd(0x1.fffffffffffffp-2);
    __m512d v = _mm512_mul_pd(_mm512_cvtepi32_pd(acc), _mm512_loadu_pd(scale));
    v = _mm512_max_pd(v, _mm512_set1_pd(r->lo - r->zero));
    v = _mm512_min_pd(v, _mm512_set1_pd(r->hi - r->zero));
    v = _mm512_add_pd(v, _mm512_or_pd(_mm512_and_pd(v, sign), half));
    return _mm256_add_epi32(_mm512_cvttpd_epi32(v), _mm256_set1_epi32(r->zero));
}

/* 16 outputs, in the order of the accumulators, as words. */
static inline __m256i words_double(__m512i acc, const double *scale, const ei_requant *r) {
    __m256i low = requant8_double(_mm512_castsi512_si256(acc), scale, r);
    __m256i high = requant8_double(_mm512_extracti64x4_epi64(acc, 1), scale + 8, r);
    return _mm512_cvtepi32_epi16(_mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1));
}

static void store_double(const ei_tile_q8 *t, bool wide, __m512i acc0, __m512i acc1, uint8_t *y) {
    const double *scale = t->r.scale;
    __m256i w0 = words_double(acc0, scale, &t->r), w1 = w0;
    if (wide) w1 = words_double(acc1, scale + 16, &t->r);
    store_words(t, wide, w0, w1, y);
}

/* What packing needs. It saturates; only the conversion to integers before it must not overflow. */
typedef struct packer {
    __m512i zero, lo, hi;
} packer;

static packer packer_of(const ei_requant *r, int32_t zero) {
    return (packer){_mm512_set1_epi16((short)zero), _mm512_set1_epi8((char)r->lo),
                    _mm512_set1_epi8((char)r->hi)};
}

/* A scale below 1 keeps every accumulator in the range of int32. */
static inline __m512i scaled(__m512i acc, const float *scale, bool affine) {
    if (affine) return ei_affine16(acc, scale, NR);
    return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(acc), _mm512_loadu_ps(scale)));
}

/* All accumulators of a block. (No pointer to one half or the other: the compiler would keep them
 * in memory.) */
static inline __attribute__((always_inline)) void
scale_all(int rows, bool wide, const float *scale, bool affine, __m512i *acc0, __m512i *acc1) {
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++) {
        acc0[i] = scaled(acc0[i], scale, affine);
        if (wide) acc1[i] = scaled(acc1[i], scale + 16, affine);
    }
}

static inline __m512i words(__m512i v0, __m512i v1, const packer *p) {
    return _mm512_adds_epi16(_mm512_packs_epi32(v0, v1), p->zero);
}

static inline __m512i bytes(__m512i w0, __m512i w1, const packer *p) {
    return _mm512_min_epu8(_mm512_max_epu8(_mm512_packus_epi16(w0, w1), p->lo), p->hi);
}

static inline bool any_large(const float *scale, bool wide) {
    const __m512 one = _mm512_set1_ps(1);
    __mmask16 large = _mm512_cmp_ps_mask(_mm512_loadu_ps(scale), one, _CMP_NLT_UQ);
    if (wide) large |= _mm512_cmp_ps_mask(_mm512_loadu_ps(scale + 16), one, _CMP_NLT_UQ);
    return large;
}

/* As `scaled` for any scale: too small a float converts to INT32_MIN, too large a one is cut. */
static inline __m512i scaled_large(__m512i acc, const float *scale) {
    __m512 v = _mm512_mul_ps(_mm512_cvtepi32_ps(acc), _mm512_loadu_ps(scale));
    return _mm512_cvtps_epi32(_mm512_min_ps(v, _mm512_set1_ps(65536)));
}

/* A row of a block in which a scale is 1 or more. */
static void store_large(const ei_tile_q8 *t, bool wide, __m512i acc0, __m512i acc1, uint8_t *y) {
    const float *scale = t->r.scale;
    packer p = packer_of(&t->r, t->r.zero);
    __m512i v0 = scaled_large(acc0, scale), v1 = v0;
    if (wide) v1 = scaled_large(acc1, scale + 16);
    __m512i v = words(v0, v1, &p);
    v = bytes(v, v, &p);
    const __m512i fours = _mm512_setr_epi32(0, 4, 8, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m512i eights = _mm512_setr_epi64(0, 2, 4, 6, 0, 0, 0, 0);
    v = wide ? _mm512_permutexvar_epi64(eights, v) : _mm512_permutexvar_epi32(fours, v);
    __mmask32 mask = (__mmask32)((1ull << t->columns) - 1);
    _mm256_mask_storeu_epi8(y, mask, _mm512_castsi512_si256(v));
}

/* Two rows of 32 at a time. */
static inline __attribute__((always_inline)) void store_wide(int rows, const ei_tile_q8 *t,
                                                             const packer *p, const __m512i *acc0,
                                                             const __m512i *acc1) {
    const __m512i order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
    __mmask32 mask = (__mmask32)((1ull << t->columns) - 1);
#pragma GCC unroll 7
    for (int i = 0; i < rows; i += 2) {
        int j = i + 1 < rows ? i + 1 : i;
        __m512i w0 = words(acc0[i], acc1[i], p), w1 = w0;
        if (j > i) w1 = words(acc0[j], acc1[j], p);
        __m512i v = _mm512_permutexvar_epi64(order, bytes(w0, w1, p));
        uint8_t *y = t->y + i * t->stride;
        _mm256_mask_storeu_epi8(y, mask, _mm512_castsi512_si256(v));
        if (j > i) _mm256_mask_storeu_epi8(y + t->stride, mask, _mm512_extracti64x4_epi64(v, 1));
    }
}

/* Four rows of 16 at a time. */
static inline __attribute__((always_inline)) void
store_narrow(int rows, const ei_tile_q8 *t, const packer *p, const __m512i *acc) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __mmask16 mask = (__mmask16)((1u << t->columns) - 1);
#pragma GCC unroll 4
    for (int i = 0; i < rows; i += 4) {
        __m512i v[4];
#pragma GCC unroll 4
        for (int k = 0; k < 4; k++) v[k] = i + k < rows ? acc[i + k] : v[0];
        __m512i all = bytes(words(v[0], v[1], p), words(v[2], v[3], p), p);
        all = _mm512_permutexvar_epi32(order, all);
        uint8_t *y = t->y + i * t->stride;
        _mm_mask_storeu_epi8(y, mask, _mm512_castsi512_si128(all));
        if (i + 1 < rows)
            _mm_mask_storeu_epi8(y + t->stride, mask, _mm512_extracti32x4_epi32(all, 1));
        if (i + 2 < rows)
            _mm_mask_storeu_epi8(y + 2 * t->stride, mask, _mm512_extracti32x4_epi32(all, 2));
        if (i + 3 < rows)
            _mm_mask_storeu_epi8(y + 3 * t->stride, mask, _mm512_extracti32x4_epi32(all, 3));
    }
}

/* What tiles seldom are, row by row from memory: unrolled in all tiles it would be an eighth of the
 * library. */
static __attribute__((noinline)) void store_rows(int rows, bool wide, const ei_tile_q8 *t,
                                                 const __m512i *acc0, const __m512i *acc1) {
    const ei_requant *r = &t->r;
    for (int i = 0; i < rows; i++) {
        uint8_t *y = t->y + i * t->stride;
        if (t->dynamic) {
            store_floats(t, acc0[i], i, 0);
            if (wide) store_floats(t, acc1[i], i, 16);
        } else if (r->shift) {
            store_exact(t, wide, acc0[i], acc1[i], y);
        } else if (r->is_double) {
            store_double(t, wide, acc0[i], acc1[i], y);
        } else {
            store_large(t, wide, acc0[i], acc1[i], y);
        }
    }
}

static inline __attribute__((always_inline)) void store(int rows, bool wide, const ei_tile_q8 *t,
                                                        __m512i *acc0, __m512i *acc1) {
    const ei_requant *r = &t->r;
    bool affine = ei_affine_holds(r->affine);
    if (t->dynamic || (!affine && (r->shift || r->is_double || any_large(r->scale, wide)))) {
        __m512i rows0[MR], rows1[MR]; /* copies: the accumulators stay in registers */
#pragma GCC unroll 14
        for (int i = 0; i < rows; i++) {
            rows0[i] = acc0[i];
            if (wide) rows1[i] = acc1[i];
        }
        store_rows(rows, wide, t, rows0, wide ? rows1 : rows0);
        return;
    }
    packer p = packer_of(r, affine ? ei_affine_centre(false) : r->zero);
    if (affine)
        scale_all(rows, wide, r->affine, true, acc0, acc1);
    else
        scale_all(rows, wide, r->scale, false, acc0, acc1);
    if (wide)
        store_wide(rows, t, &p, acc0, acc1);
    else
        store_narrow(rows, t, &p, acc0);
}

/* rows x 32 outputs, or x 16. */
static inline __attribute__((always_inline)) void tile(int rows, bool wide, const ei_tile_q8 *t) {
    __m512i acc0[MR], acc1[MR];
    __m512i bias0 = _mm512_loadu_si512(t->r.bias), bias1 = _mm512_loadu_si512(t->r.bias + 16);
#pragma GCC unroll 14
    for (int i = 0; i < rows; i++) acc0[i] = bias0, acc1[i] = bias1;
    multiply(rows, wide, t, acc0, acc1);
    if (t->row_term) {
#pragma GCC unroll 14
        for (int i = 0; i < rows; i++) {
            __m512i extra = _mm512_set1_epi32(t->row_term[i]);
            acc0[i] = _mm512_add_epi32(acc0[i], extra);
            if (wide) acc1[i] = _mm512_add_epi32(acc1[i], extra);
        }
    }
    store(rows, wide, t, acc0, acc1);
}

#define TILE(n)                                                                                    \
    static __attribute__((noinline)) void tile##n(const ei_tile_q8 *t) {                           \
        if (t->columns > 16)                                                                       \
            tile(n, true, t);                                                                      \
        else                                                                                       \
            tile(n, false, t);                                                                     \
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

static const ei_tile_q8_fn tiles[MR] = {tile1, tile2, tile3,  tile4,  tile5,  tile6,  tile7,
                                        tile8, tile9, tile10, tile11, tile12, tile13, tile14};
static const ei_gemm_q8 gemm = {MR, NR, UNIT, EI_U8, {NULL, NULL}, tiles};

EI_GEMM_Q8_KERNELS(avx512vnni, _q8, EI_LAYOUT_VNNI_GEMM_Q8, gemm)
