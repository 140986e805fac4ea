/* LEAKY_RELU on f32; the 8-bit one is a LOOKUP. */
#include "elementwise.h"
#include "exp.h"

static int check(const ei_node *node) {
    if (!ei_one_to_one(node, sizeof(ei_leaky_relu_params))) return EI_E_UNSUPPORTED;
    bool good = node->in[0]->dtype == EI_F32 && node->out[0]->dtype == EI_F32;
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static int run(const ei_node *node, const ei_work *work) {
    const float alpha = ((const ei_leaky_relu_params *)node->params)->alpha;
    const float *x = node->in[0]->data;
    float *y = node->out[0]->data;
    int64_t begin, end;
    ei_elements(node, work, &begin, &end);
    EI_ELEMENTWISE
    for (int64_t i = begin; i < end; i++) y[i] = ei_select(x[i] < 0.0f, x[i] * alpha, x[i]);
    return EI_OK;
}

const ei_kernel EI_KERNEL(leaky_relu) = {.name = EI_KERNEL_NAME("leaky_relu"),
                                         .op = EI_OP_LEAKY_RELU,
                                         .parallel = true,
                                         .check = check,
                                         .run = run};
