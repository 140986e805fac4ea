/* Plans of the image path: where every tensor pixel comes from and with what weights. All in
 * integers (positions are fractions over twice the tensor's size), so every machine agrees. */
#include "rows.h"

#include <math.h>
#include <string.h>

#define MOST 16384 /* of a side, pixels */

typedef struct place { /* two taps along one axis, weights in 1/one */
    int32_t first, second, w0, w1;
} place;

static int within(int32_t v, int32_t lo, int32_t hi) {
    return v >= lo && v <= hi;
}

static int channels_ok(int32_t c) {
    return c == 1 || c == 3 || c == 4;
}

static int valid(const ei_image_options *o) {
    if (!o || !within(o->source_height, 1, MOST) || !within(o->source_width, 1, MOST) ||
        !within(o->height, 1, MOST) || !within(o->width, 1, MOST) ||
        !channels_ok(o->source_channels) || !channels_ok(o->channels))
        return 0;
    if (o->crop_height && (!within(o->crop_height, 1, o->source_height) ||
                           !within(o->crop_width, 1, o->source_width) ||
                           !within(o->crop_y, 0, o->source_height - o->crop_height) ||
                           !within(o->crop_x, 0, o->source_width - o->crop_width)))
        return 0;
    if (!within(o->layout, 0, 2) || !within(o->filter, 0, 2) || !within(o->grey, 0, 1)) return 0;
    if (o->dtype != EI_U8 && o->dtype != EI_I8 && o->dtype != EI_F32) return 0;
    if (o->grey && (o->channels != 1 || o->source_channels < 3)) return 0;
    for (int c = 0; c < (o->grey ? 3 : o->channels); c++)
        if (!within(o->order[c], 0, o->source_channels - 1)) return 0;
    return 1;
}

/* Rounded division of non-negative numbers. */
static int32_t ratio(int64_t a, int64_t b) {
    return (int32_t)((2 * a + b) / (2 * b));
}

static int32_t at_least_1(int32_t v) {
    return v < 1 ? 1 : v;
}

/* Fixes which part of the source lands on which part of the tensor. */
static void place_picture(ei_image_plan *p) {
    const ei_image_options *o = &p->o;
    int whole = o->crop_height == 0;
    p->crop_y = whole ? 0 : o->crop_y;
    p->crop_x = whole ? 0 : o->crop_x;
    p->crop_h = whole ? o->source_height : o->crop_height;
    p->crop_w = whole ? o->source_width : o->crop_width;
    p->top = p->left = 0;
    p->inner_h = o->height;
    p->inner_w = o->width;
    /* Is the source, relative to its height, wider than the tensor? */
    int64_t wide = (int64_t)p->crop_w * o->height - (int64_t)p->crop_h * o->width;
    if (o->layout == EI_IMAGE_LETTERBOX) {
        if (wide > 0) p->inner_h = at_least_1(ratio((int64_t)p->crop_h * o->width, p->crop_w));
        if (wide < 0) p->inner_w = at_least_1(ratio((int64_t)p->crop_w * o->height, p->crop_h));
        p->top = (o->height - p->inner_h) / 2;
        p->left = (o->width - p->inner_w) / 2;
    } else if (o->layout == EI_IMAGE_CROP) {
        int32_t w = p->crop_w, h = p->crop_h;
        if (wide > 0) w = at_least_1(ratio((int64_t)h * o->width, o->height));
        if (wide < 0) h = at_least_1(ratio((int64_t)w * o->height, o->width));
        p->crop_x += (p->crop_w - w) / 2;
        p->crop_y += (p->crop_h - h) / 2;
        p->crop_w = w;
        p->crop_h = h;
    }
}

static place taps_of(int32_t i, int32_t source, int32_t dest, int filter, int32_t one) {
    if (filter == EI_IMAGE_NEAREST) {
        int32_t at = (int32_t)((2 * (int64_t)i + 1) * source / (2 * dest));
        return (place){at, at, one / 2, one / 2};
    }
    int64_t position = (2 * (int64_t)i + 1) * source - dest, unit = 2 * (int64_t)dest;
    if (position < 0) position = 0; /* before the first centre */
    int32_t at = (int32_t)(position / unit), last = source - 1;
    int32_t w1 = ratio((position - at * unit) * one, unit);
    if (w1 == one) {
        at++;
        w1 = 0;
    }
    if (at >= last || w1 == 0) { /* one pixel: both taps on it, no weight reaches 256 */
        at = at > last ? last : at;
        return (place){at, at, one / 2, one / 2};
    }
    return (place){at, at + 1, one - w1, w1};
}

