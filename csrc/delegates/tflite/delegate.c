/* Our kernels inside any TFLite program: an external delegate that runs a plan made beforehand.
 *
 *     interpreter = Interpreter("m.tflite", experimental_delegates=[
 *         load_delegate("libedgeinfer_delegate.so", {"plan": "m.plan"})])
 *
 * Options: plan=FILE (needed), rounding=xnnpack|tflite and isa=NAME (the plan must have them),
 * threads=N (else what the interpreter recommends). One delegate serves any number of interpreters
 * of the model; each has memory of its own.
 */
#include "binding.h"
#include "options.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))

typedef struct delegate {
    tfl_delegate base; /* first: the runtime's pointer is ours */
    ei_options options;
    ei_mapped plan_file;
    ei_plan *plan;
    ei_binding binding;
    uint64_t runs, bytes_copied;
} delegate;

typedef struct kernel {
    delegate *owner;
    ei_session *session;
} kernel;

static tfl_status report(tfl_context *c, const ei_error *err) {
    c->ReportError(c, "edgeinfer: %s", err->text);
    return TFL_DELEGATE_ERROR;
}

static void kernel_free(tfl_context *c, void *data) {
    (void)c;
    kernel *k = data;
    if (!k) return;
    ei_session_destroy(k->session);
    free(k);
}

static int kernel_make(kernel *k, tfl_context *c, const tfl_delegate_params *given, ei_error *err) {
    const ei_binding *b = &k->owner->binding;
    if (given->nodes_to_replace->size != (int)b->h.n_nodes)
        return ei_fail(err, EI_E_UNSUPPORTED,
                       "the runtime splits the %u operators of the plan into parts (this one has "
                       "%d): compile a part that it keeps whole, with --nodes auto",
                       b->h.n_nodes, given->nodes_to_replace->size);
    int threads = k->owner->options.threads;
    if (!threads) threads = c->recommended_num_threads > 0 ? c->recommended_num_threads : 1;
    if (threads > EI_MAX_THREADS) threads = EI_MAX_THREADS;
    return ei_session_create(k->owner->plan, threads, &k->session, err);
}

/* NULL on failure: kernel_prepare then fails. */
static void *kernel_init(tfl_context *c, const char *buffer, size_t length) {
    (void)length;
    const tfl_delegate_params *given = (const void *)buffer;
    ei_error err = {.status = EI_E_MEMORY, .text = "out of memory"};
    kernel *k = calloc(1, sizeof *k);
    if (k) k->owner = given->delegate->data;
    if (k && !kernel_make(k, c, given, &err)) return k;
    report(c, &err);
    kernel_free(c, k);
    return NULL;
}

static const char *shape_text(char *text, size_t size, const int32_t *dims, int rank) {
    size_t at = 0;
    text[0] = 0;
    for (int i = 0; i < rank && at < size; i++)
        at += (size_t)snprintf(text + at, size - at, "%s%d", i ? "x" : "", dims[i]);
    return text;
}

static bool same_shape(const ei_tensor_info *info, const tfl_ints *dims) {
    int rank = dims ? dims->size : 0;
    return rank == info->rank && (!rank || !memcmp(dims->data, info->dims, (size_t)rank * 4));
}

/* The operators that would have said the output's shape are gone: the plan says it. */
static tfl_status resize(tfl_context *c, tfl_tensor *t, const ei_tensor_info *info) {
    tfl_ints *dims = malloc(sizeof *dims + (size_t)info->rank * sizeof(int));
    if (!dims) return TFL_ERROR;
    dims->size = info->rank;
    memcpy(dims->data, info->dims, (size_t)info->rank * sizeof(int));
    return c->ResizeTensor(c, t, dims);
}

static tfl_status fit(tfl_context *c, const ei_plan *plan, int own, int theirs, bool output) {
    ei_tensor_info info;
    char planned[64], given[64];
    if (theirs < 0 || ei_plan_tensor(plan, own, &info)) return TFL_OK;
    tfl_tensor *t = &c->tensors[theirs];
    if (!same_shape(&info, t->dims)) {
        if (output) return resize(c, t, &info);
        c->ReportError(c, "edgeinfer: input '%s' was planned as %s, the model's is %s now",
                       info.name, shape_text(planned, sizeof planned, info.dims, info.rank),
                       shape_text(given, sizeof given, t->dims ? t->dims->data : NULL,
                                  t->dims ? t->dims->size : 0));
        return TFL_ERROR;
    }
    if (t->bytes == info.bytes) return TFL_OK;
    c->ReportError(c, "edgeinfer: '%s' has %zu bytes, the plan's %llu", info.name, t->bytes,
                   (unsigned long long)info.bytes);
    return TFL_ERROR;
}

