/* One queue for the process: runs wait in the order of their deadlines, and those that compute are
 * told to give way when a run with an earlier one has to wait. Nobody is interrupted: a run gives
 * way at its next boundary, between steps or shares, so that what it computes does not change.
 *
 * The lock is held for a few list operations; it hands on priority, since the one who waits for it
 * may be a real-time thread and the one who holds it may not. */
#define _GNU_SOURCE
#include "gate.h"

#include "session.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { GRANTED = 1, NUDGED = 2 };

/* Background work changes hands at most so often (ns): short runs would else cost more in cold
 * caches and wake-ups than in arithmetic. A session whose runs follow each other within RETURN
 * keeps its turn between them for that long. */
enum { TENURE = 1000000, RETURN = 50000 };

int ei_gate_limit;

static struct {
    pthread_mutex_t lock;
    ei_turn *waiting; /* by deadline, then order */
    ei_turn *running;
    int used; /* cores of those that run */
    uint64_t order;
} gate;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static _Thread_local int thread_number; /* as the kernel has it; 0: not asked yet */

static int this_thread(void) {
    if (!thread_number) thread_number = (int)syscall(SYS_gettid);
    return thread_number;
}

static void create_lock(void) {
    pthread_mutexattr_t attr;
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
    pthread_mutex_init(&gate.lock, &attr);
    pthread_mutexattr_destroy(&attr);
}

/* A forked child has none of the threads that held or awaited a turn. */
static void after_fork(void) {
    gate.waiting = gate.running = NULL;
    gate.used = thread_number = 0;
    create_lock();
}

static void initialise(void) {
    create_lock();
    pthread_atfork(NULL, NULL, after_fork);
}

static void unlink_turn(ei_turn **list, ei_turn *turn) {
    while (*list && *list != turn) list = &(*list)->next;
    if (*list) *list = turn->next;
}

static void queue(ei_turn *turn) {
    ei_turn **at = &gate.waiting;
    while (*at && ((*at)->deadline < turn->deadline ||
                   ((*at)->deadline == turn->deadline && (*at)->order < turn->order)))
        at = &(*at)->next;
    turn->next = *at;
    *at = turn;
    /* Not a plain store: who nudged before is then seen to have changed the cancel word. */
    __atomic_exchange_n(&turn->word, 0, __ATOMIC_ACQ_REL);
}

static void wake(ei_turn *turn) {
    syscall(SYS_futex, &turn->word, FUTEX_WAKE_PRIVATE, INT32_MAX, NULL, NULL, 0);
}

static void grant(ei_turn *turn) {
    turn->next = gate.running;
    gate.running = turn;
    gate.used += turn->cores;
    __atomic_store_n(&turn->yield, 0, __ATOMIC_RELAXED);
    __atomic_fetch_or(&turn->word, GRANTED, __ATOMIC_RELEASE);
}

/* Of those with a later deadline, not told yet, the one with the latest. */
static ei_turn *latest_after(uint64_t deadline) {
    ei_turn *found = NULL;
    for (ei_turn *t = gate.running; t; t = t->next)
        if (!t->yield && t->deadline > deadline && (!found || t->deadline > found->deadline))
            found = t;
    return found;
}

/* Those with the latest deadlines give way, if that makes room enough for `head`. */
static void ask_for(const ei_turn *head) {
    int room = ei_gate_limit - gate.used, possible = room;
    for (const ei_turn *t = gate.running; t; t = t->next)
        if (t->deadline > head->deadline) possible += t->cores;
    if (possible < head->cores) return;
    for (ei_turn *last; room < head->cores && (last = latest_after(head->deadline));) {
        __atomic_store_n(&last->yield, 1, __ATOMIC_RELAXED);
        room += last->cores;
    }
}

/* The earliest deadline goes first, and nobody overtakes it: that would delay it further. */
static void dispatch(void) {
    for (ei_turn *t = gate.running; t; t = t->next)
        __atomic_store_n(&t->yield, 0, __ATOMIC_RELAXED);
    int limit = ei_gate_limit;
    ei_turn *head;
    while ((head = gate.waiting)) {
        if (limit && head->cores > limit) head->cores = limit; /* lowered meanwhile */
        if (limit && gate.used + head->cores > limit) break;
        gate.waiting = head->next;
        grant(head);
        wake(head);
    }
    if (head) ask_for(head);
}

/* A real-time thread that waits for runs to give way lends their threads its class until they do:
 * other programs would else keep them from it (priority inheritance). Under the lock: they are not
 * gone meanwhile. */
static void lend_class(void) {
    struct sched_param mine, its;
    int policy = sched_getscheduler(0);
    if ((policy != SCHED_FIFO && policy != SCHED_RR) || sched_getparam(0, &mine)) return;
    for (ei_turn *t = gate.running; t; t = t->next) {
        if (!t->yield || t->lent || sched_getparam(t->thread, &its)) continue;
        t->policy = sched_getscheduler(t->thread);
        t->priority = its.sched_priority;
        if (t->policy >= 0 && t->priority < mine.sched_priority)
            t->lent = !sched_setscheduler(t->thread, policy, &mine);
    }
}

static void give_class_back(ei_turn *turn) {
    struct sched_param own = {.sched_priority = turn->priority};
    if (!turn->lent) return;
    turn->lent = 0;
    sched_setscheduler(0, turn->policy, &own);
}

