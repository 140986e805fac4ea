/* LOGISTIC and SWISH of floats, 16 at a time; see exp.h. */
#include "../ref/elementwise.h"

#include "exp.h"

static int check(const ei_node *node) {
    if (!ei_one_to_one(node, sizeof(ei_unary_params))) return EI_E_UNSUPPORTED;
    int function = ((const ei_unary_params *)node->params)->function;
    bool good = (function == EI_UNARY_LOGISTIC || function == EI_UNARY_SWISH) &&
                node->in[0]->dtype == EI_F32 && node->out[0]->dtype == EI_F32;
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static int run(const ei_node *node, const ei_work *work) {
    bool swish = ((const ei_unary_params *)node->params)->function == EI_UNARY_SWISH;
    const float *from = node->in[0]->data;
    float *to = node->out[0]->data;
    ei_lines l = ei_lines_of(node, work);
    from += l.x, to += l.y;
    for (; l.count; l.count--, from += l.x_step, to += l.y_step)
        for (int64_t i = 0; i < l.width; i += 16) {
            __mmask16 mask = (__mmask16)(l.width - i >= 16 ? 0xffff : (1 << (l.width - i)) - 1);
            __m512 x = _mm512_maskz_loadu_ps(mask, from + i), y = ei_logistic16f(x);
            _mm512_mask_storeu_ps(to + i, mask, swish ? _mm512_mul_ps(x, y) : y);
        }
    return EI_OK;
}

const ei_kernel ei_avx512vnni_logistic = {
    .name = "avx512vnni/logistic",
    .op = EI_OP_UNARY,
    .parallel = true,
    .strided = EI_STRIDED_X | EI_STRIDED_Y,
    .check = check,
    .run = run,
};
