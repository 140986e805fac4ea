/* Runs a plan: source rows become rows of int16 (across), pairs of those become tensor rows
 * (down). The last two source rows are kept, so enlarging computes each only once. */
#include "rows.h"

#include <string.h>

/* Parts of the workspace, in bytes: two int16 rows, one before grey, sums of the area filter. */
static size_t row_bytes(const ei_image_plan *p) {
    size_t n = (size_t)p->groups * 4 * (size_t)p->mid_channels + EI_SLACK;
    return (n * sizeof(int16_t) + 63) & ~(size_t)63;
}

static size_t sums(const ei_image_plan *p) {
    return (size_t)p->o.source_width * (size_t)p->o.source_channels;
}

size_t ei_image_workspace_bytes(const ei_image_plan *p) {
    return 3 * row_bytes(p) + (p->o.filter == EI_IMAGE_AREA ? sums(p) * 4 + 64 : 64);
}

/* Luma of BT.601 in 14 bits (OpenCV's numbers), on the signed rows: the offset passes through
 * since the three add up to 16384. */
static void to_grey(const int16_t *rgb, int n, int16_t *out) {
    for (int i = 0; i < n; i++, rgb += 3)
        out[i] = (int16_t)((rgb[0] * 4899 + rgb[1] * 9617 + rgb[2] * 1868 + 8192) >> 14);
}

/* Mean over columns of one tensor row's sums: 65536 * (256 * pixel) fits 32 bits. */
static void area_across(const ei_image_plan *p, uint32_t *sum, int16_t *out) {
    const int32_t *span = ei_plan_at(p, p->area_x);
    const uint32_t *weights = ei_plan_at(p, p->area_weights);
    int cs = p->o.source_channels, cm = p->mid_channels;
    int from = p->crop_x * cs, to = (p->crop_x + p->crop_w) * cs;
    for (int i = from; i < to; i++) sum[i] = (sum[i] + 128) >> 8;
    for (int x = 0; x < p->inner_w; x++, weights += p->area_most) {
        const uint32_t *at = sum + span[2 * x] * cs;
        for (int c = 0; c < cm; c++) {
            const uint32_t *tap = at + p->o.order[c];
            uint32_t total = 32768;
            for (int k = 0; k < span[2 * x + 1]; k++) total += weights[k] * tap[k * cs];
            *out++ = (int16_t)((int)(total >> 16) - 32768);
        }
    }
}

typedef struct job {
    const ei_image_plan *plan;
    const uint8_t *source;
    size_t stride;
    int16_t *slot[2], *before_grey;
    uint32_t *sum;
    int32_t held[2]; /* source row in each slot */
} job;

/* The int16 row of a source row, from a slot that holds it or into one that `keep` is not in. */
static const int16_t *across(job *j, int32_t row, int32_t keep) {
    const ei_image_plan *p = j->plan;
    for (int s = 0; s < 2; s++)
        if (j->held[s] == row) return j->slot[s];
    int s = j->held[0] == keep;
    int16_t *out = p->o.grey ? j->before_grey : j->slot[s];
    p->rows.across(j->source + (size_t)row * j->stride, ei_plan_at(p, p->taps), p->groups,
                   p->mid_channels, out);
    if (p->o.grey) to_grey(out, p->inner_w, j->slot[s]);
    j->held[s] = row;
    return j->slot[s];
}

/* Both rows in one pass where neither is held: shrinking, that is every time. */
static void across_both(job *j, const ei_row_taps *t) {
    const ei_image_plan *p = j->plan;
    if (!p->rows.across2 || p->o.grey || t->first == t->second) return;
    for (int s = 0; s < 2; s++)
        if (j->held[s] == t->first || j->held[s] == t->second) return;
    const uint8_t *rows[2] = {j->source + (size_t)t->first * j->stride,
                              j->source + (size_t)t->second * j->stride};
    p->rows.across2(rows, ei_plan_at(p, p->taps), p->groups, p->mid_channels, j->slot);
    j->held[0] = t->first;
    j->held[1] = t->second;
}

