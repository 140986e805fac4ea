/* The one thread pool of the process. */
#ifndef EI_POOL_H
#define EI_POOL_H

#include <stdbool.h>
#include <stdint.h>

/* Called once on every worker, tid 0 (the caller's thread) .. threads-1. */
typedef void (*ei_job)(void *context, int tid, int threads);

/* A barrier for the workers of one job: spins a bounded time, then sleeps on a futex, so that a
 * neighbour that takes a core costs a sleep, not a scheduling quantum of spinning. */
typedef struct ei_barrier {
    uint32_t arrived, generation;
    uint32_t parties;
} ei_barrier;

void ei_barrier_wait(ei_barrier *barrier);

/* Starts workers until there are threads-1; returns how many workers (caller included) there are.
 * Called while a session is built, so that a run starts no thread. */
int ei_pool_grow(int threads);

/* Runs the job on `threads` workers, or returns false at once when another job has the pool: the
 * caller then runs it alone, with the same result, since results do not depend on threads. */
bool ei_pool_run(ei_job job, void *context, int threads);

#endif
