/* DEPTHWISE_CONV_2D in 8 bits on VPDPBUSD for windows of 3x3 and 5x5: tiles of two output rows,
 * four pixels and 16 channels, straight from the image.
 *
 * A vector holds, for 16 channels of one column, the bytes of four input rows; one instruction
 * takes four taps of a kernel column. Its rows serve both output rows, whose weights lie so that
 * the taps meet their rows.
 *
 * Layout EI_LAYOUT_VNNI_DW_TILES_Q8: in[0] x, u8, at least 16 channels; in[1] blob, for every block
 * of 16 channels, the last of which ends with the last channel and may overlap the one before:
 * [2 output rows][kernel columns][fours of input rows][16][4] int8, zeros where an input row is not
 * of the output row's window; in[2] i32 [blocks * 16] bias - x_zero * sum(w), in[3] f32 scale below
 * 1, so that no product leaves the range of int32; under EI_ROUND_TFLITE also in[5], where the
 * affine form holds for all (channels.h). Weights are symmetric. */
#include "../channels.h"
#include "fixed_point.h"

#include <immintrin.h>
#include <string.h>

enum { LANES = 16, PIXELS = 4, ROWS = 2, CHUNK = 4, WINDOW_ROWS = 8 };

typedef struct tile {
    const uint8_t *const *row; /* of the input, column 0 */
    int64_t c;                 /* from a column to the next */
    int64_t column, width;     /* first column, which may be left of the image; columns there are */
    int64_t block, block_end;  /* of channels */
    const int8_t *w;           /* of all blocks, as what follows */
    const int32_t *bias;
    const float *scale; /* or, with `affine`, [block][scale, positive, negative][16] */
    bool affine;
    __m512i padding, zero, lo, hi;
    uint8_t *y;    /* channel 0 */
    int64_t pitch; /* from an output row to the next */
    int rows, pixels;
} tile;

typedef struct window {
    int size, stride;
} window;

static inline int window_rows(window k) {
    return (ROWS - 1) * k.stride + k.size;
}

static inline int fours(window k) {
    return (window_rows(k) + 3) / 4;
}

static int64_t blocks_of(const ei_conv *g) {
    return (g->c + LANES - 1) / LANES;
}

static bool known(const ei_conv_params *p) {
    return p->kernel_h == p->kernel_w && (p->kernel_h == 3 || p->kernel_h == 5) &&
           p->stride_h == p->stride_w && p->stride_h <= 2 && p->dilation_h == 1 &&
           p->dilation_w == 1;
}

static int check(const ei_node *n) {
    ei_conv g;
    if (n->n_in < 5 || n->n_in > 6 || !ei_depthwise_geometry(n, &g) || !known(g.p) || g.c < LANES ||
        n->in[0]->dtype != EI_U8)
        return EI_E_UNSUPPORTED;
    window k = {g.p->kernel_h, g.p->stride_h};
    uint64_t columns = (uint64_t)blocks_of(&g) * LANES;
    const ei_tensor *w = n->in[1];
    if (w->dtype != EI_BLOB || !w->constant || w->zero ||
        w->bytes != columns * (uint64_t)(ROWS * k.size * fours(k) * 4) ||
        !ei_conv_constants(n, &g, (int64_t)columns) || ei_conv_fixed_point(n) != (n->n_in == 6))
        return EI_E_UNSUPPORTED;
    const float *scale = n->in[n->n_in == 6 ? 5 : 3]->data;
    for (uint64_t i = 0; n->n_in == 6 && i < columns; i += LANES)
        if (!ei_affine_holds(scale + i * 3)) return EI_E_UNSUPPORTED;
    for (uint64_t i = 0; n->n_in == 5 && i < columns; i++)
        if (!(scale[i] >= 0 && scale[i] < 1)) return EI_E_UNSUPPORTED;
    return EI_OK;
}

/* A row of padding. */
static size_t scratch(const ei_node *n) {
    ei_conv g;
    ei_depthwise_geometry(n, &g);
    return (size_t)g.w * (size_t)g.c;
}

/* Rows `first` .. first + count - 1 (at most four) of 16 channels of a column, a channel's bytes
 * side by side. */
