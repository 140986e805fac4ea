/* TRANSPOSE_CONV: the definition. Output position o collects input i through tap k where
 * i * stride + k - pad = o. Inputs as in ops.h; weights [OC, KH, KW, C]. */
#include "../kernel.h"
#include "../requant.h"

static bool vector(const ei_tensor *t, int dtype, int64_t n) {
    return t && t->dtype == dtype && ei_count(t) == n;
}

static bool requant_given(const ei_node *n, int64_t channels) {
    const ei_tensor *shift = n->in[4];
    if (n->rounding == EI_ROUND_XNNPACK && !shift) return vector(n->in[3], EI_F32, channels);
    if (!vector(n->in[3], EI_I32, channels) || !vector(shift, EI_I32, channels) || !shift->constant)
        return false;
    for (int64_t i = 0; i < channels; i++) {
        int32_t s = ((const int32_t *)shift->data)[i];
        if (s < -31 || s > 30) return false;
    }
    return true;
}

static int check(const ei_node *n) {
    if (n->n_in < 3 || n->n_out != 1 || !n->in[0] || !n->in[1] ||
        n->params_bytes != sizeof(ei_conv_params))
        return EI_E_UNSUPPORTED;
    const ei_tensor *x = n->in[0], *w = n->in[1], *bias = n->in[2], *y = n->out[0];
    const ei_conv_params *p = n->params;
    bool good = x->rank == 4 && w->rank == 4 && y->rank == 4 && x->dtype == y->dtype &&
                x->dims[0] == y->dims[0] && w->dims[0] == y->dims[3] && w->dims[3] == x->dims[3] &&
                w->dims[1] == p->kernel_h && w->dims[2] == p->kernel_w && p->stride_h > 0 &&
                p->stride_w > 0 && p->stride_h < 1 << 15 && p->stride_w < 1 << 15 &&
                p->pad_top >= 0 && p->pad_left >= 0 && p->pad_top < 1 << 15 &&
                p->pad_left < 1 << 15;
    if (!good) return EI_E_UNSUPPORTED;
    int64_t channels = y->dims[3];
    if (x->dtype == EI_F32)
        return n->n_in == 3 && w->dtype == EI_F32 && (!bias || vector(bias, EI_F32, channels))
                   ? EI_OK
                   : EI_E_UNSUPPORTED;
    int32_t lo = x->dtype == EI_I8 ? -128 : 0;
    bool q8 = n->n_in == 5 && ei_is_q8(x) && ei_is_q8(w) &&
              (!bias || vector(bias, EI_I32, channels)) && requant_given(n, channels) &&
              p->act_min >= lo && p->act_max <= lo + 255 && p->act_min <= p->act_max;
    return q8 ? EI_OK : EI_E_UNSUPPORTED;
}

/* Input index that tap k of output o reads, or -1. */
static int64_t source(int32_t o, int32_t pad, int32_t k, int32_t stride, int32_t size) {
    int64_t at = (int64_t)o + pad - k;
    return at >= 0 && at % stride == 0 && at / stride < size ? at / stride : -1;
}

/* Adds every tap that reaches output pixel (oy, ox), channel oc. */
static void value_f32(const ei_node *n, int64_t image, int32_t oy, int32_t ox, int32_t oc,
                      float *sum) {
    const ei_tensor *x = n->in[0], *w = n->in[1];
    const ei_conv_params *p = n->params;
    int32_t c = x->dims[3];
    for (int32_t ky = 0; ky < p->kernel_h; ky++) {
        int64_t iy = source(oy, p->pad_top, ky, p->stride_h, x->dims[1]);
        for (int32_t kx = 0; iy >= 0 && kx < p->kernel_w; kx++) {
            int64_t ix = source(ox, p->pad_left, kx, p->stride_w, x->dims[2]);
            if (ix < 0) continue;
            const float *a =
                (const float *)x->data + ((image * x->dims[1] + iy) * x->dims[2] + ix) * c;
            const float *b =
                (const float *)w->data + (((int64_t)oc * p->kernel_h + ky) * p->kernel_w + kx) * c;
            for (int32_t i = 0; i < c; i++) *sum += a[i] * b[i];
        }
    }
}

