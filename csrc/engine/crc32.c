/* CRC-32 of IEEE 802.3 (zlib's): a plan is megabytes and is checked on every start.
 *
 * By tables eight bytes a step ("slicing by 8", Kounavis and Berry 2008); sixty-four bytes a step
 * where the processor multiplies without carries (Gopal et al., "Fast CRC Computation for Generic
 * Polynomials Using PCLMULQDQ Instruction", Intel 2009); by the instruction where it has one. */
#include "plan.h"

static uint32_t by_tables(uint32_t crc, const uint8_t *p, size_t bytes) {
    static uint32_t table[8][256];
    static int ready;
    if (!__atomic_load_n(&ready, __ATOMIC_ACQUIRE)) {
        /* Two threads may fill it at once, with the same values. */
        for (uint32_t i = 0; i < 256; i++) {
            uint32_t c = i;
            for (int k = 0; k < 8; k++) c = c & 1 ? 0xedb88320u ^ c >> 1 : c >> 1;
            __atomic_store_n(&table[0][i], c, __ATOMIC_RELAXED);
        }
        for (int t = 1; t < 8; t++)
            for (int i = 0; i < 256; i++) {
                uint32_t c = table[t - 1][i];
                __atomic_store_n(&table[t][i], table[0][c & 255] ^ c >> 8, __ATOMIC_RELAXED);
            }
        __atomic_store_n(&ready, 1, __ATOMIC_RELEASE);
    }
    for (; bytes >= 8; bytes -= 8, p += 8) {
        crc ^= (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        crc = table[7][crc & 255] ^ table[6][crc >> 8 & 255] ^ table[5][crc >> 16 & 255] ^
              table[4][crc >> 24] ^ table[3][p[4]] ^ table[2][p[5]] ^ table[1][p[6]] ^
              table[0][p[7]];
    }
    for (; bytes; bytes--) crc = table[0][(crc ^ *p++) & 255] ^ crc >> 8;
    return crc;
}

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

static bool has_fast(void) {
    unsigned a, b, c, d;
    return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_PCLMUL);
}

/* a, 128 bits of the message, as what it is worth so many bits later, plus what stands there. The
 * two constants are x to that power, for either half, modulo the polynomial, bits reversed. */
__attribute__((target("pclmul"))) static __m128i fold(__m128i a, __m128i k, __m128i next) {
    __m128i lo = _mm_clmulepi64_si128(a, k, 0x00), hi = _mm_clmulepi64_si128(a, k, 0x11);
    return _mm_xor_si128(_mm_xor_si128(lo, hi), next);
}

static __m128i load(const uint8_t *p) {
    return _mm_loadu_si128((const __m128i *)(const void *)p);
}

/* Whole blocks of 16 bytes, at least 64; the rest of the division is left to the tables. */
__attribute__((target("pclmul"))) static uint32_t fast(uint32_t crc, const uint8_t *p,
                                                       size_t bytes) {
    const __m128i by512 = _mm_set_epi64x(0x1c6e41596, 0x154442bd4);
    const __m128i by128 = _mm_set_epi64x(0x0ccaa009e, 0x1751997d0);
    __m128i x[4];
    for (int i = 0; i < 4; i++) x[i] = load(p + 16 * i);
    x[0] = _mm_xor_si128(x[0], _mm_cvtsi32_si128((int)crc));
    for (p += 64, bytes -= 64; bytes >= 64; p += 64, bytes -= 64)
        for (int i = 0; i < 4; i++) x[i] = fold(x[i], by512, load(p + 16 * i));
    for (int i = 1; i < 4; i++) x[0] = fold(x[0], by128, x[i]);
    for (; bytes; p += 16, bytes -= 16) x[0] = fold(x[0], by128, load(p));
    uint8_t rest[16];
    _mm_storeu_si128((__m128i *)(void *)rest, x[0]);
    return by_tables(0, rest, sizeof rest);
}
#elif defined(__aarch64__)
#include <string.h>
#include <sys/auxv.h>

static bool has_fast(void) {
    return getauxval(AT_HWCAP) & (1u << 7); /* HWCAP_CRC32 */
}

static uint32_t fast(uint32_t crc, const uint8_t *p, size_t bytes) {
    for (; bytes; p += 8, bytes -= 8) {
        uint64_t word;
        memcpy(&word, p, sizeof word);
        __asm__(".arch_extension crc\n\tcrc32x %w0, %w0, %1" : "+r"(crc) : "r"(word));
    }
    return crc;
}
#else
static bool has_fast(void) {
    return false;
}

static uint32_t fast(uint32_t crc, const uint8_t *p, size_t bytes) {
    return by_tables(crc, p, bytes);
}
#endif

uint32_t ei_crc32(uint32_t crc, const void *data, size_t bytes) {
    const uint8_t *p = data;
    size_t blocks = bytes & ~(size_t)15;
    crc = ~crc;
    if (blocks >= 64 && has_fast()) {
        crc = fast(crc, p, blocks);
        p += blocks;
        bytes -= blocks;
    }
    return ~by_tables(crc, p, bytes);
}
