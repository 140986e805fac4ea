/* What the elementwise kernels check and split alike. */
#ifndef EI_REF_ELEMENTWISE_H
#define EI_REF_ELEMENTWISE_H

#include "../kernel.h"

/* Plain loops gain most of what an ISA has by being compiled for it: another folder's file defines
 * its prefix and includes the reference. Without contraction the results are the same bits. */
#ifndef EI_FOLDER
#define EI_FOLDER ref
#endif
#define EI_JOIN_(folder, name)  ei_##folder##_##name
#define EI_JOIN(folder, name)   EI_JOIN_(folder, name)
#define EI_TEXT_(folder)        #folder
#define EI_TEXT(folder)         EI_TEXT_(folder)
#define EI_KERNEL(name)         EI_JOIN(EI_FOLDER, name)
#define EI_KERNEL_NAME(literal) EI_TEXT(EI_FOLDER) "/" literal

/* Input and output of an elementwise loop may be the same memory: each element depends on itself
 * alone, which the compiler cannot know. */
#if defined(__GNUC__) && !defined(__clang__)
#define EI_ELEMENTWISE _Pragma("GCC ivdep")
#else
#define EI_ELEMENTWISE
#endif

/* One input and one output of the same shape, and parameters of that many bytes. */
static inline bool ei_one_to_one(const ei_node *node, size_t params_bytes) {
    return node->n_in == 1 && node->n_out == 1 && node->in[0] && node->out[0] &&
           node->params_bytes == params_bytes && ei_same_shape(node->in[0], node->out[0]);
}

static inline bool ei_same_quant(const ei_tensor *a, const ei_tensor *b) {
    return a->dtype == b->dtype && a->scale == b->scale && a->zero == b->zero;
}

/* This worker's elements of out[0], whole cache lines of the smallest type. */
static inline void ei_elements(const ei_node *node, const ei_work *work, int64_t *begin,
                               int64_t *end) {
    ei_split(ei_count(node->out[0]), EI_ALIGN, work, begin, end);
}

/* The same as lines, each of adjacent elements in in[0] and out[0] alike: one where both are dense,
 * else one for every row. Offsets and distances in elements. */
typedef struct ei_lines {
    int64_t count, width;
    int64_t x, y; /* of the first line */
    int64_t x_step, y_step;
} ei_lines;

static inline ei_lines ei_lines_of(const ei_node *node, const ei_work *work) {
    const ei_tensor *x = node->in[0], *y = node->out[0];
    int64_t begin, end;
    if (!ei_is_strided(x) && !ei_is_strided(y)) {
        ei_elements(node, work, &begin, &end);
        return (ei_lines){1, end - begin, begin, begin, 0, 0};
    }
    ei_split(ei_count(y) / ei_width(y), 1, work, &begin, &end);
    return (ei_lines){end - begin,       ei_width(y), begin * x->stride,
                      begin * y->stride, x->stride,   y->stride};
}

/* An element of an integer tensor of 8, 16 or 32 bits, or bool. */
static inline int32_t ei_load_int(const ei_tensor *t, int64_t i) {
    switch (t->dtype) {
    case EI_I8:
        return ((const int8_t *)t->data)[i];
    case EI_U8:
    case EI_BOOL:
        return ((const uint8_t *)t->data)[i];
    case EI_I16:
        return ((const int16_t *)t->data)[i];
    default:
        return ((const int32_t *)t->data)[i];
    }
}

/* The range of an integer type of 8, 16 or 32 bits. */
static inline void ei_int_range(int dtype, int32_t *lo, int32_t *hi) {
    *lo = dtype == EI_I8 ? INT8_MIN : dtype == EI_U8 ? 0 : dtype == EI_I16 ? INT16_MIN : INT32_MIN;
    *hi = dtype == EI_I8    ? INT8_MAX
          : dtype == EI_U8  ? UINT8_MAX
          : dtype == EI_I16 ? INT16_MAX
                            : INT32_MAX;
}

static inline void ei_store_int(const ei_tensor *t, int64_t i, int32_t v) {
    switch (t->dtype) {
    case EI_I8:
        ((int8_t *)t->data)[i] = (int8_t)v;
        break;
    case EI_U8:
        ((uint8_t *)t->data)[i] = (uint8_t)v;
        break;
    case EI_I16:
        ((int16_t *)t->data)[i] = (int16_t)v;
        break;
    default:
        ((int32_t *)t->data)[i] = v;
        break;
    }
}

#endif
