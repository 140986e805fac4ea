/* Prints how often memory was allocated while a session was built, and while it ran 4000 times. */
#include "edgeinfer.h"

#include <stdio.h>
#include <stdlib.h>

static long count;

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);

void *__wrap_malloc(size_t size) {
    __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
    return __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size) {
    __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
    return __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t size) {
    __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
    return __real_realloc(p, size);
}

void *__wrap_aligned_alloc(size_t align, size_t size) {
    __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
    return __real_aligned_alloc(align, size);
}

int main(int argc, char **argv) {
    FILE *f = argc > 1 ? fopen(argv[1], "rb") : NULL;
    if (!f) return 2;
    static _Alignas(64) uint8_t file[1 << 22];
    size_t size = fread(file, 1, sizeof file, f);
    fclose(f);
    ei_plan *plan;
    ei_session *session;
    ei_error err;
    count = 0;
    if (ei_plan_open(file, size, &plan, &err) ||
        ei_session_create_ladder((const ei_plan *[]){plan, plan}, 2, 2, &session, &err) ||
        ei_session_keep_last(session, UINT64_MAX) || ei_scheduler_set_cores(1)) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    long before = count;
    ei_result result; /* in time, late, and by a substitute of either kind */
    for (int i = 0; i < 1000; i++)
        if (ei_session_run(session) || ei_session_run_by(session, UINT64_MAX - 1, &result) ||
            ei_session_run_by(session, 1, &result) ||
            ei_session_substitute(session, 1, UINT64_MAX, &result) || result.substitute != 1)
            return 1;
    printf("%ld %ld\n", before, count - before);
    ei_session_destroy(session);
    ei_plan_close(plan);
    return 0;
}
