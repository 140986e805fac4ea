/* One job at a time; workers wait on a generation counter: spin a bounded time, then futex. */
#define _GNU_SOURCE
#include "pool.h"

#include "../edgeinfer.h"

#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#define RELAX() __builtin_ia32_pause()
#elif defined(__aarch64__)
#define RELAX() __asm__ volatile("yield")
#else
#define RELAX() ((void)0)
#endif

/* About 20-50 us: longer than any step's imbalance, shorter than a wake-up that hurts. */
enum { SPINS = 1000 };

static void futex_wait(uint32_t *word, uint32_t value) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(uint32_t *word) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

/* Returns once *word is no longer `value`. */
static void wait_change(uint32_t *word, uint32_t value) {
    for (int i = 0; i < SPINS; i++) {
        if (__atomic_load_n(word, __ATOMIC_ACQUIRE) != value) return;
        RELAX();
    }
    while (__atomic_load_n(word, __ATOMIC_ACQUIRE) == value) futex_wait(word, value);
}

void ei_barrier_wait(ei_barrier *b) {
    uint32_t generation = __atomic_load_n(&b->generation, __ATOMIC_ACQUIRE);
    if (__atomic_add_fetch(&b->arrived, 1, __ATOMIC_ACQ_REL) == b->parties) {
        __atomic_store_n(&b->arrived, 0, __ATOMIC_RELAXED);
        __atomic_store_n(&b->generation, generation + 1, __ATOMIC_RELEASE);
        futex_wake(&b->generation);
    } else {
        wait_change(&b->generation, generation);
    }
}

static struct {
    pthread_mutex_t lock; /* held for the whole of a job */
    int workers;          /* started, the caller of a job not counted */
    pid_t owner;          /* a forked child has none of the parent's threads */
    ei_job job;
    void *context;
    int threads;                                      /* of the job */
    uint32_t generation __attribute__((aligned(64))); /* raised for every job */
    uint32_t finished __attribute__((aligned(64)));   /* workers done with the job */
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void *worker(void *argument) {
    int tid = (int)(intptr_t)argument;
    /* The generation this worker was started in is passed over: its first job is the next. */
    uint32_t seen = __atomic_load_n(&pool.generation, __ATOMIC_ACQUIRE);
    __atomic_add_fetch(&pool.finished, 1, __ATOMIC_ACQ_REL);
    futex_wake(&pool.finished);
    for (;;) {
        wait_change(&pool.generation, seen);
        seen++;
        if (tid < pool.threads) pool.job(pool.context, tid, pool.threads);
        __atomic_add_fetch(&pool.finished, 1, __ATOMIC_ACQ_REL);
        futex_wake(&pool.finished);
    }
    return NULL;
}

/* Waits until `count` workers have counted themselves in `finished`. */
static void wait_finished(uint32_t count) {
    for (;;) {
        uint32_t now = __atomic_load_n(&pool.finished, __ATOMIC_ACQUIRE);
        if (now == count) return;
        wait_change(&pool.finished, now);
    }
}

static bool start_worker(int tid) {
    pthread_attr_t attr;
    pthread_t thread;
    sigset_t all, old;
    /* Signals belong to the program's own threads (Python handles them in its main thread). */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    bool started = !pthread_create(&thread, &attr, worker, (void *)(intptr_t)tid);
    pthread_attr_destroy(&attr);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return started;
}

int ei_pool_grow(int threads) {
    if (threads > EI_MAX_THREADS) threads = EI_MAX_THREADS;
    pthread_mutex_lock(&pool.lock);
    if (pool.owner != getpid()) {
        pool.owner = getpid();
        pool.workers = 0;
    }
    while (pool.workers < threads - 1) {
        __atomic_store_n(&pool.finished, 0, __ATOMIC_RELEASE);
        if (!start_worker(pool.workers + 1)) break;
        wait_finished(1);
        pool.workers++;
    }
    int count = pool.workers + 1;
    pthread_mutex_unlock(&pool.lock);
    return count;
}

bool ei_pool_run(ei_job job, void *context, int threads) {
    if (pthread_mutex_trylock(&pool.lock)) return false;
    if (pool.owner != getpid() || pool.workers < threads - 1) {
        pthread_mutex_unlock(&pool.lock);
        return false;
    }
    pool.job = job;
    pool.context = context;
    pool.threads = threads;
    __atomic_store_n(&pool.finished, 0, __ATOMIC_RELAXED);
    __atomic_add_fetch(&pool.generation, 1, __ATOMIC_RELEASE);
    futex_wake(&pool.generation);
    job(context, 0, threads);
    wait_finished((uint32_t)pool.workers);
    pthread_mutex_unlock(&pool.lock);
    return true;
}
