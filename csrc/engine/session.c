/* A plan plus its memory, and the walker that runs its steps. */
#define _POSIX_C_SOURCE 200809L
#include "plan.h"
#include "pool.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

struct ei_session {
    const ei_plan *plan;
    uint8_t *arena;
    uint8_t *scratch; /* plan->scratch_bytes for every worker */
    size_t stride;    /* between workers' scratch */
    ei_tensor *tensors;
    ei_node *nodes;
    ei_tensor **pointers;
    uint64_t bytes;
    uint8_t *shares; /* per step: among how many workers its work is split */
    int threads;
    int failed; /* step, -1 */
};

/* One run: what the workers share. */
typedef struct run {
    ei_session *session;
    int step, end;   /* the step that is open; -1 before the first */
    uint64_t *ns;    /* per step, or NULL */
    uint64_t opened; /* when the open step was */
    int status, failed;
} run;

static size_t align_up(size_t n) {
    return (n + EI_ALIGN - 1) / EI_ALIGN * EI_ALIGN;
}

/* Below this many bytes touched and multiply-adds, handing a share to another core (about 0.2 us)
 * costs more than it saves. */
enum { SPLIT_BYTES = 32768, SPLIT_MACS = 150000 };

static bool worth_splitting(const ei_node *n, float macs) {
    uint64_t bytes = 0;
    for (int i = 0; i < n->n_in; i++) bytes += n->in[i] ? n->in[i]->bytes : 0;
    for (int i = 0; i < n->n_out; i++) bytes += n->out[i]->bytes;
    return bytes > SPLIT_BYTES || macs > SPLIT_MACS;
}

static int shares_of(const ei_node *n, const ei_file_step *f, int threads) {
    if (!n->kernel || !n->kernel->parallel) return 1;
    if (f->workers) return f->workers < threads ? f->workers : threads;
    return worth_splitting(n, f->macs) ? threads : 1;
}

static void bind(ei_session *s) {
    const ei_plan *p = s->plan;
    const ei_file_header *h = p->header;
    memcpy(s->tensors, p->tensors, h->n_tensors * sizeof *s->tensors);
    for (uint32_t i = 0; i < h->n_tensors; i++)
        if (!s->tensors[i].constant) s->tensors[i].data = s->arena + p->file_tensors[i].offset;
    for (uint32_t i = 0; i < h->n_args; i++)
        s->pointers[i] = p->pointers[i] ? s->tensors + (p->pointers[i] - p->tensors) : NULL;
    for (uint32_t i = 0; i < h->n_steps; i++) {
        s->nodes[i] = p->nodes[i];
        s->nodes[i].in = s->pointers + (p->nodes[i].in - (ei_tensor *const *)p->pointers);
        s->nodes[i].out = s->pointers + (p->nodes[i].out - (ei_tensor *const *)p->pointers);
        s->shares[i] = (uint8_t)shares_of(&s->nodes[i], &p->file_steps[i], s->threads);
    }
}

int ei_session_create(const ei_plan *plan, int threads, ei_session **out, ei_error *err) {
    if (!plan || !out || threads < 1 || threads > EI_MAX_THREADS)
        return ei_fail(err, EI_E_ARGUMENT, "threads is %d, must be 1..%d", threads, EI_MAX_THREADS);
    *out = NULL;
    const ei_file_header *h = plan->header;
    ei_session *s = calloc(1, sizeof *s);
    if (!s) return ei_fail(err, EI_E_MEMORY, "out of memory building a session");
    s->plan = plan;
    s->failed = -1;
    s->stride = align_up(plan->scratch_bytes);
    s->threads = threads > 1 ? ei_pool_grow(threads) : 1;
    if (s->threads > threads) s->threads = threads;
    size_t arena = align_up(h->arena_bytes) + EI_ALIGN, scratch = s->stride * (size_t)s->threads;
    size_t tensors = ((size_t)h->n_tensors + 1) * sizeof *s->tensors;
    size_t nodes = ((size_t)h->n_steps + 1) * sizeof *s->nodes;
    size_t pointers = ((size_t)h->n_args + 1) * sizeof *s->pointers;
    s->arena = aligned_alloc(EI_ALIGN, arena);
    s->scratch = aligned_alloc(EI_ALIGN, scratch + EI_ALIGN);
    s->tensors = malloc(tensors);
    s->nodes = malloc(nodes);
    s->pointers = malloc(pointers);
    s->shares = malloc((size_t)h->n_steps + 1);
    if (!s->arena || !s->scratch || !s->tensors || !s->nodes || !s->pointers || !s->shares) {
        ei_session_destroy(s);
        return ei_fail(err, EI_E_MEMORY, "out of memory: a session needs %llu bytes",
                       (unsigned long long)(arena + scratch));
    }
    s->bytes = sizeof *s + arena + scratch + EI_ALIGN + tensors + nodes + pointers + h->n_steps + 1;
    /* Touch everything now: the first run must not fault pages in, nor read rubbish. */
    memset(s->arena, 0, arena);
    memset(s->scratch, 0, scratch + EI_ALIGN);
    bind(s);
    ei_session_reset(s);
    *out = s;
    return EI_OK;
}

