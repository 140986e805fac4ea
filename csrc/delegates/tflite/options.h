/* The options of the plug-in, and the file they name. */
#ifndef EI_TFLITE_OPTIONS_H
#define EI_TFLITE_OPTIONS_H

#include "../../edgeinfer.h"

typedef struct ei_options {
    char *plan;           /* needed */
    char *rounding, *isa; /* NULL: whatever the plan has */
    int threads;          /* 0: what the interpreter recommends */
} ei_options;

/* Reads pairs of texts; an unknown key or a bad value is an error that names it. */
int ei_options_read(ei_options *options, const char *const *keys, const char *const *values,
                    size_t count, ei_error *err);
void ei_options_free(ei_options *options);

typedef struct ei_mapped {
    void *data; /* page-aligned */
    uint64_t bytes;
} ei_mapped;

int ei_map_file(const char *path, ei_mapped *file, ei_error *err);
void ei_unmap_file(ei_mapped *file);

#endif
