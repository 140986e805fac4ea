/* Opens a plan: nothing of the file is believed before it is checked. */
#include "plan.h"

#include <stdlib.h>
#include <string.h>

_Static_assert(sizeof(ei_file_header) == 128, "layout of the plan header");
_Static_assert(sizeof(ei_file_tensor) == 64, "layout of a tensor record");
_Static_assert(sizeof(ei_file_step) == 32, "layout of a step record");

/* Arenas above this are taken for damage, not for a model: 64 GiB. */
#define MAX_BYTES ((uint64_t)1 << 36)

static bool section(const ei_file_header *h, uint64_t offset, uint64_t count, uint64_t size,
                    uint64_t align) {
    return offset % align == 0 && offset <= h->file_bytes &&
           count <= (h->file_bytes - offset) / size;
}

static int check_header(const uint8_t *data, uint64_t size, ei_error *err) {
    const ei_file_header *h = (const void *)data;
    if (!data || (uintptr_t)data % EI_ALIGN)
        return ei_fail(err, EI_E_ARGUMENT, "plan memory must be %d-byte aligned", EI_ALIGN);
    if (size < sizeof *h || memcmp(h->magic, "EIPLAN\r\n", 8))
        return ei_fail(err, EI_E_FORMAT,
                       "not a plan file (%llu bytes): make one with "
                       "'edgeinfer compile MODEL -o PLAN'",
                       (unsigned long long)size);
    if (h->version != EI_PLAN_VERSION)
        return ei_fail(err, EI_E_VERSION,
                       "plan format %u, this engine reads %d: compile the model "
                       "again",
                       h->version, EI_PLAN_VERSION);
    if (h->file_bytes != size)
        return ei_fail(err, EI_E_FORMAT, "plan is truncated: %llu bytes of %llu",
                       (unsigned long long)size, (unsigned long long)h->file_bytes);
    ei_file_header zeroed = *h;
    zeroed.crc32 = 0;
    uint32_t crc =
        ei_crc32(ei_crc32(0, &zeroed, sizeof zeroed), data + sizeof *h, size - sizeof *h);
    if (crc != h->crc32)
        return ei_fail(err, EI_E_FORMAT, "plan is damaged: checksum %08x, expected %08x", crc,
                       h->crc32);
    uint64_t io = (uint64_t)h->n_inputs + h->n_outputs;
    if (!section(h, h->off_tensors, h->n_tensors, sizeof(ei_file_tensor), 8) ||
        !section(h, h->off_steps, h->n_steps, sizeof(ei_file_step), 8) ||
        !section(h, h->off_args, h->n_args, 4, 4) || io > h->n_args ||
        !section(h, h->off_params, h->params_bytes, 1, EI_ALIGN) ||
        !section(h, h->off_strings, h->strings_bytes, 1, 1) || !h->strings_bytes ||
        data[h->off_strings + h->strings_bytes - 1] ||
        !section(h, h->off_delegates, h->n_delegates, sizeof(ei_file_delegate), 8) ||
        !section(h, h->off_data, 0, 1, EI_ALIGN) || h->arena_bytes > MAX_BYTES ||
        h->rounding > EI_ROUND_TFLITE || h->isa >= EI_ISAS)
        return ei_fail(err, EI_E_FORMAT, "plan is damaged: a section lies outside the file");
    if (!ei_isa_has((int)h->isa))
        return ei_fail(err, EI_E_ISA,
                       "plan is for ISA '%s', this machine has '%s': compile the "
                       "model again for it",
                       ei_isa_name((int)h->isa), ei_isa_name(ei_isa_best()));
    return EI_OK;
}

static bool inside(uint64_t offset, uint64_t bytes, uint64_t limit) {
    return offset <= limit && bytes <= limit - offset;
}

/* Kernels subtract zero points in 32 bits: only those the data type can hold are safe. */
static bool zero_fits(const ei_file_tensor *f) {
    if (f->dtype == EI_I8) return f->zero >= INT8_MIN && f->zero <= INT8_MAX;
    if (f->dtype == EI_U8) return f->zero >= 0 && f->zero <= UINT8_MAX;
    if (f->dtype == EI_I16) return f->zero >= INT16_MIN && f->zero <= INT16_MAX;
    return true;
}

/* Bytes from a tensor's first element to its last. */
static uint64_t extent(const ei_tensor *t, uint64_t unit) {
    if (!ei_is_strided(t)) return t->bytes;
    uint64_t row = (uint64_t)ei_width(t) * unit;
    return (t->bytes / row - 1) * (uint64_t)t->stride * unit + row;
}

