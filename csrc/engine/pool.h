/* The one thread pool of the process. */
#ifndef EI_POOL_H
#define EI_POOL_H

#include <stdbool.h>
#include <stdint.h>

/* A sequence of steps, each of one or more shares that may be done at the same time. `tid` says
 * which worker calls, 0 (the caller's thread) .. threads-1: two calls at the same time differ in
 * it.
 */
typedef struct ei_job {
    /* Ends the step before, does what one worker does best alone, and begins the next step: its
     * number of shares, at most EI_MAX_THREADS, or 0 after the last. Never called twice at a time.
     */
    int (*next)(void *context, int tid);
    /* Does share 0 .. shares-1 of the step. */
    void (*share)(void *context, int share, int shares, int tid);
    void *context;
} ei_job;

/* Starts workers until there are threads-1; returns how many workers (caller included) there are.
 * Called while a session is built, so that a run starts no thread. */
int ei_pool_grow(int threads);

/* Runs the job on up to `threads` workers, the caller one of them, or returns false at once when
 * another job has the pool: the caller then runs it alone, with the same result, since results
 * depend on the shares, not on who does them. */
bool ei_pool_run(const ei_job *job, int threads);

/* Runs the job on the caller's thread, all shares of it. */
void ei_job_alone(const ei_job *job);

#endif
