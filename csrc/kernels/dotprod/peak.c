/* The most multiply-accumulates SDOT can do. */
#define EI_DOT "sdot"
#include "../neon/peak_dot.h"

const ei_peak_loops ei_peak_dotprod = {{f32, 16 * 4}, {i8, 16 * 16}, load};
