/* ARG_MAX, ARG_MIN: the index of the greatest or least element along an axis; of equals the first.
 */
#include "elementwise.h"

static int check(const ei_node *node) {
    if (node->n_in != 1 || node->n_out != 1 || node->params_bytes != sizeof(ei_arg_max_params))
        return EI_E_UNSUPPORTED;
    const ei_tensor *x = node->in[0], *y = node->out[0];
    const ei_arg_max_params *p = node->params;
    bool good = x && y && p->axis >= 0 && p->axis < x->rank && x->dims[p->axis] > 0 &&
                (x->dtype == EI_F32 || ei_is_q8(x) || x->dtype == EI_I32 || x->dtype == EI_I16 ||
                 x->dtype == EI_BOOL) &&
                (y->dtype == EI_I32 || y->dtype == EI_I64) &&
                ei_count(y) == ei_count(x) / x->dims[p->axis];
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static int64_t best_float(const float *x, int64_t n, int64_t step, bool minimum) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (minimum ? x[i * step] < x[best * step] : x[i * step] > x[best * step]) best = i;
    return best;
}

static int64_t best_int(const ei_tensor *x, int64_t at, int64_t n, int64_t step, bool minimum) {
    int64_t best = 0;
    int32_t value = ei_load_int(x, at);
    for (int64_t i = 1; i < n; i++) {
        int32_t v = ei_load_int(x, at + i * step);
        if (minimum ? v < value : v > value) {
            value = v;
            best = i;
        }
    }
    return best;
}

static int run(const ei_node *node, const ei_work *work) {
    const ei_tensor *x = node->in[0], *y = node->out[0];
    const ei_arg_max_params *p = node->params;
    int64_t n = x->dims[p->axis], inner = 1, begin, end;
    for (int d = p->axis + 1; d < x->rank; d++) inner *= x->dims[d];
    ei_elements(node, work, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        int64_t at = i / inner * n * inner + i % inner;
        int64_t best = x->dtype == EI_F32
                           ? best_float((const float *)x->data + at, n, inner, p->minimum)
                           : best_int(x, at, n, inner, p->minimum);
        if (y->dtype == EI_I64)
            ((int64_t *)y->data)[i] = best;
        else
            ((int32_t *)y->data)[i] = (int32_t)best;
    }
    return EI_OK;
}

const ei_kernel ei_ref_arg_max = {
    .name = "ref/arg_max", .op = EI_OP_ARG_MAX, .parallel = true, .check = check, .run = run};
