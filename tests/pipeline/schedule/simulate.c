/* A discrete-event simulation of one core, and of a chain of stages that hand over newest values:
 * what the bounds of edgeinfer/pipeline/schedule are tried against. */
#include <stdbool.h>
#include <stdint.h>

enum { MOST = 16, FIXED = 0, NON_PREEMPTIVE = 1, EDF = 2 };

static uint64_t next(uint64_t *s) { /* xorshift64* (Vigna 2016) */
    *s ^= *s >> 12, *s ^= *s << 25, *s ^= *s >> 27;
    return *s * 0x2545F4914F6CDD1Dull;
}

static int64_t upto(uint64_t *s, int64_t most) { /* 0..most, the ends more often than the rest */
    uint64_t r = next(s);
    if (!(r & 3)) return r & 4 ? most : 0;
    return most ? (int64_t)(next(s) % (uint64_t)(most + 1)) : 0;
}

typedef struct job {
    int64_t nominal, release, left, segment_at, done;
} job;

typedef struct task {
    int64_t period, wcet, deadline, jitter, segment, priority, first;
} task;

/* The first job of task i, or the one after `j`. */
static void draw(job *j, const task *t, int64_t nominal, bool exact, uint64_t *seed) {
    int64_t before = j->release;
    j->nominal = nominal;
    j->release = nominal + upto(seed, t->jitter);
    if (j->release < before) j->release = before;
    j->left = exact || !t->wcet ? t->wcet : t->wcet - upto(seed, t->wcet - 1);
    int64_t room = j->left - t->segment;
    j->segment_at = room >= 0 ? upto(seed, room) : 0; /* of the work done, where it begins */
    j->done = 0;
}

static bool before(const task *t, const job *j, int a, int b, int policy) {
    if (policy == EDF) {
        int64_t da = j[a].nominal + t[a].deadline, db = j[b].nominal + t[b].deadline;
        return da != db ? da < db : a < b;
    }
    if (t[a].priority != t[b].priority) return t[a].priority > t[b].priority;
    return j[a].release != j[b].release ? j[a].release < j[b].release : a < b;
}

/* Runs n tasks (rows of 7: period, wcet, deadline, jitter, segment, priority, first release or -1)
 * until `horizon`; the longest response of each, from where its release should have been. `spread`:
 * first releases that are not given are not all at 0, and the tasks come more than a period apart
 * at times. */
int simulate(int n, const int64_t *rows, int policy, int spread, int exact, int64_t horizon,
             uint64_t seed, int64_t *worst) {
    task t[MOST];
    job j[MOST] = {{0}};
    if (n < 1 || n > MOST) return -1;
    for (int i = 0; i < n; i++) {
        const int64_t *r = rows + 7 * i;
        t[i] = (task){r[0], r[1], r[2], r[3], r[4], r[5], r[6]};
        worst[i] = 0;
        int64_t first = r[6] >= 0 ? r[6] : spread ? upto(&seed, r[0]) : 0;
        draw(&j[i], &t[i], first, exact, &seed);
    }
    int running = -1; /* whose segment, or whose whole job, is not to be interrupted */
    int64_t now = 0;
    while (now < horizon) {
        int best = -1;
        int64_t soon = INT64_MAX;
        for (int i = 0; i < n; i++) {
            if (j[i].release > now)
                soon = j[i].release < soon ? j[i].release : soon;
            else if (best < 0 || before(t, j, i, best, policy))
                best = i;
        }
        if (running >= 0) best = running;
        if (best < 0) {
            now = soon;
            continue;
        }
        job *b = &j[best];
        const task *k = &t[best];
        int64_t run = b->left;
        if (policy == NON_PREEMPTIVE) {
            running = best;
        } else {
            bool inside =
                k->segment && b->done >= b->segment_at && b->done < b->segment_at + k->segment;
            int64_t edge = b->segment_at + k->segment - b->done;
            if (inside && edge < run) run = edge;
            if (!inside && k->segment && b->done < b->segment_at && b->segment_at - b->done < run)
                run = b->segment_at - b->done;
            running = inside ? best : -1;
            if (!inside && soon - now < run) run = soon - now;
        }
        now += run, b->left -= run, b->done += run;
        if (running >= 0 && policy != NON_PREEMPTIVE && b->done >= b->segment_at + k->segment)
            running = -1;
        if (b->left) continue;
        running = -1;
        if (now - b->nominal > worst[best]) worst[best] = now - b->nominal;
        bool apart = spread && k->first < 0;
        int64_t gap = k->period + (apart ? upto(&seed, 1) * upto(&seed, k->period) : 0);
        draw(b, k, b->nominal + gap, exact, &seed);
    }
    return 0;
}

/* A chain of n stages (rows of 3: period, response, first release or -1: anywhere), jobs reading
 * what is newest at a random time within their response and ending later within it. The oldest
 * data behind an output when given, and just before the next one; the longest reaction is the
 * latter. */
int chain(int n, const int64_t *rows, int64_t jobs, uint64_t seed, int64_t *out) {
    static int64_t end[2][1 << 15], stamp[2][1 << 15];
    if (n < 1 || jobs > 1 << 15) return -1;
    int64_t horizon = INT64_MAX;
    out[0] = out[1] = 0;
    int64_t count = 0;
    for (int i = 0; i < n; i++) {
        const int64_t *r = rows + 3 * i;
        int64_t *e = end[i & 1], *s = stamp[i & 1], *pe = end[~i & 1], *ps = stamp[~i & 1];
        int64_t first = r[2] < 0 ? upto(&seed, r[0]) : r[2], at = 0, made = 0;
        for (int64_t k = 0; k < jobs; k++) {
            int64_t release = first + k * r[0], begin = release, finish;
            if (i) begin += upto(&seed, r[1]);
            finish = begin + upto(&seed, release + r[1] - begin);
            if (begin > horizon) break;
            while (i && at + 1 < count && pe[at + 1] <= begin) at++;
            if (i && (!count || pe[at] > begin)) continue; /* nothing to read yet */
            e[made] = finish;
            s[made] = i ? ps[at] : release;
            made++;
        }
        count = made;
        if (!count) return -1;
        horizon = e[count - 1]; /* beyond it, what follows would read stale data */
        if (i < n - 1) continue;
        for (int64_t k = 0; k < count; k++) {
            if (e[k] - s[k] > out[0]) out[0] = e[k] - s[k];
            if (k && e[k] - s[k - 1] > out[1]) out[1] = e[k] - s[k - 1];
        }
    }
    return 0;
}
