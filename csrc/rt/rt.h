/* rt.h: time, scheduling and newest-value slots, for loops that must be on time.
 *
 *     ei_rt_loop loop;
 *     ei_rt_loop_init(&loop, first_ns, period_ns);
 *     for (;;) { missed = ei_rt_loop_wait(&loop); work(); }
 *
 * Times are CLOCK_MONOTONIC nanoseconds. Functions that set something return 0 or an errno. */
#ifndef EI_RT_H
#define EI_RT_H

#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

/* cffi:begin */
typedef struct ei_rt_loop {
    int64_t period_ns;
    int64_t release_ns;  /* the release now being worked on */
    int64_t lateness_ns; /* of the last wake-up */
    uint64_t releases;   /* wake-ups */
    uint64_t missed;     /* releases passed over because the work before took too long */
} ei_rt_loop;

int64_t ei_rt_now(void);
/* Until the absolute time; signals do not end it. */
int ei_rt_sleep_until(int64_t time_ns);
/* EINVAL unless period > 0. The first wait returns at first_ns. */
int ei_rt_loop_init(ei_rt_loop *loop, int64_t first_ns, int64_t period_ns);
/* Sleeps until the next release of the grid first + k * period. On overrun the releases that have
 * passed are counted and skipped, never worked off in a burst. Returns how many were. */
int64_t ei_rt_loop_wait(ei_rt_loop *loop);

/* Of the calling thread. Policies as in <sched.h>: 0 other, 1 FIFO, 2 round robin, 6 deadline. */
int ei_rt_fifo(int priority); /* 1..99 */
/* SCHED_DEADLINE: at most runtime_ns of every period_ns, within deadline_ns of each release. The
 * kernel refuses what it cannot keep (EBUSY), and threads that are tied to a core (EPERM). */
int ei_rt_deadline(int64_t runtime_ns, int64_t deadline_ns, int64_t period_ns);
/* The calling thread back into the normal class. */
int ei_rt_normal(void);
int ei_rt_granted(int *policy, int *priority);
int ei_rt_pin(int core);
int ei_rt_lock_memory(void);     /* all present and future pages of the process */
int64_t ei_rt_page_faults(void); /* of the calling thread so far */

/* Newest-value slot: one writer, any number of readers, in memory shared between processes.
 * The writer never waits. A reader gets a whole value, the newest there was when it began or a
 * newer one; EI_SLOT_BUSY after a bounded number of tries, which needs a writer that laps it
 * again and again. A writer killed at any instant leaves the last whole value readable; the one
 * that takes its place goes on counting. Values are counted from 1. */
#define EI_SLOT_BUFFERS 4
#define EI_SLOT_BUSY    -1 /* try again */
#define EI_SLOT_SMALL   -2 /* the reader's buffer is too small, or the slot is damaged */

typedef struct ei_slot {
    void *base;
    uint64_t capacity;
} ei_slot;

uint64_t ei_slot_bytes(uint64_t capacity); /* memory for values of up to `capacity` bytes */
/* Makes a slot in zeroed, 64-byte aligned memory, or 22 (EINVAL). */
int ei_slot_create(ei_slot *slot, void *memory, uint64_t bytes, uint64_t capacity);
/* Opens one made by another process: everything read from the memory is checked. */
int ei_slot_open(ei_slot *slot, void *memory, uint64_t bytes);
/* Writes a value, EINVAL when it is larger than the capacity. */
int ei_slot_write(ei_slot *slot, const void *data, uint64_t bytes, int64_t time_ns);
/* The same of a value in two parts, `head_bytes` a multiple of 8: an image needs no copy before. */
int ei_slot_write_parts(ei_slot *slot, const void *head, uint64_t head_bytes, const void *data,
                        uint64_t bytes, int64_t time_ns);
/* Bytes copied (0: nothing was written yet), or EI_SLOT_BUSY, EI_SLOT_SMALL. */
int64_t ei_slot_read(const ei_slot *slot, void *data, uint64_t room, uint64_t *count,
                     int64_t *time_ns);
uint64_t ei_slot_count(const ei_slot *slot); /* number of the newest value, 0: none */
/* cffi:end */

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#endif
