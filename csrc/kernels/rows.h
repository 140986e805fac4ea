/* Input rows for convolutions that multiply straight from the image, without gathering patches.
 *
 * The patch of an output pixel is a few segments of adjacent elements: one for every kernel row
 * where its taps are adjacent (no dilation across, one group), else one for every tap. Neighbouring
 * pixels of an output line have their segments stride_w * c elements apart. So a tile of pixels is
 * a product over the segments of a matrix whose rows overlap in memory. Rows that need padding, or
 * another type, are copied once into a ring; the others are read in place.
 *
 * A 1x1 convolution that keeps the image's size has one segment, and its lines are pieces of the
 * whole batch as one row of pixels. */
#ifndef EI_ROWS_H
#define EI_ROWS_H

#include <string.h>

#include "conv.h"

typedef struct ei_rows {
    const ei_conv *g;
    const uint8_t *x;
    int64_t lines;  /* output lines of all images, or pieces */
    int32_t width;  /* pixels of a line; the last piece may have fewer */
    int32_t tiles;  /* tiles of at most `mr` pixels of a line */
    int segments;   /* of a patch */
    int32_t length; /* elements of a segment of one group */
    int64_t lda;    /* elements from a pixel's segment to its neighbour's */
    int64_t pixel;  /* elements of x from a pixel to the next: more than c among other channels */
    size_t size;    /* bytes of an element in the rows */
    bool copied;
    int32_t fill;                                              /* value of the padding; */
    const int32_t *fills;                                      /* for each image, or NULL */
    void (*convert)(void *to, const uint8_t *from, int64_t n); /* of copied elements; NULL: as is */
    size_t from_size;
    int32_t span;  /* input rows from a patch's first to its last */
    int64_t pitch; /* bytes of a copied row */
    /* This worker's state: */
    int64_t line, next; /* line sought last (-1: none); padded row that the ring lacks */
    int64_t tile;       /* the one after the last that was asked for */
    int32_t part;       /* which of its line's that would be */
    int32_t each, more; /* pixels of the line's tiles; how many tiles have one more */
    uint8_t *ring;
    const uint8_t **at; /* [segments]: where the first pixel's segments begin */
} ei_rows;

/* Elements of a patch in packed weights: every segment rounded up to `unit`. */
int64_t ei_rows_depth(const ei_conv *g, int unit);

/* Plans the reading of x (in[0]) in tiles of at most `mr` pixels. `convert`: copies and widens
 * elements to `size` bytes, or NULL: elements as they are. A segment may be read up to `slack`
 * elements beyond its end (the arena has EI_ALIGN bytes to spare, a constant has not). */
void ei_rows_plan(ei_rows *r, const ei_conv *g, const ei_tensor *x, int mr, size_t size, int slack,
                  void (*convert)(void *to, const uint8_t *from, int64_t n));

/* Bytes of scratch that one worker needs. */
size_t ei_rows_scratch(const ei_rows *r);

/* Binds the worker's scratch. */
void ei_rows_begin(ei_rows *r, void *scratch);

/* Points r->at at an output line. Lines are sought in rising order. */
void ei_rows_seek(ei_rows *r, int64_t line);

/* A tile: `pixels` output pixels of a line, the first of them at `pixel` of the batch. */
typedef struct ei_span {
    int64_t pixel;
    int64_t offset; /* bytes from r->at[i] to its first segment, group 0 */
    int pixels;
} ei_span;

/* Tile number `tile` of r->lines * r->tiles, the pixels of a line spread evenly; seeks its line. It
 * is on the way from one tile's arithmetic to the next one's: dividing here would be seen. */
static inline ei_span ei_rows_tile(ei_rows *r, int64_t tile) {
    if (r->line < 0 || tile != r->tile || r->part == r->tiles) {
        int64_t line = tile / r->tiles;
        r->part = (int32_t)(tile % r->tiles);
        if (line != r->line) ei_rows_seek(r, line);
        int64_t left = r->g->rows - line * r->width;
        int32_t width = left < r->width ? (int32_t)left : r->width;
        r->each = width / r->tiles, r->more = width % r->tiles;
    }
    int64_t begin = (int64_t)r->part * r->each + (r->part < r->more ? r->part : r->more);
    ei_span span = {r->line * r->width + begin, begin * r->lda * (int64_t)r->size,
                    r->each + (r->part < r->more)};
    r->part++, r->tile = tile + 1;
    return span;
}

/* Ranges of tiles (rows of the left matrix) and of column blocks. */
typedef struct ei_share {
    int64_t row, row_end;
    int64_t block, block_end;
} ei_share;

/* Worker's share: of tiles, or of column blocks where tiles are few or weights many. */
ei_share ei_rows_share(const ei_rows *r, int64_t blocks, const ei_work *work);

#endif
