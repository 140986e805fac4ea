#include "dynamic.h"

static bool positive(const ei_tensor *t) {
    for (int i = 0; i < t->rank; i++)
        if (t->dims[i] <= 0) return false;
    return true;
}

/* Positions a window of `k` taps takes along `size` padded elements. */
static bool window(int32_t size, int32_t before, int32_t after, int32_t k, int32_t stride,
                   int32_t dilation, int32_t out) {
    if (before < 0 || after < 0 || k <= 0 || stride <= 0 || dilation <= 0 || out <= 0) return false;
    int64_t span = ((int64_t)k - 1) * dilation + 1;
    if ((int64_t)size + before + after > INT32_MAX) return false; /* positions are 32 bits */
    /* The last window may reach beyond `after` by less than the padding says is there, never
     * beyond it. */
    return ((int64_t)out - 1) * stride + span <= (int64_t)size + before + after;
}

static bool params(const ei_node *node, ei_conv *g) {
    if (node->n_in < 3 || node->n_out != 1 || !node->in[0] || !node->in[1] ||
        node->params_bytes != sizeof(ei_conv_params))
        return false;
    g->p = node->params;
    return positive(node->in[0]) && positive(node->out[0]) &&
           (ei_is_dynamic(node) || node->in[0]->dtype == node->out[0]->dtype);
}

static bool spatial(const ei_node *node, ei_conv *g) {
    const ei_tensor *x = node->in[0], *out = node->out[0];
    const ei_conv_params *p = g->p;
    if (x->rank != 4 || out->rank != 4 || x->dims[0] != out->dims[0]) return false;
    g->batch = x->dims[0], g->h = x->dims[1], g->w = x->dims[2], g->c = x->dims[3];
    g->oh = out->dims[1], g->ow = out->dims[2], g->oc = out->dims[3];
    return window(g->h, p->pad_top, p->pad_bottom, p->kernel_h, p->stride_h, p->dilation_h,
                  g->oh) &&
           window(g->w, p->pad_left, p->pad_right, p->kernel_w, p->stride_w, p->dilation_w, g->ow);
}

bool ei_conv_geometry(const ei_node *node, ei_conv *g) {
    if (!params(node, g)) return false;
    const ei_tensor *x = node->in[0], *out = node->out[0];
    if (node->op == EI_OP_FULLY_CONNECTED) {
        if (x->rank < 1 || out->rank < 1) return false;
        int64_t n = out->dims[out->rank - 1], rows = ei_count(out) / n;
        if (rows > INT32_MAX || ei_count(x) % rows || ei_count(x) / rows > INT32_MAX) return false;
        g->batch = g->h = g->oh = 1;
        g->w = g->ow = (int32_t)rows;
        g->c = (int32_t)(ei_count(x) / rows);
        g->oc = (int32_t)n;
    } else if (!spatial(node, g)) {
        return false;
    }
    const ei_conv_params *p = g->p;
    if (p->groups <= 0 || g->c % p->groups || g->oc % p->groups) return false;
    g->group_c = g->c / p->groups;
    g->group_oc = g->oc / p->groups;
    g->rows = (int64_t)g->batch * g->oh * g->ow;
    int64_t taps = (int64_t)p->kernel_h * p->kernel_w;
    if (taps <= 0 || taps > INT32_MAX) return false;
    g->depth = taps * g->group_c;
    g->direct = p->kernel_h == 1 && p->kernel_w == 1 && p->stride_h == 1 && p->stride_w == 1 &&
                g->oh == g->h && g->ow == g->w && !p->pad_top && !p->pad_left;
    if (node->op == EI_OP_FULLY_CONNECTED && !g->direct) return false; /* strides unchecked */
    return g->depth <= INT32_MAX / 4;
}

bool ei_depthwise_geometry(const ei_node *node, ei_conv *g) {
    if (!params(node, g) || !spatial(node, g)) return false;
    if (g->p->multiplier != 1 || g->oc != g->c || g->p->groups != g->c) return false;
    g->group_c = g->group_oc = 1;
    g->rows = (int64_t)g->batch * g->oh * g->ow;
    g->depth = (int64_t)g->p->kernel_h * g->p->kernel_w;
    g->direct = false;
    return g->depth <= 1 << 16;
}

bool ei_conv_affine(const ei_node *n, int64_t columns) {
    if (n->n_in == 5) return true;
    const ei_tensor *affine = n->in[5];
    return n->n_in == 6 && n->rounding == EI_ROUND_TFLITE && affine && affine->constant &&
           affine->dtype == EI_F32 && affine->bytes == (uint64_t)columns * 12;
}

bool ei_conv_constants(const ei_node *n, const ei_conv *g, int64_t columns) {
    if (ei_is_dynamic(n)) return ei_dynamic_packed(n, g, columns);
    if (n->n_in < 5 || n->n_in > 6 || !ei_is_q8(n->in[0]) || !ei_conv_affine(n, columns))
        return false;
    const ei_tensor *w = n->in[1], *bias = n->in[2], *scale = n->in[3], *shift = n->in[4];
    uint64_t count = (uint64_t)columns;
    bool fixed = ei_conv_fixed_point(n);
    if (!bias || !bias->constant || bias->bytes != count * 4 || !scale || !scale->constant ||
        scale->bytes != count * (uint64_t)ei_conv_scale_bytes(n) || fixed != (shift != NULL))
        return false;
    if (fixed && (!shift->constant || shift->bytes != count * 4)) return false;
    for (int64_t i = 0; fixed && i < columns; i++) {
        int32_t s = ((const int32_t *)shift->data)[i];
        if (s < -31 || s > 30) return false;
    }
    int32_t lo = n->in[0]->dtype == EI_I8 ? -128 : 0;
    return g->p->act_min >= lo && g->p->act_max <= lo + 255 && g->p->act_min <= g->p->act_max &&
           w->zero >= -256 && w->zero <= 256;
}
