/* The tile of the float depthwise convolution, once for every ISA: the file that includes this says
 * what a vector is. It brings
 *   LANES, the type `vec`, and the functions load(p), all(x), madd(a, b, c) = a * b + c fused,
 *   times(a, b), plus(a, b), clamp(v, lo, hi), store(p, v, n): the first n lanes. */
#ifndef EI_DW_F32_TILE_H
#define EI_DW_F32_TILE_H

#include "dw_f32.h"

#define TIMES(i, from)                                                                             \
    if (n > (i)) acc[i] = madd(k, load(from), acc[i])

static inline __attribute__((always_inline)) void tile(int n, const ei_dw_f32_tile *t) {
    int64_t step = t->step_x;
    vec lo = all(t->lo), hi = all(t->hi);
    for (int64_t b = 0; b < t->blocks; b++) {
        const float *w = t->w + b * t->block_w;
        vec bias = load(t->bias + b * LANES), start = t->d.w_scale ? all(0) : bias;
        vec acc[EI_DW_PIXELS] = {start, start, start, start, start, start, start, start};
        for (int i = 0; i < t->taps; i++) {
            const float *x = t->x[i] + b * LANES, *x4 = x + 4 * step;
            vec k = load(w + t->w_at[i]);
            TIMES(0, x);
            TIMES(1, x + step);
            TIMES(2, x + 2 * step);
            TIMES(3, x + 3 * step);
            TIMES(4, x4);
            TIMES(5, x4 + step);
            TIMES(6, x4 + 2 * step);
            TIMES(7, x4 + 3 * step);
        }
        if (t->d.w_scale) {
            vec scale = times(load(t->d.w_scale + b * LANES), all(t->d.first)),
                second = all(t->d.second);
#pragma GCC unroll 8
            for (int i = 0; i < n; i++) acc[i] = plus(times(times(acc[i], scale), second), bias);
        }
        float *y = t->y + b * LANES;
        int last = b + 1 < t->blocks ? LANES : t->last;
#pragma GCC unroll 8
        for (int i = 0; i < n; i++) store(y + i * t->step_y, clamp(acc[i], lo, hi), last);
    }
}

#define TILE(n)                                                                                    \
    static __attribute__((noinline)) void tile##n(const ei_dw_f32_tile *t) {                       \
        tile(n, t);                                                                                \
    }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
TILE(5)
TILE(6)
TILE(7)
TILE(8)

static const ei_dw_f32_fn tiles[EI_DW_PIXELS] = {tile1, tile2, tile3, tile4,
                                                 tile5, tile6, tile7, tile8};

static int check(const ei_node *n) {
    return ei_dw_f32_check(n, LANES);
}
static size_t scratch(const ei_node *n) {
    return ei_dw_f32_scratch(n, LANES);
}
static int run(const ei_node *n, const ei_work *work) {
    return ei_dw_f32_run(n, work, LANES, tiles);
}

#endif
