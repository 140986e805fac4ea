/* The reference kernels: the definition of every operator. One line a kernel; the loader takes the
 * first whose check accepts. */
#include "../kernel.h"

/* clang-format off */
#define KERNELS(X)                                                                                 \
    X(add) X(average_pool_2d) X(div) X(max_pool_2d) X(maximum) X(mean) X(minimum) X(mul)            \
    X(power) X(reduce_max) X(reduce_min) X(reduce_prod) X(squared_difference) X(sub) X(sum)        \
    X(arg_max)                                                                                     \
    X(batch_matmul)                                                                                \
    X(batch_to_space)                                                                              \
    X(broadcast_to)                                                                                \
    X(cast)                                                                                        \
    X(clamp)                                                                                       \
    X(compare)                                                                                     \
    X(concatenation)                                                                               \
    X(conv_2d_f32) X(conv_2d_q8) X(conv_2d_qd8)                                                    \
    X(depthwise_conv_2d_f32) X(depthwise_conv_2d_q8)                                               \
    X(copy)                                                                                        \
    X(dynamic_quantize)                                                                            \
    X(depth_to_space)                                                                              \
    X(dequantize)                                                                                  \
    X(detection_postprocess)                                                                       \
    X(fully_connected_f32) X(fully_connected_q8) X(fully_connected_qd8)                            \
    X(flip_sign)                                                                                   \
    X(gather)                                                                                      \
    X(hard_swish)                                                                                  \
    X(leaky_relu)                                                                                  \
    X(log_softmax)                                                                                 \
    X(logical)                                                                                     \
    X(lstm)                                                                                       \
    X(lookup)                                                                                      \
    X(mirror_pad)                                                                                  \
    X(pad)                                                                                         \
    X(prelu)                                                                                       \
    X(quantize)                                                                                    \
    X(resize_bilinear)                                                                             \
    X(resize_nearest)                                                                              \
    X(reverse)                                                                                     \
    X(select)                                                                                      \
    X(softmax)                                                                                     \
    X(space_to_batch)                                                                              \
    X(space_to_depth)                                                                              \
    X(split)                                                                                       \
    X(strided_slice)                                                                               \
    X(tile)                                                                                        \
    X(transpose_conv)                                                                              \
    X(transpose)                                                                                   \
    X(unary)
/* clang-format on */

#define DECLARE(name) extern const ei_kernel ei_ref_##name;
#define POINTER(name) &ei_ref_##name,

KERNELS(DECLARE)
const ei_kernel *const ei_table_ref[] = {KERNELS(POINTER) NULL};
