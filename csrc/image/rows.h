/* What the image path shares: the plan's memory and the row functions of an ISA. */
#ifndef EI_IMAGE_ROWS_H
#define EI_IMAGE_ROWS_H

#include "image.h"

#define EI_SPAN  48 /* elements a step of the vertical pass; a multiple of 16 and of 1, 3, 4 */
#define EI_SLACK 64 /* int16 a row function may write or read past the end of a row */

/* Where four neighbouring tensor pixels come from: eight bytes of the row for each, of which
 * `pick` chooses two taps a channel (odd pixels' are 8 higher: two loads share a register). */
typedef struct ei_taps {
    int32_t offset[4];
    uint8_t pick[4][8], weight[4][8]; /* two weights of one channel add up to 256 */
} ei_taps;

typedef struct ei_row_taps { /* one tensor row from two source rows */
    int32_t first, second, w0, w1;
} ei_row_taps;

/* float(v) * mul + add, by element: EI_SPAN long, channels repeating */
typedef struct ei_affine {
    float mul[EI_SPAN], add[EI_SPAN];
} ei_affine;

/* Every function must give the bytes of its namesake in ref_rows.c. */
typedef struct ei_rows {
    int isa;
    /* Horizontal: `groups` of four pixels with 1, 3 or 4 channels, sum wx * pixel - 32768. */
    void (*across)(const uint8_t *row, const ei_taps *taps, int groups, int channels, int16_t *out);
    /* The same for two rows at once (one pass over the taps); NULL: one after the other. */
    void (*across2)(const uint8_t *const *rows, const ei_taps *taps, int groups, int channels,
                    int16_t *const *out);
    /* Vertical and out: n elements of above * w0 + below * w1, scaled, rounded. */
    void (*down_u8)(const int16_t *above, const int16_t *below, int w0, int w1, const ei_affine *to,
                    int n, void *out);
    void (*down_i8)(const int16_t *above, const int16_t *below, int w0, int w1, const ei_affine *to,
                    int n, void *out);
    void (*down_f32)(const int16_t *above, const int16_t *below, int w0, int w1,
                     const ei_affine *to, int n, void *out);
    /* Area: sum[i] = (or +=, unless first) weight * row[i]. */
    void (*gather)(const uint8_t *row, uint32_t weight, int first, int n, uint32_t *sum);
} ei_rows;

extern const ei_rows ei_rows_ref, ei_rows_avx2, ei_rows_neon;

struct ei_image_plan {
    ei_image_options o;
    ei_rows rows;
    ei_affine affine;
    int32_t crop_y, crop_x, crop_h, crop_w; /* in the source */
    int32_t top, left, inner_h, inner_w;    /* the picture in the tensor */
    int32_t mid_channels;                   /* before grey */
    int32_t groups, elem;
    /* byte offsets from the plan: it may be moved */
    size_t taps, row_taps, pad_row, area_x, area_weights, bytes;
    int32_t area_most; /* taps of one tensor pixel along x */
};

/* Source interval of tensor position i: weights that add up to 65536 over first..first+n-1. */
int ei_area_taps(int32_t i, int32_t source, int32_t dest, int32_t *first, uint32_t *weights);

static inline const void *ei_plan_at(const ei_image_plan *p, size_t offset) {
    return (const char *)p + offset;
}

#endif
