/* What the loops of DYNAMIC_QUANTIZE, which an ISA may bring, have in common. */
#ifndef EI_REF_DYNAMIC_QUANTIZE_H
#define EI_REF_DYNAMIC_QUANTIZE_H

#include <stdbool.h>
#include <stdint.h>

/* byte = rounded(x * inverse, not beyond lo and hi) + zero */
typedef struct ei_mapping {
    float inverse, lo, hi;
    int32_t zero;
    bool even; /* ties to even, else away from zero */
} ei_mapping;

#endif
