/* A plan plus its memory, and the walker that runs its steps. */
#define _POSIX_C_SOURCE 200809L
#include "session.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

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
        s->cuts[i] = s->shares[i];
    }
}

static uint64_t state_bytes(const ei_plan *p) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < p->header->n_tensors; i++)
        if (p->file_tensors[i].kind == EI_STATE) bytes += p->tensors[i].bytes;
    return bytes;
}

/* Between the tensors and where they wait for the end of a run. */
static void copy_states(ei_session *s, bool back) {
    const ei_plan *p = s->plan;
    uint8_t *kept = s->states;
    for (uint32_t i = 0; i < p->header->n_tensors; i++) {
        if (p->file_tensors[i].kind != EI_STATE) continue;
        uint64_t bytes = p->tensors[i].bytes;
        memcpy(back ? s->tensors[i].data : kept, back ? kept : s->tensors[i].data, bytes);
        kept += bytes;
    }
}

static void *take(ei_session *s, size_t bytes) {
    void *p = aligned_alloc(EI_ALIGN, align_up(bytes + 1));
    /* Touch everything now: the first run must not fault pages in, nor read rubbish. */
    if (p) memset(p, 0, align_up(bytes + 1));
    s->bytes += align_up(bytes + 1);
    return p;
}

static bool allocate(ei_session *s, uint64_t arena, uint64_t states) {
    const ei_file_header *h = s->plan->header;
    if (!s->guest) {
        s->arena = take(s, arena);
        s->scratch = take(s, s->stride * (size_t)s->threads);
    }
    s->tensors = take(s, h->n_tensors * sizeof *s->tensors);
    s->nodes = take(s, h->n_steps * sizeof *s->nodes);
    s->pointers = take(s, h->n_args * sizeof *s->pointers);
    s->shares = take(s, h->n_steps);
    s->cuts = take(s, h->n_steps);
    s->rest = take(s, (h->n_steps + 1u) * sizeof *s->rest);
    s->states = states ? take(s, states) : NULL;
    return s->arena && s->scratch && s->tensors && s->nodes && s->pointers && s->shares &&
           s->cuts && s->rest && (s->states || !states);
}

int ei_session_build(const ei_plan *plan, int threads, uint64_t arena, uint64_t scratch,
                     ei_session *host, uint64_t offset, ei_session **out, ei_error *err) {
    ei_session *s = calloc(1, sizeof *s);
    if (!s) return ei_fail(err, EI_E_MEMORY, "out of memory building a session");
    s->plan = plan;
    s->bytes = sizeof *s;
    s->failed = -1;
    s->guest = host != NULL;
    s->threads = host ? host->threads : threads > 1 ? ei_pool_grow(threads) : 1;
    if (s->threads > threads) s->threads = threads;
    s->stride = align_up(scratch);
    if (host) {
        s->arena = host->arena + offset;
        s->scratch = host->scratch;
    }
    if (!allocate(s, arena, state_bytes(plan))) {
        unsigned long long bytes = s->bytes;
        ei_session_destroy(s);
        return ei_fail(err, EI_E_MEMORY, "out of memory: a session needs %llu bytes", bytes);
    }
    bind(s);
    ei_session_reset(s);
    *out = s;
    return EI_OK;
}

int ei_session_create(const ei_plan *plan, int threads, ei_session **out, ei_error *err) {
    return ei_session_create_ladder(&plan, 1, threads, out, err);
}

void ei_session_destroy(ei_session *s) {
    if (!s) return;
    ei_substitute_destroy(s);
    if (!s->guest) {
        free(s->arena);
        free(s->scratch);
    }
    free(s->tensors);
    free(s->nodes);
    free(s->pointers);
    free(s->shares);
    free(s->cuts);
    free(s->rest);
    free(s->states);
    free(s);
}

