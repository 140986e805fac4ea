/* mean, sum, reduce_*: the reference loops compiled for AVX2; see EI_FOLDER in elementwise.h. */
#define EI_FOLDER avx2
#include "../ref/reduce.c"
