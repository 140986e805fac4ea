/* LOGICAL_AND, LOGICAL_OR, LOGICAL_NOT on bool; both sides broadcast. */
#include "elementwise.h"
#include "strided.h"

static int check(const ei_node *node) {
    if (node->n_out != 1 || node->params_bytes != sizeof(ei_logical_params))
        return EI_E_UNSUPPORTED;
    int function = ((const ei_logical_params *)node->params)->function;
    int64_t strides[EI_MAX_DIMS];
    bool good = node->out[0] && node->out[0]->dtype == EI_BOOL && function >= EI_LOGIC_AND &&
                function <= EI_LOGIC_NOT && node->n_in == (function == EI_LOGIC_NOT ? 1 : 2);
    for (int i = 0; good && i < node->n_in; i++)
        good = node->in[i] && node->in[i]->dtype == EI_BOOL &&
               ei_broadcast_strides(node->in[i], node->out[0], strides);
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static int run(const ei_node *node, const ei_work *work) {
    const ei_tensor *y = node->out[0];
    int function = ((const ei_logical_params *)node->params)->function;
    int64_t dims[EI_MAX_DIMS], strides[2][EI_MAX_DIMS], begin, end;
    ei_full_dims(y, dims);
    for (int k = 0; k < node->n_in; k++) ei_broadcast_strides(node->in[k], y, strides[k]);
    ei_elements(node, work, &begin, &end);
    for (int64_t o = begin; o < end; o++) {
        uint8_t v[2] = {0, 0};
        for (int k = 0; k < node->n_in; k++) {
            int64_t at = 0, rest = o;
            for (int d = EI_MAX_DIMS - 1; d >= 0; d--) {
                at += rest % dims[d] * strides[k][d];
                rest /= dims[d];
            }
            v[k] = ((const uint8_t *)node->in[k]->data)[at] != 0;
        }
        ((uint8_t *)y->data)[o] = function == EI_LOGIC_NOT   ? !v[0]
                                  : function == EI_LOGIC_AND ? v[0] & v[1]
                                                             : v[0] | v[1];
    }
    return EI_OK;
}

const ei_kernel ei_ref_logical = {
    .name = "ref/logical", .op = EI_OP_LOGICAL, .parallel = true, .check = check, .run = run};
