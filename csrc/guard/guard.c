/* A value is looked at bit by bit before it is compared: every comparison with NaN is false. */
#include "guard.h"

/* Exponent all ones: NaN or infinity. Bits, because -ffast-math may assume that neither exists. */
static int finite_bits(float value) {
    union {
        float f;
        uint32_t u;
    } bits;
    bits.f = value;
    return (bits.u & 0x7f800000u) != 0x7f800000u;
}

static int within(float value, float low, float high) {
    return finite_bits(value) && value >= low && value <= high;
}

static void count(ei_guard *g, uint32_t reason) {
    if (g->counters[reason] != UINT32_MAX) g->counters[reason]++;
}

static void enter(ei_guard *g, uint32_t state, uint32_t reason) {
    g->state = state;
    g->reason = reason;
    g->good = 0;
    count(g, reason);
}

static void enter_safe(ei_guard *g, uint32_t reason) {
    g->safe_since_ns = g->now_ns;
    enter(g, EI_GUARD_SAFE, reason);
}

static int rate_valid(float rate) {
    return within(rate, 0.0f, 1e6f) && rate > 0.0f;
}

static int limits_valid(const ei_guard_limits *l) {
    return within(l->steer_max, 0.0f, 1.0f) && within(l->throttle_max, 0.0f, 1.0f) &&
           within(l->brake_max, 0.0f, 1.0f) && within(l->safe_brake, 0.0f, l->brake_max) &&
           rate_valid(l->steer_rate) && rate_valid(l->throttle_rate) && rate_valid(l->brake_rate) &&
           l->heartbeat_ns > 0 && l->step_ns > 0 && l->recover > 0;
}

int ei_guard_init(ei_guard *g, const ei_guard_limits *limits) {
    uint8_t *bytes = (uint8_t *)g;
    for (uint32_t i = 0; i < sizeof *g; i++) bytes[i] = 0;
    if (!limits_valid(limits)) {
        /* Bad limits must not make a guard that lets anything through: recover stays 0. */
        g->state = EI_GUARD_SILENT;
        g->reason = EI_GUARD_LIMITED;
        return -1;
    }
    g->limits = *limits;
    return 0;
}

void ei_guard_arm(ei_guard *g) {
    if (g->limits.recover == 0) return;
    g->last.steer = g->last.throttle = g->last.brake = 0.0f;
    g->good_ns = g->safe_since_ns = g->sent_ns = 0;
    g->now_ns = 0;
    enter(g, EI_GUARD_WAITING, EI_GUARD_OK);
}

/* Takes the time. Time that goes back is a fault of the clock: nothing can be said of freshness. */
static int tick(ei_guard *g, uint64_t now) {
    int forward = now >= g->now_ns;
    g->now_ns = now;
    if (forward) return 1;
    g->good_ns = g->sent_ns = now;
    if (g->state == EI_GUARD_ACTIVE || g->state == EI_GUARD_SAFE) {
        enter_safe(g, EI_GUARD_CLOCK);
    } else {
        count(g, EI_GUARD_CLOCK);
    }
    return 0;
}

static uint32_t examine(const ei_guard *g, const ei_guard_command *c) {
    if (!finite_bits(c->steer) || !finite_bits(c->throttle) || !finite_bits(c->brake))
        return EI_GUARD_NOT_FINITE;
    if (!within(c->steer, -1.0f, 1.0f) || !within(c->throttle, 0.0f, 1.0f) ||
        !within(c->brake, 0.0f, 1.0f))
        return EI_GUARD_RANGE;
    if (g->state != EI_GUARD_WAITING && c->count == g->wanted.count) return EI_GUARD_FROZEN;
    if (g->limits.age_ns && c->age_ns > g->limits.age_ns) return EI_GUARD_STALE;
    return EI_GUARD_OK;
}

/* Looks at the heartbeat, at the age of what is being sent, and at the time spent in SAFE. What was
 * taken is not older than age_ns, so that the sum cannot run over. */
