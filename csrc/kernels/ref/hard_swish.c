/* HARD_SWISH on f32: x * min(max(x + 3, 0), 6) / 6; the 8-bit one is a LOOKUP. */
#include "elementwise.h"

static int check(const ei_node *node) {
    if (!ei_one_to_one(node, 0)) return EI_E_UNSUPPORTED;
    bool good = node->in[0]->dtype == EI_F32 && node->out[0]->dtype == EI_F32;
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static int run(const ei_node *node, const ei_work *work) {
    const float *x = node->in[0]->data;
    float *y = node->out[0]->data;
    int64_t begin, end;
    ei_elements(node, work, &begin, &end);
    EI_ELEMENTWISE
    for (int64_t i = begin; i < end; i++) {
        float gate = x[i] + 3.0f;
        gate = gate < 0.0f ? 0.0f : gate > 6.0f ? 6.0f : gate;
        y[i] = x[i] * (1.0f / 6.0f) * gate;
    }
    return EI_OK;
}

const ei_kernel EI_KERNEL(hard_swish) = {.name = EI_KERNEL_NAME("hard_swish"),
                                         .op = EI_OP_HARD_SWISH,
                                         .parallel = true,
                                         .check = check,
                                         .run = run};
