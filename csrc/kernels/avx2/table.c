/* What avx2 overrides. One line a kernel; the loader takes the first whose check accepts. */
#include "../kernel.h"

/* clang-format off */
#define KERNELS(X)                                                                                 \
    X(add) X(div) X(maximum) X(minimum) X(mul) X(squared_difference) X(sub) X(average_pool_2d)     \
    X(max_pool_q8) X(max_pool_2d) X(concatenation) X(conv_2d_f32) X(conv_2d_q8)                    \
    X(depthwise_conv_2d_f32) X(depthwise_conv_2d_q8) X(dynamic_quantize) X(fully_connected_f32)    \
    X(fully_connected_q8) X(hard_swish) X(leaky_relu) X(log_softmax) X(lstm) X(lstm_q8)            \
    X(quantize) X(mean) X(sum) X(reduce_max) X(reduce_min) X(reduce_prod) X(resize_bilinear)       \
    X(resize_nearest) X(softmax) X(unary) X(batch_matmul_f32) X(batch_matmul)
/* clang-format on */

#define DECLARE(name) extern const ei_kernel ei_avx2_##name;
#define POINTER(name) &ei_avx2_##name,

KERNELS(DECLARE)
const ei_kernel *const ei_table_avx2[] = {KERNELS(POINTER) NULL};