static inline __attribute__((always_inline)) __m512i column(const tile *t, int first, int count,
                                                            int64_t at) {
    const __m128i *p[4];
    for (int i = 0; i < 4; i++)
        p[i] = (const __m128i *)(const void *)(t->row[first + (i < count ? i : 0)] + at);
    if (count == 1) return _mm512_cvtepu8_epi32(_mm_loadu_si128(p[0]));
    __m256i low = _mm256_castsi128_si256(_mm_loadu_si128(p[0])), high = low;
    low = _mm256_inserti128_si256(low, _mm_loadu_si128(p[1]), 1);
    if (count > 2) high = _mm256_castsi128_si256(_mm_loadu_si128(p[2]));
    if (count > 3) high = _mm256_inserti128_si256(high, _mm_loadu_si128(p[3]), 1);
    const __m512i across = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    const __m512i within =
        _mm512_broadcast_i32x4(_mm_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15));
    __m512i v = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
    return _mm512_shuffle_epi8(_mm512_permutexvar_epi32(across, v), within);
}

/* Whether output row r reads any of the rows of four `f`. */
static inline bool meets(window k, int r, int f) {
    return r * k.stride < 4 * f + 4 && r * k.stride + k.size > 4 * f;
}

static inline __m512i scaled(__m512i acc, const tile *t, const float *scale) {
    if (t->affine) return ei_affine16(acc, scale, LANES);
    return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(acc), _mm512_loadu_ps(scale)));
}

static inline __m512i words(__m512i a, __m512i b, const tile *t, const float *scale) {
    __m512i v = _mm512_packs_epi32(scaled(a, t, scale), scaled(b, t, scale));
    return _mm512_adds_epi16(v, t->zero);
}

static inline __attribute__((always_inline)) void store(const tile *t, const __m512i *acc,
                                                        const float *scale, uint8_t *y) {
    const __m512i order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    __m512i v =
        _mm512_packus_epi16(words(acc[0], acc[1], t, scale), words(acc[2], acc[3], t, scale));
    v = _mm512_min_epu8(_mm512_max_epu8(v, t->lo), t->hi);
    v = _mm512_permutexvar_epi32(order, v);
    _mm_storeu_si128((__m128i *)(void *)y, _mm512_castsi512_si128(v));
    if (t->pixels > 1)
        _mm_storeu_si128((__m128i *)(void *)(y + t->c), _mm512_extracti32x4_epi32(v, 1));
    if (t->pixels > 2)
        _mm_storeu_si128((__m128i *)(void *)(y + 2 * t->c), _mm512_extracti32x4_epi32(v, 2));
    if (t->pixels > 3)
        _mm_storeu_si128((__m128i *)(void *)(y + 3 * t->c), _mm512_extracti32x4_epi32(v, 3));
}

/* One block; `k` and `edge`, whether a column may lie outside the image, are constants after
 * inlining. */
static inline __attribute__((always_inline)) void run_block(const tile *t, window k, bool edge,
                                                            int64_t b) {
    int64_t channel = b * LANES + LANES > t->c ? t->c - LANES : b * LANES;
    const int8_t *weights = t->w + b * (ROWS * 64) * k.size * fours(k);
    __m512i acc[ROWS][PIXELS], bias = _mm512_loadu_si512(t->bias + b * LANES);
    for (int r = 0; r < ROWS; r++)
        for (int p = 0; p < PIXELS; p++) acc[r][p] = bias;
#pragma GCC unroll 11
    for (int j = 0; j < (PIXELS - 1) * k.stride + k.size; j++) {
        int64_t x = t->column + j;
        bool inside = !edge || (x >= 0 && x < t->width);
#pragma GCC unroll 2
        for (int f = 0; f < fours(k); f++) {
            int count = window_rows(k) - 4 * f < 4 ? window_rows(k) - 4 * f : 4;
            __m512i v = t->padding;
            if (inside) v = column(t, 4 * f, count, x * t->c + channel);
#pragma GCC unroll 4
            for (int p = 0; p < PIXELS; p++) {
                int tap = j - p * k.stride;
                if (tap < 0 || tap >= k.size) continue;
#pragma GCC unroll 2
                for (int r = 0; r < ROWS; r++) {
                    const int8_t *w = weights + ((r * k.size + tap) * fours(k) + f) * 64;
                    if (meets(k, r, f))
                        acc[r][p] = _mm512_dpbusd_epi32(acc[r][p], v, _mm512_loadu_si512(w));
                }
            }
        }
    }
    const float *scale = t->scale + b * LANES * (t->affine ? 3 : 1);
    store(t, acc[0], scale, t->y + channel);
    if (t->rows > 1) store(t, acc[1], scale, t->y + t->pitch + channel);
}

