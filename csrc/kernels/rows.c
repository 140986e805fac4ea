#include "rows.h"

enum { PIECE_TILES = 4 }; /* most tiles of a piece of a 1x1 convolution whose rows are copied */

static bool joined(const ei_conv *g) {
    return g->p->dilation_w == 1 && g->p->groups == 1;
}

int64_t ei_rows_depth(const ei_conv *g, int unit) {
    int64_t taps = joined(g) ? g->p->kernel_h : (int64_t)g->p->kernel_h * g->p->kernel_w;
    int64_t length = g->depth / taps;
    return taps * ((length + unit - 1) / unit * unit);
}

/* Input columns from a line's first tap to its last. */
static int64_t columns(const ei_conv *g) {
    const ei_conv_params *p = g->p;
    return ((int64_t)g->ow - 1) * p->stride_w + ((int64_t)p->kernel_w - 1) * p->dilation_w + 1;
}

void ei_rows_plan(ei_rows *r, const ei_conv *g, const ei_tensor *x, int mr, size_t size, int slack,
                  void (*convert)(void *to, const uint8_t *from, int64_t n)) {
    const ei_conv_params *p = g->p;
    bool one = joined(g);
    *r = (ei_rows){.g = g, .x = x->data, .size = size, .convert = convert, .line = -1};
    r->from_size = x->dtype == EI_F32 ? 4 : 1;
    r->fill = x->dtype == EI_F32 ? 0 : x->zero;
    r->segments = one ? p->kernel_h : p->kernel_h * p->kernel_w;
    r->length = (int32_t)(g->depth / r->segments);
    r->pixel = ei_is_strided(x) ? x->stride : g->c;
    bool apart = r->pixel != g->c;
    int64_t row;
    if (g->direct) {
        r->copied = convert || x->constant;
        /* What is copied should stay near; pieces are of about one size, so that tiles are. */
        int64_t piece = r->copied ? (int64_t)mr * PIECE_TILES : g->rows;
        r->lines = (g->rows + piece - 1) / piece;
        r->width = (int32_t)((g->rows + r->lines - 1) / r->lines);
        r->span = 1;
        row = (int64_t)r->width * g->c;
    } else {
        r->width = g->ow;
        r->lines = (int64_t)g->batch * g->oh;
        r->copied = convert || x->constant || apart || p->pad_left || columns(g) > g->w;
        r->span = (p->kernel_h - 1) * p->dilation_h + 1;
        row = columns(g) * g->c;
    }
    r->lda = p->stride_w * (r->copied ? g->c : r->pixel);
    r->tiles = (r->width + mr - 1) / mr;
    r->pitch = ((row + slack) * (int64_t)size + EI_ALIGN - 1) / EI_ALIGN * EI_ALIGN;
}

/* Rows in place still need one of padding, for above and below the image. */
static int64_t ring_rows(const ei_rows *r) {
    return r->copied ? r->span : r->g->direct ? 0 : 1;
}

size_t ei_rows_scratch(const ei_rows *r) {
    size_t pointers = ((size_t)r->segments * sizeof *r->at + EI_ALIGN - 1) / EI_ALIGN * EI_ALIGN;
    return pointers + (size_t)(ring_rows(r) * r->pitch);
}

static void fill(const ei_rows *r, uint8_t *to, int64_t n) {
    if (r->size == 2)
        for (int64_t i = 0; i < n; i++) ((int16_t *)(void *)to)[i] = (int16_t)r->fill;
    else
        memset(to, r->size == 1 ? r->fill : 0, (size_t)n * r->size);
}

static void copy(const ei_rows *r, uint8_t *to, const uint8_t *from, int64_t n) {
    if (r->convert)
        r->convert(to, from, n);
    else
        memcpy(to, from, (size_t)n * r->size);
}

/* Padding all over the ring: beside the image it stays there, and what is read beyond a row's end
 * is defined. */
static void pad(const ei_rows *r) {
    fill(r, r->ring, ring_rows(r) * r->pitch / (int64_t)r->size);
}

