/* What avx2 overrides. One line a kernel; the loader takes the first whose check accepts. */
#include "../kernel.h"

#define KERNELS(X)                                                                                 \
    X(add)                                                                                         \
    X(div)                                                                                         \
    X(maximum) X(minimum) X(mul) X(squared_difference) X(sub) X(hard_swish) X(leaky_relu)          \
        X(log_softmax) X(lstm) X(quantize) X(resize_bilinear) X(softmax) X(unary)

#define DECLARE(name) extern const ei_kernel ei_avx2_##name;
#define POINTER(name) &ei_avx2_##name,

KERNELS(DECLARE)
const ei_kernel *const ei_table_avx2[] = {KERNELS(POINTER) NULL};
