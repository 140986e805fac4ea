/* The definition of the image path's arithmetic, row by row: what image.h says, in plain C. */
#include "rows.h"

#include <math.h>

static void across(const uint8_t *row, const ei_taps *taps, int groups, int channels,
                   int16_t *out) {
    for (int x = 0; x < 4 * groups; x++, out += channels) {
        const ei_taps *t = &taps[x / 4];
        const uint8_t *p = row + t->offset[x % 4];
        const uint8_t *pick = t->pick[x % 4], *weight = t->weight[x % 4];
        for (int c = 0; c < channels; c++) {
            int v = p[pick[2 * c] & 7] * weight[2 * c] + p[pick[2 * c + 1] & 7] * weight[2 * c + 1];
            out[c] = (int16_t)(v - 32768);
        }
    }
}

static float scaled(int v, const ei_affine *to, int i) {
    float product = (float)v * to->mul[i % EI_SPAN];
    return product + to->add[i % EI_SPAN];
}

static int rounded(float v, int lo, int hi) {
    long r = lrintf(v); /* the plan proved that it fits */
    return r < lo ? lo : r > hi ? hi : (int)r;
}

static void down_u8(const int16_t *above, const int16_t *below, int w0, int w1, const ei_affine *to,
                    int n, void *out) {
    uint8_t *y = out;
    for (int i = 0; i < n; i++)
        y[i] = (uint8_t)rounded(scaled(above[i] * w0 + below[i] * w1, to, i), 0, 255);
}

static void down_i8(const int16_t *above, const int16_t *below, int w0, int w1, const ei_affine *to,
                    int n, void *out) {
    int8_t *y = out;
    for (int i = 0; i < n; i++)
        y[i] = (int8_t)rounded(scaled(above[i] * w0 + below[i] * w1, to, i), -128, 127);
}

static void down_f32(const int16_t *above, const int16_t *below, int w0, int w1,
                     const ei_affine *to, int n, void *out) {
    float *y = out;
    for (int i = 0; i < n; i++) y[i] = scaled(above[i] * w0 + below[i] * w1, to, i);
}

static void gather(const uint8_t *row, uint32_t weight, int first, int n, uint32_t *sum) {
    for (int i = 0; i < n; i++) sum[i] = (first ? 0 : sum[i]) + weight * row[i];
}

const ei_rows ei_rows_ref = {EI_ISA_REF, across, NULL, down_u8, down_i8, down_f32, gather};
