/* What stands in for a result that cannot be had in time: a smaller plan in the same memory, or the
 * last result. */
#include "session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { COPY, TABLE, QUANTISE, DEQUANTISE };

struct ei_link {
    const ei_tensor *from, *to;
    int how;
    uint8_t table[256]; /* of 8-bit values, by their bits */
};

static float value_of(const ei_tensor *t, uint8_t bits) {
    int q = t->dtype == EI_I8 ? (int8_t)bits : bits;
    return t->scale * (float)(q - t->zero);
}

static uint8_t bits_of(const ei_tensor *t, float value) {
    int low = t->dtype == EI_I8 ? INT8_MIN : 0, high = t->dtype == EI_I8 ? INT8_MAX : UINT8_MAX;
    float q = nearbyintf(value / t->scale) + (float)t->zero;
    return (uint8_t)(q <= (float)low ? low : q >= (float)high ? high : (int)q); /* NaN: high */
}

static bool quantised(const ei_tensor *t) {
    return ei_is_q8(t) && t->scale > 0;
}

/* How values get from one tensor to the other; false where they mean different things. */
static bool connect(ei_link *link, const ei_tensor *from, const ei_tensor *to) {
    *link = (ei_link){.from = from, .to = to, .how = COPY};
    if (from->rank != to->rank || !ei_same_shape(from, to)) return false;
    if (from->dtype == to->dtype && from->scale == to->scale && from->zero == to->zero) return true;
    if (quantised(from) && quantised(to)) {
        link->how = TABLE;
        for (int i = 0; i < 256; i++) link->table[i] = bits_of(to, value_of(from, (uint8_t)i));
        return true;
    }
    link->how = from->dtype == EI_F32 ? QUANTISE : DEQUANTISE;
    return (from->dtype == EI_F32 && quantised(to)) || (quantised(from) && to->dtype == EI_F32);
}

static void carry(const ei_link *link) {
    int64_t n = ei_count(link->from);
    const uint8_t *q = link->from->data;
    const float *f = link->from->data;
    uint8_t *to = link->to->data;
    float *real = link->to->data;
    switch (link->how) {
    case COPY:
        memcpy(to, q, link->to->bytes);
        break;
    case TABLE:
        for (int64_t i = 0; i < n; i++) to[i] = link->table[q[i]];
        break;
    case QUANTISE:
        for (int64_t i = 0; i < n; i++) to[i] = bits_of(link->to, f[i]);
        break;
    default:
        for (int64_t i = 0; i < n; i++) real[i] = value_of(link->from, q[i]);
    }
}

static const char *name_of(const ei_plan *p, int tensor) {
    return p->strings + p->file_tensors[tensor].name;
}

/* The tensor of that name among the guest's inputs or outputs. */
static const ei_tensor *find(const ei_session *g, bool output, int count, const char *name) {
    for (int i = 0; i < count; i++) {
        int t = output ? ei_plan_output(g->plan, i) : ei_plan_input(g->plan, i);
        if (!strcmp(name_of(g->plan, t), name)) return &g->tensors[t];
    }
    return NULL;
}

static int link_all(ei_session *s, ei_session *g, int number, ei_error *err) {
    int in = ei_plan_inputs(s->plan), out = ei_plan_outputs(s->plan);
    if (ei_plan_inputs(g->plan) != in || ei_plan_outputs(g->plan) != out)
        return ei_fail(err, EI_E_UNSUPPORTED,
                       "plan %d of the ladder has %d inputs and %d outputs, the first has %d and "
                       "%d: they must be the same",
                       number, ei_plan_inputs(g->plan), ei_plan_outputs(g->plan), in, out);
    g->links = malloc(((size_t)in + (size_t)out + 1) * sizeof *g->links);
    if (!g->links) return ei_fail(err, EI_E_MEMORY, "out of memory building a session");
    g->bytes += ((size_t)in + (size_t)out + 1) * sizeof *g->links;
    g->n_inputs = in;
    g->n_links = in + out;
    for (int i = 0; i < in + out; i++) {
        bool output = i >= in;
        int t = output ? ei_plan_output(s->plan, i - in) : ei_plan_input(s->plan, i);
        const ei_tensor *own = &s->tensors[t];
        const ei_tensor *its = find(g, output, output ? out : in, name_of(s->plan, t));
        if (!its || !connect(&g->links[i], output ? its : own, output ? own : its))
            return ei_fail(err, EI_E_UNSUPPORTED,
                           "plan %d of the ladder has no %s '%s' of the shape and meaning that "
                           "the first has: a substitute must have the same",
                           number, output ? "output" : "input", name_of(s->plan, t));
    }
    return EI_OK;
}

