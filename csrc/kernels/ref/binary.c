/* Elementwise operators of two inputs; binary.h has the definition. */
#include "binary.h"

static int run(const ei_node *n, const ei_work *work) {
    return ei_binary_walk(n, work, ei_binary_row_scalar);
}

#define KERNEL(NAME, OP)                                                                           \
    const ei_kernel ei_ref_##NAME = {                                                              \
        .name = "ref/" #NAME, .op = OP, .parallel = true, .check = ei_binary_check, .run = run};
KERNEL(add, EI_OP_ADD)
KERNEL(sub, EI_OP_SUB)
KERNEL(mul, EI_OP_MUL)
KERNEL(div, EI_OP_DIV)
KERNEL(maximum, EI_OP_MAXIMUM)
KERNEL(minimum, EI_OP_MINIMUM)
KERNEL(squared_difference, EI_OP_SQUARED_DIFFERENCE)
KERNEL(power, EI_OP_POW)
