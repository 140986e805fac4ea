/* The most multiply-accumulates SMMLA can do. */
#define EI_DOT "smmla"
#include "../neon/peak_dot.h"

const ei_peak_loops ei_peak_i8mm = {{f32, 16 * 4}, {i8, 16 * 32}, load};
