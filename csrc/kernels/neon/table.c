/* What neon overrides. One line a kernel; the loader takes the first whose check accepts. */
#include "../kernel.h"

#define KERNELS(X)

#define DECLARE(name) extern const ei_kernel ei_neon_##name;
#define POINTER(name) &ei_neon_##name,

KERNELS(DECLARE)
const ei_kernel *const ei_table_neon[] = {KERNELS(POINTER) NULL};
