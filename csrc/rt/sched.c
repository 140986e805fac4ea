/* Scheduling class, affinity, locked memory: each may be refused, and the caller must know. */
#define _GNU_SOURCE
#include "rt.h"

#include <errno.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

int ei_rt_fifo(int priority) {
    struct sched_param p = {.sched_priority = priority};
    if (priority < sched_get_priority_min(SCHED_FIFO) ||
        priority > sched_get_priority_max(SCHED_FIFO))
        return EINVAL;
    return sched_setscheduler(0, SCHED_FIFO, &p) ? errno : 0;
}

/* As in linux/sched/types.h; the C library has no wrapper before 2.41. */
struct attributes {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period;
};
enum { DEADLINE = 6, RESET_ON_FORK = 1 }; /* a thread of this class could start no other */

int ei_rt_deadline(int64_t runtime_ns, int64_t deadline_ns, int64_t period_ns) {
    struct attributes a = {.size = sizeof a, .policy = DEADLINE, .flags = RESET_ON_FORK};
    if (runtime_ns <= 0 || runtime_ns > deadline_ns || deadline_ns > period_ns) return EINVAL;
    a.runtime = (uint64_t)runtime_ns;
    a.deadline = (uint64_t)deadline_ns;
    a.period = (uint64_t)period_ns;
    return syscall(SYS_sched_setattr, 0, &a, 0) ? errno : 0;
}

int ei_rt_normal(void) {
    struct sched_param p = {.sched_priority = 0};
    return sched_setscheduler(0, SCHED_OTHER, &p) ? errno : 0;
}

int ei_rt_granted(int *policy, int *priority) {
    struct sched_param p;
    *policy = sched_getscheduler(0);
    if (*policy >= 0) *policy &= ~SCHED_RESET_ON_FORK;
    if (*policy < 0 || sched_getparam(0, &p)) return errno;
    *priority = p.sched_priority;
    return 0;
}

int ei_rt_pin(int core) {
    cpu_set_t set;
    if (core < 0 || core >= CPU_SETSIZE) return EINVAL;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    return sched_setaffinity(0, sizeof set, &set) ? errno : 0;
}

int ei_rt_lock_memory(void) {
    return mlockall(MCL_CURRENT | MCL_FUTURE) ? errno : 0;
}

int64_t ei_rt_page_faults(void) {
    struct rusage u;
    if (getrusage(RUSAGE_THREAD, &u)) return -1;
    return (int64_t)u.ru_minflt + u.ru_majflt;
}