static tfl_status kernel_prepare(tfl_context *c, tfl_node *node) {
    const kernel *k = node->user_data;
    if (!k) return TFL_ERROR; /* kernel_init has said why */
    const ei_plan *plan = k->owner->plan;
    const ei_binding *b = &k->owner->binding;
    tfl_status status = TFL_OK;
    for (int i = 0; i < (int)b->h.n_inputs && !status; i++)
        status = fit(c, plan, ei_plan_input(plan, i), b->inputs[i], false);
    for (int i = 0; i < (int)b->h.n_outputs && !status; i++)
        status = fit(c, plan, ei_plan_output(plan, i), b->outputs[i], true);
    return status;
}

/* Between the runtime's memory and the session's; returns the bytes, -1 where there is no memory.
 */
static int64_t copy(const kernel *k, const tfl_context *c, int own, int theirs, bool in) {
    if (theirs < 0) return 0;
    const tfl_tensor *t = &c->tensors[theirs];
    void *ours = ei_session_tensor(k->session, own);
    if (!t->bytes) return 0;
    if (!t->data || !ours) return -1;
    memcpy(in ? ours : t->data, in ? t->data : ours, t->bytes);
    return (int64_t)t->bytes;
}

static tfl_status no_memory(tfl_context *c, int tensor) {
    c->ReportError(c, "edgeinfer: tensor %d has no memory", tensor);
    return TFL_ERROR;
}

static tfl_status failed(tfl_context *c, const kernel *k, int status) {
    int step = ei_session_failed_step(k->session);
    const char *name = ei_plan_step_name(k->owner->plan, step);
    c->ReportError(c, "edgeinfer: step %d (%s): %s", step, name ? name : "?",
                   ei_status_text(status));
    return TFL_ERROR;
}

static tfl_status kernel_invoke(tfl_context *c, tfl_node *node) {
    const kernel *k = node->user_data;
    const ei_plan *plan = k->owner->plan;
    const ei_binding *b = &k->owner->binding;
    int64_t copied = 0;
    for (int i = 0; i < (int)b->h.n_inputs; i++) {
        int64_t bytes = copy(k, c, ei_plan_input(plan, i), b->inputs[i], true);
        if (bytes < 0) return no_memory(c, b->inputs[i]);
        copied += bytes;
    }
    int status = ei_session_run(k->session);
    if (status) return failed(c, k, status);
    for (int i = 0; i < (int)b->h.n_outputs; i++) {
        int64_t bytes = copy(k, c, ei_plan_output(plan, i), b->outputs[i], false);
        if (bytes < 0) return no_memory(c, b->outputs[i]);
        copied += bytes;
    }
    __atomic_fetch_add(&k->owner->runs, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&k->owner->bytes_copied, (uint64_t)copied, __ATOMIC_RELAXED);
    return TFL_OK;
}

static tfl_status take_nodes(tfl_context *c, delegate *d) {
    const ei_binding *b = &d->binding;
    tfl_ints *nodes = malloc(sizeof *nodes + b->h.n_nodes * sizeof(int));
    if (!nodes) return TFL_DELEGATE_ERROR;
    nodes->size = (int)b->h.n_nodes;
    for (int i = 0; i < nodes->size; i++) nodes->data[i] = b->nodes[2 * i];
    const tfl_registration kind = {.init = kernel_init,
                                   .free = kernel_free,
                                   .prepare = kernel_prepare,
                                   .invoke = kernel_invoke,
                                   .custom_name = "edgeinfer",
                                   .version = 1};
    tfl_status status = c->ReplaceNodeSubsetsWithDelegateKernels(c, kind, nodes, &d->base);
    free(nodes);
    return status;
}

