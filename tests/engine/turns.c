/* The scheduler: turns PLAN THREADS. Status 1 when runs come in another order than that of their
 * deadlines, when one does not give way, or when its result changes by that. */
#define _GNU_SOURCE
#include "../read_file.h"
#include "engine/gate.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static const uint32_t never; /* no cancel: the word is not `1` */
static uint32_t cancelled;
static uint64_t order[3];
static int count, failed;

#define EXPECT(truth)                                                                              \
    if (!(truth)) failed = 1, fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #truth)

static void await_waiting(int n) {
    while (ei_scheduler_waiting() != n) sched_yield();
}

/* Notes when its turn came: nobody else has one meanwhile. */
static void *takes_a_turn(void *argument) {
    ei_turn turn = {0};
    uint64_t deadline = *(uint64_t *)argument;
    int why = ei_gate_enter(&turn, 1, deadline, UINT64_MAX, &never, 1);
    order[count++] = why ? 0 : deadline;
    ei_gate_leave(&turn);
    return NULL;
}

static void test_order(void) {
    pthread_t threads[3];
    uint64_t deadlines[3] = {UINT64_MAX, 100, 200};
    ei_turn turn = {0};
    ei_scheduler_set_cores(1);
    EXPECT(!ei_gate_enter(&turn, 4, UINT64_MAX, UINT64_MAX, &never, 1));
    EXPECT(!ei_gate_wanted(&turn));
    for (int i = 0; i < 3; i++) {
        pthread_create(&threads[i], NULL, takes_a_turn, &deadlines[i]);
        await_waiting(i + 1);
        EXPECT(ei_gate_wanted(&turn) == (i > 0)); /* not for an equal deadline */
    }
    EXPECT(count == 0);
    ei_gate_leave(&turn);
    for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
    EXPECT(count == 3 && order[0] == 100 && order[1] == 200 && order[2] == UINT64_MAX);
}

static void test_yield(void) {
    pthread_t thread;
    uint64_t deadline = 100;
    ei_turn turn = {0};
    count = 0;
    EXPECT(!ei_gate_enter(&turn, 1, 200, UINT64_MAX, &never, 1));
    pthread_create(&thread, NULL, takes_a_turn, &deadline);
    await_waiting(1);
    EXPECT(count == 0 && ei_gate_wanted(&turn));
    EXPECT(!ei_gate_yield(&turn, UINT64_MAX, &never, 1)); /* back only once the other left */
    EXPECT(count == 1 && !ei_gate_wanted(&turn));
    ei_gate_leave(&turn);
    pthread_join(thread, NULL);
}

/* One that comes back at once keeps its turn for a while, not for ever. */
static void test_tenure(void) {
    pthread_t thread;
    uint64_t background = UINT64_MAX;
    ei_turn turn = {0};
    count = 0;
    EXPECT(!ei_gate_enter(&turn, 1, UINT64_MAX, UINT64_MAX, &never, 1));
    pthread_create(&thread, NULL, takes_a_turn, &background);
    await_waiting(1);
    while (ei_scheduler_waiting()) {
        ei_gate_leave(&turn);
        EXPECT(!ei_gate_enter(&turn, 1, UINT64_MAX, UINT64_MAX, &never, 1));
    }
    ei_gate_leave(&turn);
    pthread_join(thread, NULL);
    EXPECT(count == 1);
}

static void *has_a_normal_class(void *argument) {
    ei_turn turn = {0};
    const struct sched_param none = {0};
    sched_setscheduler(0, SCHED_OTHER, &none);
    EXPECT(!ei_gate_enter(&turn, 1, UINT64_MAX, UINT64_MAX, &never, 1));
    __atomic_store_n((int *)argument, 1, __ATOMIC_RELEASE);
    while (!ei_gate_wanted(&turn)) sched_yield();
    while (!ei_scheduler_waiting()) sched_yield(); /* has had the lock since it was wanted */
    EXPECT(sched_getscheduler(0) == SCHED_FIFO);
    EXPECT(!ei_gate_yield(&turn, UINT64_MAX, &never, 1));
    EXPECT(sched_getscheduler(0) == SCHED_OTHER);
    ei_gate_leave(&turn);
    return NULL;
}

