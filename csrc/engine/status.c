/* Status texts, error sentences, checksum. */
#include "plan.h"

#include <stdarg.h>
#include <stdio.h>

static const char *const texts[] = {
    "success",
    "an argument is out of range",
    "not a plan, or a damaged one",
    "a plan of another format version",
    "the plan needs instructions this machine lacks",
    "no kernel here takes this step",
    "out of memory while a session is built",
    "the step belongs to a delegate that this program does not drive",
    "input values made a step impossible",
    "the run was cancelled",
    "the session is closed",
};

const char *ei_status_text(int status) {
    int n = (int)(sizeof texts / sizeof *texts);
    return status >= 0 && status < n ? texts[status] : "unknown status";
}

const char *ei_version(void) {
    return "0.1.0";
}

int ei_fail(ei_error *err, int status, const char *format, ...) {
    if (err) {
        va_list args;
        va_start(args, format);
        err->status = status;
        vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
    }
    return status;
}

/* CRC-32 (IEEE 802.3, the one of zlib), eight bytes a step ("slicing by 8", Kounavis and Berry
 * 2008): a plan is megabytes and is checked on every start. */
uint32_t ei_crc32(uint32_t crc, const void *data, size_t bytes) {
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
    const uint8_t *p = data;
    crc = ~crc;
    for (; bytes >= 8; bytes -= 8, p += 8) {
        crc ^= (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
        crc = table[7][crc & 255] ^ table[6][crc >> 8 & 255] ^ table[5][crc >> 16 & 255] ^
              table[4][crc >> 24] ^ table[3][p[4]] ^ table[2][p[5]] ^ table[1][p[6]] ^
              table[0][p[7]];
    }
    for (; bytes; bytes--) crc = table[0][(crc ^ *p++) & 255] ^ crc >> 8;
    return ~crc;
}

uint64_t ei_dtype_bytes(int dtype) {
    static const uint8_t size[EI_DTYPES] = {4, 2, 1, 1, 2, 4, 8, 1, 1, 8};
    return dtype >= 0 && dtype < EI_DTYPES ? size[dtype] : 0;
}
