/* Drives guard.c through every state and reason; exit status 0 when all is as guard.h says. */
#include "guard/guard.h"

#include <math.h>
#include <stdio.h>

#define CHECK(what)                                                                                \
    do {                                                                                           \
        if (!(what)) {                                                                             \
            printf("%s:%d: %s\n", __FILE__, __LINE__, #what);                                      \
            failures++;                                                                            \
        }                                                                                          \
    } while (0)

#define MS 1000000ull

static int failures;
static ei_guard g;
static ei_guard_command out;
static uint32_t number;

static const ei_guard_limits usual = {.steer_max = 0.8f,
                                      .throttle_max = 0.9f,
                                      .brake_max = 0.7f,
                                      .steer_rate = 2.0f,
                                      .throttle_rate = 1.0f,
                                      .brake_rate = 5.0f,
                                      .safe_brake = 0.3f,
                                      .heartbeat_ns = 100 * MS,
                                      .safe_ns = 1000 * MS,
                                      .step_ns = 40 * MS,
                                      .recover = 3};

static int offer(float steer, float throttle, float brake, uint64_t now) {
    ei_guard_command c = {steer, throttle, brake, ++number, 0};
    return ei_guard_offer(&g, &c, now);
}

static int near(float a, float b) {
    return fabsf(a - b) < 1e-5f;
}

static void test_limits_are_checked(void) {
    const float bad[] = {-0.1f, 1.1f, NAN, INFINITY, -INFINITY};
    for (unsigned i = 0; i < sizeof bad / sizeof *bad; i++) {
        float *field;
        for (int k = 0; k < 7; k++) {
            ei_guard_limits l = usual;
            field = &l.steer_max + k;
            *field = k >= 3 && k <= 5 && bad[i] == 1.1f ? 2e6f : bad[i];
            CHECK(ei_guard_init(&g, &l) == -1);
            CHECK(offer(0, 0, 0, 1) == EI_GUARD_SILENCED && !ei_guard_output(&g, 2, &out));
            ei_guard_arm(&g); /* must not wake a guard that has no limits */
            CHECK(g.state == EI_GUARD_SILENT);
        }
    }
    for (int k = 0; k < 7; k++) {
        ei_guard_limits l = usual;
        if (k == 0) l.heartbeat_ns = 0;
        if (k == 1) l.step_ns = 0;
        if (k == 2) l.recover = 0;
        if (k == 3) l.steer_rate = 0;
        if (k == 4) l.throttle_rate = 0;
        if (k == 5) l.brake_rate = 0;
        if (k == 6) l.safe_brake = 0.71f;
        CHECK(ei_guard_init(&g, &l) == -1);
    }
}

static void test_waiting_sends_nothing(void) {
    CHECK(ei_guard_init(&g, &usual) == 0 && g.state == EI_GUARD_WAITING);
    CHECK(!ei_guard_output(&g, 5 * MS, &out));
    CHECK(!ei_guard_output(&g, 10000 * MS, &out) && g.state == EI_GUARD_WAITING);
}

static void test_bad_values_are_rejected(void) {
    const float bad[] = {NAN, INFINITY, -INFINITY, 1.5f, -1.5f};
    CHECK(ei_guard_init(&g, &usual) == 0);
    for (int i = 0; i < 5; i++) {
        int reason = i < 3 ? EI_GUARD_NOT_FINITE : EI_GUARD_RANGE;
        CHECK(offer(bad[i], 0, 0, 1) == reason);
        CHECK(offer(0, bad[i], 0, 1) == reason);
        CHECK(offer(0, 0, bad[i], 1) == reason);
    }
    CHECK(g.state == EI_GUARD_WAITING);
    CHECK(g.counters[EI_GUARD_NOT_FINITE] == 9 && g.counters[EI_GUARD_RANGE] == 6);
}

static void test_rates_and_limits(void) {
    CHECK(ei_guard_init(&g, &usual) == 0);
    CHECK(offer(1.0f, 1.0f, 0, 1000 * MS) == EI_GUARD_OK && g.state == EI_GUARD_ACTIVE);
    CHECK(ei_guard_output(&g, 1000 * MS, &out)); /* one step of 40 ms from rest */
    CHECK(near(out.steer, 0.08f) && near(out.throttle, 0.04f) && out.brake == 0);
    CHECK(ei_guard_output(&g, 1000 * MS, &out)); /* asked again at once: no further */
    CHECK(near(out.steer, 0.08f) && near(out.throttle, 0.04f));
    CHECK(ei_guard_output(&g, 1020 * MS, &out));
    CHECK(near(out.steer, 0.12f) && near(out.throttle, 0.06f));
    CHECK(ei_guard_output(&g, 1090 * MS, &out)); /* 70 ms later counts as 40 */
    CHECK(near(out.steer, 0.2f) && near(out.throttle, 0.1f));
    for (uint64_t t = 1100; t < 2500; t += 20) {
        CHECK(offer(1.0f, 1.0f, 0, t * MS) == EI_GUARD_OK && ei_guard_output(&g, t * MS, &out));
    }
    CHECK(near(out.steer, 0.8f) && near(out.throttle, 0.9f)); /* the limits */
    CHECK(offer(-1.0f, 0, 1.0f, 2500 * MS) == EI_GUARD_OK);
    CHECK(ei_guard_output(&g, 2510 * MS, &out));
    CHECK(out.throttle == 0); /* letting go is free */
    CHECK(out.steer > 0.7f && out.brake < 0.2f);
    for (uint64_t t = 2520; t < 4500; t += 20)
        CHECK(offer(-1.0f, 0, 1.0f, t * MS) == EI_GUARD_OK && ei_guard_output(&g, t * MS, &out));
    CHECK(near(out.steer, -0.8f) && near(out.brake, 0.7f));
    CHECK(g.counters[EI_GUARD_LIMITED] > 0 && g.counters[EI_GUARD_RATE] > 0);
    CHECK(offer(0, 0, 0, 4510 * MS) == EI_GUARD_OK && ei_guard_output(&g, 4510 * MS, &out));
    CHECK(out.brake == 0); /* letting go of the brake is free too */
}

static void test_brake_wins(void) {
    CHECK(ei_guard_init(&g, &usual) == 0);
    CHECK(offer(0, 0.5f, 0.1f, MS) == EI_GUARD_OK && ei_guard_output(&g, MS, &out));
    CHECK(out.throttle == 0 && out.brake > 0 && g.counters[EI_GUARD_BOTH] == 1);
}

static void drive_until(uint64_t ms) {
    for (uint64_t t = g.now_ns / MS + 20; t <= ms; t += 20) {
        CHECK(offer(0.5f, 0.5f, 0, t * MS) == EI_GUARD_OK);
        CHECK(ei_guard_output(&g, t * MS, &out));
    }
}

static void test_heartbeat_safe_silence(void) {
    float held;
    CHECK(ei_guard_init(&g, &usual) == 0);
    drive_until(1000);
    held = out.steer;
    CHECK(near(held, 0.5f) && out.throttle > 0.4f);
    CHECK(ei_guard_output(&g, 1100 * MS, &out) && g.state == EI_GUARD_ACTIVE); /* just in time */
    CHECK(ei_guard_output(&g, 1101 * MS, &out) && g.state == EI_GUARD_SAFE);
    CHECK(g.reason == EI_GUARD_HEARTBEAT && g.counters[EI_GUARD_HEARTBEAT] == 1);
    CHECK(out.steer == held && out.throttle == 0);
    for (uint64_t t = 1120; t <= 2100; t += 20) CHECK(ei_guard_output(&g, t * MS, &out));
    CHECK(out.steer == held && near(out.brake, 0.3f));
    CHECK(!ei_guard_output(&g, 2102 * MS, &out) && g.state == EI_GUARD_SILENT);
    CHECK(g.reason == EI_GUARD_TIMEOUT);
    CHECK(offer(0, 0, 0, 2110 * MS) == EI_GUARD_SILENCED); /* silence stays */
    CHECK(!ei_guard_output(&g, 2120 * MS, &out));
    ei_guard_arm(&g);
    CHECK(g.state == EI_GUARD_WAITING);
    CHECK(offer(0, 0, 0, 2130 * MS) == EI_GUARD_OK && ei_guard_output(&g, 2130 * MS, &out));
}

static void test_a_late_command_does_not_hide_the_loss(void) {
    CHECK(ei_guard_init(&g, &usual) == 0);
    drive_until(1000);
    CHECK(offer(0, 0.5f, 0, 1500 * MS) == EI_GUARD_OK); /* no output call in between */
    CHECK(g.state == EI_GUARD_SAFE && ei_guard_output(&g, 1500 * MS, &out) && out.throttle == 0);
    CHECK(offer(0, 0, 0, 5000 * MS) == EI_GUARD_SILENCED);
}

static void test_recovery(void) {
    CHECK(ei_guard_init(&g, &usual) == 0);
    drive_until(1000);
    CHECK(ei_guard_output(&g, 1200 * MS, &out) && g.state == EI_GUARD_SAFE);
    CHECK(offer(0, 0.5f, 0, 1210 * MS) == EI_GUARD_OK);
    CHECK(offer(0, 0.5f, 0, 1230 * MS) == EI_GUARD_OK);
    CHECK(offer(2.0f, 0, 0, 1240 * MS) == EI_GUARD_RANGE); /* the row starts again */
    CHECK(offer(0, 0.5f, 0, 1250 * MS) == EI_GUARD_OK);
    CHECK(offer(0, 0.5f, 0, 1270 * MS) == EI_GUARD_OK && g.state == EI_GUARD_SAFE);
    CHECK(offer(0, 0.5f, 0, 1400 * MS) == EI_GUARD_OK && g.state == EI_GUARD_SAFE); /* a gap */
    CHECK(offer(0, 0.5f, 0, 1420 * MS) == EI_GUARD_OK && g.state == EI_GUARD_SAFE);
    CHECK(offer(0, 0.5f, 0, 1440 * MS) == EI_GUARD_OK && g.state == EI_GUARD_ACTIVE);
    CHECK(ei_guard_output(&g, 1440 * MS, &out) && out.throttle > 0 && out.throttle < 0.1f);
}

static void test_frozen_sender(void) {
    ei_guard_command c = {0, 0, 0, 77, 0};
    CHECK(ei_guard_init(&g, &usual) == 0);
    CHECK(ei_guard_offer(&g, &c, MS) == EI_GUARD_OK);
    for (uint64_t t = 20; t <= 100; t += 20)
        CHECK(ei_guard_offer(&g, &c, t * MS) == EI_GUARD_FROZEN);
    CHECK(ei_guard_output(&g, 102 * MS, &out) && g.state == EI_GUARD_SAFE);
}

static int offer_aged(uint64_t age, uint64_t now) {
    ei_guard_command c = {0, 0.5f, 0, ++number, age * MS};
    return ei_guard_offer(&g, &c, now * MS);
}

static void test_old_data(void) {
    ei_guard_limits l = usual;
    l.age_ns = 80 * MS;
    CHECK(ei_guard_init(&g, &usual) == 0); /* 0: not looked at */
    CHECK(offer_aged(UINT64_MAX / MS, 20) == EI_GUARD_OK && g.state == EI_GUARD_ACTIVE);
    CHECK(ei_guard_output(&g, 100 * MS, &out) && g.state == EI_GUARD_ACTIVE);
    CHECK(ei_guard_init(&g, &l) == 0);
    CHECK(offer_aged(81, 20) == EI_GUARD_STALE && g.state == EI_GUARD_WAITING);
    CHECK(offer_aged(80, 20) == EI_GUARD_OK && g.state == EI_GUARD_ACTIVE);
    CHECK(ei_guard_output(&g, 20 * MS, &out) && out.throttle > 0);
    CHECK(ei_guard_output(&g, 21 * MS, &out) && g.state == EI_GUARD_SAFE && out.throttle == 0);
    CHECK(g.reason == EI_GUARD_STALE && g.counters[EI_GUARD_STALE] == 2);
    for (uint64_t t = 40; t <= 80; t += 20) CHECK(offer_aged(10, t) == EI_GUARD_OK);
    CHECK(g.state == EI_GUARD_ACTIVE);
    CHECK(ei_guard_output(&g, 150 * MS, &out) && g.state == EI_GUARD_ACTIVE); /* 70 + 10 */
    CHECK(offer_aged(UINT64_MAX / MS, 150) == EI_GUARD_STALE);                /* from the future */
    CHECK(ei_guard_output(&g, 151 * MS, &out) && g.state == EI_GUARD_SAFE);
    CHECK(g.reason == EI_GUARD_STALE);
}

static void test_safe_keeps_the_brake_that_is_on(void) {
    CHECK(ei_guard_init(&g, &usual) == 0);
    for (uint64_t t = 20; t <= 400; t += 20) {
        CHECK(offer(0, 0, 0.6f, t * MS) == EI_GUARD_OK && ei_guard_output(&g, t * MS, &out));
    }
    CHECK(near(out.brake, 0.6f));
    CHECK(ei_guard_output(&g, 600 * MS, &out) && g.state == EI_GUARD_SAFE && near(out.brake, 0.6f));
}

static void test_clock_goes_back(void) {
    CHECK(ei_guard_init(&g, &usual) == 0);
    CHECK(!ei_guard_output(&g, 50 * MS, &out) && !ei_guard_output(&g, 40 * MS, &out));
    CHECK(g.state == EI_GUARD_WAITING && g.counters[EI_GUARD_CLOCK] == 1);
    drive_until(1000);
    CHECK(offer(0, 0.5f, 0, 900 * MS) == EI_GUARD_CLOCK && g.state == EI_GUARD_SAFE);
    CHECK(ei_guard_output(&g, 910 * MS, &out) && out.throttle == 0);
    CHECK(ei_guard_output(&g, 905 * MS, &out) && g.state == EI_GUARD_SAFE); /* again, in SAFE */
    CHECK(!ei_guard_output(&g, 1910 * MS, &out) && g.state == EI_GUARD_SILENT);
    CHECK(!ei_guard_output(&g, 5, &out) && g.state == EI_GUARD_SILENT);
}

static void test_counters_saturate(void) {
    CHECK(ei_guard_init(&g, &usual) == 0);
    g.counters[EI_GUARD_RANGE] = UINT32_MAX;
    CHECK(offer(2, 0, 0, 1) == EI_GUARD_RANGE && g.counters[EI_GUARD_RANGE] == UINT32_MAX);
}

/* The least and the largest of what the limits may be. */
static void test_edges_of_the_limits(void) {
    ei_guard_limits l = usual;
    l.steer_max = l.throttle_max = l.brake_max = l.safe_brake = 0;
    l.steer_rate = l.throttle_rate = l.brake_rate = 1e-3f;
    l.heartbeat_ns = l.step_ns = l.recover = 1;
    CHECK(ei_guard_init(&g, &l) == 0 && g.state == EI_GUARD_WAITING);
    l.steer_max = l.throttle_max = l.brake_max = l.safe_brake = 1;
    l.steer_rate = l.throttle_rate = l.brake_rate = 1e6f;
    CHECK(ei_guard_init(&g, &l) == 0);
    l.heartbeat_ns = 0;
    CHECK(ei_guard_init(&g, &l) == -1 && g.reason == EI_GUARD_LIMITED);
}

/* What was in the memory before must not show, and what lies behind it must stay. */
static void test_init_clears_the_guard_alone(void) {
    static struct {
        ei_guard guard;
        unsigned char behind[8];
    } room;
    unsigned char *bytes = (unsigned char *)&room;
    for (unsigned i = 0; i < sizeof room; i++) bytes[i] = 0xa5;
    CHECK(ei_guard_init(&room.guard, &usual) == 0);
    CHECK(bytes[sizeof room.guard] == 0xa5 && room.guard.state == EI_GUARD_WAITING &&
          !room.guard.good);
    CHECK(room.guard.now_ns == 0 && room.guard.good_ns == 0 && room.guard.last.count == 0);
    CHECK(room.guard.last.steer == 0 && room.guard.wanted.count == 0);
    for (int i = 0; i < EI_GUARD_REASONS; i++) CHECK(room.guard.counters[i] == 0);
}

/* Armed again, it is as new: from rest, with a clock of its own, its reason told. */
static void test_armed_again(void) {
    CHECK(ei_guard_init(&g, &usual) == 0);
    drive_until(1000);
    CHECK(out.steer > 0.4f && out.throttle > 0.4f);
    ei_guard_arm(&g);
    CHECK(g.state == EI_GUARD_WAITING && g.reason == EI_GUARD_OK);
    CHECK(g.last.steer == 0 && g.last.throttle == 0 && g.last.brake == 0);
    CHECK(g.good_ns == 0 && g.sent_ns == 0 && g.safe_since_ns == 0 && g.now_ns == 0);
    CHECK(offer(0.5f, 0.5f, 0, 10 * MS) == EI_GUARD_OK); /* earlier than before: not a fault */
    CHECK(g.counters[EI_GUARD_CLOCK] == 0 && g.state == EI_GUARD_ACTIVE);
    CHECK(g.reason == EI_GUARD_OK);
    CHECK(ei_guard_output(&g, 10 * MS, &out) && near(out.steer, 0.02f)); /* 10 ms of 2 a second */
    CHECK(ei_guard_init(&g, &usual) == 0);
    for (uint64_t t = 20; t <= 200; t += 20)
        CHECK(offer(0, 0, 0.6f, t * MS) == EI_GUARD_OK && ei_guard_output(&g, t * MS, &out));
    CHECK(near(out.brake, 0.6f));
    ei_guard_arm(&g);
    CHECK(g.last.brake == 0);
}

/* The first output after rest may be one step away, also where the clock has just begun. */
static void test_first_step(void) {
    CHECK(ei_guard_init(&g, &usual) == 0);
    CHECK(offer(1, 0, 0, 40 * MS) == EI_GUARD_OK && g.sent_ns == 0);
    CHECK(ei_guard_init(&g, &usual) == 0);
    CHECK(offer(1, 0, 0, 41 * MS) == EI_GUARD_OK && g.sent_ns == MS);
    CHECK(ei_guard_init(&g, &usual) == 0);
    CHECK(offer(1, 0, 0, 15 * MS) == EI_GUARD_OK && g.sent_ns == 0);
    CHECK(ei_guard_output(&g, 15 * MS, &out) && near(out.steer, 0.03f));
    CHECK(out.count == 1);
    CHECK(ei_guard_output(&g, 15 * MS, &out) == 1 && out.count == 2);
}

/* Each borderline: on it all is well, a nanosecond beyond it is not. */
static void test_borders_of_time(void) {
    CHECK(ei_guard_init(&g, &usual) == 0);
    drive_until(100);
    CHECK(ei_guard_output(&g, 200 * MS, &out) && g.state == EI_GUARD_ACTIVE);
    CHECK(ei_guard_output(&g, 200 * MS + 1, &out) && g.state == EI_GUARD_SAFE);
    CHECK(ei_guard_output(&g, 1200 * MS + 1, &out) && g.state == EI_GUARD_SAFE);
    CHECK(!ei_guard_output(&g, 1200 * MS + 2, &out) && g.state == EI_GUARD_SILENT);
    CHECK(ei_guard_init(&g, &usual) == 0); /* recovery: a row with gaps as long as may be */
    drive_until(100);
    CHECK(ei_guard_output(&g, 300 * MS, &out) && g.state == EI_GUARD_SAFE);
    for (int i = 0; i < 3; i++)
        CHECK(offer(0, 0, 0, (310 + 100u * (unsigned)i) * MS) == EI_GUARD_OK &&
              g.state == (i < 2 ? EI_GUARD_SAFE : EI_GUARD_ACTIVE));
    CHECK(g.reason == EI_GUARD_OK && g.good == 0);
}

/* A row of good commands that was longer than recover still ends SAFE, and begins anew each time.
 */
static void test_rows_begin_anew(void) {
    CHECK(ei_guard_init(&g, &usual) == 0);
    drive_until(1000); /* a long row while active */
    CHECK(ei_guard_output(&g, 1101 * MS, &out) && g.state == EI_GUARD_SAFE && g.good == 0);
    CHECK(offer(0, 0, 0, 1102 * MS) == EI_GUARD_OK && g.state == EI_GUARD_SAFE);
    g.good = 7;
    CHECK(offer(0, 0, 0, 1103 * MS) == EI_GUARD_OK && g.state == EI_GUARD_ACTIVE);
    CHECK(ei_guard_output(&g, 1104 * MS, &out));
}

/* A clock that went back starts all periods of time anew, or freshness would be counted from the
 * future. */
static void test_clock_back_starts_anew(void) {
    CHECK(ei_guard_init(&g, &usual) == 0);
    drive_until(1000);
    CHECK(ei_guard_output(&g, 500 * MS, &out) && g.state == EI_GUARD_SAFE);
    CHECK(g.good_ns == 500 * MS && g.sent_ns == 500 * MS && g.safe_since_ns == 500 * MS);
    CHECK(ei_guard_output(&g, 400 * MS, &out) && g.safe_since_ns == 400 * MS);
    CHECK(g.counters[EI_GUARD_CLOCK] == 2 && g.reason == EI_GUARD_CLOCK);
}

/* Counters tell how often a value was cut and a step shortened, and only then. */
static void test_what_is_cut_is_counted(void) {
    CHECK(ei_guard_init(&g, &usual) == 0);
    CHECK(offer(0.08f, 0.04f, 0, 1000 * MS) == EI_GUARD_OK);
    CHECK(ei_guard_output(&g, 1000 * MS, &out));
    CHECK(g.counters[EI_GUARD_LIMITED] == 0);
    CHECK(offer(0.9f, 0, 0, 1001 * MS) == EI_GUARD_OK && ei_guard_output(&g, 1001 * MS, &out));
    CHECK(g.counters[EI_GUARD_LIMITED] == 1 && g.counters[EI_GUARD_RATE] == 1);
    CHECK(offer(-0.9f, 0, 0, 1002 * MS) == EI_GUARD_OK && ei_guard_output(&g, 1002 * MS, &out));
    CHECK(g.counters[EI_GUARD_LIMITED] == 2 && g.counters[EI_GUARD_RATE] == 2);
    CHECK(offer(out.steer, 0.5f, 0, 1003 * MS) == EI_GUARD_OK);
    CHECK(ei_guard_output(&g, 1003 * MS, &out));
    CHECK(g.counters[EI_GUARD_LIMITED] == 2 && g.counters[EI_GUARD_RATE] == 3);
}

/* A step of exactly what the rate allows is no fault: powers of two, so that it is exact. */
static void test_steps_as_large_as_may_be(void) {
    ei_guard_limits l = usual;
    l.steer_max = 1, l.steer_rate = 1e6f, l.throttle_rate = 1e6f, l.step_ns = 1000;
    CHECK(ei_guard_init(&g, &l) == 0);
    const float step = (float)1000 * 1e-9f * 1e6f;
    CHECK(offer(step < 1 ? step : 1, 0, 0, 5000) == EI_GUARD_OK);
    CHECK(ei_guard_output(&g, 5000, &out) && g.counters[EI_GUARD_RATE] == 0);
    CHECK(offer(0, 0, 0, 6000) == EI_GUARD_OK && ei_guard_output(&g, 6000, &out));
    CHECK(out.steer == 0 && g.counters[EI_GUARD_RATE] == 0);
}

/* In SAFE nothing of the last wish remains: neither its steering nor its throttle. */
static void test_safe_is_not_the_last_wish(void) {
    CHECK(ei_guard_init(&g, &usual) == 0);
    drive_until(1000);
    CHECK(offer(-1.0f, 0.9f, 0, 1000 * MS) == EI_GUARD_OK); /* wished, never sent */
    CHECK(ei_guard_output(&g, 1101 * MS, &out) && g.state == EI_GUARD_SAFE);
    CHECK(near(out.steer, 0.5f) && out.throttle == 0 && g.counters[EI_GUARD_BOTH] == 0);
    for (uint64_t t = 1120; t < 1600; t += 20) CHECK(ei_guard_output(&g, t * MS, &out));
    CHECK(near(out.steer, 0.5f) && g.counters[EI_GUARD_BOTH] == 0);
}

/* Throttle alone and brake alone are left alone. */
static void test_one_pedal(void) {
    CHECK(ei_guard_init(&g, &usual) == 0);
    CHECK(offer(0, 0.01f, 0, 1000 * MS) == EI_GUARD_OK && ei_guard_output(&g, 1000 * MS, &out));
    CHECK(near(out.throttle, 0.01f) && g.counters[EI_GUARD_BOTH] == 0);
    CHECK(offer(0, 0, 0.01f, 1020 * MS) == EI_GUARD_OK && ei_guard_output(&g, 1020 * MS, &out));
    CHECK(near(out.brake, 0.01f) && g.counters[EI_GUARD_BOTH] == 0);
}

/* A number smaller than the one before is another command: counters of senders wrap. */
static void test_numbers_that_wrap(void) {
    ei_guard_command c = {0, 0, 0, UINT32_MAX, 0};
    CHECK(ei_guard_init(&g, &usual) == 0);
    CHECK(ei_guard_offer(&g, &c, MS) == EI_GUARD_OK);
    c.count = 0;
    CHECK(ei_guard_offer(&g, &c, 2 * MS) == EI_GUARD_OK);
}

/* What happens once is counted once, and states are left for their own reasons alone. */
static void test_states_are_left_once(void) {
    ei_guard_limits l = usual;
    l.age_ns = 80 * MS;
    CHECK(ei_guard_init(&g, &l) == 0);
    CHECK(!ei_guard_output(&g, 5000 * MS, &out) && g.state == EI_GUARD_WAITING);
    CHECK(offer_aged(10, 5000) == EI_GUARD_OK);
    for (uint64_t t = 5020; t <= 5200; t += 20) CHECK(offer_aged(10, t) == EI_GUARD_OK);
    CHECK(g.counters[EI_GUARD_OK] == 12); /* eleven commands, and the one time it became active */
    CHECK(ei_guard_output(&g, 5271 * MS, &out) && g.state == EI_GUARD_SAFE);
    for (uint64_t t = 5300; t <= 6260; t += 20) CHECK(ei_guard_output(&g, t * MS, &out));
    CHECK(g.counters[EI_GUARD_STALE] == 1 && g.counters[EI_GUARD_TIMEOUT] == 0);
    for (uint64_t t = 6280; t <= 9000; t += 20) CHECK(!ei_guard_output(&g, t * MS, &out));
    CHECK(g.state == EI_GUARD_SILENT && g.counters[EI_GUARD_TIMEOUT] == 1);
}

int main(void) {
    test_limits_are_checked();
    test_waiting_sends_nothing();
    test_bad_values_are_rejected();
    test_rates_and_limits();
    test_brake_wins();
    test_heartbeat_safe_silence();
    test_a_late_command_does_not_hide_the_loss();
    test_recovery();
    test_frozen_sender();
    test_old_data();
    test_safe_keeps_the_brake_that_is_on();
    test_clock_goes_back();
    test_counters_saturate();
    test_edges_of_the_limits();
    test_init_clears_the_guard_alone();
    test_armed_again();
    test_first_step();
    test_borders_of_time();
    test_rows_begin_anew();
    test_clock_back_starts_anew();
    test_what_is_cut_is_counted();
    test_steps_as_large_as_may_be();
    test_safe_is_not_the_last_wish();
    test_one_pedal();
    test_numbers_that_wrap();
    test_states_are_left_once();
    return failures != 0;
}