/* Where this process may have a real-time class. */
static void test_lent_class(void) {
    pthread_t thread;
    ei_turn turn = {0};
    const struct sched_param priority = {.sched_priority = 1}, none = {0};
    int ready = 0;
    pthread_create(&thread, NULL, has_a_normal_class, &ready);
    while (!__atomic_load_n(&ready, __ATOMIC_ACQUIRE)) sched_yield();
    EXPECT(!sched_setscheduler(0, SCHED_FIFO, &priority));
    EXPECT(!ei_gate_enter(&turn, 1, 100, UINT64_MAX, &never, 1));
    ei_gate_leave(&turn);
    sched_setscheduler(0, SCHED_OTHER, &none);
    pthread_join(thread, NULL);
}

static ei_turn waits;

static void *waits_in_vain(void *argument) {
    *(int *)argument = ei_gate_enter(&waits, 1, 50, UINT64_MAX, &cancelled, 1);
    return NULL;
}

static void test_giving_up(void) {
    pthread_t thread;
    ei_turn turn = {0}, late = {0};
    int why = 0;
    EXPECT(!ei_gate_enter(&turn, 1, 10, UINT64_MAX, &never, 1));
    EXPECT(ei_gate_enter(&late, 1, 20, 1, &never, 1) == EI_GATE_LATE); /* until 1 ns after start */
    EXPECT(ei_scheduler_waiting() == 0 && !late.inside);
    pthread_create(&thread, NULL, waits_in_vain, &why);
    await_waiting(1);
    __atomic_store_n(&cancelled, 1, __ATOMIC_SEQ_CST);
    ei_gate_nudge(&waits);
    pthread_join(thread, NULL);
    EXPECT(why == EI_GATE_CANCELLED && ei_scheduler_waiting() == 0);
    EXPECT(!ei_gate_wanted(&turn));
    ei_scheduler_set_cores(0); /* nobody waits any more */
    EXPECT(!ei_gate_enter(&late, 1, 20, UINT64_MAX, &never, 1));
    ei_gate_leave(&late);
    ei_gate_leave(&turn);
}

static uint32_t stop;

typedef struct background {
    ei_session *session;
    const uint8_t *want;
    int out;
    size_t bytes;
} background;

static void *runs_in_the_background(void *argument) {
    background *b = argument;
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) {
        EXPECT(!ei_session_run(b->session));
        EXPECT(!memcmp(ei_session_tensor(b->session, b->out), b->want, b->bytes));
    }
    return NULL;
}

static void test_sessions(const ei_plan *plan, int threads) {
    ei_session *urgent = NULL, *other = NULL;
    ei_error err;
    ei_tensor_info info;
    ei_result result;
    pthread_t thread;
    int out = ei_plan_output(plan, 0), cuts[256], steps = ei_plan_steps(plan);
    EXPECT(!ei_session_create(plan, threads, &urgent, &err));
    EXPECT(!ei_session_create(plan, threads, &other, &err));
    for (int i = 0; i < steps; i++) cuts[i] = ei_plan_step_shares(plan, i) < 5 ? 1 : 5;
    EXPECT(!ei_session_set_cuts(other, cuts, steps));
    ei_plan_tensor(plan, out, &info);
    uint8_t *want = malloc(info.bytes);
    ei_session_run(urgent);
    memcpy(want, ei_session_tensor(urgent, out), info.bytes);
    ei_scheduler_set_cores(1);
    background b = {other, want, out, info.bytes};
    pthread_create(&thread, NULL, runs_in_the_background, &b);
    for (int k = 0; (k < 200 || ei_session_preempted(other) < 20) && !failed; k++) {
        EXPECT(!ei_session_run_by(urgent, UINT64_MAX - 1, &result));
        EXPECT(result.outcome == EI_DONE);
        EXPECT(!memcmp(ei_session_tensor(urgent, out), want, info.bytes));
    }
    EXPECT(ei_session_preempted(urgent) == 0);
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    ei_scheduler_set_cores(0);
    ei_session_destroy(urgent);
    ei_session_destroy(other);
    free(want);
}

int main(int argc, char **argv) {
    size_t size = 0;
    if (argc < 3) return 2;
    void *file = read_file(argv[1], &size);
    ei_plan *plan = NULL;
    ei_error err = {0};
    if (ei_plan_open(file, size, &plan, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 2;
    }
    test_order();
    test_yield();
    test_tenure();
    const struct sched_param priority = {.sched_priority = 1}, none = {0};
    bool realtime = !sched_setscheduler(0, SCHED_FIFO, &priority);
    sched_setscheduler(0, SCHED_OTHER, &none);
    if (realtime) test_lent_class();
    test_giving_up();
    test_sessions(plan, atoi(argv[2]));
    ei_plan_close(plan);
    free(file);
    return failed;
}
