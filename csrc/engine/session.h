/* What a session is made of, for the files of the engine that run it. */
#ifndef EI_SESSION_H
#define EI_SESSION_H

#include "gate.h"
#include "plan.h"
#include "pool.h"

/* Of a session's run. Armed: one is about to begin, a cancel counts already. */
enum { EI_IDLE = 0, EI_RUNNING = 1, EI_CANCELLED = 2 };

typedef struct ei_link ei_link; /* a tensor that goes from one plan's to another's, substitute.c */

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
    int failed;      /* step, -1 */
    uint32_t state;  /* EI_IDLE ... */
    uint32_t closed; /* set once, by ei_session_close */
    uint8_t *states; /* as they were when the run began, NULL where the plan has none */
    uint64_t begun;  /* when the run began, ns: where a deadline or the last result needs it */

    /* For runs that may have to stop: deadline.c. */
    uint8_t *cuts;  /* per step: the shares it is done in, one after the other */
    uint64_t *rest; /* per step: from its begin to the run's end, ns; one more: 0 */
    bool unscheduled;
    int preempted; /* runs gave way so often */
    ei_turn turn;

    /* What stands in for a result: substitute.c. */
    struct ei_session *smaller; /* the next plan of the ladder, in this one's memory */
    bool guest;                 /* arena and scratch are another's */
    ei_link *links;             /* inputs to a smaller plan, outputs from it */
    int n_links, n_inputs;
    uint8_t *last; /* outputs of the last whole run */
    uint64_t last_begun, last_max_age;
};

/* A session; where `host` is given, in its arena from `offset` on and with its scratch. The arena
 * is at least `arena` bytes, the scratch of a worker `scratch`. */
int ei_session_build(const ei_plan *plan, int threads, uint64_t arena, uint64_t scratch,
                     struct ei_session *host, uint64_t offset, ei_session **out, ei_error *err);
uint64_t ei_now_ns(void);

/* Every run stands between the two. Begin: EI_OK, EI_E_CLOSED or EI_E_CANCELLED. End: puts the
 * states back where the run failed, and passes the status on. */
int ei_run_begin(ei_session *s);
int ei_run_end(ei_session *s, int status);
void ei_states_back(ei_session *s); /* as they were when the run began */

/* deadline.c: 0, a status above it, or that the deadline cannot be kept. */
enum { EI_GIVES_WAY = -1, EI_TOO_LATE = -2 };
/* Waits for the session's turn for what takes `needs` ns. */
int ei_run_enter(ei_session *s, uint64_t deadline, uint64_t needs);
/* Walks all steps of the plan in the name of `owner`, whose cancel and turn count; *step: before
 * which it ended. */
int ei_walk_plan(ei_session *s, ei_session *owner, uint64_t deadline, int *step);
int ei_run_scheduled(ei_session *s); /* a run without a deadline, in turn with other sessions' */

/* substitute.c: as ei_session_substitute, within a run. */
int ei_substitute(ei_session *s, int which, uint64_t deadline, ei_result *result);
void ei_substitute_destroy(ei_session *s);

static inline bool ei_run_cancelled(const ei_session *s) {
    return __atomic_load_n(&s->state, __ATOMIC_RELAXED) == EI_CANCELLED;
}

#endif