static tfl_status prepare(tfl_context *c, tfl_delegate *base) {
    delegate *d = base->data;
    ei_error err = {0};
    tfl_ints *plan = NULL;
    if (!c || !c->tensors || !c->GetExecutionPlan || !c->GetNodeAndRegistration ||
        !c->ReplaceNodeSubsetsWithDelegateKernels || !c->ReportError || !c->ResizeTensor)
        return TFL_DELEGATE_ERROR; /* no TFLite at all: there is nobody to tell */
    if (c->GetExecutionPlan(c, &plan) || !plan) {
        ei_fail(&err, EI_E_VERSION, "the runtime does not tell its execution plan");
        return report(c, &err);
    }
    if (ei_binding_other(&d->binding, c, plan->size) &&
        ei_binding_check(&d->binding, c, plan, &err))
        return TFL_OK; /* a branch, or what sets variables up: the runtime's own affair */
    return ei_binding_check(&d->binding, c, plan, &err) ? report(c, &err) : take_nodes(c, d);
}

static int check_plan(const delegate *d, ei_error *err) {
    const char *isa = ei_isa_name(ei_plan_isa(d->plan));
    const char *rounding = ei_plan_rounding(d->plan) == EI_ROUND_TFLITE ? "tflite" : "xnnpack";
    if (d->options.rounding && strcmp(d->options.rounding, rounding))
        return ei_fail(err, EI_E_ARGUMENT,
                       "rounding=%.20s was asked for, the plan has '%s': compile it with "
                       "--rounding",
                       d->options.rounding, rounding);
    if (d->options.isa && strcmp(d->options.isa, isa))
        return ei_fail(err, EI_E_ARGUMENT,
                       "isa=%.20s was asked for, the plan is for '%s': compile it for that board",
                       d->options.isa, isa);
    for (int i = 0; i < ei_plan_steps(d->plan); i++) {
        int part = ei_plan_step_delegate(d->plan, i);
        const char *name = "";
        const void *data;
        uint64_t bytes;
        if (part && !ei_plan_delegate(d->plan, part, &name, &data, &bytes))
            return ei_fail(err, EI_E_DELEGATE,
                           "step %d of the plan belongs to the delegate '%s', which needs Python: "
                           "compile with --nodes auto instead of --fallback",
                           i, name);
    }
    return EI_OK;
}

static int open_plan(delegate *d, ei_error *err) {
    int status = ei_map_file(d->options.plan, &d->plan_file, err);
    if (!status) status = ei_plan_open(d->plan_file.data, d->plan_file.bytes, &d->plan, err);
    if (!status) status = check_plan(d, err);
    return status ? status : ei_binding_read(d->plan, &d->binding, err);
}

EXPORT void tflite_plugin_destroy_delegate(tfl_delegate *base) {
    if (!base) return;
    delegate *d = base->data;
    ei_plan_close(d->plan);
    ei_unmap_file(&d->plan_file);
    ei_options_free(&d->options);
    free(d);
}

/* The entry point of external delegates. NULL where it fails; `report_error` is told why. */
EXPORT tfl_delegate *tflite_plugin_create_delegate(char **keys, char **values, size_t count,
                                                   void (*report_error)(const char *)) {
    ei_error err = {.status = EI_E_MEMORY, .text = "out of memory"};
    delegate *d = calloc(1, sizeof *d);
    int status = d ? EI_OK : EI_E_MEMORY;
    if (d) {
        d->base.data = d;
        d->base.Prepare = prepare;
        d->base.flags = TFL_FLAG_ALLOW_DYNAMIC_TENSORS;
        status = ei_options_read(&d->options, (const char *const *)keys,
                                 (const char *const *)values, count, &err);
    }
    if (!status) status = open_plan(d, &err);
    if (!status) return &d->base;
    char text[sizeof err.text + 512];
    const char *file = d && d->options.plan ? d->options.plan : NULL;
    snprintf(text, sizeof text, "edgeinfer: %.480s%s%s", file ? file : "", file ? ": " : "",
             err.text);
    if (report_error) report_error(text);
    tflite_plugin_destroy_delegate(d ? &d->base : NULL);
    return NULL;
}

/* What a delegate did so far: invocations, and bytes copied between the runtime's memory and the
 * plan's. For tests and benchmarks. */
EXPORT void edgeinfer_delegate_counts(const tfl_delegate *base, uint64_t *runs, uint64_t *copied) {
    const delegate *d = base->data;
    *runs = __atomic_load_n(&d->runs, __ATOMIC_RELAXED);
    *copied = __atomic_load_n(&d->bytes_copied, __ATOMIC_RELAXED);
}