static int sleep_on(ei_turn *turn, uint32_t seen, uint64_t until) {
    struct timespec t = {(time_t)(until / 1000000000u), (long)(until % 1000000000u)};
    long failed = syscall(SYS_futex, &turn->word, FUTEX_WAIT_BITSET_PRIVATE, seen,
                          until == UINT64_MAX ? NULL : &t, NULL, FUTEX_BITSET_MATCH_ANY);
    return failed ? errno : 0;
}

/* A turn granted in the very moment of giving up is not taken. */
static int give_up(ei_turn *turn, int why) {
    ei_gate_leave(turn);
    return why;
}

static bool is_background(const ei_turn *turn) {
    return turn->deadline == UINT64_MAX;
}

static bool in_tenure(const ei_turn *turn, uint64_t now) {
    return is_background(turn) && turn->returns && now - turn->tenure < TENURE &&
           (!gate.waiting || is_background(gate.waiting));
}

/* Background work looks for itself from time to time whether a core kept for another is idle. */
static uint64_t next_look(const ei_turn *turn, uint64_t until) {
    uint64_t look = is_background(turn) ? ei_now_ns() + TENURE : UINT64_MAX;
    return look < until ? look : until;
}

static void look(void) {
    pthread_mutex_lock(&gate.lock);
    dispatch();
    pthread_mutex_unlock(&gate.lock);
}

static int await_turn(ei_turn *turn, uint64_t until, const uint32_t *cancel, uint32_t cancelled) {
    for (;;) {
        uint32_t word = __atomic_load_n(&turn->word, __ATOMIC_ACQUIRE);
        if (word & GRANTED) {
            turn->tenure = ei_now_ns();
            return EI_GRANTED;
        }
        if (__atomic_load_n(cancel, __ATOMIC_ACQUIRE) == cancelled)
            return give_up(turn, EI_GATE_CANCELLED);
        uint64_t wake = next_look(turn, until);
        if (sleep_on(turn, word, wake) != ETIMEDOUT) continue;
        if (wake == until) return give_up(turn, EI_GATE_LATE);
        look();
    }
}

int ei_gate_enter(ei_turn *turn, int threads, uint64_t deadline, uint64_t until,
                  const uint32_t *cancel, uint32_t cancelled) {
    uint64_t now = ei_now_ns();
    pthread_mutex_lock(&gate.lock);
    int limit = ei_gate_limit;
    turn->cores = threads < limit ? threads : limit;
    turn->deadline = deadline;
    turn->order = gate.order++;
    turn->inside = true;
    turn->thread = this_thread();
    turn->returns = now - turn->left < RETURN;
    bool kept = in_tenure(turn, now) && gate.used + turn->cores <= limit;
    if (kept) {
        __atomic_store_n(&turn->word, 0, __ATOMIC_RELAXED);
        grant(turn);
    } else {
        queue(turn);
        dispatch();
        if (!is_background(turn) && !(turn->word & GRANTED)) lend_class();
    }
    pthread_mutex_unlock(&gate.lock);
    return kept ? EI_GRANTED : await_turn(turn, until, cancel, cancelled);
}

int ei_gate_yield(ei_turn *turn, uint64_t until, const uint32_t *cancel, uint32_t cancelled) {
    pthread_mutex_lock(&gate.lock);
    unlink_turn(&gate.running, turn);
    gate.used -= turn->cores;
    queue(turn); /* with its old order: before those that came after it */
    dispatch();
    pthread_mutex_unlock(&gate.lock);
    give_class_back(turn);
    return await_turn(turn, until, cancel, cancelled);
}

void ei_gate_leave(ei_turn *turn) {
    if (!turn->inside) return;
    turn->inside = false;
    turn->left = ei_now_ns();
    pthread_mutex_lock(&gate.lock);
    bool ran = __atomic_load_n(&turn->word, __ATOMIC_RELAXED) & GRANTED;
    unlink_turn(ran ? &gate.running : &gate.waiting, turn);
    if (ran) gate.used -= turn->cores;
    if (!ran || !in_tenure(turn, turn->left)) dispatch();
    pthread_mutex_unlock(&gate.lock);
    give_class_back(turn);
}

void ei_gate_nudge(ei_turn *turn) {
    __atomic_fetch_or(&turn->word, NUDGED, __ATOMIC_ACQ_REL);
    wake(turn);
}

int ei_scheduler_set_cores(int cores) {
    if (cores < 0 || cores > EI_MAX_THREADS) return EI_E_ARGUMENT;
    pthread_once(&once, initialise);
    pthread_mutex_lock(&gate.lock);
    __atomic_store_n(&ei_gate_limit, cores, __ATOMIC_RELAXED);
    dispatch();
    pthread_mutex_unlock(&gate.lock);
    return EI_OK;
}

int ei_scheduler_cores(void) {
    return __atomic_load_n(&ei_gate_limit, __ATOMIC_RELAXED);
}

int ei_scheduler_waiting(void) {
    int n = 0;
    pthread_once(&once, initialise);
    pthread_mutex_lock(&gate.lock);
    for (const ei_turn *t = gate.waiting; t; t = t->next) n++;
    pthread_mutex_unlock(&gate.lock);
    return n;
}