static int bind_tensor(ei_plan *p, uint32_t i, ei_error *err) {
    const ei_file_header *h = p->header;
    const ei_file_tensor *f = &p->file_tensors[i];
    ei_tensor *t = &p->tensors[i];
    uint64_t unit = ei_dtype_bytes(f->dtype), bytes = unit, limit = unit,
             data = h->file_bytes - h->off_data;
    bool good = unit && f->rank <= EI_MAX_DIMS && f->kind <= EI_STATE &&
                f->name < h->strings_bytes && f->offset % unit == 0 && zero_fits(f);
    for (int d = 0; good && d < EI_MAX_DIMS; d++) {
        t->dims[d] = d < f->rank ? f->dims[d] : 1;
        good = t->dims[d] >= 0 && (t->dims[d] == 0 || limit <= MAX_BYTES / (uint64_t)t->dims[d]);
        if (t->dims[d]) limit *= (uint64_t)t->dims[d]; /* strides of empty tensors fit too */
        bytes *= (uint64_t)t->dims[d];
    }
    t->rank = f->rank;
    t->bytes = bytes;
    t->stride = good ? ei_width(t) : 0;
    if (good && f->stride != (uint64_t)t->stride) {
        good = f->kind == EI_IN_ARENA && bytes && f->stride > (uint64_t)t->stride &&
               f->stride <= INT32_MAX && bytes / (uint64_t)t->stride <= MAX_BYTES / f->stride;
        if (good) t->stride = (int32_t)f->stride;
    }
    good = good &&
           inside(f->offset, extent(t, unit), f->kind == EI_CONSTANT ? data : h->arena_bytes) &&
           (f->kind != EI_STATE || f->initial == EI_NO_DATA || inside(f->initial, bytes, data));
    if (!good) return ei_fail(err, EI_E_FORMAT, "plan is damaged: tensor %u does not fit", i);
    t->dtype = f->dtype;
    t->scale = f->scale;
    t->zero = f->zero;
    t->constant = f->kind == EI_CONSTANT;
    /* Kernels never write to inputs, so the const of the file is kept in spirit. */
    if (t->constant) t->data = (void *)(uintptr_t)(p->file + h->off_data + f->offset);
    return EI_OK;
}

static bool same_place(const ei_plan *p, uint32_t a, uint32_t b) {
    const ei_tensor *x = &p->tensors[a], *y = &p->tensors[b];
    bool rows = (!ei_is_strided(x) && !ei_is_strided(y)) ||
                (x->stride == y->stride && ei_width(x) == ei_width(y));
    return p->file_tensors[a].offset == p->file_tensors[b].offset && x->bytes == y->bytes && rows;
}

/* Whether two tensors share bytes. Those among different channels of a third do not: their rows lie
 * at one distance, and those of the one in the gaps of the other's. */
static bool overlap(const ei_plan *p, uint32_t a, uint32_t b) {
    if (p->file_tensors[a].offset > p->file_tensors[b].offset) return overlap(p, b, a);
    const ei_tensor *x = &p->tensors[a], *y = &p->tensors[b];
    uint64_t x_unit = ei_dtype_bytes(x->dtype), y_unit = ei_dtype_bytes(y->dtype),
             between = p->file_tensors[b].offset - p->file_tensors[a].offset;
    if (between >= extent(x, x_unit) || !x->bytes || !y->bytes) return false;
    uint64_t pitch = (uint64_t)x->stride * x_unit, shift = between % pitch;
    bool gaps = ei_is_strided(x) && ei_is_strided(y) && (uint64_t)y->stride * y_unit == pitch &&
                shift >= (uint64_t)ei_width(x) * x_unit &&
                shift + (uint64_t)ei_width(y) * y_unit <= pitch;
    return !gaps;
}

/* Whether what the step writes lies apart from all else that it touches, or in the very place of an
 * input (kernels that can work in place do so element by element): they rely on it. */
static bool apart(const ei_plan *p, const ei_file_step *f) {
    const uint32_t *args = p->args + f->first_arg;
    for (uint32_t o = f->n_in; o < (uint32_t)f->n_in + f->n_out; o++)
        for (uint32_t a = 0; a < o; a++) {
            if (args[a] == EI_NO_TENSOR || p->tensors[args[a]].constant) continue;
            if (!(a < f->n_in && same_place(p, args[a], args[o])) && overlap(p, args[a], args[o]))
                return false;
        }
    return true;
}

static bool dense(const ei_node *n) {
    for (int i = 0; i < n->n_in; i++)
        if (n->in[i] && ei_is_strided(n->in[i])) return false;
    for (int i = 0; i < n->n_out; i++)
        if (ei_is_strided(n->out[i])) return false;
    return true;
}

