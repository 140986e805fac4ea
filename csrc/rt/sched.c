/* Scheduling class, affinity, locked memory: each may be refused, and the caller must know. */
#define _GNU_SOURCE
#include "rt.h"

#include <errno.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>

int ei_rt_fifo(int priority) {
    struct sched_param p = {.sched_priority = priority};
    if (priority < sched_get_priority_min(SCHED_FIFO) ||
        priority > sched_get_priority_max(SCHED_FIFO))
        return EINVAL;
    return sched_setscheduler(0, SCHED_FIFO, &p) ? errno : 0;
}

int ei_rt_normal(void) {
    struct sched_param p = {.sched_priority = 0};
    return sched_setscheduler(0, SCHED_OTHER, &p) ? errno : 0;
}

int ei_rt_granted(int *policy, int *priority) {
    struct sched_param p;
    *policy = sched_getscheduler(0);
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
