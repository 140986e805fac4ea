/* What both fuzzers of the plan loader do with a plan: open it, run it, ask it everything. */
#ifndef PLAN_ATTEMPT_H
#define PLAN_ATTEMPT_H

#include "engine/plan.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { LIMIT = 10 }; /* seconds of a run */

static uint64_t state;

static uint32_t next(void) { /* splitmix64 */
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (uint32_t)(z >> 32);
}

/* Memory of exactly that size: a read beyond it is seen by AddressSanitizer. */
static uint8_t *exact(size_t size) {
    void *p = NULL;
    if (posix_memalign(&p, EI_ALIGN, size ? size : 1)) exit(3);
    return p;
}

/* The checksum would stop nearly every mutant at the door. */
static void make_checksum_right(uint8_t *data, size_t size) {
    memset(data + 12, 0, 4);
    uint32_t crc = ei_crc32(0, data, size);
    memcpy(data + 12, &crc, 4);
}

static void run(const ei_plan *plan, int threads) {
    ei_session *session;
    ei_error err;
    if (ei_session_create(plan, threads, &session, &err)) return;
    for (int i = 0; i < ei_plan_inputs(plan); i++) {
        ei_tensor_info info;
        int tensor = ei_plan_input(plan, i);
        ei_plan_tensor(plan, tensor, &info);
        if (plan->file_tensors[tensor].kind == EI_CONSTANT) continue;
        uint8_t *p = ei_session_tensor(session, tensor);
        for (uint64_t b = 0; b < info.bytes; b++) p[b] = (uint8_t)next();
    }
    ei_session_run(session);
    ei_session_run(session);
    ei_session_reset(session);
    ei_session_destroy(session);
}

/* 0: refused, 1: opened, 2: run, which those that need more than `most` bytes are not. */
static int attempt(const uint8_t *data, size_t size, uint64_t most, int threads) {
    ei_plan *plan;
    ei_error err;
    if (ei_plan_open(data, size, &plan, &err)) return 0;
    int done = 1;
    if (ei_plan_arena_bytes(plan) <= most && plan->scratch_bytes <= most) {
        alarm(LIMIT);
        for (int i = 1; i <= threads; i++) run(plan, i);
        alarm(0);
        done = 2;
    }
    for (int i = -1; i <= ei_plan_steps(plan); i++) {
        int tensors[8];
        ei_plan_step_name(plan, i);
        ei_plan_step_tensors(plan, i, tensors, 8);
    }
    ei_plan_close(plan);
    return done;
}

#endif