void ei_session_destroy(ei_session *s) {
    if (!s) return;
    free(s->arena);
    free(s->scratch);
    free(s->tensors);
    free(s->nodes);
    free(s->pointers);
    free(s->shares);
    free(s);
}

int ei_session_reset(ei_session *s) {
    const ei_plan *p = s->plan;
    for (uint32_t i = 0; i < p->header->n_tensors; i++) {
        const ei_file_tensor *f = &p->file_tensors[i];
        if (f->kind != EI_STATE) continue;
        if (f->initial == EI_NO_DATA)
            memset(s->tensors[i].data, 0, f->bytes);
        else
            memcpy(s->tensors[i].data, p->file + p->header->off_data + f->initial, f->bytes);
    }
    return EI_OK;
}

void *ei_session_tensor(ei_session *s, int tensor) {
    return tensor >= 0 && tensor < ei_plan_tensors(s->plan) ? s->tensors[tensor].data : NULL;
}

uint64_t ei_session_bytes(const ei_session *s) {
    return s->bytes;
}
int ei_session_failed_step(const ei_session *s) {
    return s->failed;
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void fail_step(run *r, int step, int status) {
    int none = EI_OK;
    if (__atomic_compare_exchange_n(&r->status, &none, status, false, __ATOMIC_ACQ_REL,
                                    __ATOMIC_ACQUIRE))
        r->failed = step;
}

static void share(void *context, int share, int shares, int tid) {
    run *r = context;
    ei_session *s = r->session;
    const ei_node *node = &s->nodes[r->step];
    ei_work work = {share, shares, s->scratch + s->stride * (size_t)tid};
    int status = node->kernel ? node->kernel->run(node, &work) : EI_E_DELEGATE;
    if (status) fail_step(r, r->step, status);
}

/* Steps that one worker does alone are done here, by who finished the step before: what they read
 * is then in that core's cache, and nobody else is bothered. */
static int next(void *context, int tid) {
    run *r = context;
    ei_session *s = r->session;
    for (;;) {
        if (r->ns) {
            uint64_t now = now_ns();
            if (r->opened) r->ns[r->step] = now - r->opened;
            r->opened = now;
        }
        if (__atomic_load_n(&r->status, __ATOMIC_ACQUIRE) || ++r->step >= r->end) return 0;
        if (s->shares[r->step] > 1) return s->shares[r->step];
        share(r, 0, 1, tid);
    }
}

static int run_range(ei_session *s, int first, int count, uint64_t *ns) {
    run r = {.session = s, .step = first - 1, .end = first + count, .ns = ns, .failed = -1};
    ei_job job = {next, share, &r};
    if (s->threads == 1 || !ei_pool_run(&job, s->threads)) ei_job_alone(&job);
    s->failed = r.failed;
    return r.status;
}

int ei_session_run(ei_session *s) {
    return run_range(s, 0, ei_plan_steps(s->plan), NULL);
}

int ei_session_run_steps(ei_session *s, int first, int count) {
    int n = ei_plan_steps(s->plan);
    if (first < 0 || count < 0 || first > n || count > n - first) return EI_E_ARGUMENT;
    return run_range(s, first, count, NULL);
}

int ei_session_profile(ei_session *s, uint64_t *ns, int count) {
    if (!ns || count != ei_plan_steps(s->plan)) return EI_E_ARGUMENT;
    return run_range(s, 0, count, ns);
}