/* Where `need` bytes fit in the first plan's arena beside what must survive: inputs, outputs and
 * states. May end beyond it. */
static uint64_t hole(const ei_plan *p, uint64_t need) {
    const ei_file_header *h = p->header;
    uint64_t at = 0;
    for (bool moved = true; moved;) {
        moved = false;
        for (uint32_t i = 0; i < h->n_tensors; i++) {
            const ei_file_tensor *f = &p->file_tensors[i];
            bool lasting = f->kind == EI_STATE;
            for (uint32_t k = 0; k < h->n_inputs + h->n_outputs; k++) lasting |= p->args[k] == i;
            uint64_t bytes = p->tensors[i].bytes; /* what lasts is dense */
            if (!lasting || f->kind == EI_CONSTANT || f->offset >= at + need ||
                f->offset + bytes <= at || !bytes)
                continue;
            at = (f->offset + bytes + EI_ALIGN - 1) / EI_ALIGN * EI_ALIGN;
            moved = true;
        }
    }
    return at;
}

static bool stateful(const ei_plan *p) {
    for (uint32_t i = 0; i < p->header->n_tensors; i++)
        if (p->file_tensors[i].kind == EI_STATE) return true;
    return false;
}

static int check_ladder(const ei_plan *const *plans, int count, int threads, ei_error *err) {
    if (!plans || count < 1 || threads < 1 || threads > EI_MAX_THREADS)
        return ei_fail(err, EI_E_ARGUMENT, "threads is %d, must be 1..%d", threads, EI_MAX_THREADS);
    for (int i = 0; i < count; i++) {
        if (!plans[i]) return ei_fail(err, EI_E_ARGUMENT, "plan %d is NULL", i);
        if (i && stateful(plans[i]))
            return ei_fail(err, EI_E_UNSUPPORTED,
                           "plan %d of the ladder has states, which would not have seen the runs "
                           "it did not stand in for",
                           i);
        for (int k = 0; i && k < ei_plan_steps(plans[i]); k++)
            if (ei_plan_step_delegate(plans[i], k))
                return ei_fail(err, EI_E_UNSUPPORTED,
                               "plan %d of the ladder has steps of a delegate: a substitute must "
                               "run on the C engine alone",
                               i);
    }
    return EI_OK;
}

int ei_session_create_ladder(const ei_plan *const *plans, int count, int threads, ei_session **out,
                             ei_error *err) {
    if (!out) return ei_fail(err, EI_E_ARGUMENT, "ei_session_create: session is NULL");
    *out = NULL;
    int status = check_ladder(plans, count, threads, err);
    if (status) return status;
    uint64_t arena = plans[0]->header->arena_bytes, scratch = plans[0]->scratch_bytes;
    for (int i = 1; i < count; i++) {
        uint64_t need = plans[i]->header->arena_bytes, end = hole(plans[0], need) + need;
        if (end > arena) arena = end;
        if (plans[i]->scratch_bytes > scratch) scratch = plans[i]->scratch_bytes;
    }
    ei_session *s = NULL, **at;
    status = ei_session_build(plans[0], threads, arena, scratch, NULL, 0, &s, err);
    if (status) return status;
    at = &s->smaller;
    for (int i = 1; i < count && !status; i++) {
        uint64_t need = plans[i]->header->arena_bytes;
        status =
            ei_session_build(plans[i], threads, need, scratch, s, hole(plans[0], need), at, err);
        if (!status) status = link_all(s, *at, i, err);
        if (!status) s->bytes += (*at)->bytes;
        if (*at) at = &(*at)->smaller;
    }
    if (status)
        ei_session_destroy(s);
    else
        *out = s;
    return status;
}

