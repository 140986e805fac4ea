/* One job at a time, as a ticket that workers draw shares from.
 *
 * The ticket holds the step's epoch, its number of shares and the next one to be drawn, in one
 * word, so that a successful compare-and-swap proves that the step is still open: a worker that was
 * asleep or preempted meanwhile draws nothing of a later step by mistake, and touches no job that
 * is over. Who finishes a step's last share opens the next. A worker that comes late costs nothing:
 * the others draw its share. */
#define _GNU_SOURCE
#include "pool.h"

#include "../edgeinfer.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
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

/* About 20-50 us: longer than most steps, shorter than a wake-up that hurts. */
enum { SPINS = 1000 };

static struct {
    pthread_mutex_t lock; /* held for the whole of a job */
    int workers;          /* started, the caller of a job not counted */
    pid_t owner;          /* a forked child has none of the parent's threads */
    const ei_job *job;
    int threads;                                     /* of the job: workers from there on rest */
    uint64_t ticket __attribute__((aligned(64)));    /* epoch 32 | shares 16 | next share 16 */
    uint32_t completed __attribute__((aligned(64))); /* shares of the open step */
    uint32_t epoch __attribute__((aligned(64)));     /* what waiting workers look at */
    uint32_t sleepers;                               /* of them, on the futex */
    uint32_t started;
    pthread_t ids[EI_MAX_THREADS]; /* of the workers, under the lock */
    cpu_set_t cores;               /* that they run on */
    bool pinned;
} pool = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void futex_wait(uint32_t *word, uint32_t value) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(uint32_t *word) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

/* Returns once the epoch is no longer `value`: spins a bounded time, so that a neighbour who wants
 * the core gets it, then sleeps. */
static void await_epoch(uint32_t value) {
    for (int i = 0; i < SPINS; i++) {
        if (__atomic_load_n(&pool.epoch, __ATOMIC_ACQUIRE) != value) return;
        RELAX();
    }
    /* Sequentially consistent, as in open_step: either the opener sees the sleeper or the sleeper
     * the new epoch. */
    __atomic_add_fetch(&pool.sleepers, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&pool.epoch, __ATOMIC_SEQ_CST) == value) futex_wait(&pool.epoch, value);
    __atomic_sub_fetch(&pool.sleepers, 1, __ATOMIC_SEQ_CST);
}

/* Opens a step of so many shares; 0: the job is over. */
static void open_step(int shares) {
    /* From the ticket, not from pool.epoch: who opened the last step of a job may not have stored
     * that yet when the next job begins. */
    uint32_t epoch = (uint32_t)(__atomic_load_n(&pool.ticket, __ATOMIC_RELAXED) >> 32) + 1;
    __atomic_store_n(&pool.completed, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&pool.ticket, (uint64_t)epoch << 32 | (uint64_t)shares << 16,
                     __ATOMIC_RELEASE);
    __atomic_store_n(&pool.epoch, epoch, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&pool.sleepers, __ATOMIC_SEQ_CST)) futex_wake(&pool.epoch);
}

/* Draws a share of the open step and does it; false where there is none to draw. */
static bool draw(int tid) {
    uint64_t ticket = __atomic_load_n(&pool.ticket, __ATOMIC_ACQUIRE);
    int share = (int)(ticket & 0xffff), shares = (int)(ticket >> 16 & 0xffff);
    if (share >= shares || tid >= __atomic_load_n(&pool.threads, __ATOMIC_RELAXED)) return false;
    if (!__atomic_compare_exchange_n(&pool.ticket, &ticket, ticket + 1, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_RELAXED))
        return true; /* another was quicker: look again */
    const ei_job *job = pool.job;
    job->share(job->context, share, shares, tid);
    if (__atomic_add_fetch(&pool.completed, 1, __ATOMIC_ACQ_REL) == (uint32_t)shares)
        open_step(job->next(job->context, tid));
    return true;
}

static void *worker(void *argument) {
    int tid = (int)(intptr_t)argument;
    __atomic_add_fetch(&pool.started, 1, __ATOMIC_ACQ_REL);
    for (;;) {
        uint32_t epoch = __atomic_load_n(&pool.epoch, __ATOMIC_ACQUIRE);
        while (draw(tid)) {
        }
        await_epoch(epoch);
    }
    return NULL;
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
    if (started) pool.ids[tid] = thread;
    if (started && pool.pinned) pthread_setaffinity_np(thread, sizeof pool.cores, &pool.cores);
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
        pool.sleepers = pool.started = 0;
    }
    while (pool.workers < threads - 1 && start_worker(pool.workers + 1)) pool.workers++;
    /* Until all have started: what starting a thread allocates is not left to the first run. */
    while (__atomic_load_n(&pool.started, __ATOMIC_ACQUIRE) < (uint32_t)pool.workers) sched_yield();
    int count = pool.workers + 1;
    pthread_mutex_unlock(&pool.lock);
    return count;
}

int ei_scheduler_pin(const int *cores, int count) {
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int i = 0; i < count; i++) {
        if (cores[i] < 0 || cores[i] >= CPU_SETSIZE) return EI_E_ARGUMENT;
        CPU_SET(cores[i], &set);
    }
    for (int i = 0; !count && i < CPU_SETSIZE; i++) CPU_SET(i, &set);
    pthread_mutex_lock(&pool.lock);
    int refused = 0;
    for (int tid = 1; pool.owner == getpid() && tid <= pool.workers; tid++)
        refused |= pthread_setaffinity_np(pool.ids[tid], sizeof set, &set);
    pool.cores = set;
    pool.pinned = count > 0;
    pthread_mutex_unlock(&pool.lock);
    return refused ? EI_E_ARGUMENT : EI_OK;
}

bool ei_pool_run(const ei_job *job, int threads) {
    if (pthread_mutex_trylock(&pool.lock)) return false;
    if (pool.owner != getpid() || pool.workers < threads - 1) {
        pthread_mutex_unlock(&pool.lock);
        return false;
    }
    int shares = job->next(job->context, 0);
    if (shares) {
        pool.job = job;
        __atomic_store_n(&pool.threads, threads, __ATOMIC_RELAXED);
        open_step(shares);
        for (;;) {
            uint32_t epoch = __atomic_load_n(&pool.epoch, __ATOMIC_ACQUIRE);
            while (draw(0)) {
            }
            uint64_t ticket = __atomic_load_n(&pool.ticket, __ATOMIC_ACQUIRE);
            if (!(ticket >> 16 & 0xffff)) break;
            await_epoch(epoch);
        }
    }
    pthread_mutex_unlock(&pool.lock);
    return true;
}

void ei_job_alone(const ei_job *job) {
    int shares;
    while ((shares = job->next(job->context, 0)))
        for (int i = 0; i < shares; i++) job->share(job->context, i, shares, 0);
}
