/* SOFTMAX and LOG_SOFTMAX over the last dimension: f32, and 8-bit in two arithmetics. XNNPACK does
 * not take the 8-bit ones, so EI_ROUND_XNNPACK is LiteRT's optimised kernel (a table of exp and
 * float sums) and EI_ROUND_TFLITE its reference in fixed point. */
#include <math.h>

#include "elementwise.h"
#include "exp.h"
#include "fixed_point.h"

static int check(const ei_node *node) {
    bool table = node->n_in == 2;
    if ((node->n_in != 1 && !table) || node->n_out != 1 ||
        node->params_bytes != sizeof(ei_softmax_params))
        return EI_E_UNSUPPORTED;
    const ei_tensor *x = node->in[0], *y = node->out[0];
    const ei_softmax_params *p = node->params;
    if (!x || !y || !ei_same_shape(x, y) || x->rank < 1 || x->dtype != y->dtype)
        return EI_E_UNSUPPORTED;
    if (x->dtype == EI_F32) return table ? EI_E_UNSUPPORTED : EI_OK;
    bool fixed = node->rounding == EI_ROUND_TFLITE;
    bool good = ei_is_q8(x) && table != fixed && p->diff_min <= 0 && p->shift >= 0 &&
                p->shift <= 31 && p->reverse_shift >= -31 && p->reverse_shift <= 0;
    int32_t lo, hi;
    ei_int_range(y->dtype, &lo, &hi);
    good = good && y->zero >= lo && y->zero <= hi;
    if (table) {
        const ei_tensor *t = node->in[1];
        good = good && t && t->dtype == EI_F32 && t->bytes == 256 * sizeof(float);
    }
    /* The accumulator of exponentials is Q12: 4096 ones overflow it. */
    if (fixed) good = good && x->dims[x->rank - 1] < 4096;
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static void softmax_f32(const float *x, float *y, int64_t n, float beta) {
    float max = x[0], sum = 0;
    for (int64_t i = 1; i < n; i++) max = x[i] > max ? x[i] : max;
    EI_ELEMENTWISE
    for (int64_t i = 0; i < n; i++) y[i] = ei_exp((x[i] - max) * beta);
    for (int64_t i = 0; i < n; i++) sum += y[i];
    float scale = 1.0f / sum;
    for (int64_t i = 0; i < n; i++) y[i] *= scale;
}

static void log_softmax_f32(const float *x, float *y, int64_t n) {
    float max = x[0], sum = 0;
    for (int64_t i = 1; i < n; i++) max = x[i] > max ? x[i] : max;
    for (int64_t i = 0; i < n; i++) sum += expf(x[i] - max);
    float log_sum = logf(sum);
    for (int64_t i = 0; i < n; i++) y[i] = x[i] - max - log_sum;
}

static int32_t row_max(const ei_tensor *x, int64_t at, int64_t n) {
    int32_t max = ei_load_int(x, at);
    for (int64_t i = 1; i < n; i++) {
        int32_t v = ei_load_int(x, at + i);
        max = v > max ? v : max;
    }
    return max;
}

/* A float as an int32 far from overflow, NaN too. */
static int32_t to_int(float v) {
    return !(v > -1e9f) ? -1000000000 : v > 1e9f ? 1000000000 : (int32_t)v;
}

/* Where exp of x[i] - max stands. The cast keeps a damaged plan's overlapping tensors inside. */
static uint8_t entry(const ei_tensor *x, int64_t i, int32_t max) {
    return (uint8_t)(255 - max + ei_load_int(x, i));
}

enum { CHAINS = 4, PIECE = 256 };

/* The sums of exponentials of CHAINS rows, each in the order of its elements; side by side, since
 * an addition takes several cycles. offset[r]: where exp(0) stands less the row's largest byte,
 * those of signed ones with their sign turned. The casts keep a damaged plan's overlapping tensors
 * inside the table. */
static void table_sums(const uint8_t *const *rows, uint8_t turn, int64_t n, const float *table,
                       uint8_t *offset, float *sum) {
    for (int r = 0; r < CHAINS; r++) {
        uint8_t most = 0;
        for (int64_t i = 0; i < n; i++) {
            uint8_t v = rows[r][i] ^ turn;
            most = v > most ? v : most;
        }
        offset[r] = 255 - most;
    }
    const uint8_t *x0 = rows[0], *x1 = rows[1], *x2 = rows[2], *x3 = rows[3];
    float s0 = 0, s1 = 0, s2 = 0, s3 = 0;
    for (int64_t i = 0; i < n; i++) {
        s0 += table[(uint8_t)((x0[i] ^ turn) + offset[0])];
        s1 += table[(uint8_t)((x1[i] ^ turn) + offset[1])];
        s2 += table[(uint8_t)((x2[i] ^ turn) + offset[2])];
        s3 += table[(uint8_t)((x3[i] ^ turn) + offset[3])];
    }
    sum[0] = s0, sum[1] = s1, sum[2] = s2, sum[3] = s3;
}

/* At most CHAINS rows; there to nearest: int8 with ties away from zero (plus the largest number
 * below a half, truncated), uint8 + 0.5, truncated, and no zero point. */
static void softmax_table(const ei_node *node, int64_t at, int64_t n, int count) {
    const ei_tensor *x = node->in[0], *y = node->out[0];
    const float *table = node->in[1]->data;
    uint8_t *first = (uint8_t *)y->data + at, turn = x->dtype == EI_I8 ? 0x80 : 0, offset[CHAINS];
    const uint8_t *rows[CHAINS];
    float sum[CHAINS], half = y->dtype == EI_U8 ? 0.5f : 0x1.fffffep-2f, exps[PIECE];
    int32_t lo, hi, zero = y->dtype == EI_U8 ? 0 : y->zero;
    ei_int_range(y->dtype, &lo, &hi);
    for (int r = 0; r < CHAINS; r++)
        rows[r] = (const uint8_t *)x->data + at + (r < count ? r * n : 0);
    table_sums(rows, turn, n, table, offset, sum);
    for (int r = 0; r < count; r++) {
        float scale = 1.0f / (sum[r] * y->scale);
        for (int64_t begin = 0; begin < n; begin += PIECE) {
            int64_t length = n - begin < PIECE ? n - begin : PIECE;
            const uint8_t *from = rows[r] + begin;
            uint8_t *to = first + r * n + begin;
            for (int64_t i = 0; i < length; i++)
                exps[i] = table[(uint8_t)((from[i] ^ turn) + offset[r])];
            for (int64_t i = 0; i < length; i++) {
                float v = exps[i] * scale + half;
                v = v < 512.0f ? v : 512.0f;
                to[i] = (uint8_t)ei_clamp_i32((int32_t)(v > 0 ? v : 0) + zero, lo, hi);
            }
        }
    }
}

static void log_softmax_table(const ei_node *node, int64_t at, int64_t n) {
    const ei_tensor *x = node->in[0], *y = node->out[0];
    const float *table = node->in[1]->data;
    int32_t max = row_max(x, at, n), lo, hi;
    ei_int_range(y->dtype, &lo, &hi);
    float sum = 0;
    for (int64_t i = 0; i < n; i++) sum += table[entry(x, at + i, max)];
    float scale = x->scale / y->scale;
    float offset = (x->scale * (float)max + logf(sum)) / y->scale;
    for (int64_t i = 0; i < n; i++) {
        float v = rintf(scale * (float)ei_load_int(x, at + i) - offset);
        ei_store_int(y, at + i, ei_clamp_i32(to_int(v) + y->zero, lo, hi));
    }
}

static int32_t rescale(const ei_softmax_params *p, int32_t difference) {
    uint32_t shifted = (uint32_t)difference << (p->shift & 31);
    return ei_doubling_high_mul((int32_t)shifted, p->multiplier);
}

/* Sum of exp(x - max) over the row in Q12; at least 1. */
static int32_t sum_fixed(const ei_softmax_params *p, const ei_tensor *x, int64_t at, int64_t n,
                         int32_t max) {
    int32_t sum = 0;
    for (int64_t i = 0; i < n; i++) {
        int32_t d = ei_load_int(x, at + i) - max;
        if (d >= p->diff_min) {
            int32_t e = ei_scale_pot(ei_exp_negative_q5(rescale(p, d)), -12);
            sum = (int32_t)((uint32_t)sum + (uint32_t)e);
        }
    }
    return sum;
}

static void softmax_fixed(const ei_node *node, int64_t at, int64_t n) {
    const ei_softmax_params *p = node->params;
    const ei_tensor *x = node->in[0], *y = node->out[0];
    int32_t max = row_max(x, at, n), sum = sum_fixed(p, x, at, n, max), lo, hi;
    ei_int_range(y->dtype, &lo, &hi);
    int head = ei_clz32((uint32_t)sum);
    uint32_t above = head < 32 ? ((uint32_t)sum << head) - (1u << 31) : 0;
    int32_t scale = ei_reciprocal_one_plus((int32_t)above);
    int exponent = 12 - head + 31 - 8;
    exponent = exponent < 0 ? 0 : exponent > 31 ? 31 : exponent;
    for (int64_t i = 0; i < n; i++) {
        int32_t d = ei_load_int(x, at + i) - max, q = lo;
        if (d >= p->diff_min) {
            int32_t e = ei_exp_negative_q5(rescale(p, d));
            q = ei_rounding_divide_by_pot(ei_doubling_high_mul(scale, e), exponent) + lo;
        }
        ei_store_int(y, at + i, ei_clamp_i32(q, lo, hi));
    }
}

static void log_softmax_fixed(const ei_node *node, int64_t at, int64_t n) {
    const ei_softmax_params *p = node->params;
    const ei_tensor *x = node->in[0], *y = node->out[0];
    int32_t max = row_max(x, at, n), sum = sum_fixed(p, x, at, n, max), lo, hi;
    ei_int_range(y->dtype, &lo, &hi);
    int32_t log_sum = ei_log_q12_to_q5(sum);
    int32_t least = ei_mul_quantized((int32_t)((uint32_t)log_sum + 0x80000000u),
                                     p->reverse_multiplier, p->reverse_shift);
    least = least > p->diff_min - 1 ? least : p->diff_min - 1;
    for (int64_t i = 0; i < n; i++) {
        int32_t d = ei_load_int(x, at + i) - max, q = lo;
        if (d > least) {
            int32_t log = (int32_t)((uint32_t)rescale(p, d) - (uint32_t)log_sum);
            q = ei_rounding_divide_by_pot(log, 31 - 5 - 4) + hi;
        }
        ei_store_int(y, at + i, ei_clamp_i32(q, lo, hi));
    }
}

static int run(const ei_node *node, const ei_work *work) {
    const ei_tensor *x = node->in[0];
    float beta = ((const ei_softmax_params *)node->params)->beta;
    int64_t n = x->dims[x->rank - 1], begin, end;
    bool log = node->op == EI_OP_LOG_SOFTMAX;
    ei_split(n ? ei_count(x) / n : 0, 1, work, &begin, &end);
    if (x->dtype != EI_F32 && node->n_in == 2 && !log) {
        for (int64_t r = begin; r < end; r += CHAINS)
            softmax_table(node, r * n, n, end - r < CHAINS ? (int)(end - r) : CHAINS);
        return EI_OK;
    }
    for (int64_t r = begin; r < end; r++) {
        const float *in = (const float *)x->data + r * n;
        float *out = (float *)node->out[0]->data + r * n;
        if (x->dtype == EI_F32 && log)
            log_softmax_f32(in, out, n);
        else if (x->dtype == EI_F32)
            softmax_f32(in, out, n, beta);
        else if (node->n_in == 2 && log)
            log_softmax_table(node, r * n, n);
        else if (log)
            log_softmax_fixed(node, r * n, n);
        else
            softmax_fixed(node, r * n, n);
    }
    return EI_OK;
}

const ei_kernel EI_KERNEL(softmax) = {.name = EI_KERNEL_NAME("softmax"),
                                      .op = EI_OP_SOFTMAX,
                                      .parallel = true,
                                      .check = check,
                                      .run = run};
const ei_kernel EI_KERNEL(log_softmax) = {.name = EI_KERNEL_NAME("log_softmax"),
                                          .op = EI_OP_LOG_SOFTMAX,
                                          .parallel = true,
                                          .check = check,
                                          .run = run};
