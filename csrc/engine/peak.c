/* Runs the loops of every ISA's peak.c on the threads of the pool and takes the time. */
#define _POSIX_C_SOURCE 200809L
#include "peak.h"
#include "pool.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct task {
    ei_peak_loop loop;
    void (*read)(const void *from, uint64_t blocks); /* NULL: the loop */
    const uint8_t *data;
    uint64_t blocks; /* of every worker */
    double seconds;
    int threads;                 /* 0 once they have begun */
    double rate[EI_MAX_THREADS]; /* the best round of every worker, per second */
} task;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Reading without vector instructions. */
static void read_plain(const void *from, uint64_t blocks) {
    const volatile uint64_t *p = from;
    for (uint64_t i = 0; i < blocks * EI_PEAK_BLOCK / 8; i++) (void)p[i];
}

/* One round of the task; returns the work done: multiply-accumulates, or bytes. */
static double round_of(const task *t, int tid, uint64_t n) {
    if (!t->read) {
        t->loop.run(n);
        return (double)n * t->loop.macs;
    }
    const uint8_t *own = t->data + t->blocks * EI_PEAK_BLOCK * (uint64_t)tid;
    for (uint64_t i = 0; i < n; i++) t->read(own, t->blocks);
    return (double)n * (double)t->blocks * EI_PEAK_BLOCK;
}

static int begin(void *context, int tid) {
    (void)tid;
    task *t = context;
    int shares = t->threads;
    t->threads = 0;
    return shares;
}

static void work(void *context, int share, int shares, int worker) {
    (void)shares, (void)worker;
    task *t = context;
    double end = now() + t->seconds;
    for (uint64_t n = 1;;) {
        double start = now(), done = round_of(t, share, n), spent = now() - start;
        if (spent > 0 && done / spent > t->rate[share]) t->rate[share] = done / spent;
        if (now() >= end) break;
        if (spent < 5e-4) n *= 2; /* rounds of about a millisecond: shorter than a time slice */
    }
}

static int run(task *t, int threads, double *rate) {
    if (threads < 1 || threads > EI_MAX_THREADS || !(t->seconds > 0) || t->seconds > 60 || !rate)
        return EI_E_ARGUMENT;
    t->threads = threads;
    ei_job job = {begin, work, t};
    if (threads == 1)
        ei_job_alone(&job);
    else if (ei_pool_grow(threads) < threads || !ei_pool_run(&job, threads))
        return EI_E_MEMORY;
    *rate = 0;
    for (int i = 0; i < threads; i++) *rate += t->rate[i];
    return EI_OK;
}

static const ei_peak_loops *loops_of(int isa) {
    switch (isa) {
#if defined(__x86_64__)
    case EI_ISA_AVX2:
        return &ei_peak_avx2;
    case EI_ISA_AVX512VNNI:
        return &ei_peak_avx512vnni;
    case EI_ISA_AVXVNNI:
        return &ei_peak_avxvnni;
#elif defined(__aarch64__)
    case EI_ISA_NEON:
        return &ei_peak_neon;
    case EI_ISA_DOTPROD:
        return &ei_peak_dotprod;
    case EI_ISA_I8MM:
        return &ei_peak_i8mm;
#endif
    default:
        return NULL;
    }
}

int ei_peak_macs(int isa, int dtype, int threads, double seconds, double *rate) {
    if (dtype != EI_F32 && dtype != EI_I8) return EI_E_ARGUMENT;
    const ei_peak_loops *loops = ei_isa_has(isa) ? loops_of(isa) : NULL;
    if (!loops) return EI_E_UNSUPPORTED;
    task t = {.loop = dtype == EI_F32 ? loops->f32 : loops->i8, .seconds = seconds};
    return run(&t, threads, rate);
}

int ei_peak_read(uint64_t bytes, int threads, double seconds, double *rate) {
    if (threads < 1 || threads > EI_MAX_THREADS || bytes > (uint64_t)1 << 32) return EI_E_ARGUMENT;
    const ei_peak_loops *loops = loops_of(ei_isa_best());
    task t = {.read = loops ? loops->read : read_plain, .seconds = seconds};
    t.blocks = bytes / EI_PEAK_BLOCK / (uint64_t)threads;
    if (!t.blocks) t.blocks = 1;
    size_t size = t.blocks * EI_PEAK_BLOCK * (size_t)threads;
    uint8_t *data = aligned_alloc(EI_ALIGN, size);
    if (!data) return EI_E_MEMORY;
    memset(data, 1, size); /* pages that were never written are all the same one */
    t.data = data;
    int status = run(&t, threads, rate);
    free(data);
    return status;
}