static int strided_fail(ei_error *err, uint32_t step) {
    return ei_fail(err, EI_E_FORMAT, "plan is damaged: a delegate's step %u has rows apart", step);
}

static int bind_step(ei_plan *p, uint32_t i, ei_error *err) {
    const ei_file_header *h = p->header;
    const ei_file_step *f = &p->file_steps[i];
    uint64_t n = (uint64_t)f->n_in + f->n_out;
    if (f->first_arg > h->n_args || n > h->n_args - f->first_arg || f->name >= h->strings_bytes ||
        f->params % 4 || !inside(f->params, f->params_bytes, h->params_bytes) ||
        f->delegate > h->n_delegates)
        return ei_fail(err, EI_E_FORMAT, "plan is damaged: step %u does not fit", i);
    for (uint64_t a = 0; a < n; a++) {
        uint32_t index = p->args[f->first_arg + a];
        bool absent = index == EI_NO_TENSOR && a < f->n_in;
        if (!absent && index >= h->n_tensors)
            return ei_fail(err, EI_E_FORMAT, "plan is damaged: step %u names tensor %u of %u", i,
                           index, h->n_tensors);
        if (a >= f->n_in && p->tensors[index].constant)
            return ei_fail(err, EI_E_FORMAT, "plan is damaged: step %u writes a constant", i);
        p->pointers[f->first_arg + a] = absent ? NULL : &p->tensors[index];
    }
    ei_node *node = &p->nodes[i];
    *node = (ei_node){.in = p->pointers + f->first_arg,
                      .out = p->pointers + f->first_arg + f->n_in,
                      .params = p->file + h->off_params + f->params,
                      .params_bytes = f->params_bytes,
                      .op = f->op,
                      .layout = f->layout,
                      .n_in = f->n_in,
                      .n_out = f->n_out,
                      .rounding = (uint8_t)h->rounding};
    if (f->delegate) return dense(node) ? EI_OK : strided_fail(err, i);
    node->kernel = ei_find_kernel((int)h->isa, node);
    if (!node->kernel)
        return ei_fail(err, EI_E_UNSUPPORTED,
                       "step %u ('%s', op %u, layout %u): no kernel for ISA '%s' takes it", i,
                       p->strings + f->name, f->op, f->layout, ei_isa_name((int)h->isa));
    if (!apart(p, f))
        return ei_fail(err, EI_E_FORMAT, "plan is damaged: step %u writes over what it reads", i);
    size_t scratch = node->kernel->scratch ? node->kernel->scratch(node) : 0;
    if (scratch > p->scratch_bytes) p->scratch_bytes = scratch;
    return EI_OK;
}

static int bind_all(ei_plan *p, ei_error *err) {
    const ei_file_header *h = p->header;
    int status = EI_OK;
    for (uint32_t i = 0; i < h->n_inputs + h->n_outputs; i++)
        if (p->args[i] >= h->n_tensors)
            return ei_fail(err, EI_E_FORMAT, "plan is damaged: input or output %u", i);
    for (uint32_t i = 0; i < h->n_delegates; i++) {
        const ei_file_delegate *d = (const ei_file_delegate *)(p->file + h->off_delegates) + i;
        if (d->name >= h->strings_bytes ||
            !inside(d->offset, d->bytes, h->file_bytes - h->off_data))
            return ei_fail(err, EI_E_FORMAT, "plan is damaged: delegate part %u", i);
    }
    for (uint32_t i = 0; i < h->n_tensors && !status; i++) status = bind_tensor(p, i, err);
    for (uint32_t i = 0; i < h->n_inputs + h->n_outputs && !status; i++)
        if (ei_is_strided(&p->tensors[p->args[i]]))
            status = ei_fail(err, EI_E_FORMAT, "plan is damaged: rows of input or output %u", i);
    for (uint32_t i = 0; i < h->n_steps && !status; i++) status = bind_step(p, i, err);
    return status;
}

