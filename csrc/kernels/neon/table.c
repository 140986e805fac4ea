/* What neon overrides. One line a kernel; the loader takes the first whose check accepts. */
#include "../kernel.h"

/* clang-format off */
#define KERNELS(X)                                                                                \
    X(conv_2d_q8) X(conv_2d_q8_full) X(fully_connected_q8) X(fully_connected_q8_full)              \
    X(depthwise_conv_2d_q8) X(depthwise_conv_2d_q8_full) X(conv_2d_f32) X(fully_connected_f32)     \
    X(depthwise_conv_2d_f32) X(batch_matmul_f32)
/* clang-format on */

#define DECLARE(name) extern const ei_kernel ei_neon_##name;
#define POINTER(name) &ei_neon_##name,

KERNELS(DECLARE)
const ei_kernel *const ei_table_neon[] = {KERNELS(POINTER) NULL};
