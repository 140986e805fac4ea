/* SPACE_TO_BATCH: the image, padded, dealt out to block_h x block_w smaller ones, each its own
 * batch; BATCH_TO_SPACE: the way back, cropped. Batch b of the small side holds block position
 * b / N of image b % N. */
#include <string.h>

#include "strided.h"

typedef struct ends {
    int64_t n, h, w, c; /* the large side */
    int64_t small_h, small_w;
} ends;

/* Both sides as N, H, W, C; rank 3 has no W. */
static bool sides(const ei_tensor *large, const ei_tensor *small, const ei_block_params *p,
                  ends *e) {
    if (large->rank != small->rank || (large->rank != 3 && large->rank != 4)) return false;
    bool flat = large->rank == 3;
    *e = (ends){large->dims[0],
                large->dims[1],
                flat ? 1 : large->dims[2],
                large->dims[large->rank - 1],
                small->dims[1],
                flat ? 1 : small->dims[2]};
    return p->block_h >= 1 && p->block_w >= 1 && p->top >= 0 && p->bottom >= 0 && p->left >= 0 &&
           p->right >= 0 && (!flat || (p->block_w == 1 && p->left == 0 && p->right == 0)) &&
           small->dims[small->rank - 1] == e->c &&
           e->n * p->block_h <= INT32_MAX / p->block_w && /* no overflow below */
           small->dims[0] == e->n * p->block_h * p->block_w &&
           e->small_h * p->block_h == e->h + p->top + p->bottom &&
           e->small_w * p->block_w == e->w + p->left + p->right;
}

static int check(const ei_node *node) {
    if (node->n_in != 1 || node->n_out != 1 || node->params_bytes != sizeof(ei_block_params))
        return EI_E_UNSUPPORTED;
    const ei_tensor *x = node->in[0], *y = node->out[0];
    ends e;
    if (!x || !y || x->dtype != y->dtype || !ei_element_bytes(x->dtype)) return EI_E_UNSUPPORTED;
    bool to_batch = node->op == EI_OP_SPACE_TO_BATCH;
    return sides(to_batch ? x : y, to_batch ? y : x, node->params, &e) ? EI_OK : EI_E_UNSUPPORTED;
}

static void fill(char *dst, int64_t elements, int64_t element, int32_t value) {
    if (element == 1)
        memset(dst, value & 0xff, (size_t)elements);
    else if (value == 0)
        memset(dst, 0, (size_t)(elements * element));
    else /* little-endian: the low bytes of the pattern */
        for (int64_t i = 0; i < elements; i++)
            memcpy(dst + i * element, &value, element < 4 ? (size_t)element : 4);
}

static int run(const ei_node *node, const ei_work *work) {
    const ei_block_params *p = node->params;
    bool to_batch = node->op == EI_OP_SPACE_TO_BATCH;
    const ei_tensor *x = node->in[0], *y = node->out[0];
    ends e;
    sides(to_batch ? x : y, to_batch ? y : x, p, &e);
    int64_t element = ei_element_bytes(x->dtype), row = e.c * element;
    int64_t batches = e.n * p->block_h * p->block_w, begin, end;
    const ei_work whole = {.threads = 1};
    ei_split(batches, 1, work, &begin, &end);
    for (int64_t b = begin; b < end; b++) {
        int64_t at = b / e.n, bh = at / p->block_w, bw = at % p->block_w, small = e.small_w * row;
        /* small row i is large row i * block_h + bh - top: those inside the large side */
        int64_t i0 = p->top > bh ? (p->top - bh + p->block_h - 1) / p->block_h : 0;
        int64_t j0 = p->left > bw ? (p->left - bw + p->block_w - 1) / p->block_w : 0;
        int64_t rows = e.h - 1 - (i0 * p->block_h + bh - p->top);
        int64_t columns = e.w - 1 - (j0 * p->block_w + bw - p->left);
        rows = rows < 0 ? 0 : rows / p->block_h + 1;
        columns = columns < 0 ? 0 : columns / p->block_w + 1;
        char *image = (char *)(to_batch ? y : x)->data + b * e.small_h * small;
        char *large = (char *)(to_batch ? x : y)->data + b % e.n * e.h * e.w * row;
        if (to_batch) fill(image, e.small_h * e.small_w * e.c, element, p->value);
        if (!rows || !columns) continue;
        image += i0 * small + j0 * row;
        large += ((i0 * p->block_h + bh - p->top) * e.w + j0 * p->block_w + bw - p->left) * row;
        ei_strided s = {.element = element};
        int64_t down = p->block_h * e.w * row, right = p->block_w * row;
        ei_strided_add(&s, rows, to_batch ? small : down, to_batch ? down : small);
        ei_strided_add(&s, columns, to_batch ? row : right, to_batch ? right : row);
        ei_strided_add(&s, e.c, element, element);
        ei_strided_copy(&s, to_batch ? image : large, to_batch ? large : image, &whole);
    }
    return EI_OK;
}

const ei_kernel ei_ref_space_to_batch = {.name = "ref/space_to_batch",
                                         .op = EI_OP_SPACE_TO_BATCH,
                                         .parallel = true,
                                         .check = check,
                                         .run = run};
const ei_kernel ei_ref_batch_to_space = {.name = "ref/batch_to_space",
                                         .op = EI_OP_BATCH_TO_SPACE,
                                         .parallel = true,
                                         .check = check,
                                         .run = run};