static inline __attribute__((always_inline)) void run_tile(const tile *t, window k, bool edge) {
    for (int64_t b = t->block; b < t->block_end; b++) run_block(t, k, edge, b);
}

#define TILES(SIZE, STRIDE)                                                                        \
    static __attribute__((noinline)) void inner_##SIZE##_##STRIDE(const tile *t) {                 \
        run_tile(t, (window){SIZE, STRIDE}, false);                                                \
    }                                                                                              \
    static __attribute__((noinline)) void edge_##SIZE##_##STRIDE(const tile *t) {                  \
        run_tile(t, (window){SIZE, STRIDE}, true);                                                 \
    }
TILES(3, 1)
TILES(3, 2)
TILES(5, 1)
TILES(5, 2)

typedef void (*tile_fn)(const tile *t);
static const tile_fn tiles[2][2][2] = {{{inner_3_1, edge_3_1}, {inner_3_2, edge_3_2}},
                                       {{inner_5_1, edge_5_1}, {inner_5_2, edge_5_2}}};

/* Two output rows, or the last one. Channels go four blocks at a time, so that a cache line is used
 * up while it is near. */
static void run_rows(const ei_conv *g, tile *t, uint8_t *y) {
    window k = {g->p->kernel_h, g->p->stride_h};
    const tile_fn *fn = tiles[k.size == 5][k.stride == 2];
    int64_t blocks = blocks_of(g);
    for (t->block = 0; t->block < blocks; t->block = t->block_end) {
        t->block_end = t->block + CHUNK < blocks ? t->block + CHUNK : blocks;
        for (int64_t x = 0; x < g->ow; x += PIXELS) {
            int64_t ox = x; /* the last tile of a row may overlap the one before */
            if (ox + PIXELS > g->ow && g->ow >= PIXELS) ox = g->ow - PIXELS;
            t->pixels = g->ow - ox < PIXELS ? (int)(g->ow - ox) : PIXELS;
            t->column = ox * k.stride - g->p->pad_left;
            t->y = y + ox * g->c;
            int64_t last = t->column + (PIXELS - 1) * k.stride + k.size - 1;
            fn[t->column < 0 || last >= g->w](t);
        }
    }
}

static int run(const ei_node *n, const ei_work *work) {
    ei_conv g;
    ei_depthwise_geometry(n, &g);
    const ei_conv_params *p = g.p;
    const ei_tensor *x = n->in[0], *out = n->out[0];
    int64_t in_pitch = (int64_t)g.w * g.c, pairs = (g.oh + ROWS - 1) / ROWS, i, end;
    memset(work->scratch, x->zero, (size_t)in_pitch);
    const uint8_t *rows[WINDOW_ROWS];
    tile t = {.row = rows,
              .c = g.c,
              .width = g.w,
              .w = n->in[1]->data,
              .bias = n->in[2]->data,
              .scale = n->in[n->n_in == 6 ? 5 : 3]->data,
              .affine = n->n_in == 6,
              .padding = _mm512_set1_epi8((char)x->zero),
              .zero =
                  _mm512_set1_epi16((short)(n->n_in == 6 ? ei_affine_centre(false) : out->zero)),
              .lo = _mm512_set1_epi8((char)p->act_min),
              .hi = _mm512_set1_epi8((char)p->act_max),
              .pitch = (int64_t)g.ow * g.c};
    ei_split(g.batch * pairs, 1, work, &i, &end);
    for (; i < end; i++) {
        int64_t image = i / pairs, oy = i % pairs * ROWS, top = oy * p->stride_h - p->pad_top;
        for (int r = 0; r < WINDOW_ROWS; r++) {
            bool inside = top + r >= 0 && top + r < g.h;
            rows[r] = inside ? (const uint8_t *)x->data + (image * g.h + top + r) * in_pitch
                             : work->scratch;
        }
        t.rows = g.oh - oy < ROWS ? 1 : ROWS;
        run_rows(&g, &t, (uint8_t *)out->data + (image * g.oh + oy) * t.pitch);
    }
    return EI_OK;
}

const ei_kernel ei_avx512vnni_depthwise_conv_2d_q8_tiles = {
    .name = "avx512vnni/depthwise_conv_2d_q8",
    .op = EI_OP_DEPTHWISE_CONV_2D,
    .layout = EI_LAYOUT_VNNI_DW_TILES_Q8,
    .parallel = true,
    .check = check,
    .scratch = scratch,
    .run = run,
};
