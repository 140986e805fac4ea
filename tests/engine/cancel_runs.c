/* Cancels at random moments: cancel_runs PLAN CANCELS THREADS CORES. One thread runs, with and
 * without a deadline; another cancels until so many runs were hit, then closes. Status 1 when a run
 * ends otherwise than whole, with the right bytes, or cancelled. With CORES > 0 another session
 * competes for them. For plans without state. */
#include "../read_file.h"

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

static ei_session *session;
static const ei_plan *plan;
static int wanted;
static long hits, runs, wrong; /* hits: runs that were cancelled */

static uint32_t draw(uint32_t *seed) { /* xorshift: Marsaglia 2003 */
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static void *cancels(void *unused) {
    uint32_t seed = 1;
    (void)unused;
    while (__atomic_load_n(&hits, __ATOMIC_RELAXED) < wanted) {
        for (volatile uint32_t i = draw(&seed) % (draw(&seed) & 7 ? 200 : 4000); i; i--) {
        }
        ei_session_cancel(session);
        sched_yield();
    }
    ei_session_close(session);
    return NULL;
}

static uint32_t stop;

static void *competes(void *threads) {
    ei_session *other;
    ei_error err;
    if (ei_session_create(plan, *(int *)threads, &other, &err)) return NULL;
    while (!__atomic_load_n(&stop, __ATOMIC_ACQUIRE)) ei_session_run(other);
    ei_session_destroy(other);
    return NULL;
}

/* One run of whatever kind; false once closed. */
static bool run(int k, const void *want, size_t bytes) {
    ei_result result = {0};
    int out = ei_plan_output(plan, 0);
    if (k % 4 == 0) { /* announced first: where both threads share a core, the other hits it here */
        ei_session_arm(session);
        sched_yield();
    }
    int status = k & 1 ? ei_session_run(session) : ei_session_run_by(session, UINT64_MAX, &result);
    if (status == EI_E_CLOSED) return false;
    runs++;
    if (status == EI_E_CANCELLED)
        __atomic_fetch_add(&hits, 1, __ATOMIC_RELAXED);
    else
        wrong += status || result.outcome != EI_DONE ||
                 memcmp(ei_session_tensor(session, out), want, bytes);
    return true;
}

int main(int argc, char **argv) {
    size_t size = 0;
    if (argc < 5) return 2;
    int threads = atoi(argv[3]), cores = atoi(argv[4]);
    void *file = read_file(argv[1], &size);
    ei_plan *opened = NULL;
    ei_error err = {0};
    if (ei_plan_open(file, size, &opened, &err) ||
        ei_session_create(opened, threads, &session, &err)) {
        fprintf(stderr, "%s\n", err.text);
        return 2;
    }
    plan = opened;
    wanted = atoi(argv[2]);
    ei_tensor_info info;
    ei_plan_tensor(plan, ei_plan_output(plan, 0), &info);
    uint8_t *want = malloc(info.bytes);
    ei_session_run(session); /* on zeros, as all that follow */
    memcpy(want, ei_session_tensor(session, ei_plan_output(plan, 0)), info.bytes);
    pthread_t thread, other;
    ei_scheduler_set_cores(cores);
    if (cores) pthread_create(&other, NULL, competes, &threads);
    pthread_create(&thread, NULL, cancels, NULL);
    for (int k = 0; run(k, want, info.bytes); k++) {
    }
    pthread_join(thread, NULL);
    __atomic_store_n(&stop, 1, __ATOMIC_RELEASE);
    if (cores) pthread_join(other, NULL);
    wrong += ei_scheduler_waiting();
    printf("%ld runs, %ld cancels, %ld wrong\n", runs, hits, wrong);
    wrong += ei_session_run(session) != EI_E_CLOSED || ei_session_cancel(session) ||
             ei_session_arm(session) != EI_E_CLOSED;
    ei_session_destroy(session);
    ei_plan_close(opened);
    free(want);
    free(file);
    return wrong != 0;
}
