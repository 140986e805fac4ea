/* batch_matmul: the reference loops compiled for AVX2; see EI_FOLDER in elementwise.h. */
#define EI_FOLDER avx2
#include "../ref/batch_matmul.c"
