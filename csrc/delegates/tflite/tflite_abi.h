/* The few structs of TensorFlow Lite's classic delegate ABI that the plug-in touches, as tflite 2.4
 * to 2.14 and LiteRT 1 and 2 lay them out (tensorflow/lite/core/c/common.h). Declared here, so that
 * building needs no TensorFlow; functions are reached through the pointers of the context alone, so
 * that loading needs none either. What is passed by value or indexed has its size checked. */
#ifndef EI_TFLITE_ABI_H
#define EI_TFLITE_ABI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum tfl_status { TFL_OK = 0, TFL_ERROR = 1, TFL_DELEGATE_ERROR = 2 } tfl_status;

enum { TFL_MMAP_RO = 1, TFL_ALLOCATIONS = 9 }; /* tfl_tensor.allocation_type */
enum { TFL_AFFINE = 1 };                       /* tfl_quantization.type */
enum { TFL_CUSTOM_CODE = 32 };                 /* builtin code of custom operators */
enum { TFL_TYPES = 32 };                       /* far above the types there are (20) */
enum { TFL_FLAG_ALLOW_DYNAMIC_TENSORS = 1 };   /* without it all operators are prepared twice */

typedef struct tfl_ints {
    int size;
    int data[];
} tfl_ints;

typedef struct tfl_floats {
    int size;
    float data[];
} tfl_floats;

typedef struct tfl_affine {
    tfl_floats *scale;
    tfl_ints *zero_point; /* may have one element for all scales */
    int32_t quantized_dimension;
} tfl_affine;

typedef struct tfl_quantization {
    int type; /* `params` is a tfl_affine only where this is TFL_AFFINE */
    void *params;
} tfl_quantization;

typedef struct tfl_delegate tfl_delegate;
typedef struct tfl_context tfl_context;

typedef struct tfl_tensor {
    int type;
    void *data;
    tfl_ints *dims;
    struct {
        float scale;
        int32_t zero_point;
    } params;
    int allocation_type;
    size_t bytes;
    const void *allocation;
    const char *name;
    tfl_delegate *delegate;
    int buffer_handle;
    bool data_is_stale;
    bool is_variable;
    tfl_quantization quantization;
    void *sparsity;
    const tfl_ints *dims_signature;
} tfl_tensor;

typedef struct tfl_node {
    tfl_ints *inputs, *outputs, *intermediates, *temporaries;
    void *user_data;
    void *builtin_data;
    const void *custom_initial_data;
    int custom_initial_data_size;
    tfl_delegate *delegate;
    bool might_have_side_effect;
} tfl_node;

/* Passed by value, and grown from version to version: the zeroed tail is what a newer runtime reads
 * behind the fields we know. Structs of this size are passed in memory on every 64-bit machine, so
 * an older runtime reads its part of it. */
typedef struct tfl_registration {
    void *(*init)(tfl_context *, const char *buffer, size_t length);
    void (*free)(tfl_context *, void *data);
    tfl_status (*prepare)(tfl_context *, tfl_node *);
    tfl_status (*invoke)(tfl_context *, tfl_node *);
    const char *(*profiling_string)(const tfl_context *, const tfl_node *);
    int32_t builtin_code;
    const char *custom_name;
    int version;
    void *tail[16];
} tfl_registration;

/* What `init` of a delegate's kernel is given as its buffer. */
typedef struct tfl_delegate_params {
    tfl_delegate *delegate;
    tfl_ints *nodes_to_replace, *input_tensors, *output_tensors;
} tfl_delegate_params;

struct tfl_context { /* the leading part: it is never copied */
    size_t tensors_size;
    tfl_status (*GetExecutionPlan)(tfl_context *, tfl_ints **plan);
    tfl_tensor *tensors;
    void *impl;
    tfl_status (*ResizeTensor)(tfl_context *, tfl_tensor *, tfl_ints *size); /* takes `size` */
    void (*ReportError)(tfl_context *, const char *format, ...);
    tfl_status (*AddTensors)(tfl_context *, int, int *);
    tfl_status (*GetNodeAndRegistration)(tfl_context *, int node, tfl_node **, tfl_registration **);
    tfl_status (*ReplaceNodeSubsetsWithDelegateKernels)(tfl_context *, tfl_registration,
                                                        const tfl_ints *nodes, tfl_delegate *);
    int recommended_num_threads;
};

struct tfl_delegate {
    void *data;
    tfl_status (*Prepare)(tfl_context *, tfl_delegate *);
    tfl_status (*CopyFromBufferHandle)(tfl_context *, tfl_delegate *, int, tfl_tensor *);
    tfl_status (*CopyToBufferHandle)(tfl_context *, tfl_delegate *, int, tfl_tensor *);
    void (*FreeBufferHandle)(tfl_context *, tfl_delegate *, int *);
    int64_t flags;
    void *opaque_delegate_builder;
    void *tail[4]; /* zeros for what later versions append */
};

#if UINTPTR_MAX > 0xffffffffu
#define TFL_TENSOR_BYTES 112
_Static_assert(sizeof(tfl_tensor) == TFL_TENSOR_BYTES, "layout of TfLiteTensor");
_Static_assert(offsetof(tfl_tensor, quantization) == 80, "layout of TfLiteTensor");
_Static_assert(offsetof(tfl_registration, tail) == 64, "layout of TfLiteRegistration");
_Static_assert(offsetof(tfl_context, recommended_num_threads) == 72, "layout of TfLiteContext");
_Static_assert(offsetof(tfl_delegate, opaque_delegate_builder) == 48, "layout of TfLiteDelegate");
#else
#define TFL_TENSOR_BYTES sizeof(tfl_tensor)
#endif

#endif
