/* concatenation: the reference compiled for AVX2; see EI_FOLDER in elementwise.h. */
#define EI_FOLDER avx2
#include "../ref/concatenation.c"
