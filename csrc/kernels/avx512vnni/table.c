/* What avx512vnni overrides. One line a kernel; the loader takes the first whose check accepts. */
#include "../kernel.h"

#define KERNELS(X)

#define DECLARE(name) extern const ei_kernel ei_avx512vnni_##name;
#define POINTER(name) &ei_avx512vnni_##name,

KERNELS(DECLARE)
const ei_kernel *const ei_table_avx512vnni[] = {KERNELS(POINTER) NULL};
