/* average_pool_2d: the reference loops compiled for AVX2, and max_pool_2d where it is of floats or
 * of few channels; see EI_FOLDER in elementwise.h. */
#define EI_FOLDER avx2
#include "../ref/pool.c"
