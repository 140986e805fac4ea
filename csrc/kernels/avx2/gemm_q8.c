/* CONV_2D and FULLY_CONNECTED in 8 bits as a matrix product of 16-bit pairs on VPMADDWD, which is
 * exact: VPMADDUBSW would be faster but saturates.
 *
 * Layout EI_LAYOUT_AVX2_GEMM_Q8: that of ../gemm_q8.h with nr = 16, unit = 2 and int16 weights.
 * Rows are widened to int16 as they are copied into the ring. */
#include "gemm_q8.h"

enum { MR = 6, NR = EI_COLUMNS, UNIT = 2 };

static inline __attribute__((always_inline)) void tile(int rows, const ei_tile_q8 *t) {
    __m256i acc[MR][2];
    const int16_t *w = t->w;
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        acc[i][0] = _mm256_loadu_si256((const __m256i *)t->r.bias);
        acc[i][1] = _mm256_loadu_si256((const __m256i *)(t->r.bias + 8));
    }
    int64_t lda = t->lda;
    for (int s = 0; s < t->segments; s++) {
        const int16_t *a = ei_tile_segment(t, s);
        for (int64_t k = t->length; k > 0; k -= UNIT, a += UNIT, w += UNIT * NR) {
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
    for (int i = 0; i < rows; i++) ei_store16(t, i, acc[i]);
}

#define TILE(n)                                                                                    \
    static __attribute__((noinline)) void tile##n(const ei_tile_q8 *t) {                           \
        tile(n, t);                                                                                \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)

static const ei_tile_q8_fn tiles[MR] = {tile1, tile2, tile3, tile4, tile5, tile6};

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

static const ei_gemm_q8 gemm = {MR, NR, UNIT, 0, {widen_i8, widen_u8}, tiles};

EI_GEMM_Q8_KERNELS(avx2, _q8, EI_LAYOUT_AVX2_GEMM_Q8, gemm)
