/* What the C programs of the tests read plans and inputs with. */
#ifndef READ_FILE_H
#define READ_FILE_H

#include "edgeinfer.h"

#include <stdio.h>
#include <stdlib.h>

/* The whole file, aligned as plans must be; NULL where it cannot be opened. */
static void *read_file(const char *path, size_t *size) {
    FILE *f = fopen(path, "rb");
    if (!f) return NULL;
    fseek(f, 0, SEEK_END);
    *size = (size_t)ftell(f);
    rewind(f);
    void *data = aligned_alloc(EI_ALIGN, (*size + 2 * EI_ALIGN) / EI_ALIGN * EI_ALIGN);
    if (data && fread(data, 1, *size, f) != *size) *size = 0;
    fclose(f);
    return data;
}

#endif
