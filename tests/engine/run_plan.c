/* Loads and runs a saved plan with no Python: run_plan PLAN INPUT OUTPUT [THREADS]. The input file
 * holds the bytes of all inputs in order, the output file gets those of all outputs. */
#include "../read_file.h"

#include <string.h>

static int differ(const ei_plan *plan, ei_session *a, ei_session *b) {
    int found = 0;
    for (int i = 0; i < ei_plan_outputs(plan); i++) {
        ei_tensor_info info;
        int t = ei_plan_output(plan, i);
        ei_plan_tensor(plan, t, &info);
        found |= !!memcmp(ei_session_tensor(a, t), ei_session_tensor(b, t), info.bytes);
    }
    return found;
}

/* The plan as its own substitute, in its own memory: the same bytes. */
static int check_substitute(const ei_plan *plan, ei_session *session, int threads) {
    ei_session *ladder;
    ei_error err = {0};
    ei_result result;
    int status =
        ei_session_create_ladder((const ei_plan *[]){plan, plan}, 2, threads, &ladder, &err);
    if (status) return status != EI_E_UNSUPPORTED; /* with states */
    ei_tensor_info info;
    for (int i = 0; i < ei_plan_inputs(plan); i++) {
        int t = ei_plan_input(plan, i);
        ei_plan_tensor(plan, t, &info);
        memcpy(ei_session_tensor(ladder, t), ei_session_tensor(session, t), info.bytes);
    }
    status = ei_session_keep_last(ladder, UINT64_MAX) ||
             ei_session_substitute(ladder, 1, UINT64_MAX, &result) || result.substitute != 1;
    status |= differ(plan, ladder, session);
    /* The inputs are as they were. */
    status |= ei_session_run_by(ladder, UINT64_MAX - 1, &result) || result.outcome != EI_DONE;
    status |= ei_session_substitute(ladder, EI_LAST, UINT64_MAX, &result);
    status |= differ(plan, ladder, session);
    ei_session_destroy(ladder);
    return status;
}

int main(int argc, char **argv) {
    if (argc < 4) return 2;
    size_t size = 0, input_size = 0;
    void *file = read_file(argv[1], &size);
    uint8_t *input = read_file(argv[2], &input_size);
    ei_plan *plan = NULL;
    ei_session *session = NULL;
    ei_error err = {0};
    if (ei_plan_open(file, size, &plan, &err) ||
        ei_session_create(plan, argc > 4 ? atoi(argv[4]) : 1, &session, &err)) {
        fprintf(stderr, "%d %s\n", err.status, err.text);
        ei_plan_close(plan);
        free(file);
        free(input);
        return 1;
    }
    size_t at = 0;
    for (int i = 0; i < ei_plan_inputs(plan); i++) {
        ei_tensor_info info;
        ei_plan_tensor(plan, ei_plan_input(plan, i), &info);
        if (at + info.bytes > input_size) break;
        memcpy(ei_session_tensor(session, ei_plan_input(plan, i)), input + at, info.bytes);
        at += info.bytes;
    }
    int status = 0;
    for (int k = 0; k < 3 && !status; k++) status = ei_session_run(session);
    if (!status && check_substitute(plan, session, argc > 4 ? atoi(argv[4]) : 1)) status = 3;
    FILE *out = fopen(argv[3], "wb");
    for (int i = 0; out && i < ei_plan_outputs(plan); i++) {
        ei_tensor_info info;
        ei_plan_tensor(plan, ei_plan_output(plan, i), &info);
        fwrite(ei_session_tensor(session, ei_plan_output(plan, i)), 1, info.bytes, out);
    }
    if (out) fclose(out);
    ei_session_destroy(session);
    ei_plan_close(plan);
    free(file);
    free(input);
    return status;
}
