/* UNARY: elementwise functions of one f32 tensor, a few of them on i32 too. */
#include <math.h>

#include "elementwise.h"
#include "exp.h"

static bool on_i32(int function) {
    return function == EI_UNARY_ABS || function == EI_UNARY_NEG || function == EI_UNARY_SQUARE ||
           function == EI_UNARY_SIGN;
}

static int check(const ei_node *node) {
    if (!ei_one_to_one(node, sizeof(ei_unary_params))) return EI_E_UNSUPPORTED;
    const ei_tensor *x = node->in[0], *y = node->out[0];
    int function = ((const ei_unary_params *)node->params)->function;
    bool good = x->dtype == y->dtype && function >= EI_UNARY_ABS && function <= EI_UNARY_SWISH &&
                (x->dtype == EI_F32 || (x->dtype == EI_I32 && on_i32(function)));
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static inline float square(float x) {
    return x * x;
}
static inline float sign(float x) {
    return (float)((x > 0) - (x < 0));
}
static inline float rsqrt(float x) {
    return 1.0f / sqrtf(x);
}
static inline float elu(float x) {
    return x < 0 ? expm1f(x) : x;
}
static inline float gelu(float x) {
    return 0.5f * x * erfcf(-x * 0.70710678f);
}

static inline float gelu_tanh(float x) {
    return 0.5f * x * (1.0f + ei_tanh(0.79788456f * (x + 0.044715f * x * x * x)));
}

static inline float swish(float x) {
    return x * ei_logistic(x);
}

static int32_t integer(int function, int32_t x) {
    switch (function) { /* unsigned: wraps at INT32_MIN instead of being undefined */
    case EI_UNARY_ABS:
        return x < 0 ? (int32_t)(0u - (uint32_t)x) : x;
    case EI_UNARY_NEG:
        return (int32_t)(0u - (uint32_t)x);
    case EI_UNARY_SQUARE:
        return (int32_t)((uint32_t)x * (uint32_t)x);
    default:
        return (x > 0) - (x < 0);
    }
}

#define MAP(code, function)                                                                        \
    case code:                                                                                     \
        EI_ELEMENTWISE                                                                             \
        for (int64_t i = 0; i < n; i++) y[i] = function(x[i]);                                     \
        break;

static void map(int which, const float *x, float *y, int64_t n) {
    switch (which) {
        MAP(EI_UNARY_ABS, fabsf)
        MAP(EI_UNARY_NEG, -)
        MAP(EI_UNARY_SQUARE, square)
        MAP(EI_UNARY_SIGN, sign)
        MAP(EI_UNARY_SQRT, sqrtf)
        MAP(EI_UNARY_RSQRT, rsqrt)
        MAP(EI_UNARY_EXP, ei_exp)
        MAP(EI_UNARY_LOG, logf)
        MAP(EI_UNARY_SIN, sinf)
        MAP(EI_UNARY_COS, cosf)
        MAP(EI_UNARY_FLOOR, floorf)
        MAP(EI_UNARY_CEIL, ceilf)
        MAP(EI_UNARY_ROUND, nearbyintf)
        MAP(EI_UNARY_LOGISTIC, ei_logistic)
        MAP(EI_UNARY_TANH, ei_tanh)
        MAP(EI_UNARY_ELU, elu)
        MAP(EI_UNARY_GELU, gelu)
        MAP(EI_UNARY_GELU_TANH, gelu_tanh)
        MAP(EI_UNARY_SWISH, swish)
    default:
        break;
    }
}

static int run(const ei_node *node, const ei_work *work) {
    int which = ((const ei_unary_params *)node->params)->function;
    ei_lines l = ei_lines_of(node, work);
    for (int64_t line = 0; line < l.count; line++) {
        int64_t from = l.x + line * l.x_step, to = l.y + line * l.y_step;
        if (node->in[0]->dtype == EI_I32) {
            const int32_t *x = (const int32_t *)node->in[0]->data + from;
            int32_t *y = (int32_t *)node->out[0]->data + to;
            for (int64_t i = 0; i < l.width; i++) y[i] = integer(which, x[i]);
        } else {
            map(which, (const float *)node->in[0]->data + from, (float *)node->out[0]->data + to,
                l.width);
        }
    }
    return EI_OK;
}

const ei_kernel EI_KERNEL(unary) = {.name = EI_KERNEL_NAME("unary"),
                                    .op = EI_OP_UNARY,
                                    .parallel = true,
                                    .strided = EI_STRIDED_X | EI_STRIDED_Y,
                                    .check = check,
                                    .run = run};
