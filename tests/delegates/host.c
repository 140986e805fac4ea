/* A host that is no TFLite: the delegate's entry points with bad options, a runtime that tells
 * nonsense, and plans given as arguments, to be run under sanitizers. Prints what was refused. */
#include "../../csrc/delegates/tflite/binding.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

tfl_delegate *tflite_plugin_create_delegate(char **, char **, size_t, void (*)(const char *));
void tflite_plugin_destroy_delegate(tfl_delegate *);

enum { TENSORS = 64, OPERATORS = 16 };

typedef struct room { /* an array of the runtime */
    int size, data[OPERATORS];
} room;

static tfl_tensor tensors[TENSORS];
static room plan = {OPERATORS, {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}},
            some = {3, {0, 1, 2}};
static int options[16];
static tfl_node node;
static tfl_registration registration;

static void say(const char *text) {
    printf("%s\n", text);
}

static void report(tfl_context *c, const char *format, ...) {
    (void)c;
    va_list list;
    va_start(list, format);
    vprintf(format, list);
    printf("\n");
    va_end(list);
}

static tfl_status get_plan(tfl_context *c, tfl_ints **out) {
    (void)c;
    *out = (tfl_ints *)(void *)&plan;
    return TFL_OK;
}

static tfl_status no_plan(tfl_context *c, tfl_ints **out) {
    (void)c, (void)out;
    return TFL_ERROR;
}

static tfl_status get_node(tfl_context *c, int i, tfl_node **n, tfl_registration **r) {
    (void)c;
    node.inputs = node.outputs = (tfl_ints *)(void *)&some;
    node.builtin_data = options;
    registration.builtin_code = i % 4 ? 3 : TFL_CUSTOM_CODE;
    registration.custom_name = i % 8 ? "x" : NULL;
    *n = &node, *r = &registration;
    return TFL_OK;
}

static tfl_status resize(tfl_context *c, tfl_tensor *t, tfl_ints *dims) {
    (void)c, (void)t;
    free(dims);
    return TFL_OK;
}

static tfl_status replace(tfl_context *c, tfl_registration r, const tfl_ints *nodes,
                          tfl_delegate *d) {
    (void)c, (void)d;
    printf("asked for %d operators as %s\n", nodes->size, r.custom_name);
    return TFL_OK;
}

static void bad_options(void) {
    char *keys[] = {"plan", "threads", NULL}, *values[] = {"/", "3", NULL};
    char *twice[] = {"plan", "plan"}, *names[] = {"a", ""};
    tflite_plugin_destroy_delegate(NULL);
    if (tflite_plugin_create_delegate(NULL, NULL, 0, NULL)) abort();
    if (tflite_plugin_create_delegate(NULL, NULL, 0, say)) abort();
    if (tflite_plugin_create_delegate(keys, values, 3, say)) abort();
    if (tflite_plugin_create_delegate(keys, values, 2, say)) abort();
    if (tflite_plugin_create_delegate(keys + 1, values + 1, 1, say)) abort();
    if (tflite_plugin_create_delegate(twice, names, 2, say)) abort();
    char *bad = "99999999999999999999", *key = "threads";
    if (tflite_plugin_create_delegate(&key, &bad, 1, say)) abort();
}

static void offer(char *path) {
    char *key = "plan";
    tfl_delegate *d = tflite_plugin_create_delegate(&key, &path, 1, say);
    if (!d) return;
    tfl_context c = {.tensors_size = TENSORS, .tensors = tensors, .ReportError = report};
    if (d->Prepare(&c, d) != TFL_DELEGATE_ERROR) abort(); /* half a context */
    c.GetExecutionPlan = no_plan, c.GetNodeAndRegistration = get_node;
    c.ReplaceNodeSubsetsWithDelegateKernels = replace, c.ResizeTensor = resize;
    if (d->Prepare(&c, d) != TFL_DELEGATE_ERROR) abort();
    c.GetExecutionPlan = get_plan;
    for (int other = 0; other < 3; other++) { /* as it should be; another layout; too few */
        memset(tensors, other == 1 ? 0x5a : 0, sizeof tensors);
        c.tensors_size = other == 2 ? 1 : TENSORS;
        if (d->Prepare(&c, d) == TFL_ERROR) abort();
    }
    tflite_plugin_destroy_delegate(d);
}

int main(int argc, char **argv) {
    bad_options();
    for (int i = 1; i < argc; i++) offer(argv[i]);
    return 0;
}
