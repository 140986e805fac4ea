/* What avxvnni overrides. One line a kernel; the loader takes the first whose check accepts. */
#include "../kernel.h"

#define KERNELS(X) X(conv_2d_q8) X(fully_connected_q8)

#define DECLARE(name) extern const ei_kernel ei_avxvnni_##name;
#define POINTER(name) &ei_avxvnni_##name,

KERNELS(DECLARE)
const ei_kernel *const ei_table_avxvnni[] = {KERNELS(POINTER) NULL};
