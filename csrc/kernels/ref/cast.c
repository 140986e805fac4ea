/* CAST between number types. Floats are truncated; out of range they saturate (NaN: 0), where the
 * C language would leave it undefined. Integers wrap. Anything but zero is true. */
#include "elementwise.h"
#include "half.h"

static bool is_float(int dtype) {
    return dtype == EI_F32 || dtype == EI_F16;
}

static int check(const ei_node *node) {
    if (!ei_one_to_one(node, 0)) return EI_E_UNSUPPORTED;
    bool good = node->in[0]->dtype < EI_BLOB && node->out[0]->dtype < EI_BLOB &&
                node->out[0]->dtype != EI_F16;
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static float load_float(const ei_tensor *t, int64_t i) {
    return t->dtype == EI_F16 ? ei_half_to_float(((const uint16_t *)t->data)[i])
                              : ((const float *)t->data)[i];
}

static int64_t load_long(const ei_tensor *t, int64_t i) {
    return t->dtype == EI_I64 ? ((const int64_t *)t->data)[i] : ei_load_int(t, i);
}

static int64_t truncate(float v, int dtype) {
    if (v != v) return 0;
    if (dtype == EI_I64) {
        if (v < -0x1p63f) return INT64_MIN;
        return v >= 0x1p63f ? INT64_MAX : (int64_t)v;
    }
    int32_t lo, hi;
    ei_int_range(dtype, &lo, &hi);
    if (v < (float)lo) return lo;
    return v >= (float)hi ? hi : (int64_t)v;
}

static void store_long(const ei_tensor *t, int64_t i, int64_t v) {
    if (t->dtype == EI_F32)
        ((float *)t->data)[i] = (float)v;
    else if (t->dtype == EI_I64)
        ((int64_t *)t->data)[i] = v;
    else if (t->dtype == EI_BOOL)
        ((uint8_t *)t->data)[i] = v != 0;
    else
        ei_store_int(t, i, (int32_t)(uint32_t)(uint64_t)v);
}

static int run(const ei_node *node, const ei_work *work) {
    const ei_tensor *x = node->in[0], *y = node->out[0];
    int64_t begin, end;
    ei_elements(node, work, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        if (!is_float(x->dtype)) {
            store_long(y, i, load_long(x, i));
            continue;
        }
        float v = load_float(x, i);
        if (y->dtype == EI_F32)
            ((float *)y->data)[i] = v;
        else if (y->dtype == EI_BOOL)
            ((uint8_t *)y->data)[i] = v != 0;
        else
            store_long(y, i, truncate(v, y->dtype));
    }
    return EI_OK;
}

const ei_kernel ei_ref_cast = {
    .name = "ref/cast", .op = EI_OP_CAST, .parallel = true, .check = check, .run = run};
