/* The options of the plug-in: texts of the program that loads it. */
#define _POSIX_C_SOURCE 200809L
#include "options.h"

#include "../../engine/plan.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int set_text(char **field, const char *value, ei_error *err) {
    free(*field);
    *field = strdup(value);
    return *field ? EI_OK : ei_fail(err, EI_E_MEMORY, "out of memory");
}

static int set_threads(ei_options *o, const char *value, ei_error *err) {
    char *end;
    long n = strtol(value, &end, 10);
    if (end == value || *end || n < 1 || n > EI_MAX_THREADS)
        return ei_fail(err, EI_E_ARGUMENT, "option threads=%.40s: give a number from 1 to %d",
                       value, EI_MAX_THREADS);
    o->threads = (int)n;
    return EI_OK;
}

static int set(ei_options *o, const char *key, const char *value, ei_error *err) {
    if (!strcmp(key, "plan")) return set_text(&o->plan, value, err);
    if (!strcmp(key, "threads")) return set_threads(o, value, err);
    if (!strcmp(key, "isa")) return set_text(&o->isa, value, err);
    if (!strcmp(key, "rounding")) return set_text(&o->rounding, value, err);
    return ei_fail(err, EI_E_ARGUMENT,
                   "option '%.40s' is unknown: there are plan, rounding, threads and isa", key);
}

int ei_options_read(ei_options *o, const char *const *keys, const char *const *values, size_t count,
                    ei_error *err) {
    for (size_t i = 0; i < count; i++) {
        if (!keys[i] || !values[i])
            return ei_fail(err, EI_E_ARGUMENT, "option %zu has no key or no value", i);
        int status = set(o, keys[i], values[i], err);
        if (status) return status;
    }
    if (o->plan) return EI_OK;
    return ei_fail(err, EI_E_ARGUMENT,
                   "no plan: give the option plan=FILE, made with 'edgeinfer compile MODEL.tflite "
                   "-o FILE'");
}

void ei_options_free(ei_options *o) {
    free(o->plan);
    free(o->rounding);
    free(o->isa);
}

int ei_map_file(const char *path, ei_mapped *file, ei_error *err) {
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    int problem = fd < 0 || fstat(fd, &st) ? errno : 0;
    if (!problem && st.st_size > 0) {
        void *data = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
        if (data == MAP_FAILED)
            problem = errno;
        else
            *file = (ei_mapped){data, (uint64_t)st.st_size};
    }
    if (fd >= 0) close(fd);
    if (problem) return ei_fail(err, EI_E_ARGUMENT, "cannot be read: %s", strerror(problem));
    return file->data ? EI_OK : ei_fail(err, EI_E_FORMAT, "the file is empty");
}

void ei_unmap_file(ei_mapped *file) {
    if (file->data) munmap(file->data, file->bytes);
}
