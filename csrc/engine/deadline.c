/* The walker of runs that may have to stop: for a deadline, a cancel, or an earlier deadline of
 * another session. It looks up before every step and, where a step is cut, before every share. */
#include "session.h"

typedef struct walk {
    ei_session *session;
    ei_session *owner; /* whose cancel and turn count: the first plan of the ladder */
    uint64_t deadline;
    int step, end;                  /* the open step */
    int shares;                     /* of it */
    uint64_t all, done;             /* its shares, a bit each */
    uint64_t todo;                  /* of them, those handed out now */
    int halt;                       /* 0: goes on; EI_TOO_LATE, EI_GIVES_WAY or a status */
    uint64_t *ns, *longest, opened; /* for ei_session_time */
} walk;

static void halt(walk *w, int why) {
    int none = 0;
    __atomic_compare_exchange_n(&w->halt, &none, why, false, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
}

/* What is left of the run from share `share` of the open step on. */
static uint64_t rest(const walk *w, int share) {
    const uint64_t *r = w->session->rest + w->step;
    if (r[0] <= r[1]) return r[0];
    return r[1] + (r[0] - r[1]) / (uint64_t)w->shares * (uint64_t)(w->shares - share);
}

static bool misses(const walk *w, int share) {
    if (w->deadline == UINT64_MAX) return false;
    uint64_t now = ei_now_ns();
    return now >= w->deadline || rest(w, share) > w->deadline - now;
}

static bool stops(walk *w, int share) {
    if (__atomic_load_n(&w->halt, __ATOMIC_ACQUIRE)) return true;
    if (ei_run_cancelled(w->owner))
        halt(w, EI_E_CANCELLED);
    else if (misses(w, share))
        halt(w, EI_TOO_LATE);
    else if (ei_gate_wanted(&w->owner->turn))
        halt(w, EI_GIVES_WAY);
    else
        return false;
    return true;
}

static int bit_number(uint64_t bits, int n) {
    while (n--) bits &= bits - 1;
    return __builtin_ctzll(bits);
}

static void note_share(walk *w, uint64_t begun) {
    uint64_t took = ei_now_ns() - begun,
             known = __atomic_load_n(&w->longest[w->step], __ATOMIC_RELAXED);
    while (took > known && !__atomic_compare_exchange_n(&w->longest[w->step], &known, took, false,
                                                        __ATOMIC_RELAXED, __ATOMIC_RELAXED)) {
    }
}

static void share(void *context, int k, int shares, int tid) {
    (void)shares;
    walk *w = context;
    ei_session *s = w->session;
    int number = bit_number(w->todo, k);
    if (stops(w, number)) return;
    const ei_node *node = &s->nodes[w->step];
    ei_work work = {number, w->shares, s->scratch + s->stride * (size_t)tid};
    uint64_t begun = w->longest ? ei_now_ns() : 0;
    int status = node->kernel ? node->kernel->run(node, &work) : EI_E_DELEGATE;
    if (w->longest) note_share(w, begun);
    if (status) halt(w, status);
    __atomic_fetch_or(&w->done, (uint64_t)1 << number, __ATOMIC_ACQ_REL);
}

static bool open_step(walk *w) {
    if (w->ns && w->step >= 0) w->ns[w->step] = ei_now_ns() - w->opened;
    if (w->step + 1 >= w->end) return false;
    w->shares = w->session->cuts[++w->step];
    w->all = w->shares < 64 ? ((uint64_t)1 << w->shares) - 1 : UINT64_MAX;
    w->done = 0;
    if (w->ns) w->opened = ei_now_ns();
    return true;
}

/* The shares of the open step that are left, where there are several; a single one is done here. */
static int next(void *context, int tid) {
    walk *w = context;
    for (;;) {
        if (__atomic_load_n(&w->halt, __ATOMIC_ACQUIRE)) return 0;
        uint64_t done = __atomic_load_n(&w->done, __ATOMIC_ACQUIRE);
        if (done == w->all) {
            if (!open_step(w)) {
                w->step = w->end;
                return 0;
            }
            done = 0;
        }
        w->todo = w->all & ~done;
        int left = __builtin_popcountll(w->todo);
        if (left > 1) return left;
        share(w, 0, 1, tid);
    }
}

static int granted(int why) {
    return why == EI_GATE_LATE ? EI_TOO_LATE : why == EI_GATE_CANCELLED ? EI_E_CANCELLED : EI_OK;
}

/* The last moment to begin what takes `needs`. */
static uint64_t latest(uint64_t deadline, uint64_t needs) {
    return deadline == UINT64_MAX ? deadline : deadline > needs ? deadline - needs : 0;
}

int ei_run_enter(ei_session *s, uint64_t deadline, uint64_t needs) {
    if (!ei_gate_on() || s->unscheduled || s->turn.inside) return EI_OK;
    return granted(ei_gate_enter(&s->turn, s->threads, deadline, latest(deadline, needs), &s->state,
                                 EI_CANCELLED));
}

static int give_way(walk *w) {
    ei_session *s = w->owner;
    uint64_t needs = rest(w, w->shares - __builtin_popcountll(w->all & ~w->done));
    __atomic_fetch_add(&s->preempted, 1, __ATOMIC_RELAXED);
    return granted(ei_gate_yield(&s->turn, latest(w->deadline, needs), &s->state, EI_CANCELLED));
}

/* On the caller's thread, outside the pool: another session may have it meanwhile. */
static int walk_on(walk *w) {
    ei_session *s = w->session;
    ei_job job = {next, share, w};
    do {
        w->halt = 0;
        if (s->threads == 1 || !ei_pool_run(&job, s->threads)) ei_job_alone(&job);
        if (w->halt == EI_GIVES_WAY) w->halt = give_way(w);
    } while (!w->halt && w->step < w->end);
    w->owner->failed = w->halt > 0 ? w->step : -1;
    return w->halt;
}

int ei_walk_plan(ei_session *s, ei_session *owner, uint64_t deadline, int *step) {
    walk w = {.session = s, .owner = owner, .deadline = deadline, .step = -1};
    w.end = ei_plan_steps(s->plan);
    int why = walk_on(&w);
    if (step) *step = w.step;
    return why;
}

static int run(ei_session *s, uint64_t deadline, ei_result *result) {
    *result = (ei_result){0};
    s->begun = ei_now_ns();
    int why = ei_run_enter(s, deadline, s->rest[0]);
    if (!why) why = ei_walk_plan(s, s, deadline, &result->step);
    if (why == EI_TOO_LATE) {
        ei_states_back(s);
        why = ei_substitute(s, 0, deadline, result);
    } else if (!why) {
        ei_session_keep(s, s->begun);
        uint64_t now = ei_now_ns();
        result->outcome = now > deadline ? EI_LATE : EI_DONE;
        result->age_ns = now - s->begun;
    }
    ei_gate_leave(&s->turn);
    return why;
}

int ei_session_run_by(ei_session *s, uint64_t deadline_ns, ei_result *result) {
    if (!result) return EI_E_ARGUMENT;
    int status = ei_run_begin(s);
    return status ? status : ei_run_end(s, run(s, deadline_ns, result));
}

int ei_run_scheduled(ei_session *s) {
    ei_result result;
    return ei_session_run_by(s, UINT64_MAX, &result);
}

int ei_session_set_rest(ei_session *s, const uint64_t *ns, int count) {
    if (!ns || count != ei_plan_steps(s->plan)) return EI_E_ARGUMENT;
    for (int i = 0; i < count; i++) s->rest[i] = ns[i];
    return EI_OK;
}

int ei_session_set_cuts(ei_session *s, const int *shares, int count) {
    if (!shares || count != ei_plan_steps(s->plan)) return EI_E_ARGUMENT;
    for (int i = 0; i < count; i++)
        if (shares[i] < 1 || shares[i] > ei_plan_step_shares(s->plan, i)) return EI_E_ARGUMENT;
    for (int i = 0; i < count; i++) s->cuts[i] = (uint8_t)shares[i];
    return EI_OK;
}

int ei_session_time(ei_session *s, uint64_t *step_ns, uint64_t *share_ns, int count) {
    if (!step_ns || !share_ns || count != ei_plan_steps(s->plan)) return EI_E_ARGUMENT;
    int status = ei_run_begin(s);
    if (status) return status;
    for (int i = 0; i < count; i++) share_ns[i] = 0;
    walk w = {.session = s, .owner = s, .deadline = UINT64_MAX, .step = -1, .end = count};
    w.ns = step_ns;
    w.longest = share_ns;
    return ei_run_end(s, walk_on(&w));
}

void ei_session_set_unscheduled(ei_session *s, int unscheduled) {
    s->unscheduled = unscheduled != 0;
}

int ei_session_preempted(const ei_session *s) {
    return __atomic_load_n(&s->preempted, __ATOMIC_RELAXED);
}
