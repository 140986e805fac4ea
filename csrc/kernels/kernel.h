/* The contract between the plan walker and every kernel. */
#ifndef EI_KERNEL_H
#define EI_KERNEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "../edgeinfer.h"
#include "ops.h"

typedef struct ei_tensor {
    void *data; /* bound at session creation; constants point into the plan */
    uint64_t bytes;
    int32_t dims[EI_MAX_DIMS]; /* dims[rank..] are 1 */
    int32_t stride;            /* elements from a row of the last dimension to the next */
    float scale;
    int32_t zero;
    uint8_t dtype; /* ei_dtype */
    uint8_t rank;
    uint8_t constant; /* data is already valid in check() */
} ei_tensor;

typedef struct ei_node {
    const struct ei_kernel *kernel;
    ei_tensor *const *in; /* absent optional inputs are NULL */
    ei_tensor *const *out;
    const void *params;
    uint32_t params_bytes;
    uint16_t op, layout;
    uint16_t n_in, n_out;
    uint8_t rounding; /* ei_rounding */
} ei_node;

/* One worker's share of a step. */
typedef struct ei_work {
    int tid, threads; /* this worker of how many; tid 0 alone when the kernel is not parallel */
    void *scratch;    /* this worker's own, EI_ALIGN aligned, as many bytes as scratch() said */
} ei_work;

/* Tensors that lie among the channels of a larger one: in[0] and out[0] of kernels that say so. All
 * others are dense, the stride of their rows is their length. */
enum { EI_STRIDED_X = 1, EI_STRIDED_Y = 2 };

typedef struct ei_kernel {
    const char *name; /* "avx2/conv_2d_q8" */
    uint16_t op, layout;
    bool parallel;   /* run() is called on every worker and splits by tid */
    uint8_t strided; /* EI_STRIDED_X, EI_STRIDED_Y: whose rows may lie apart */
    /* EI_OK when this kernel can run the node exactly as described: checks counts, types, ranks,
     * that every shape agrees with every other and with params, that params_bytes is right, that
     * constants lie in range. A damaged plan must be stopped here: run() trusts it. */
    int (*check)(const ei_node *node);
    size_t (*scratch)(const ei_node *node); /* bytes per worker; NULL: none */
    int (*run)(const ei_node *node, const ei_work *work);
} ei_kernel;

/* Tables end with NULL. The loader asks them in order of preference; ref is always last. */
extern const ei_kernel *const ei_table_ref[];
extern const ei_kernel *const ei_table_avx2[];
extern const ei_kernel *const ei_table_avx512vnni[];
extern const ei_kernel *const ei_table_avxvnni[];
extern const ei_kernel *const ei_table_neon[];
extern const ei_kernel *const ei_table_dotprod[];
extern const ei_kernel *const ei_table_i8mm[];

static inline int64_t ei_count(const ei_tensor *t) {
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= t->dims[i];
    return n;
}

/* Elements of a row of the last dimension. */
static inline int32_t ei_width(const ei_tensor *t) {
    return t->rank ? t->dims[t->rank - 1] : 1;
}

static inline bool ei_is_strided(const ei_tensor *t) {
    return t->stride != ei_width(t);
}

static inline bool ei_same_shape(const ei_tensor *a, const ei_tensor *b) {
    if (a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dims[i] != b->dims[i]) return false;
    return true;
}

static inline bool ei_is_q8(const ei_tensor *t) {
    return t->dtype == EI_I8 || t->dtype == EI_U8;
}

/* The part [*begin, *end) of n items for one worker, in whole multiples of `grain`. */
static inline void ei_split(int64_t n, int64_t grain, const ei_work *w, int64_t *begin,
                            int64_t *end) {
    int64_t blocks = (n + grain - 1) / grain;
    int64_t b = blocks * w->tid / w->threads * grain,
            e = blocks * (w->tid + 1) / w->threads * grain;
    *begin = b < n ? b : n;
    *end = e < n ? e : n;
}

#endif