int ei_area_taps(int32_t i, int32_t source, int32_t dest, int32_t *first, uint32_t *weights) {
    int64_t from = (int64_t)i * source, to = from + source; /* in 1/dest of a source pixel */
    int32_t a = (int32_t)(from / dest), b = (int32_t)((to + dest - 1) / dest);
    int64_t before = 0;
    for (int32_t k = a; k < b; k++) { /* rounding the running sum: the total is exact */
        int64_t end = (int64_t)(k + 1) * dest < to ? (int64_t)(k + 1) * dest : to;
        int64_t sum = ratio((end - from) * 65536, source);
        if (weights) weights[k - a] = (uint32_t)(sum - before);
        before = sum;
    }
    *first = a;
    return b - a;
}

static void plan_across(ei_image_plan *p, ei_taps *taps) {
    int32_t cs = p->o.source_channels, bytes = p->o.source_width * cs;
    memset(taps, 0, (size_t)p->groups * sizeof *taps);
    for (int32_t x = 0; x < 4 * p->groups; x++) {
        int32_t i = x < p->inner_w ? x : p->inner_w - 1; /* the last group is filled up */
        place t = taps_of(i, p->crop_w, p->inner_w, p->o.filter, 256);
        int32_t first = (p->crop_x + t.first) * cs, second = (p->crop_x + t.second) * cs;
        int32_t offset = first + 8 <= bytes ? first : bytes >= 8 ? bytes - 8 : 0;
        ei_taps *to = &taps[x / 4];
        to->offset[x % 4] = offset;
        for (int c = 0; c < p->mid_channels; c++) {
            int32_t from = p->o.order[c] - offset, odd = x & 1 ? 8 : 0;
            to->pick[x % 4][2 * c] = (uint8_t)(first + from + odd);
            to->pick[x % 4][2 * c + 1] = (uint8_t)(second + from + odd);
            to->weight[x % 4][2 * c] = (uint8_t)t.w0;
            to->weight[x % 4][2 * c + 1] = (uint8_t)t.w1;
        }
    }
}

static void plan_down(const ei_image_plan *p, ei_row_taps *rows) {
    for (int32_t y = 0; y < p->inner_h; y++) {
        place t = taps_of(y, p->crop_h, p->inner_h, p->o.filter, 2048);
        rows[y] = (ei_row_taps){p->crop_y + t.first, p->crop_y + t.second, t.w0, t.w1};
    }
}

/* v = (pixel - 128) * 2^19, so real = v * scale / 2^19 + (128 - mean) * scale. */
static int plan_affine(ei_image_plan *p) {
    const ei_image_options *o = &p->o;
    int q8 = o->dtype != EI_F32;
    if (q8 && !(o->quant_scale > 0 && isfinite(o->quant_scale))) return EI_E_ARGUMENT;
    if (q8 && !within(o->quant_zero, -65536, 65536)) return EI_E_ARGUMENT;
    for (int i = 0; i < EI_SPAN; i++) {
        int c = i % o->channels;
        double scale = (double)o->scale[c] / (q8 ? (double)o->quant_scale : 1.0);
        double add = (128.0 - (double)o->mean[c]) * scale + (q8 ? o->quant_zero : 0);
        p->affine.mul[i] = (float)(scale / 524288.0);
        p->affine.add[i] = (float)add;
        if (!isfinite(p->affine.mul[i]) || !isfinite(p->affine.add[i])) return EI_E_ARGUMENT;
        /* so that converting to int32 is in range for every pixel */
        if (q8 && fabs(scale) * 128 + fabs(add) > 1e9) return EI_E_ARGUMENT;
    }
    return EI_OK;
}

/* One tensor row of the padding colour, in the tensor's type. */
static void plan_pad(const ei_image_plan *p, uint8_t *row) {
    const ei_image_options *o = &p->o;
    for (int32_t i = 0; i < o->width * o->channels; i++) {
        float pixel = o->pad[i % o->channels];
        pixel = pixel > 0 ? (pixel < 255 ? pixel : 255) : 0; /* NaN is 0 */
        float v = (pixel - 128.0f) * 524288.0f;
        float scaled = v * p->affine.mul[i % o->channels];
        scaled += p->affine.add[i % o->channels];
        if (o->dtype == EI_F32) {
            memcpy(row + 4 * (size_t)i, &scaled, 4);
            continue;
        }
        long q = lrintf(scaled), lo = o->dtype == EI_I8 ? -128 : 0;
        row[i] = (uint8_t)(q < lo ? lo : q > lo + 255 ? lo + 255 : q);
    }
}

