/* BATCH_MATMUL of 8 bits on VPDPBUSD: each block of 32 columns is packed as weights are (fours of k
 * side by side, signed), the left rows are copied where they are signed or lie transposed. */
#include <string.h>

#include "../matmul.h"
#include "fixed_point.h"

enum { NR = 32, MR = 4 };

static int check(const ei_node *n) {
    ei_matmul g;
    return ei_matmul_q8(n, &g) ? EI_OK : EI_E_UNSUPPORTED;
}

static int64_t depth(const ei_matmul *g) {
    return ((int64_t)g->k + 3) / 4 * 4;
}

typedef struct parts {
    int8_t *panel;    /* [depth / 4][NR][4] */
    int32_t *columns; /* [NR] what the zero points add to a column */
    int32_t *rows;    /* [m] and to a row */
    uint8_t *left;    /* [m][depth] */
} parts;

static size_t lay(const ei_matmul *g, char *scratch, parts *p) {
    size_t panel = (size_t)depth(g) * NR, rows = ((size_t)g->m + 15) / 16 * 64;
    if (p)
        *p = (parts){(int8_t *)scratch, (int32_t *)(void *)(scratch + panel),
                     (int32_t *)(void *)(scratch + panel + NR * 4),
                     (uint8_t *)scratch + panel + NR * 4 + rows};
    return panel + NR * 4 + rows + (size_t)g->m * (size_t)depth(g) + EI_ALIGN;
}

static size_t scratch(const ei_node *n) {
    ei_matmul g = {0};
    ei_matmul_geometry(n, &g);
    return lay(&g, NULL, NULL);
}

/* 64 elements of a row, those beyond its end 0, with `flip` turned; `stride` elements apart. */
static inline __m512i load64(const uint8_t *from, int64_t stride, int64_t left, __m512i flip) {
    uint8_t bytes[64] = {0};
    __mmask64 mask = left >= 64 ? ~0ull : (1ull << left) - 1;
    for (int i = 0; stride != 1 && i < 64 && i < left; i++) bytes[i] = from[i * stride];
    __m512i v = _mm512_maskz_loadu_epi8(mask, stride == 1 ? from : bytes);
    return _mm512_maskz_mov_epi8(mask, _mm512_xor_si512(v, flip));
}

/* Rows as u8, zero point za; what each adds: zb * (k za - sum a). */
static void pack_left(const ei_matmul *g, const uint8_t *a, uint8_t flip, int32_t za, int32_t zb,
                      parts *p) {
    const __m512i turn = _mm512_set1_epi8((char)flip), ones = _mm512_set1_epi8(1);
    for (int32_t i = 0; i < g->m; i++) {
        uint8_t *to = p->left + i * depth(g);
        const uint8_t *from = a + i * g->a_row;
        __m512i sums = _mm512_setzero_si512();
        for (int64_t k = 0; k < g->k; k += 64) {
            int64_t left = depth(g) - k;
            __m512i v = load64(from + k * g->a_k, g->a_k, g->k - k, turn);
            sums = _mm512_dpbusd_epi32(sums, v, ones);
            _mm512_mask_storeu_epi8(to + k, left >= 64 ? ~0ull : (1ull << left) - 1, v);
        }
        uint32_t sum = (uint32_t)_mm512_reduce_add_epi32(sums);
        p->rows[i] = (int32_t)((uint32_t)zb * ((uint32_t)g->k * (uint32_t)za - sum));
    }
}

/* Four rows of 16 columns, side by side. */
static inline void interleave(const __m128i *r, int8_t *to) {
    __m128i a = _mm_unpacklo_epi8(r[0], r[1]), b = _mm_unpackhi_epi8(r[0], r[1]),
            c = _mm_unpacklo_epi8(r[2], r[3]), d = _mm_unpackhi_epi8(r[2], r[3]);
    _mm_storeu_si128((__m128i *)to, _mm_unpacklo_epi16(a, c));
    _mm_storeu_si128((__m128i *)(to + 16), _mm_unpackhi_epi16(a, c));
    _mm_storeu_si128((__m128i *)(to + 32), _mm_unpacklo_epi16(b, d));
    _mm_storeu_si128((__m128i *)(to + 48), _mm_unpackhi_epi16(b, d));
}

/* Of a matrix whose rows are columns: four of k at a time. */
static void gather_columns(const ei_matmul *g, const uint8_t *b, uint8_t flip, int columns,
                           int8_t *to) {
    int32_t turn = (int32_t)(flip * 0x01010101u);
    for (int j = 0; j < columns; j++) {
        const uint8_t *from = b + j * g->b_column;
        for (int32_t k = 0; k < g->k; k += 4) {
            int32_t four = 0, most = g->k - k < 4 ? g->k - k : 4;
            if (most == 4)
                memcpy(&four, from + k, 4);
            else
                memcpy(&four, from + k, (size_t)most);
            four ^= most == 4 ? turn : turn & ((1 << 8 * most) - 1);
            memcpy(to + (int64_t)k * NR + 4 * j, &four, 4);
        }
    }
}

static void gather_rows(const ei_matmul *g, const uint8_t *b, uint8_t flip, int columns,
                        int8_t *to) {
    for (int half = 0; half * 16 < columns; half++) {
        int left = columns - half * 16;
        __mmask16 mask = (__mmask16)(left >= 16 ? 0xffff : (1 << left) - 1);
        for (int32_t k = 0; k < g->k; k += 4) {
            __m128i r[4];
            for (int i = 0; i < 4; i++) {
                __mmask16 there = k + i < g->k ? mask : 0;
                __m128i v = _mm_maskz_loadu_epi8(there, b + (k + i) * g->b_k + half * 16);
                r[i] = _mm_maskz_mov_epi8(there, _mm_xor_si128(v, _mm_set1_epi8((char)flip)));
            }
            interleave(r, to + (int64_t)k * NR + half * 64);
        }
    }
}