int ei_plan_open(const void *data, uint64_t size, ei_plan **plan, ei_error *err) {
    if (!plan) return ei_fail(err, EI_E_ARGUMENT, "ei_plan_open: plan is NULL");
    *plan = NULL;
    int status = check_header(data, size, err);
    if (status) return status;
    ei_plan *p = calloc(1, sizeof *p);
    if (!p) return ei_fail(err, EI_E_MEMORY, "out of memory opening a plan");
    const ei_file_header *h = data;
    p->file = data;
    p->header = h;
    p->file_tensors = (const void *)(p->file + h->off_tensors);
    p->file_steps = (const void *)(p->file + h->off_steps);
    p->args = (const void *)(p->file + h->off_args);
    p->strings = (const char *)(p->file + h->off_strings);
    p->tensors = calloc((size_t)h->n_tensors + 1, sizeof *p->tensors);
    p->nodes = calloc((size_t)h->n_steps + 1, sizeof *p->nodes);
    p->pointers = calloc((size_t)h->n_args + 1, sizeof *p->pointers);
    if (!p->tensors || !p->nodes || !p->pointers)
        status = ei_fail(err, EI_E_MEMORY, "out of memory opening a plan");
    if (!status) status = bind_all(p, err);
    if (status)
        ei_plan_close(p);
    else
        *plan = p;
    return status;
}

void ei_plan_close(ei_plan *p) {
    if (!p) return;
    free(p->tensors);
    free(p->nodes);
    free(p->pointers);
    free(p);
}

int ei_plan_inputs(const ei_plan *p) {
    return (int)p->header->n_inputs;
}
int ei_plan_outputs(const ei_plan *p) {
    return (int)p->header->n_outputs;
}
int ei_plan_tensors(const ei_plan *p) {
    return (int)p->header->n_tensors;
}
int ei_plan_steps(const ei_plan *p) {
    return (int)p->header->n_steps;
}
uint64_t ei_plan_arena_bytes(const ei_plan *p) {
    return p->header->arena_bytes;
}

int ei_plan_input(const ei_plan *p, int i) {
    return i >= 0 && i < ei_plan_inputs(p) ? (int)p->args[i] : -1;
}

int ei_plan_output(const ei_plan *p, int i) {
    return i >= 0 && i < ei_plan_outputs(p) ? (int)p->args[p->header->n_inputs + (uint32_t)i] : -1;
}

int ei_plan_tensor(const ei_plan *p, int tensor, ei_tensor_info *info) {
    if (!info || tensor < 0 || tensor >= ei_plan_tensors(p)) return EI_E_ARGUMENT;
    const ei_file_tensor *f = &p->file_tensors[tensor];
    *info = (ei_tensor_info){.name = p->strings + f->name,
                             .dtype = f->dtype,
                             .rank = f->rank,
                             .scale = f->scale,
                             .zero = f->zero,
                             .bytes = p->tensors[tensor].bytes};
    memcpy(info->dims, p->tensors[tensor].dims, sizeof info->dims);
    return EI_OK;
}

static bool is_step(const ei_plan *p, int step) {
    return step >= 0 && step < ei_plan_steps(p);
}

const char *ei_plan_step_name(const ei_plan *p, int step) {
    return is_step(p, step) ? p->strings + p->file_steps[step].name : NULL;
}

const char *ei_plan_step_kernel(const ei_plan *p, int step) {
    const ei_kernel *kernel = is_step(p, step) ? p->nodes[step].kernel : NULL;
    return kernel ? kernel->name : NULL;
}

int ei_plan_step_shares(const ei_plan *p, int step) {
    const ei_kernel *kernel = is_step(p, step) ? p->nodes[step].kernel : NULL;
    return kernel && kernel->parallel ? EI_MAX_THREADS : 1;
}

int ei_plan_delegate(const ei_plan *p, int part, const char **name, const void **data,
                     uint64_t *bytes) {
    const ei_file_header *h = p->header;
    if (part < 1 || (uint32_t)part > h->n_delegates) return EI_E_ARGUMENT;
    const ei_file_delegate *d = (const ei_file_delegate *)(p->file + h->off_delegates) + part - 1;
    *name = p->strings + d->name;
    *data = p->file + h->off_data + d->offset;
    *bytes = d->bytes;
    return EI_OK;
}

int ei_plan_step_tensors(const ei_plan *p, int step, int *tensors, int count) {
    if (!is_step(p, step)) return -1;
    const ei_file_step *f = &p->file_steps[step];
    int n = f->n_in + f->n_out;
    for (int i = 0; i < n && i < count; i++) tensors[i] = (int)p->args[f->first_arg + (uint32_t)i];
    return f->n_in << 16 | f->n_out;
}

int ei_plan_isa(const ei_plan *p) {
    return (int)p->header->isa;
}
int ei_plan_rounding(const ei_plan *p) {
    return (int)p->header->rounding;
}

int ei_plan_step_delegate(const ei_plan *p, int step) {
    return is_step(p, step) ? (int)p->file_steps[step].delegate : -1;
}

double ei_plan_step_macs(const ei_plan *p, int step) {
    return is_step(p, step) ? (double)p->file_steps[step].macs : 0;
}
