/* CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED: the definition. Inputs as in ops.h. */
#include "../dynamic.h"
#include "../requant.h"

/* Weight of output channel oc at tap (ky, kx), channel c of the group: OHWI, or 1HWO when the
 * operator is depthwise. */
static int64_t weight_at(const ei_conv *g, bool depthwise, int32_t oc, int32_t ky, int32_t kx,
                         int32_t c) {
    const ei_conv_params *p = g->p;
    if (depthwise) return ((int64_t)ky * p->kernel_w + kx) * g->oc + oc;
    return (((int64_t)oc * p->kernel_h + ky) * p->kernel_w + kx) * g->group_c + c;
}

/* A depthwise convolution is one of C groups with one input channel each. */
static bool geometry(const ei_node *n, ei_conv *g) {
    if (!ei_conv_geometry(n, g)) return false;
    const ei_conv_params *p = g->p;
    const ei_tensor *w = n->in[1];
    if (n->op == EI_OP_DEPTHWISE_CONV_2D)
        return p->groups == g->c && p->multiplier > 0 && g->oc == (int64_t)g->c * p->multiplier &&
               w->rank == 4 && w->dims[0] == 1 && w->dims[1] == p->kernel_h &&
               w->dims[2] == p->kernel_w && w->dims[3] == g->oc;
    if (n->op == EI_OP_FULLY_CONNECTED)
        return p->groups == 1 && g->direct && w->rank == 2 && w->dims[0] == g->oc &&
               w->dims[1] == g->c;
    return w->rank == 4 && w->dims[0] == g->oc && w->dims[1] == p->kernel_h &&
           w->dims[2] == p->kernel_w && w->dims[3] == g->group_c;
}

static bool vector(const ei_tensor *t, int dtype, int64_t n) {
    return t && t->dtype == dtype && ei_count(t) == n;
}