/* Fours of k side by side, as i8; what each column adds: -za * sum b. */
static void pack_panel(const ei_matmul *g, const uint8_t *b, uint8_t flip, int columns, int32_t za,
                       parts *p) {
    if (columns < NR) memset(p->panel, 0, (size_t)depth(g) * NR);
    if (g->b_k == 1)
        gather_columns(g, b, flip, columns, p->panel);
    else
        gather_rows(g, b, flip, columns, p->panel);
    const __m512i ones = _mm512_set1_epi8(1), zero = _mm512_set1_epi32(-za);
    __m512i s0 = _mm512_setzero_si512(), s1 = s0;
    for (int64_t k = 0; k < depth(g); k += 4) {
        s0 = _mm512_dpbusd_epi32(s0, ones, _mm512_loadu_si512(p->panel + k * NR));
        s1 = _mm512_dpbusd_epi32(s1, ones, _mm512_loadu_si512(p->panel + k * NR + 64));
    }
    _mm512_storeu_si512(p->columns, _mm512_mullo_epi32(s0, zero));
    _mm512_storeu_si512(p->columns + 16, _mm512_mullo_epi32(s1, zero));
}

static inline void store(const ei_node *n, __m512i sum, const int32_t *columns, int32_t row,
                         __mmask16 mask, uint8_t *y) {
    const ei_tensor *t = n->out[0];
    const ei_matmul_params *p = n->params;
    int32_t lo = t->dtype == EI_I8 ? -128 : 0;
    sum = _mm512_add_epi32(sum, _mm512_loadu_si512(columns));
    sum = _mm512_add_epi32(sum, _mm512_set1_epi32(row));
    __m512i v = ei_mul_quantized16(sum, p->multiplier, p->shift);
    _mm512_mask_cvtepi32_storeu_epi8(y, mask, ei_shifted16(v, t->zero, lo, lo + 255));
}

/* `rows` (a constant after inlining) rows from `row` on of one block. */
static inline __attribute__((always_inline)) void tile(int rows, const ei_node *n,
                                                       const ei_matmul *g, const parts *p,
                                                       int64_t row, int columns, uint8_t *y) {
    __m512i c0[MR], c1[MR];
    const uint8_t *a = p->left + row * depth(g);
    int64_t lda = depth(g);
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++) c0[i] = c1[i] = _mm512_setzero_si512();
    for (int64_t k = 0; k < lda; k += 4) {
        __m512i b0 = _mm512_loadu_si512(p->panel + k * NR);
        __m512i b1 = _mm512_loadu_si512(p->panel + k * NR + 64);
#pragma GCC unroll 4
        for (int i = 0; i < rows; i++) {
            int32_t four;
            memcpy(&four, a + i * lda + k, 4);
            __m512i v = _mm512_set1_epi32(four);
            c0[i] = _mm512_dpbusd_epi32(c0[i], v, b0);
            c1[i] = _mm512_dpbusd_epi32(c1[i], v, b1);
        }
    }
    uint32_t mask = columns == NR ? 0xffffffffu : (1u << columns) - 1;
#pragma GCC unroll 4
    for (int i = 0; i < rows; i++, y += g->n) {
        store(n, c0[i], p->columns, p->rows[row + i], (__mmask16)mask, y);
        store(n, c1[i], p->columns + 16, p->rows[row + i], (__mmask16)(mask >> 16), y + 16);
    }
}

static int run(const ei_node *n, const ei_work *work) {
    ei_matmul g = {0};
    parts p;
    ei_matmul_geometry(n, &g);
    lay(&g, work->scratch, &p);
    const ei_tensor *a = n->in[0], *b = n->in[1];
    uint8_t flip_a = a->dtype == EI_I8 ? 0x80 : 0, flip_b = b->dtype == EI_U8 ? 0x80 : 0;
    int32_t za = a->zero + flip_a, zb = b->zero - flip_b;
    int64_t blocks = (g.n + NR - 1) / NR, at, end, from_a = 0, from_b = 0, batch = -1;
    ei_split(g.batches * blocks, 1, work, &at, &end);
    for (; at < end; at++) {
        int64_t column = at % blocks * NR, row = 0;
        if (at / blocks != batch) {
            batch = at / blocks;
            ei_matmul_at(&g, batch, &from_a, &from_b);
            pack_left(&g, (const uint8_t *)a->data + from_a, flip_a, za, zb, &p);
        }
        int columns = (int)(g.n - column < NR ? g.n - column : NR);
        pack_panel(&g, (const uint8_t *)b->data + from_b + column * g.b_column, flip_b, columns, za,
                   &p);
        uint8_t *y = (uint8_t *)n->out[0]->data + batch * g.m * g.n + column;
        for (; row + MR <= g.m; row += MR) tile(MR, n, &g, &p, row, columns, y + row * g.n);
        for (; row < g.m; row++) tile(1, n, &g, &p, row, columns, y + row * g.n);
    }
    return EI_OK;
}

const ei_kernel ei_avx512vnni_batch_matmul_q8 = {.name = "avx512vnni/batch_matmul_q8",
                                                 .op = EI_OP_BATCH_MATMUL,
                                                 .parallel = true,
                                                 .check = check,
                                                 .scratch = scratch,
                                                 .run = run};