int ei_session_reset(ei_session *s) {
    const ei_plan *p = s->plan;
    for (uint32_t i = 0; i < p->header->n_tensors; i++) {
        const ei_file_tensor *f = &p->file_tensors[i];
        if (f->kind != EI_STATE) continue;
        if (f->initial == EI_NO_DATA)
            memset(s->tensors[i].data, 0, p->tensors[i].bytes);
        else
            memcpy(s->tensors[i].data, p->file + p->header->off_data + f->initial,
                   p->tensors[i].bytes);
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

uint64_t ei_now_ns(void) {
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
            uint64_t now = ei_now_ns();
            if (r->opened) r->ns[r->step] = now - r->opened;
            r->opened = now;
        }
        if (__atomic_load_n(&r->status, __ATOMIC_ACQUIRE) || ++r->step >= r->end) return 0;
        if (ei_run_cancelled(s)) {
            fail_step(r, r->step, EI_E_CANCELLED);
            return 0;
        }
        if (s->shares[r->step] > 1) return s->shares[r->step];
        share(r, 0, 1, tid);
    }
}

static int run_range(ei_session *s, int first, int count, uint64_t *ns) {
    run r = {.session = s, .step = first - 1, .end = first + count, .ns = ns, .failed = -1};
    ei_job job = {next, share, &r};
    int status = ei_run_begin(s);
    if (status) return status;
    if (s->threads == 1 || !ei_pool_run(&job, s->threads)) ei_job_alone(&job);
    s->failed = r.failed;
    if (s->last && !r.status && !first && count == ei_plan_steps(s->plan))
        ei_session_keep(s, s->begun);
    return ei_run_end(s, r.status);
}

int ei_run_begin(ei_session *s) {
    s->failed = -1;
    /* Sequentially consistent, as in ei_session_close: it sees the run, or the run sees it. */
    bool cancelled = __atomic_exchange_n(&s->state, EI_RUNNING, __ATOMIC_SEQ_CST) == EI_CANCELLED;
    bool closed = __atomic_load_n(&s->closed, __ATOMIC_SEQ_CST);
    if (cancelled || closed) {
        __atomic_store_n(&s->state, EI_IDLE, __ATOMIC_RELEASE);
        return closed ? EI_E_CLOSED : EI_E_CANCELLED;
    }
    if (s->states) copy_states(s, false);
    if (s->last) s->begun = ei_now_ns();
    return EI_OK;
}

void ei_states_back(ei_session *s) {
    if (s->states) copy_states(s, true);
}

int ei_run_end(ei_session *s, int status) {
    if (status) ei_states_back(s);
    __atomic_store_n(&s->state, EI_IDLE, __ATOMIC_RELEASE);
    return status;
}

int ei_session_run(ei_session *s) {
    if (ei_gate_on() && !s->unscheduled) return ei_run_scheduled(s);
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

int ei_session_arm(ei_session *s) {
    __atomic_store_n(&s->state, EI_RUNNING, __ATOMIC_SEQ_CST);
    if (!__atomic_load_n(&s->closed, __ATOMIC_SEQ_CST)) return EI_OK;
    __atomic_store_n(&s->state, EI_IDLE, __ATOMIC_RELEASE);
    return EI_E_CLOSED;
}

int ei_session_disarm(ei_session *s) {
    uint32_t state = __atomic_exchange_n(&s->state, EI_IDLE, __ATOMIC_SEQ_CST);
    return state == EI_CANCELLED ? EI_E_CANCELLED : EI_OK;
}

int ei_session_cancel(ei_session *s) {
    uint32_t running = EI_RUNNING;
    if (!__atomic_compare_exchange_n(&s->state, &running, EI_CANCELLED, false, __ATOMIC_SEQ_CST,
                                     __ATOMIC_RELAXED))
        return running == EI_CANCELLED;
    ei_gate_nudge(&s->turn);
    return 1;
}

void ei_session_close(ei_session *s) {
    const struct timespec moment = {0, 50000};
    __atomic_store_n(&s->closed, 1, __ATOMIC_SEQ_CST);
    while (__atomic_load_n(&s->state, __ATOMIC_SEQ_CST) != EI_IDLE) {
        ei_session_cancel(s);
        nanosleep(&moment, NULL);
    }
}
