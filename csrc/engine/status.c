/* Status texts, error sentences. */
#include "plan.h"

#include <stdarg.h>
#include <stdio.h>

static const char *const texts[] = {
    "success",
    "an argument is out of range",
    "not a plan, or a damaged one",
    "a plan of another format version",
    "the plan needs instructions this machine lacks",
    "no kernel here takes this step",
    "out of memory while a session is built",
    "the step belongs to a delegate that this program does not drive",
    "input values made a step impossible",
    "the run was cancelled",
    "the session is closed",
};

const char *ei_status_text(int status) {
    int n = (int)(sizeof texts / sizeof *texts);
    return status >= 0 && status < n ? texts[status] : "unknown status";
}

const char *ei_version(void) {
    return "0.1.0";
}

int ei_fail(ei_error *err, int status, const char *format, ...) {
    if (err) {
        va_list args;
        va_start(args, format);
        err->status = status;
        vsnprintf(err->text, sizeof err->text, format, args);
        va_end(args);
    }
    return status;
}

uint64_t ei_dtype_bytes(int dtype) {
    static const uint8_t size[EI_DTYPES] = {4, 2, 1, 1, 2, 4, 8, 1, 1, 8};
    return dtype >= 0 && dtype < EI_DTYPES ? size[dtype] : 0;
}