static size_t aligned(size_t n) {
    return (n + 63) & ~(size_t)63;
}

/* Fills in everything but the tables. */
static void lay_out(const ei_image_options *o, ei_image_plan *p) {
    memset(p, 0, sizeof *p);
    p->o = *o;
    place_picture(p);
    p->mid_channels = o->grey ? 3 : o->channels;
    p->groups = (p->inner_w + 3) / 4;
    p->elem = o->dtype == EI_F32 ? 4 : 1;
    p->taps = aligned(sizeof *p);
    p->row_taps = aligned(p->taps + (size_t)p->groups * sizeof(ei_taps));
    p->pad_row = aligned(p->row_taps + (size_t)p->inner_h * sizeof(ei_row_taps));
    p->area_x = aligned(p->pad_row + (size_t)(o->width * o->channels * p->elem));
    p->area_most = p->crop_w / p->inner_w + 2;
    p->area_weights = p->area_x;
    p->bytes = p->area_x;
    if (o->filter == EI_IMAGE_AREA) {
        p->area_weights = aligned(p->area_x + (size_t)p->inner_w * 2 * sizeof(int32_t));
        p->bytes =
            aligned(p->area_weights + (size_t)p->inner_w * (size_t)p->area_most * sizeof(uint32_t));
    }
}

static void plan_area(ei_image_plan *p) {
    int32_t *spans = (int32_t *)((char *)p + p->area_x);
    uint32_t *weights = (uint32_t *)((char *)p + p->area_weights);
    for (int32_t x = 0; x < p->inner_w; x++, weights += p->area_most) {
        spans[2 * x + 1] = ei_area_taps(x, p->crop_w, p->inner_w, &spans[2 * x], weights);
        spans[2 * x] += p->crop_x;
    }
}

static int choose_rows(ei_image_plan *p) {
    int isa = p->o.isa < 0 ? ei_isa_best() : p->o.isa;
    if (!ei_isa_has(isa)) return EI_E_ISA;
    p->rows = ei_rows_ref;
#if defined(__x86_64__)
    if (isa != EI_ISA_REF) p->rows = ei_rows_avx2;
#elif defined(__aarch64__)
    if (isa != EI_ISA_REF) p->rows = ei_rows_neon;
#endif
    /* Vector code loads eight bytes a pixel: a row must have them. */
    if (p->o.source_width * p->o.source_channels < 8) {
        p->rows.across = ei_rows_ref.across;
        p->rows.across2 = NULL;
    }
    return EI_OK;
}

size_t ei_image_plan_bytes(const ei_image_options *o) {
    ei_image_plan p;
    if (!valid(o)) return 0;
    lay_out(o, &p);
    return p.bytes;
}

int ei_image_plan_init(const ei_image_options *o, void *memory, size_t bytes) {
    if (!valid(o) || !memory || (uintptr_t)memory % 8 || bytes < ei_image_plan_bytes(o))
        return EI_E_ARGUMENT;
    ei_image_plan *p = memory;
    lay_out(o, p);
    int status = choose_rows(p);
    if (!status) status = plan_affine(p);
    if (status) return status;
    plan_across(p, (ei_taps *)((char *)p + p->taps));
    plan_down(p, (ei_row_taps *)((char *)p + p->row_taps));
    plan_pad(p, (uint8_t *)p + p->pad_row);
    if (o->filter == EI_IMAGE_AREA) plan_area(p);
    return EI_OK;
}

size_t ei_image_tensor_bytes(const ei_image_plan *p) {
    return (size_t)p->o.height * (size_t)p->o.width * (size_t)(p->o.channels * p->elem);
}

int ei_image_plan_isa(const ei_image_plan *p) {
    return p->rows.isa;
}

int ei_image_plan_transform(const ei_image_plan *p, ei_image_transform *t) {
    if (!p || !t) return EI_E_ARGUMENT;
    double sx = (double)p->inner_w / p->crop_w, sy = (double)p->inner_h / p->crop_h;
    *t = (ei_image_transform){(float)sx, (float)sy, (float)(p->left - sx * p->crop_x),
                              (float)(p->top - sy * p->crop_y)};
    return EI_OK;
}
