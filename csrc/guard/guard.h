/* guard.h: the last line before the actuator. Includes <stdint.h> alone, allocates nothing, calls
 * nothing, knows no clock: every call is told the time on the guard's own clock. The same source
 * runs inside the pipeline, under test, and on a microcontroller between bus and actuator.
 *
 *     ei_guard guard;
 *     if (ei_guard_init(&guard, &limits)) refuse to start;
 *     on a command:   ei_guard_offer(&guard, &command, now_ns);
 *     every period:   if (ei_guard_output(&guard, now_ns, &command)) send(&command);
 *
 *            first good command       heartbeat lost, data too old, clock went back
 *     WAITING ----------------> ACTIVE  --------------------------------------> SAFE
 *                                  ^   `recover` good commands in a row          |
 *                                  '---------------------------------------------+
 *                                                                                | safe_ns over
 *     ei_guard_arm: any state back to WAITING                                    v
 *                                                                             SILENT
 *
 * WAITING and SILENT send nothing; SILENT stays until ei_guard_arm. SAFE sends: no throttle,
 * `safe_brake` reached at brake_rate, steering held. */
#ifndef EI_GUARD_H
#define EI_GUARD_H

#include <stdint.h>

#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

/* cffi:begin */
typedef enum ei_guard_state {
    EI_GUARD_WAITING = 0,
    EI_GUARD_ACTIVE = 1,
    EI_GUARD_SAFE = 2,
    EI_GUARD_SILENT = 3
} ei_guard_state;

/* Why; also the index of a counter. A rejected command is as good as none. */
typedef enum ei_guard_reason {
    EI_GUARD_OK = 0,
    EI_GUARD_NOT_FINITE = 1, /* rejected: NaN or infinity */
    EI_GUARD_RANGE = 2,      /* rejected: steer outside -1..1, throttle or brake outside 0..1 */
    EI_GUARD_FROZEN = 3,     /* rejected: the count did not advance, whoever sends is stuck */
    EI_GUARD_CLOCK = 4,      /* time went back */
    EI_GUARD_HEARTBEAT = 5,  /* no good command for heartbeat_ns */
    EI_GUARD_TIMEOUT = 6,    /* SAFE for safe_ns: silent from here on */
    EI_GUARD_LIMITED = 7,    /* a value was cut to its limit */
    EI_GUARD_RATE = 8,       /* a change was cut to its rate */
    EI_GUARD_BOTH = 9,       /* throttle beside brake: the brake wins */
    EI_GUARD_SILENCED = 10,  /* offered while SILENT */
    EI_GUARD_STALE = 11,     /* the data behind the command are too old */
    EI_GUARD_REASONS = 12
} ei_guard_reason;

typedef struct ei_guard_limits {
    float steer_max, throttle_max, brake_max; /* 0..1 each */
    float steer_rate;                         /* per second, both ways */
    float throttle_rate;                      /* per second, rising; falling is free */
    float brake_rate;                         /* per second, rising; falling is free */
    float safe_brake;                         /* 0..brake_max, in state SAFE */
    uint64_t heartbeat_ns;                    /* longest time without a good command */
    uint64_t safe_ns;                         /* longest time in SAFE */
    uint64_t age_ns;  /* largest age of the data behind what is sent; 0: not looked at */
    uint64_t step_ns; /* longest time a rate limit may count at once, e.g. two periods */
    uint32_t recover; /* good commands in a row that end SAFE, at least 1 */
} ei_guard_limits;

typedef struct ei_guard_command {
    float steer, throttle, brake;
    uint32_t count;  /* raised by the sender with every command */
    uint64_t age_ns; /* of the data behind it, when it is offered */
} ei_guard_command;

typedef struct ei_guard {
    ei_guard_limits limits;
    ei_guard_command last;   /* sent, or to be held */
    ei_guard_command wanted; /* newest good command */
    uint64_t now_ns, good_ns, safe_since_ns, sent_ns;
    uint32_t state, reason; /* reason of the last change of state */
    uint32_t good;          /* good commands in a row while SAFE */
    uint32_t counters[EI_GUARD_REASONS];
} ei_guard;

/* 0, or -1 where a limit is out of range (the guard is then SILENT and stays so). */
int ei_guard_init(ei_guard *guard, const ei_guard_limits *limits);
/* Back to WAITING, output at rest; counters stay. */
void ei_guard_arm(ei_guard *guard);
/* A command arrived: EI_GUARD_OK when taken, else the reason why not. */
int ei_guard_offer(ei_guard *guard, const ei_guard_command *command, uint64_t now_ns);
/* 1: send `out`; 0: send nothing. Call it every period. */
int ei_guard_output(ei_guard *guard, uint64_t now_ns, ei_guard_command *out);
/* cffi:end */

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#endif
