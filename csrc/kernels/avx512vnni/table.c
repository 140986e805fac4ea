/* What avx512vnni overrides. One line a kernel; the loader takes the first whose check accepts. */
#include "../kernel.h"

/* clang-format off */
#define KERNELS(X)                                                                                 \
    X(add_q8) X(batch_matmul_f32) X(batch_matmul_q8) X(conv_2d_f32) X(conv_2d_q8)                  \
    X(depthwise_conv_2d_f32) X(depthwise_conv_2d_q8) X(depthwise_conv_2d_q8_tiles)                 \
    X(dynamic_quantize) X(fully_connected_f32) X(fully_connected_q8) X(logistic) X(lookup)         \
    X(lstm_f32) X(lstm_q8) X(mul_q8) X(softmax_f32) X(squared_difference_q8) X(sub_q8)
/* clang-format on */

#define DECLARE(name) extern const ei_kernel ei_avx512vnni_##name;
#define POINTER(name) &ei_avx512vnni_##name,

KERNELS(DECLARE)
const ei_kernel *const ei_table_avx512vnni[] = {KERNELS(POINTER) NULL};
