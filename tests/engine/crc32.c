/* Prints the checksum of every length of standard input's first bytes, from several starts. */
#include "engine/plan.h"

#include <stdio.h>

int main(void) {
    static uint8_t data[400];
    size_t n = fread(data, 1, sizeof data, stdin);
    for (size_t start = 0; start < 3; start++)
        for (size_t bytes = 0; start + bytes <= n; bytes++)
            printf("%u %u\n", ei_crc32(0, data + start, bytes), ei_crc32(77, data + start, bytes));
    return 0;
}
