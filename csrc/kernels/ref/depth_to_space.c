/* DEPTH_TO_SPACE: [N, H, W, B B C] -> [N, H B, W B, C]; SPACE_TO_DEPTH: the way back. */
#include "strided.h"

/* Whether `deep` and `wide` are the two ends of the move. */
static bool fits(const ei_tensor *deep, const ei_tensor *wide, int64_t block) {
    return block >= 1 && deep->rank == 4 && wide->rank == 4 && deep->dims[0] == wide->dims[0] &&
           deep->dims[1] * block == wide->dims[1] && deep->dims[2] * block == wide->dims[2] &&
           wide->dims[3] * block * block == deep->dims[3];
}

static int check(const ei_node *node) {
    if (node->n_in != 1 || node->n_out != 1 || node->params_bytes != sizeof(ei_block_params))
        return EI_E_UNSUPPORTED;
    const ei_tensor *x = node->in[0], *y = node->out[0];
    const ei_block_params *p = node->params;
    bool to_space = node->op == EI_OP_DEPTH_TO_SPACE;
    bool good = x && y && x->dtype == y->dtype && ei_element_bytes(x->dtype) &&
                p->block_h == p->block_w && p->block_h < 1 << 15 &&
                (to_space ? fits(x, y, p->block_h) : fits(y, x, p->block_h));
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static int run(const ei_node *node, const ei_work *work) {
    const ei_tensor *x = node->in[0], *y = node->out[0];
    int64_t block = ((const ei_block_params *)node->params)->block_h;
    bool to_space = node->op == EI_OP_DEPTH_TO_SPACE;
    const ei_tensor *deep = to_space ? x : y, *wide = to_space ? y : x;
    int64_t d[EI_MAX_DIMS], w[EI_MAX_DIMS], c = wide->dims[3];
    ei_dense_strides(deep, d);
    ei_dense_strides(wide, w);
    /* n, row, row in block, column, column in block, channel */
    int64_t dims[6] = {deep->dims[0], deep->dims[1], block, deep->dims[2], block, c};
    int64_t in_deep[6] = {d[0], d[1], d[3] * c * block, d[2], d[3] * c, d[3]};
    int64_t in_wide[6] = {w[0], w[1] * block, w[1], w[2] * block, w[2], w[3]};
    ei_strided s = {.element = ei_element_bytes(x->dtype)};
    for (int i = 0; i < 6; i++)
        ei_strided_add(&s, dims[i], to_space ? in_wide[i] : in_deep[i],
                       to_space ? in_deep[i] : in_wide[i]);
    ei_strided_copy(&s, y->data, x->data, work);
    return EI_OK;
}

const ei_kernel ei_ref_depth_to_space = {.name = "ref/depth_to_space",
                                         .op = EI_OP_DEPTH_TO_SPACE,
                                         .parallel = true,
                                         .check = check,
                                         .run = run};
const ei_kernel ei_ref_space_to_depth = {.name = "ref/space_to_depth",
                                         .op = EI_OP_SPACE_TO_DEPTH,
                                         .parallel = true,
                                         .check = check,
                                         .run = run};