static int32_t element(const ei_tensor *t, int64_t i) {
    int32_t v = t->dtype == EI_I8 ? ((const int8_t *)t->data)[i] : ((const uint8_t *)t->data)[i];
    return v - t->zero;
}

/* Which outputs LiteRT's built-in kernel makes in vectors, whose ties go upward: for int8 whole
 * groups of 8 channels, for uint8 of 16 elements of the tensor. */
static bool ties_up(const ei_node *n, int64_t at, int32_t oc) {
    const ei_tensor *y = n->out[0];
    if (n->rounding == EI_ROUND_TFLITE) return false;
    return y->dtype == EI_I8 ? oc < y->dims[3] / 8 * 8 : at < ei_count(y) / 16 * 16;
}

static int32_t requantise(const ei_node *n, int32_t acc, int64_t at, int32_t oc) {
    const ei_conv_params *p = n->params;
    int32_t zero = n->out[0]->zero, lo = p->act_min, hi = p->act_max;
    if (!n->in[4])
        return ei_requant_xnnpack(acc, ((const float *)n->in[3]->data)[oc], zero, lo, hi);
    int32_t multiplier = ((const int32_t *)n->in[3]->data)[oc];
    int32_t shift = ((const int32_t *)n->in[4]->data)[oc];
    return ties_up(n, at, oc) ? ei_requant_tflite_up(acc, multiplier, shift, zero, lo, hi)
                              : ei_requant_tflite(acc, multiplier, shift, zero, lo, hi);
}

static int32_t value_q8(const ei_node *n, int64_t image, int32_t oy, int32_t ox, int32_t oc) {
    const ei_tensor *x = n->in[0], *w = n->in[1];
    const ei_conv_params *p = n->params;
    int32_t c = x->dims[3];
    uint32_t acc = n->in[2] ? (uint32_t)((const int32_t *)n->in[2]->data)[oc] : 0;
    for (int32_t ky = 0; ky < p->kernel_h; ky++) {
        int64_t iy = source(oy, p->pad_top, ky, p->stride_h, x->dims[1]);
        for (int32_t kx = 0; iy >= 0 && kx < p->kernel_w; kx++) {
            int64_t ix = source(ox, p->pad_left, kx, p->stride_w, x->dims[2]);
            if (ix < 0) continue;
            int64_t a = ((image * x->dims[1] + iy) * x->dims[2] + ix) * c;
            int64_t b = (((int64_t)oc * p->kernel_h + ky) * p->kernel_w + kx) * c;
            for (int32_t i = 0; i < c; i++)
                acc += (uint32_t)(element(x, a + i) * element(w, b + i));
        }
    }
    return (int32_t)acc;
}

static int run(const ei_node *n, const ei_work *work) {
    const ei_tensor *y = n->out[0];
    const ei_conv_params *p = n->params;
    const float *bias = n->in[2] && y->dtype == EI_F32 ? n->in[2]->data : NULL;
    int64_t row, end;
    ei_split((int64_t)y->dims[0] * y->dims[1], 1, work, &row, &end);
    for (; row < end; row++)
        for (int32_t ox = 0; ox < y->dims[2]; ox++)
            for (int32_t oc = 0; oc < y->dims[3]; oc++) {
                int64_t at = (row * y->dims[2] + ox) * y->dims[3] + oc, image = row / y->dims[1];
                int32_t oy = (int32_t)(row % y->dims[1]);
                if (y->dtype != EI_F32) {
                    ((uint8_t *)y->data)[at] =
                        (uint8_t)requantise(n, value_q8(n, image, oy, ox, oc), at, oc);
                    continue;
                }
                float v = bias ? bias[oc] : 0;
                value_f32(n, image, oy, ox, oc, &v);
                v = v < p->act_fmin ? p->act_fmin : v;
                ((float *)y->data)[at] = v > p->act_fmax ? p->act_fmax : v;
            }
    return EI_OK;
}

const ei_kernel ei_ref_transpose_conv = {.name = "ref/transpose_conv",
                                         .op = EI_OP_TRANSPOSE_CONV,
                                         .parallel = true,
                                         .check = check,
                                         .run = run};