ei_session *ei_session_rung(ei_session *s, int i) {
    while (s && i-- > 0) s = s->smaller;
    return s;
}

void ei_substitute_destroy(ei_session *s) {
    ei_session_destroy(s->smaller);
    free(s->links);
    free(s->last);
}

/* Outputs one after the other, into the buffer or back. */
static void copy_outputs(ei_session *s, bool back) {
    uint8_t *kept = s->last;
    for (int i = 0; i < ei_plan_outputs(s->plan); i++) {
        const ei_tensor *t = &s->tensors[ei_plan_output(s->plan, i)];
        memcpy(back ? t->data : kept, back ? kept : t->data, t->bytes);
        kept += t->bytes;
    }
}

int ei_session_keep_last(ei_session *s, uint64_t max_age_ns) {
    uint64_t bytes = 1;
    s->last_max_age = max_age_ns;
    if (s->last) return EI_OK;
    for (int i = 0; i < ei_plan_outputs(s->plan); i++)
        bytes += s->tensors[ei_plan_output(s->plan, i)].bytes;
    s->last = malloc(bytes);
    if (!s->last) return EI_E_MEMORY;
    memset(s->last, 0, bytes);
    s->bytes += bytes;
    return EI_OK;
}

void ei_session_keep(ei_session *s, uint64_t begun_ns) {
    if (!s->last) return;
    copy_outputs(s, false);
    s->last_begun = begun_ns;
}

static int run_smaller(ei_session *s, ei_session *g, uint64_t deadline) {
    if (deadline != UINT64_MAX && ei_now_ns() + g->rest[0] > deadline) return EI_TOO_LATE;
    int why = ei_run_enter(s, deadline, g->rest[0]);
    if (why) return why;
    for (int i = 0; i < g->n_inputs; i++) carry(&g->links[i]);
    why = ei_walk_plan(g, s, deadline, NULL);
    for (int i = g->n_inputs; i < g->n_links && !why; i++) carry(&g->links[i]);
    return why;
}

static bool give_last(ei_session *s, uint64_t now, uint64_t max_age, ei_result *result) {
    if (!s->last || !s->last_begun || now - s->last_begun > max_age) return false;
    copy_outputs(s, true);
    result->substitute = EI_LAST;
    result->age_ns = now - s->last_begun;
    return true;
}

int ei_substitute(ei_session *s, int which, uint64_t deadline, ei_result *result) {
    ei_session *g = s->smaller;
    int why = EI_TOO_LATE;
    result->substitute = 0;
    result->age_ns = 0;
    for (int i = 1; g && why == EI_TOO_LATE; g = g->smaller, i++) {
        if (which && which != i) continue;
        why = run_smaller(s, g, deadline);
        if (!why) result->substitute = i;
    }
    uint64_t now = ei_now_ns();
    bool given = result->substitute != 0;
    if (given) result->age_ns = now - s->begun;
    if (!given && why == EI_TOO_LATE && which <= 0)
        given = give_last(s, now, which ? UINT64_MAX : s->last_max_age, result);
    result->outcome = given && now <= deadline ? EI_SUBSTITUTED : EI_LATE;
    return why == EI_TOO_LATE ? EI_OK : why;
}

int ei_session_substitute(ei_session *s, int which, uint64_t deadline_ns, ei_result *result) {
    if (!result || which < EI_LAST) return EI_E_ARGUMENT;
    int status = ei_run_begin(s);
    if (status) return status;
    *result = (ei_result){0};
    status = ei_substitute(s, which, deadline_ns, result);
    ei_gate_leave(&s->turn);
    return ei_run_end(s, status);
}