static const int16_t *area(job *j, int32_t y) {
    const ei_image_plan *p = j->plan;
    int32_t first, cs = p->o.source_channels, from = p->crop_x * cs;
    int32_t n = ei_area_taps(y, p->crop_h, p->inner_h, &first, NULL);
    int64_t start = (int64_t)y * p->crop_h, end = start + p->crop_h, before = 0;
    for (int32_t k = 0; k < n; k++) {
        int64_t edge = (int64_t)(first + k + 1) * p->inner_h;
        int64_t share = ((edge < end ? edge : end) - start) * 65536;
        int64_t total = (2 * share + p->crop_h) / (2 * p->crop_h); /* as ei_area_taps */
        p->rows.gather(j->source + (size_t)(p->crop_y + first + k) * j->stride + from,
                       (uint32_t)(total - before), k == 0, p->crop_w * cs, j->sum + from);
        before = total;
    }
    int16_t *out = p->o.grey ? j->before_grey : j->slot[0];
    area_across(p, j->sum, out);
    if (p->o.grey) to_grey(out, p->inner_w, j->slot[0]);
    return j->slot[0];
}

static void one_row(job *j, int32_t y, void *out) {
    const ei_image_plan *p = j->plan;
    const ei_row_taps *t = (const ei_row_taps *)ei_plan_at(p, p->row_taps) + y;
    const int16_t *above, *below;
    if (p->o.filter == EI_IMAGE_AREA) {
        above = below = area(j, y);
    } else {
        across_both(j, t);
        above = across(j, t->first, t->second);
        below = across(j, t->second, t->first);
    }
    int w0 = p->o.filter == EI_IMAGE_AREA ? 1024 : t->w0;
    int w1 = 2048 - w0, n = p->inner_w * p->o.channels;
    if (p->o.dtype == EI_U8)
        p->rows.down_u8(above, below, w0, w1, &p->affine, n, out);
    else if (p->o.dtype == EI_I8)
        p->rows.down_i8(above, below, w0, w1, &p->affine, n, out);
    else
        p->rows.down_f32(above, below, w0, w1, &p->affine, n, out);
}

int ei_image_run(const ei_image_plan *p, const uint8_t *source, size_t source_bytes, size_t stride,
                 void *tensor, size_t tensor_bytes, void *workspace) {
    if (!p || !source || !tensor || !workspace || (uintptr_t)workspace % 8) return EI_E_ARGUMENT;
    size_t line = (size_t)p->o.source_width * (size_t)p->o.source_channels;
    size_t rows = (size_t)p->o.source_height - 1;
    if (stride < line || source_bytes < line || (rows && stride > (source_bytes - line) / rows))
        return EI_E_ARGUMENT;
    if (tensor_bytes < ei_image_tensor_bytes(p)) return EI_E_ARGUMENT;
    if (p->elem == 4 && (uintptr_t)tensor % 4) return EI_E_ARGUMENT;
    char *work = workspace;
    size_t row = row_bytes(p), pixel = (size_t)(p->o.channels * p->elem);
    job j = {p,
             source,
             stride,
             {(int16_t *)work, (int16_t *)(work + row)},
             (int16_t *)(work + 2 * row),
             (uint32_t *)(work + 3 * row),
             {-1, -1}};
    const uint8_t *pad = ei_plan_at(p, p->pad_row);
    size_t left = (size_t)p->left * pixel, inner = (size_t)p->inner_w * pixel;
    size_t full = (size_t)p->o.width * pixel;
    uint8_t *out = tensor;
    for (int32_t y = 0; y < p->o.height; y++, out += full) {
        int32_t at = y - p->top;
        if (at < 0 || at >= p->inner_h) {
            memcpy(out, pad, full);
            continue;
        }
        memcpy(out, pad, left);
        one_row(&j, at, out + left);
        memcpy(out + left + inner, pad, full - left - inner);
    }
    return EI_OK;
}
