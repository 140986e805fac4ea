/* Two threads, a session each, one pool: two_sessions PLAN RUNS THREADS. Status 1 when a run gives
 * other bytes than the first did. For plans without state. */
#include "edgeinfer.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const ei_plan *plan;
static int runs, threads;

static void *caller(void *argument) {
    ei_session *session;
    ei_error err;
    ei_tensor_info info;
    intptr_t bad = 0;
    if (ei_session_create(plan, threads, &session, &err)) return (void *)1;
    int in = ei_plan_input(plan, 0), out = ei_plan_output(plan, 0);
    ei_plan_tensor(plan, out, &info);
    uint8_t *first = malloc(info.bytes);
    ei_tensor_info fed;
    ei_plan_tensor(plan, in, &fed);
    for (int k = 0; k < runs && !bad; k++) {
        /* Written before every run: the arena may reuse the input's memory. */
        memset(ei_session_tensor(session, in), (int)(intptr_t)argument, fed.bytes);
        bad = ei_session_run(session);
        const void *now = ei_session_tensor(session, out);
        if (k == 0)
            memcpy(first, now, info.bytes);
        else
            bad |= !!memcmp(first, now, info.bytes);
    }
    free(first);
    ei_session_destroy(session);
    return (void *)bad;
}

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    FILE *f = fopen(argv[1], "rb");
    if (!f) return 2;
    fseek(f, 0, SEEK_END);
    size_t size = (size_t)ftell(f);
    rewind(f);
    void *file = aligned_alloc(EI_ALIGN, (size + EI_ALIGN - 1) / EI_ALIGN * EI_ALIGN);
    ei_plan *opened = NULL;
    ei_error err = {0};
    if (!file || fread(file, 1, size, f) != size || ei_plan_open(file, size, &opened, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 2;
    }
    fclose(f);
    plan = opened;
    runs = atoi(argv[2]);
    threads = atoi(argv[3]);
    pthread_t t[2];
    void *bad[2];
    for (intptr_t i = 0; i < 2; i++) pthread_create(&t[i], NULL, caller, (void *)(i + 1));
    for (int i = 0; i < 2; i++) pthread_join(t[i], &bad[i]);
    ei_plan_close(opened);
    free(file);
    return bad[0] || bad[1];
}