static void watch(ei_guard *g) {
    const ei_guard_limits *l = &g->limits;
    uint64_t since = g->now_ns - g->good_ns;
    if (g->state == EI_GUARD_ACTIVE && since > l->heartbeat_ns) enter_safe(g, EI_GUARD_HEARTBEAT);
    if (g->state == EI_GUARD_ACTIVE && l->age_ns && since + g->wanted.age_ns > l->age_ns)
        enter_safe(g, EI_GUARD_STALE);
    if (g->state == EI_GUARD_SAFE && g->now_ns - g->safe_since_ns > l->safe_ns)
        enter(g, EI_GUARD_SILENT, EI_GUARD_TIMEOUT);
}

int ei_guard_offer(ei_guard *g, const ei_guard_command *command, uint64_t now_ns) {
    uint32_t reason;
    if (!tick(g, now_ns)) return EI_GUARD_CLOCK;
    /* A command that comes after the heartbeat was lost must not hide the loss. */
    watch(g);
    reason = g->state == EI_GUARD_SILENT ? (uint32_t)EI_GUARD_SILENCED : examine(g, command);
    count(g, reason);
    if (reason != EI_GUARD_OK) {
        g->good = 0;
        return (int)reason;
    }
    /* Recovery wants commands in a row: a gap as long as the heartbeat starts the row again. */
    if (now_ns - g->good_ns > g->limits.heartbeat_ns) g->good = 0;
    g->wanted = *command;
    g->good_ns = now_ns;
    g->good++;
    if (g->state == EI_GUARD_WAITING) {
        /* The first output may change by one step from rest. */
        g->sent_ns = now_ns > g->limits.step_ns ? now_ns - g->limits.step_ns : 0;
        enter(g, EI_GUARD_ACTIVE, EI_GUARD_OK);
    } else if (g->state == EI_GUARD_SAFE && g->good >= g->limits.recover) {
        enter(g, EI_GUARD_ACTIVE, EI_GUARD_OK);
    }
    return EI_GUARD_OK;
}

static float limit(ei_guard *g, float value, float most) {
    float kept = value > most ? most : value < -most ? -most : value;
    if (kept != value) count(g, EI_GUARD_LIMITED);
    return kept;
}

static float rise(ei_guard *g, float from, float to, float most) {
    if (to - from <= most) return to;
    count(g, EI_GUARD_RATE);
    return from + most;
}

static float slew(ei_guard *g, float from, float to, float most) {
    if (from - to <= most) return rise(g, from, to, most);
    count(g, EI_GUARD_RATE);
    return from - most;
}

int ei_guard_output(ei_guard *g, uint64_t now_ns, ei_guard_command *out) {
    const ei_guard_limits *l = &g->limits;
    ei_guard_command to;
    uint64_t elapsed;
    float seconds;

    tick(g, now_ns);
    watch(g);
    if (g->state != EI_GUARD_ACTIVE && g->state != EI_GUARD_SAFE) return 0;

    to = g->wanted;
    if (g->state == EI_GUARD_SAFE) {
        to.steer = g->last.steer;
        to.throttle = 0.0f;
        /* Never less brake than is on already: faults do not let go of the pedal. */
        to.brake = g->last.brake > l->safe_brake ? g->last.brake : l->safe_brake;
    }
    if (to.throttle > 0.0f && to.brake > 0.0f) {
        to.throttle = 0.0f;
        count(g, EI_GUARD_BOTH);
    }
    elapsed = now_ns - g->sent_ns;
    /* After a pause a rate limit must not be one big step. */
    if (elapsed > l->step_ns) elapsed = l->step_ns;
    seconds = (float)elapsed * 1e-9f;
    g->last.steer =
        slew(g, g->last.steer, limit(g, to.steer, l->steer_max), l->steer_rate * seconds);
    g->last.throttle = rise(g, g->last.throttle, limit(g, to.throttle, l->throttle_max),
                            l->throttle_rate * seconds);
    g->last.brake =
        rise(g, g->last.brake, limit(g, to.brake, l->brake_max), l->brake_rate * seconds);
    g->last.count++;
    g->sent_ns = now_ns;
    *out = g->last;
    return 1;
}
