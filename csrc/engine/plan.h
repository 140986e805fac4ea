/* The plan file and its form in memory. All numbers little-endian, all offsets from the start of
 * the file, sections 64-byte aligned. Written by edgeinfer/engine/plan.py. */
#ifndef EI_PLAN_H
#define EI_PLAN_H

#include "../kernels/kernel.h"

#define EI_NO_TENSOR 0xffffffffu
#define EI_NO_DATA   UINT64_MAX

enum { EI_IN_ARENA = 0, EI_CONSTANT = 1, EI_STATE = 2 };

typedef struct ei_file_header { /* 128 bytes */
    char magic[8];              /* "EIPLAN\r\n": text-mode transfers damage it visibly */
    uint32_t version, crc32;    /* CRC-32 of the file with this field zero */
    uint64_t file_bytes, arena_bytes;
    uint32_t isa, rounding;
    uint32_t n_tensors, n_steps, n_args, n_inputs, n_outputs, n_delegates;
    uint64_t off_tensors, off_steps, off_args, off_params, off_strings, off_data;
    uint32_t params_bytes, strings_bytes;
    uint64_t off_delegates;
} ei_file_header;

typedef struct ei_file_tensor { /* 64 bytes */
    uint8_t dtype, rank, kind, reserved;
    uint32_t name; /* into strings */
    int32_t dims[EI_MAX_DIMS];
    float scale;
    int32_t zero;
    uint64_t offset;  /* in the arena, or of a constant from off_data */
    uint64_t stride;  /* elements from a row of the last dimension to the next */
    uint64_t initial; /* state: its first value from off_data; EI_NO_DATA: zeros */
} ei_file_tensor;

typedef struct ei_file_step { /* 32 bytes */
    uint16_t op, layout, n_in, n_out;
    uint32_t first_arg; /* into args: inputs, then outputs; EI_NO_TENSOR: absent */
    uint32_t params, params_bytes;
    uint32_t name;     /* into strings */
    uint16_t delegate; /* 0: the C engine, else 1 + index of the delegate part */
    uint16_t workers;  /* most that share the step; 0: as many as its size is worth */
    float macs;        /* multiply-accumulates of a run, for profiles; 0: none, or not known */
} ei_file_step;

typedef struct ei_file_delegate { /* 24 bytes */
    uint32_t name, reserved;
    uint64_t offset, bytes; /* what the delegate compiled, from off_data */
} ei_file_delegate;

struct ei_plan {
    const uint8_t *file;
    const ei_file_header *header;
    const ei_file_tensor *file_tensors;
    const ei_file_step *file_steps;
    const uint32_t *args; /* inputs, outputs, then the steps' */
    const char *strings;
    ei_tensor *tensors; /* constants bound, the rest unbound: for check() */
    ei_node *nodes;     /* in/out point into `pointers` */
    ei_tensor **pointers;
    size_t scratch_bytes; /* per worker */
};

int ei_fail(ei_error *err, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
uint32_t ei_crc32(uint32_t crc, const void *data, size_t bytes);
uint64_t ei_dtype_bytes(int dtype);
/* The first kernel of that ISA's tables (ref last) whose check accepts the node, or NULL. */
const ei_kernel *ei_find_kernel(int isa, const ei_node *node);

#endif
