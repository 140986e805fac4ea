/* Absolute sleeps and the realign rule. */
#define _GNU_SOURCE
#include "rt.h"

#include <errno.h>
#include <time.h>

int64_t ei_rt_now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

int ei_rt_sleep_until(int64_t time_ns) {
    struct timespec t = {(time_t)(time_ns / 1000000000), (long)(time_ns % 1000000000)};
    int error;
    if (time_ns <= 0) return 0;
    do error = clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
    while (error == EINTR);
    return error;
}

int ei_rt_loop_init(ei_rt_loop *loop, int64_t first_ns, int64_t period_ns) {
    if (period_ns <= 0) return EINVAL;
    *loop = (ei_rt_loop){.period_ns = period_ns, .release_ns = first_ns - period_ns};
    return 0;
}

int64_t ei_rt_loop_wait(ei_rt_loop *loop) {
    int64_t next = loop->release_ns + loop->period_ns;
    int64_t late = ei_rt_now() - next;
    /* Late by less than a period: that release is still worked on, at once. By more: the grid is
     * kept and the newest release that has come is the one to work on. */
    int64_t passed = late >= loop->period_ns ? late / loop->period_ns : 0;
    loop->release_ns = next + passed * loop->period_ns;
    loop->missed += (uint64_t)passed;
    loop->releases++;
    ei_rt_sleep_until(loop->release_ns);
    loop->lateness_ns = ei_rt_now() - loop->release_ns;
    return passed;
}
