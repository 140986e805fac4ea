/* What ties a plan to the TFLite model it was made from. */
#ifndef EI_TFLITE_BINDING_H
#define EI_TFLITE_BINDING_H

#include "../../engine/plan.h"
#include "tflite_abi.h"

/* Name of the delegate part of a plan that holds the record below. No step belongs to it. */
#define EI_BINDING_PART    "tflite-model"
#define EI_BINDING_VERSION 1

/* The record, little-endian; written by edgeinfer/engine/binding.py. After it, 32-bit each:
 * nodes: (index, bytes of its options that count) each; inputs and outputs of the plan as tensor
 * indices of the model (-1: the runtime's own affair); for every other subgraph of the model
 * (tensors, operators); then the model's name with a zero. */
typedef struct ei_binding_header {
    uint32_t version;
    uint32_t graph_crc;              /* CRC-32 of the structure of the nodes taken, see binding.c */
    uint32_t weights_crc;            /* CRC-32 of the constants they read */
    uint32_t n_tensors, n_operators; /* of the model's main graph */
    uint32_t n_nodes, n_inputs, n_outputs, n_others, name_bytes;
} ei_binding_header;

typedef struct ei_binding {
    ei_binding_header h;
    const int32_t *nodes, *inputs, *outputs, *others;
    const char *name;
} ei_binding;

/* Finds the record of a plan and checks that it fits it. */
int ei_binding_read(const ei_plan *plan, ei_binding *binding, ei_error *err);

/* Whether the graph is one of the model's other subgraphs, in which there is nothing to take. */
bool ei_binding_other(const ei_binding *binding, const tfl_context *context, int n_operators);

/* Whether the runtime's structs are laid out as declared, and the graph is the plan's. */
int ei_binding_check(const ei_binding *binding, tfl_context *context, const tfl_ints *plan,
                     ei_error *err);

#endif
