/* Who may compute now, where sessions share cores: earliest deadline first. */
#ifndef EI_GATE_H
#define EI_GATE_H

#include <stdbool.h>
#include <stdint.h>

enum { EI_GRANTED = 0, EI_GATE_LATE = 1, EI_GATE_CANCELLED = 2 };

/* A run's place in the order; part of the session, so that a cancel may touch it at any time. */
typedef struct ei_turn {
    uint64_t deadline; /* ns; UINT64_MAX: background */
    uint64_t order;    /* among equal deadlines: who came first */
    struct ei_turn *next;
    uint32_t word;  /* futex: 0 waiting, bit 0 granted, bit 1 nudged */
    uint32_t yield; /* an earlier deadline waits for this turn's cores */
    int cores;
    bool inside;
    bool returns;    /* the session's next run followed at once, last time */
    uint64_t tenure; /* since when it has had its turn, run after run, ns */
    uint64_t left;   /* when it left, ns */
    int thread;      /* that runs, as the kernel numbers it */
    int lent;        /* it has the class of one that waits for it; its own were: */
    int policy, priority;
} ei_turn;

extern int ei_gate_limit; /* cores that runs may use at a time; 0: no limit, no gate */

static inline bool ei_gate_on(void) {
    return __atomic_load_n(&ei_gate_limit, __ATOMIC_RELAXED) != 0;
}

/* Whether the run is to give way at its next boundary. */
static inline bool ei_gate_wanted(const ei_turn *turn) {
    return __atomic_load_n(&turn->yield, __ATOMIC_RELAXED) != 0;
}

/* Waits for the turn of a run that uses so many threads. EI_GATE_LATE: the clock reached `until`
 * (ns, UINT64_MAX: never) first; EI_GATE_CANCELLED: nudged while *cancel was `cancelled`. */
int ei_gate_enter(ei_turn *turn, int threads, uint64_t deadline, uint64_t until,
                  const uint32_t *cancel, uint32_t cancelled);
/* Gives way and waits for the next turn, as ei_gate_enter. */
int ei_gate_yield(ei_turn *turn, uint64_t until, const uint32_t *cancel, uint32_t cancelled);
void ei_gate_leave(ei_turn *turn); /* also where it never entered, or was turned away */
void ei_gate_nudge(ei_turn *turn); /* looks at its cancel word again */

#endif