/* `n` pixels of x to adjacent ones. */
static void copy_pixels(const ei_rows *r, uint8_t *to, const uint8_t *from, int64_t n) {
    int64_t c = r->g->c;
    if (r->pixel == c) {
        copy(r, to, from, n * c);
        return;
    }
    for (int64_t i = 0; i < n; i++)
        copy(r, to + i * c * (int64_t)r->size, from + i * r->pixel * (int64_t)r->from_size, c);
}

void ei_rows_begin(ei_rows *r, void *scratch) {
    size_t ring = (size_t)(ring_rows(r) * r->pitch);
    r->ring = scratch;
    r->at = (const uint8_t **)(void *)((uint8_t *)scratch + ring);
    r->line = -1;
    pad(r);
}

/* Padded row `row` of image `image` into its place in the ring. */
static void load(ei_rows *r, int64_t image, int64_t row) {
    const ei_conv *g = r->g;
    uint8_t *to = r->ring + row % r->span * r->pitch;
    int64_t y = row - g->p->pad_top, need = columns(g), left = g->p->pad_left;
    if (left >= need) return;
    int64_t inside = need - left < g->w ? need - left : g->w;
    to += left * g->c * (int64_t)r->size;
    if (y < 0 || y >= g->h)
        fill(r, to, inside * g->c);
    else
        copy_pixels(r, to, r->x + (image * g->h + y) * g->w * r->pixel * (int64_t)r->from_size,
                    inside);
}

static void seek_piece(ei_rows *r, int64_t line) {
    const ei_conv *g = r->g;
    int64_t first = line * r->width, left = g->rows - first;
    r->at[0] = r->x + first * r->pixel * (int64_t)r->from_size;
    if (!r->copied) return;
    copy_pixels(r, r->ring, r->at[0], left < r->width ? left : r->width);
    r->at[0] = r->ring;
}

static const uint8_t *row_at(const ei_rows *r, int64_t image, int64_t row) {
    const ei_conv *g = r->g;
    if (r->copied) return r->ring + row % r->span * r->pitch;
    int64_t y = row - g->p->pad_top;
    if (y < 0 || y >= g->h) return r->ring;
    return r->x + (image * g->h + y) * g->w * g->c * (int64_t)r->size;
}

void ei_rows_seek(ei_rows *r, int64_t line) {
    const ei_conv_params *p = r->g->p;
    bool first = r->line < 0 || r->line / r->g->oh != line / r->g->oh;
    r->line = line;
    if (r->g->direct) {
        seek_piece(r, line);
        return;
    }
    int64_t image = line / r->g->oh;
    if (first && r->fills) {
        r->fill = r->fills[image];
        pad(r);
    }
    int64_t top = line % r->g->oh * p->stride_h;
    if (first || r->next < top) r->next = top;
    for (; r->copied && r->next < top + r->span; r->next++) load(r, image, r->next);
    int per_row = r->segments / p->kernel_h;
    for (int i = 0; i < r->segments; i++) {
        const uint8_t *row = row_at(r, image, top + (int64_t)(i / per_row) * p->dilation_h);
        r->at[i] = row + (int64_t)(i % per_row) * p->dilation_w * r->g->c * (int64_t)r->size;
    }
}

ei_share ei_rows_share(const ei_rows *r, int64_t blocks, const ei_work *work) {
    int64_t tiles = r->lines * r->tiles, n = work->threads;
    ei_share s = {0, tiles, 0, blocks};
    if (n == 1) return s;
    /* What the busiest worker has, in thousandths of all. */
    int64_t by_tile = (tiles + n - 1) / n * 1000 / tiles;
    int64_t by_block = (blocks + n - 1) / n * 1000 / blocks;
    /* Every worker reads all that the other does not split: weights or activations. */
    int64_t weights = r->g->depth * r->g->oc,
            image = (int64_t)r->g->batch * r->g->h * r->g->w * r->g->c;
    if (weights > 2 * image) by_tile += 100;
    if (by_tile <= by_block + 50)
        ei_split(tiles, 1, work, &s.row, &s.row_end);
    else
        ei_split(blocks, 1, work, &s.block, &s.block_end);
    return s;
}
