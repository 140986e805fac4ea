/* Reads the record of a plan that names its model, and holds the runtime's graph against it. */
#include "binding.h"

#include <stdlib.h>
#include <string.h>

static const uint8_t *find(const ei_plan *plan, uint64_t *bytes) {
    const char *name;
    const void *data;
    for (int part = 1; !ei_plan_delegate(plan, part, &name, &data, bytes); part++)
        if (!strcmp(name, EI_BINDING_PART)) return data;
    return NULL;
}

static int damaged(ei_error *err) {
    return ei_fail(err, EI_E_FORMAT, "the plan's record of its model is damaged");
}

static bool inputs_fit(const ei_binding *b, const ei_plan *plan) {
    const ei_binding_header *h = &b->h;
    if ((int64_t)h->n_inputs != ei_plan_inputs(plan) ||
        (int64_t)h->n_outputs != ei_plan_outputs(plan) || !h->n_nodes ||
        h->n_nodes > h->n_operators)
        return false;
    for (uint32_t i = 0; i < h->n_inputs + h->n_outputs; i++) /* the outputs lie behind */
        if (b->inputs[i] < -1 || b->inputs[i] >= (int64_t)h->n_tensors) return false;
    for (uint32_t i = 0; i < h->n_nodes; i++)
        if (b->nodes[2 * i] < 0 || b->nodes[2 * i] >= (int64_t)h->n_operators) return false;
    return true;
}

int ei_binding_read(const ei_plan *plan, ei_binding *b, ei_error *err) {
    uint64_t bytes = 0;
    const uint8_t *data = find(plan, &bytes);
    if (!data)
        return ei_fail(err, EI_E_FORMAT,
                       "the plan does not say which .tflite model it was made from: make it with "
                       "'edgeinfer compile MODEL.tflite -o PLAN'");
    if (bytes < sizeof b->h || (uintptr_t)data % 4) return damaged(err);
    memcpy(&b->h, data, sizeof b->h);
    if (b->h.version != EI_BINDING_VERSION)
        return ei_fail(err, EI_E_VERSION,
                       "the plan's record of its model has version %u, this library reads %d: "
                       "compile the model again",
                       b->h.version, EI_BINDING_VERSION);
    const ei_binding_header *h = &b->h;
    uint64_t words = 2ull * h->n_nodes + h->n_inputs + h->n_outputs + 2ull * h->n_others;
    if (!h->name_bytes || words > bytes / 4 || sizeof *h + 4 * words + h->name_bytes != bytes ||
        data[bytes - 1])
        return damaged(err);
    b->nodes = (const int32_t *)(data + sizeof *h);
    b->inputs = b->nodes + 2 * (size_t)h->n_nodes;
    b->outputs = b->inputs + h->n_inputs;
    b->others = b->outputs + h->n_outputs;
    b->name = (const char *)(b->others + 2 * (size_t)h->n_others);
    return inputs_fit(b, plan) ? EI_OK : damaged(err);
}

bool ei_binding_other(const ei_binding *b, const tfl_context *c, int n_operators) {
    for (uint32_t i = 0; i < b->h.n_others; i++)
        if (b->others[2 * i] <= (int64_t)c->tensors_size && b->others[2 * i + 1] == n_operators)
            return true;
    return false;
}

/* A runtime whose tensors have another size or order shows in the fields of a known range. */
static int check_abi(const ei_binding *b, const tfl_context *c, ei_error *err) {
    const char *ours = "the TFLite ABI that this library knows has a TfLiteTensor of";
    for (uint32_t i = 0; i < b->h.n_tensors; i++) {
        const tfl_tensor *t = &c->tensors[i];
        if (t->type < 0 || t->type >= TFL_TYPES || t->allocation_type < 0 ||
            t->allocation_type >= TFL_ALLOCATIONS || (uintptr_t)t->dims % sizeof(int) ||
            (t->allocation_type == TFL_MMAP_RO && !t->data && t->bytes))
            return ei_fail(err, EI_E_VERSION,
                           "%s %d bytes, this runtime has another: at tensor %u lie type %d, "
                           "allocation %d",
                           ours, (int)TFL_TENSOR_BYTES, i, t->type, t->allocation_type);
    }
    return EI_OK;
}

static uint32_t word(uint32_t crc, int32_t value) {
    return ei_crc32(crc, &value, sizeof value);
}

static uint32_t ints(uint32_t crc, const tfl_ints *array) {
    int n = array ? array->size : 0;
    crc = word(crc, n);
    return n > 0 ? ei_crc32(crc, array->data, (size_t)n * sizeof(int)) : crc;
}

/* How many bytes of an operator's options (TfLite*Params) may be read: the leading ones that are
 * not younger than the ABI, words first, then booleans. */
static int option_bytes(int code) {
    static const struct {
        uint8_t code, bytes;
    } known[] = {{0, 4},   {1, 24},  {2, 8},  {3, 24},  {4, 28},  {5, 4},   {9, 4},  {17, 24},
                 {18, 4},  {23, 2},  {25, 4}, {26, 4},  {36, 4},  {40, 1},  {41, 4}, {42, 4},
                 {44, 13}, {45, 20}, {49, 4}, {67, 12}, {74, 1},  {81, 1},  {82, 1}, {83, 8},
                 {88, 8},  {89, 1},  {97, 2}, {98, 4},  {100, 4}, {126, 2}, {150, 1}};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].code == code) return known[i].bytes;
    return 0;
}

