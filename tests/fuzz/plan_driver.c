/* Opens and runs damaged plans: plan_driver PLAN SEED FIRST COUNT PROGRESS [DUMP].
 *
 * Mutation i of a seed is always the same bytes, with the checksum made right again. PROGRESS is a
 * file that holds the mutation under way, so that a crash names it; DUMP gets the last mutant.
 * Prints "mutants opened run". A run that takes longer than LIMIT seconds ends with status 14.
 * Without a mutation (COUNT 0) the file itself is run: for mutants that were dumped. */
#define _POSIX_C_SOURCE 200809L
#include "plan_attempt.h"

#include <signal.h>
#include <stdio.h>

enum { SLOW = 14, THREADS = 2, MOST = 1 << 24 }; /* larger arenas only cost time */
static void too_slow(int signal) {
    (void)signal;
    _exit(SLOW);
}

static uint8_t *read_file(const char *path, size_t *size) {
    FILE *f = fopen(path, "rb");
    if (!f) exit(3);
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    uint8_t *data = exact(*size);
    if (fread(data, 1, *size, f) != *size) exit(3);
    fclose(f);
    return data;
}

static void write_file(const char *path, const void *data, size_t size) {
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(data, 1, size, f) != size || fclose(f)) exit(3);
}

/* Numbers at which bounds break. */
static uint32_t interesting(uint32_t old) {
    static const uint32_t values[] = {
        0,        1,          2,       3,       4,          7,          8,          16,
        64,       127,        128,     255,     0x7fff,     0xffff,     0x10000,    0x7fffffff,
        1u << 31, UINT32_MAX, 1 << 24, 1 << 30, 0x7f800000, 0x7fc00000, 0x00000001, 0x3f800000};
    uint32_t n = sizeof values / sizeof *values, pick = next() % (n + 6);
    if (pick < n) return values[pick];
    if (pick == n) return old + 1;
    if (pick == n + 1) return old - 1;
    if (pick == n + 2) return old * 2;
    if (pick == n + 3) return 0u - old;
    if (pick == n + 4) return old ^ 1u << next() % 32;
    return next();
}

/* A word of one section of the file: the small sections are as likely as the constants. */
static size_t place(const uint8_t *data, size_t size) {
    ei_file_header h;
    memcpy(&h, data, sizeof h);
    const uint64_t start[] = {16,           h.off_tensors, h.off_steps, h.off_args,
                              h.off_params, h.off_strings, h.off_data,  h.off_params};
    const uint64_t bytes[] = {sizeof h - 16,
                              (uint64_t)h.n_tensors * sizeof(ei_file_tensor),
                              (uint64_t)h.n_steps * sizeof(ei_file_step),
                              (uint64_t)h.n_args * 4,
                              h.params_bytes,
                              h.strings_bytes,
                              size - h.off_data,
                              h.params_bytes};
    uint32_t k = next() % 8;
    if (start[k] >= size || bytes[k] < 4 || bytes[k] > size - start[k]) return 16;
    return (size_t)start[k] + next() % (bytes[k] / 4) * 4;
}

static void mutate(uint8_t *data, const uint8_t *original, size_t size) {
    uint32_t changes = 1 + (next() % 2 ? 0 : next() % 4);
    for (uint32_t c = 0; c < changes; c++) {
        size_t at = place(original, size);
        uint32_t word;
        memcpy(&word, data + at, 4);
        if (next() % 3 == 0)
            data[at + next() % 4] = (uint8_t)interesting(0);
        else if (next() % 8 == 0)
            memcpy(data + at, original + place(original, size), 4);
        else {
            word = interesting(word);
            memcpy(data + at, &word, 4);
        }
    }
    make_checksum_right(data, size);
}

int main(int argc, char **argv) {
    if (argc < 6) return 2;
    size_t size;
    uint8_t *original = read_file(argv[1], &size), *data = exact(size);
    uint64_t seed = strtoull(argv[2], NULL, 10), first = strtoull(argv[3], NULL, 10);
    uint64_t count = strtoull(argv[4], NULL, 10), opened = 0, ran = 0;
    FILE *progress = fopen(argv[5], "wb");
    if (!progress || size < sizeof(ei_file_header)) return 3;
    signal(SIGALRM, too_slow);
    if (!count && attempt(original, size, MOST, THREADS) == 2) ran++;
    for (uint64_t i = first; i < first + count; i++) {
        rewind(progress);
        fprintf(progress, "%llu\n", (unsigned long long)i);
        fflush(progress);
        state = seed * 0x2545f4914f6cdd1du + i * 0xd1342543de82ef95u;
        memcpy(data, original, size);
        mutate(data, original, size);
        if (argc > 6) write_file(argv[6], data, size);
        int done = attempt(data, size, MOST, THREADS);
        opened += done > 0;
        ran += done > 1;
    }
    printf("%llu %llu %llu\n", (unsigned long long)count, (unsigned long long)opened,
           (unsigned long long)ran);
    fclose(progress);
    free(original);
    free(data);
    return 0;
}