static int check_f32(const ei_node *n) {
    ei_conv g;
    bool good = geometry(n, &g) && n->in[0]->dtype == EI_F32 && n->in[1]->dtype == EI_F32 &&
                (!n->in[2] || vector(n->in[2], EI_F32, g.oc)) &&
                (n->n_in == 3 ||
                 (n->op == EI_OP_DEPTHWISE_CONV_2D && ei_dynamic_depthwise_check(n, &g, g.oc)));
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static int check_q8(const ei_node *n) {
    ei_conv g;
    if (n->n_in != 5 || !geometry(n, &g) || !ei_is_q8(n->in[0]) || !ei_is_q8(n->in[1]) ||
        (n->in[2] && !vector(n->in[2], EI_I32, g.oc)))
        return EI_E_UNSUPPORTED;
    int32_t lo = n->in[0]->dtype == EI_I8 ? -128 : 0;
    if (g.p->act_min < lo || g.p->act_max > lo + 255 || g.p->act_min > g.p->act_max)
        return EI_E_UNSUPPORTED;
    if (!ei_conv_fixed_point(n))
        return vector(n->in[3], ei_conv_double(n) ? EI_F64 : EI_F32, g.oc) ? EI_OK
                                                                           : EI_E_UNSUPPORTED;
    if (!vector(n->in[3], EI_I32, g.oc) || !vector(n->in[4], EI_I32, g.oc) || !n->in[4]->constant)
        return EI_E_UNSUPPORTED;
    for (int32_t i = 0; i < g.oc; i++) {
        int32_t s = ((const int32_t *)n->in[4]->data)[i];
        if (s < -31 || s > 30) return EI_E_UNSUPPORTED;
    }
    return EI_OK;
}

static int check_qd8(const ei_node *n) {
    ei_conv g;
    bool good = n->n_in == 7 && geometry(n, &g) && ei_dynamic_check(n, &g) &&
                n->in[1]->dtype == EI_I8 && (!n->in[2] || vector(n->in[2], EI_F32, g.oc)) &&
                vector(n->in[3], EI_F32, g.oc) && !n->in[6];
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

/* Position of output row `row` in the input, before padding. */
typedef struct origin {
    int64_t image;
    int32_t y, x;
} origin;

static origin origin_of(const ei_conv *g, int64_t row) {
    int64_t pixel = row % ((int64_t)g->oh * g->ow);
    return (origin){row / ((int64_t)g->oh * g->ow),
                    (int32_t)(pixel / g->ow) * g->p->stride_h - g->p->pad_top,
                    (int32_t)(pixel % g->ow) * g->p->stride_w - g->p->pad_left};
}

/* First input element of a tap, or -1 outside the image. */
static int64_t input_at(const ei_conv *g, const origin *o, int32_t ky, int32_t kx, int32_t oc) {
    int32_t iy = o->y + ky * g->p->dilation_h, ix = o->x + kx * g->p->dilation_w;
    if (iy < 0 || iy >= g->h || ix < 0 || ix >= g->w) return -1;
    int64_t pixel = (o->image * g->h + iy) * g->w + ix;
    return pixel * g->c + oc / g->group_oc * g->group_c;
}

static int run_f32(const ei_node *n, const ei_work *work) {
    ei_conv g;
    geometry(n, &g);
    bool depthwise = n->op == EI_OP_DEPTHWISE_CONV_2D;
    const float *x = n->in[0]->data, *w = n->in[1]->data;
    const float *bias = n->in[2] ? n->in[2]->data : NULL;
    float *out = n->out[0]->data;
    int64_t row, end;
    ei_split(g.rows, 1, work, &row, &end);
    for (; row < end; row++) {
        origin o = origin_of(&g, row);
        ei_dynamic_depthwise d = ei_dynamic_depthwise_at(n, o.image);
        for (int32_t oc = 0; oc < g.oc; oc++) {
            float first = bias ? bias[oc] : 0, acc = d.w_scale ? 0 : first;
            for (int32_t ky = 0; ky < g.p->kernel_h; ky++)
                for (int32_t kx = 0; kx < g.p->kernel_w; kx++) {
                    int64_t at = input_at(&g, &o, ky, kx, oc);
                    for (int32_t c = 0; at >= 0 && c < g.group_c; c++)
                        acc += x[at + c] * w[weight_at(&g, depthwise, oc, ky, kx, c)];
                }
            if (d.w_scale) acc = acc * (d.w_scale[oc] * d.first) * d.second + first;
            acc = acc < g.p->act_fmin ? g.p->act_fmin : acc;
            out[row * g.oc + oc] = acc > g.p->act_fmax ? g.p->act_fmax : acc;
        }
    }
    return EI_OK;
}

static uint32_t value(const ei_tensor *t, int64_t i, int32_t zero) {
    int32_t v = t->dtype == EI_I8 ? ((const int8_t *)t->data)[i] : ((const uint8_t *)t->data)[i];
    return (uint32_t)v - (uint32_t)zero;
}

/* Sum of products for output channel oc; wraps, as every kernel's does. */
static uint32_t accumulate(const ei_node *n, const ei_conv *g, const origin *o, int32_t oc,
                           int32_t x_zero) {
    bool depthwise = n->op == EI_OP_DEPTHWISE_CONV_2D;
    const ei_tensor *x = n->in[0], *w = n->in[1];
    uint32_t acc = 0;
    for (int32_t ky = 0; ky < g->p->kernel_h; ky++)
        for (int32_t kx = 0; kx < g->p->kernel_w; kx++) {
            int64_t at = input_at(g, o, ky, kx, oc);
            for (int32_t c = 0; at >= 0 && c < g->group_c; c++)
                acc += value(x, at + c, x_zero) *
                       value(w, weight_at(g, depthwise, oc, ky, kx, c), w->zero);
        }
    return acc;
}

static int32_t requantise(const ei_node *n, const ei_conv *g, int32_t acc, int32_t oc) {
    int32_t zero = n->out[0]->zero, lo = g->p->act_min, hi = g->p->act_max;
    if (ei_conv_double(n))
        return ei_requant_double(acc, ((const double *)n->in[3]->data)[oc], zero, lo, hi);
    if (!ei_conv_fixed_point(n))
        return ei_requant_xnnpack(acc, ((const float *)n->in[3]->data)[oc], zero, lo, hi);
    return ei_requant_tflite(acc, ((const int32_t *)n->in[3]->data)[oc],
                             ((const int32_t *)n->in[4]->data)[oc], zero, lo, hi);
}

static int run_q8(const ei_node *n, const ei_work *work) {
    ei_conv g;
    geometry(n, &g);
    const int32_t *bias = n->in[2] ? n->in[2]->data : NULL;
    uint8_t *out = n->out[0]->data;
    int64_t row, end;
    ei_split(g.rows, 1, work, &row, &end);
    for (; row < end; row++) {
        origin o = origin_of(&g, row);
        for (int32_t oc = 0; oc < g.oc; oc++) {
            uint32_t acc = accumulate(n, &g, &o, oc, n->in[0]->zero);
            acc += bias ? (uint32_t)bias[oc] : 0;
            out[row * g.oc + oc] = (uint8_t)requantise(n, &g, (int32_t)acc, oc);
        }
    }
    return EI_OK;
}

/* 8-bit activations quantised at run time, float output. */
static int run_qd8(const ei_node *n, const ei_work *work) {
    ei_conv g;
    geometry(n, &g);
    const float *bias = n->in[2] ? n->in[2]->data : NULL, *w_scale = n->in[3]->data;
    float *out = n->out[0]->data;
    int64_t row, end;
    ei_split(g.rows, 1, work, &row, &end);
    for (; row < end; row++) {
        origin o = origin_of(&g, row);
        int64_t batch = row / (g.rows / ei_count(n->in[4]));
        float scale = ((const float *)n->in[4]->data)[batch];
        int32_t zero = ((const int32_t *)n->in[5]->data)[batch];
        for (int32_t oc = 0; oc < g.oc; oc++) {
            float v = (float)(int32_t)accumulate(n, &g, &o, oc, zero) * scale;
            v = fmaf(v, w_scale[oc], bias ? bias[oc] : 0);
            v = v < g.p->act_fmin ? g.p->act_fmin : v;
            out[row * g.oc + oc] = v > g.p->act_fmax ? g.p->act_fmax : v;
        }
    }
    return EI_OK;
}

#define KERNEL(NAME, OP, TYPE)                                                                     \
    const ei_kernel ei_ref_##NAME##_##TYPE = {                                                     \
        .name = "ref/" #NAME "_" #TYPE,                                                            \
        .op = OP,                                                                                  \
        .layout = EI_LAYOUT_NATURAL,                                                               \
        .parallel = true,                                                                          \
        .check = check_##TYPE,                                                                     \
        .run = run_##TYPE,                                                                         \
    };
KERNEL(conv_2d, EI_OP_CONV_2D, f32)
KERNEL(conv_2d, EI_OP_CONV_2D, q8)
KERNEL(conv_2d, EI_OP_CONV_2D, qd8)
KERNEL(depthwise_conv_2d, EI_OP_DEPTHWISE_CONV_2D, f32)
KERNEL(depthwise_conv_2d, EI_OP_DEPTHWISE_CONV_2D, q8)
KERNEL(fully_connected, EI_OP_FULLY_CONNECTED, f32)
KERNEL(fully_connected, EI_OP_FULLY_CONNECTED, q8)
KERNEL(fully_connected, EI_OP_FULLY_CONNECTED, qd8)
