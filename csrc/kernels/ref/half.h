/* IEEE binary16 to binary32 without hardware support. */
#ifndef EI_REF_HALF_H
#define EI_REF_HALF_H

#include <stdint.h>
#include <string.h>

static inline float ei_half_to_float(uint16_t h) {
    uint32_t sign = (uint32_t)(h & 0x8000) << 16, exponent = (h >> 10) & 31, mantissa = h & 1023;
    uint32_t bits;
    float f;
    if (exponent == 0) { /* zero, subnormal: mantissa * 2^-24 */
        f = (float)mantissa * 0x1p-24f;
        memcpy(&bits, &f, 4);
        bits |= sign;
    } else {
        exponent = exponent == 31 ? 255 : exponent + 112;
        bits = sign | exponent << 23 | mantissa << 13;
    }
    memcpy(&f, &bits, 4);
    return f;
}

#endif