static uint32_t options(uint32_t crc, const tfl_node *n, const tfl_registration *r, int bytes) {
    crc = word(crc, bytes);
    if (bytes) crc = ei_crc32(crc, n->builtin_data, (size_t)bytes);
    if (r->builtin_code != TFL_CUSTOM_CODE) return crc;
    int more = n->custom_initial_data ? n->custom_initial_data_size : 0;
    crc = ei_crc32(crc, r->custom_name, r->custom_name ? strlen(r->custom_name) : 0);
    return more > 0 ? ei_crc32(crc, n->custom_initial_data, (size_t)more) : crc;
}

static uint32_t quantisation(uint32_t crc, const tfl_tensor *t) {
    const tfl_affine *a = t->quantization.type == TFL_AFFINE ? t->quantization.params : NULL;
    int n = a && a->scale ? a->scale->size : 0;
    crc = word(crc, n);
    for (int i = 0; i < n; i++) {
        const tfl_ints *z = a->zero_point;
        int zeros = z ? z->size : 0;
        crc = ei_crc32(crc, &a->scale->data[i], 4);
        crc = word(crc, zeros > 1 && i < zeros ? z->data[i] : zeros ? z->data[0] : 0);
    }
    return n > 1 ? word(crc, a->quantized_dimension) : crc;
}

/* Dimensions count for constants alone: those of what is computed may not be known yet. */
static void add_tensor(const tfl_context *c, uint32_t i, uint32_t *graph, uint32_t *weights) {
    const tfl_tensor *t = &c->tensors[i];
    bool constant = t->allocation_type == TFL_MMAP_RO;
    uint32_t crc = word(word(word(word(*graph, (int32_t)i), t->type), t->is_variable), constant);
    crc = quantisation(crc, t);
    *graph = constant ? ints(crc, t->dims) : crc;
    if (constant) *weights = ei_crc32(*weights, t->data, t->bytes);
}

/* Marks what the node touches; false where an index lies outside the model. */
static bool touch(const ei_binding *b, const tfl_ints *indices, uint8_t *touched) {
    for (int i = 0; indices && i < indices->size; i++) {
        if (indices->data[i] >= (int64_t)b->h.n_tensors) return false;
        if (indices->data[i] >= 0) touched[indices->data[i]] = 1;
    }
    return true;
}

static int add_node(const ei_binding *b, tfl_context *c, uint32_t k, uint8_t *touched,
                    uint32_t *graph, ei_error *err) {
    int index = b->nodes[2 * k], bytes = b->nodes[2 * k + 1];
    tfl_node *n = NULL;
    tfl_registration *r = NULL;
    if (c->GetNodeAndRegistration(c, index, &n, &r) || !n || !r)
        return ei_fail(err, EI_E_VERSION, "the runtime does not tell operator %d", index);
    uint32_t crc = ints(ints(word(*graph, r->builtin_code), n->inputs), n->outputs);
    /* Another operator than the plan's shows in its code: its options are not looked at. */
    bool known = bytes >= 0 && bytes <= option_bytes(r->builtin_code) && n->builtin_data;
    *graph = options(crc, n, r, known ? bytes : 0);
    if (!touch(b, n->inputs, touched) || !touch(b, n->outputs, touched))
        return ei_fail(err, EI_E_FORMAT,
                       "operator %d of the model touches tensors beyond the %u "
                       "of '%s', which the plan was made from",
                       index, b->h.n_tensors, b->name);
    return EI_OK;
}

static int check_nodes(const ei_binding *b, const tfl_ints *plan, uint8_t *present, ei_error *err) {
    for (int i = 0; i < plan->size; i++)
        if (plan->data[i] >= 0 && plan->data[i] < (int64_t)b->h.n_operators)
            present[plan->data[i]] = 1;
    for (uint32_t i = 0; i < b->h.n_nodes; i++)
        if (!present[b->nodes[2 * i]])
            return ei_fail(err, EI_E_FORMAT,
                           "operator %d of '%s' is not among the %d that the runtime offers: "
                           "another delegate has taken it, or the model is another one",
                           b->nodes[2 * i], b->name, plan->size);
    return EI_OK;
}

static int compare(const ei_binding *b, tfl_context *c, uint8_t *touched, ei_error *err) {
    uint32_t graph = 0, weights = 0;
    int status = EI_OK;
    for (uint32_t k = 0; k < b->h.n_nodes && !status; k++)
        status = add_node(b, c, k, touched, &graph, err);
    if (status) return status;
    for (uint32_t i = 0; i < b->h.n_tensors; i++)
        if (touched[i]) add_tensor(c, i, &graph, &weights);
    if (graph == b->h.graph_crc && weights == b->h.weights_crc) return EI_OK;
    return ei_fail(
        err, EI_E_FORMAT,
        "the plan was made from '%.80s' (%08x-%08x), this model is %08x-%08x: %s differ; "
        "compile this one",
        b->name, b->h.graph_crc, b->h.weights_crc, graph, weights,
        graph != b->h.graph_crc ? "operators or tensors" : "weights");
}

int ei_binding_check(const ei_binding *b, tfl_context *c, const tfl_ints *plan, ei_error *err) {
    if (c->tensors_size < b->h.n_tensors)
        return ei_fail(err, EI_E_FORMAT,
                       "the plan was made from '%s' of %u tensors and %u operators, this model has "
                       "%zu and %d: compile this one",
                       b->name, b->h.n_tensors, b->h.n_operators, c->tensors_size, plan->size);
    int status = check_abi(b, c, err);
    size_t bytes = (size_t)b->h.n_operators + b->h.n_tensors;
    uint8_t *marks = status ? NULL : calloc(bytes, 1);
    if (!status && !marks) status = ei_fail(err, EI_E_MEMORY, "out of memory");
    if (!status) status = check_nodes(b, plan, marks, err);
    if (!status) status = compare(b, c, marks + b->h.n_operators, err);
    free(marks);
    return status;
}
