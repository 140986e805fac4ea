/* Runs saved plans with no Python.
 *   run_cases DIR COUNT    for every i < COUNT runs DIR/i.plan on the bytes of all its inputs in
 *                          DIR/i.in with one, two and three threads, which must agree; writes all
 *                          outputs to DIR/i.out and the kernels' names as a line to standard output
 *   run_cases              lists the kernels of every ISA of this machine */
#include "../read_file.h"

#include <string.h>

static int fail(int i, const char *text) {
    fprintf(stderr, "case %d: %s\n", i, text);
    return 1;
}

/* Bytes of all inputs, or of all outputs; copied from `from` or to `to` where not NULL. */
static size_t copy(const ei_plan *plan, ei_session *s, const uint8_t *from, uint8_t *to) {
    size_t at = 0;
    int n = from ? ei_plan_inputs(plan) : ei_plan_outputs(plan);
    for (int i = 0; i < n; i++) {
        int tensor = from ? ei_plan_input(plan, i) : ei_plan_output(plan, i);
        ei_tensor_info info;
        ei_plan_tensor(plan, tensor, &info);
        if (from) memcpy(ei_session_tensor(s, tensor), from + at, info.bytes);
        if (to) memcpy(to + at, ei_session_tensor(s, tensor), info.bytes);
        at += info.bytes;
    }
    return at;
}

/* The outputs of a run, to be freed; NULL where it failed. */
static uint8_t *outputs(const ei_plan *plan, int threads, const uint8_t *input, ei_error *err) {
    ei_session *session = NULL;
    if (ei_session_create(plan, threads, &session, err)) return NULL;
    copy(plan, session, input, NULL);
    uint8_t *out = NULL;
    if (!ei_session_run(session)) out = malloc(copy(plan, session, NULL, NULL) + 1);
    if (out) copy(plan, session, NULL, out);
    ei_session_destroy(session);
    return out;
}

static size_t output_bytes(const ei_plan *plan) {
    size_t total = 0;
    for (int i = 0; i < ei_plan_outputs(plan); i++) {
        ei_tensor_info info;
        ei_plan_tensor(plan, ei_plan_output(plan, i), &info);
        total += info.bytes;
    }
    return total;
}

static int try_threads(int i, const ei_plan *plan, const uint8_t *input, const char *path) {
    ei_error err = {0};
    size_t bytes = output_bytes(plan);
    uint8_t *first = outputs(plan, 1, input, &err);
    int status = first ? 0 : fail(i, err.text);
    for (int threads = 2; !status && threads <= 3; threads++) {
        uint8_t *more = outputs(plan, threads, input, &err);
        if (!more || memcmp(first, more, bytes)) status = fail(i, "threads disagree");
        free(more);
    }
    FILE *f = status ? NULL : fopen(path, "wb");
    if (f) fwrite(first, 1, bytes, f);
    if (f) fclose(f);
    free(first);
    return status;
}

static int try_case(const char *folder, int i) {
    char path[3][4096];
    static const char *const kinds[] = {"plan", "in", "out"};
    for (int k = 0; k < 3; k++) snprintf(path[k], sizeof path[k], "%s/%d.%s", folder, i, kinds[k]);
    size_t size = 0, input_size = 0;
    void *file = read_file(path[0], &size), *input = read_file(path[1], &input_size);
    ei_plan *plan = NULL;
    ei_error err = {0};
    int status = file && input ? ei_plan_open(file, size, &plan, &err) : fail(i, "no such file");
    if (err.status) status = fail(i, err.text);
    if (!status) status = try_threads(i, plan, input, path[2]);
    for (int k = 0; !status && k < ei_plan_steps(plan); k++)
        printf("%s ", ei_plan_step_kernel(plan, k));
    printf("\n");
    ei_plan_close(plan);
    free(file);
    free(input);
    return status;
}

int main(int argc, char **argv) {
    if (argc == 1)
        for (int isa = 0; isa < EI_ISAS; isa++)
            for (int i = 0; ei_isa_kernel(isa, i); i++) puts(ei_isa_kernel(isa, i));
    int status = 0;
    for (int i = 0; argc == 3 && !status && i < atoi(argv[2]); i++) status = try_case(argv[1], i);
    return status;
}
