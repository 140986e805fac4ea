/* CONV_2D and FULLY_CONNECTED in 8 bits on VPDPBUSD of 256 bits.
 *
 * Layout EI_LAYOUT_AVXVNNI_GEMM_Q8: that of ../gemm_q8.h with x u8, nr = 16 and unit = 4. */
#include "../avx2/gemm_q8.h"

enum { MR = 6, NR = EI_COLUMNS, UNIT = 4 };

/* Stores all rows: one function for the tiles of every height. */
static __attribute__((noinline)) void store(const ei_tile_q8 *t, const __m256i (*acc)[2]) {
    for (int i = 0; i < t->rows; i++) {
        __m256i extra = _mm256_set1_epi32(t->row_term ? t->row_term[i] : 0);
        __m256i sums[2] = {_mm256_add_epi32(acc[i][0], extra), _mm256_add_epi32(acc[i][1], extra)};
        ei_store16(t, i, sums);
    }
}

/* `rows` is a constant after inlining. */
static inline __attribute__((always_inline)) void tile(int rows, const ei_tile_q8 *t) {
    __m256i acc[MR][2], out[MR][2];
    const int8_t *w = t->w;
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) {
        acc[i][0] = _mm256_loadu_si256((const __m256i *)t->r.bias);
        acc[i][1] = _mm256_loadu_si256((const __m256i *)(t->r.bias + 8));
    }
    int64_t lda = t->lda;
    for (int s = 0; s < t->segments; s++) {
        const uint8_t *a = ei_tile_segment(t, s);
        for (int64_t k = t->length; k > 0; k -= UNIT, a += UNIT, w += UNIT * NR) {
            __m256i b0 = _mm256_loadu_si256((const __m256i *)w);
            __m256i b1 = _mm256_loadu_si256((const __m256i *)(w + 32));
#pragma GCC unroll 6
            for (int i = 0; i < rows; i++) {
                int32_t four;
                memcpy(&four, a + i * lda, sizeof four);
                __m256i v = _mm256_set1_epi32(four);
                acc[i][0] = _mm256_dpbusd_epi32(acc[i][0], v, b0);
                acc[i][1] = _mm256_dpbusd_epi32(acc[i][1], v, b1);
            }
        }
    }
#pragma GCC unroll 6
    for (int i = 0; i < rows; i++) out[i][0] = acc[i][0], out[i][1] = acc[i][1];
    store(t, out);
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
static const ei_gemm_q8 gemm = {MR, NR, UNIT, EI_U8, {NULL, NULL}, tiles};

EI_GEMM_Q8_KERNELS(avxvnni, _q8, EI_LAYOUT_AVXVNNI_GEMM_Q8, gemm)
