/* One writer, three readers on a slot, for ThreadSanitizer; exit status 0: no torn or old value. */
#include "rt/rt.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BYTES = 1000, WRITES = 20000 };

static void *memory;
static int done;

static void *reader(void *unused) {
    ei_slot slot;
    uint64_t last = 0, count, reads = 0;
    int64_t time;
    uint8_t value[BYTES];
    (void)unused;
    if (ei_slot_open(&slot, memory, ei_slot_bytes(BYTES))) return "open";
    while (!__atomic_load_n(&done, __ATOMIC_ACQUIRE)) {
        int64_t n = ei_slot_read(&slot, value, sizeof value, &count, &time);
        if (n == EI_SLOT_BUSY || n == 0) continue;
        if (n != (int64_t)(count % BYTES + 1) || time != (int64_t)count) return "size or time";
        for (int64_t i = 0; i < n; i++)
            if (value[i] != (uint8_t)count) return "torn";
        if (count < last) return "went back";
        last = count;
        reads++;
    }
    return reads ? NULL : "read nothing";
}

int main(void) {
    ei_slot slot;
    pthread_t threads[3];
    uint8_t value[BYTES];
    int failed = 0;
    memory = aligned_alloc(64, ei_slot_bytes(BYTES));
    if (ei_slot_create(&slot, memory, ei_slot_bytes(BYTES), BYTES)) return 2;
    for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, reader, NULL);
    for (uint64_t n = 1; n <= WRITES; n++) {
        memset(value, (int)(uint8_t)n, sizeof value);
        if (ei_slot_write(&slot, value, n % BYTES + 1, (int64_t)n)) return 3;
        /* Some breaths, so that readers get values of every age. */
        if (n % 64 == 0) ei_rt_sleep_until(ei_rt_now() + 20000);
    }
    __atomic_store_n(&done, 1, __ATOMIC_RELEASE);
    for (int i = 0; i < 3; i++) {
        void *said;
        pthread_join(threads[i], &said);
        if (said) failed = printf("reader %d: %s\n", i, (char *)said);
    }
    free(memory);
    return failed != 0;
}
