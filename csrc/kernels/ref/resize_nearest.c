/* RESIZE_NEAREST_NEIGHBOR on NHWC, any type. */
#include <math.h>
#include <string.h>

#include "elementwise.h"
#include "strided.h"

static int check(const ei_node *node) {
    if (!(node->n_in == 1 && node->n_out == 1 && node->in[0] && node->out[0] &&
          node->params_bytes == sizeof(ei_resize_params)))
        return EI_E_UNSUPPORTED;
    const ei_tensor *x = node->in[0], *y = node->out[0];
    bool good = x->rank == 4 && y->rank == 4 && x->dtype == y->dtype &&
                ei_element_bytes(x->dtype) && x->dims[0] == y->dims[0] &&
                x->dims[3] == y->dims[3] && x->dims[1] > 0 && x->dims[2] > 0;
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static int64_t nearest(const ei_resize_params *p, int64_t i, int32_t in, int32_t out) {
    bool corners = p->align_corners && out > 1;
    float scale = corners ? (float)(in - 1) / (float)(out - 1) : (float)in / (float)out;
    float at = ((float)i + (p->half_pixel_centers ? 0.5f : 0.0f)) * scale;
    at = p->align_corners ? roundf(at) : floorf(at);
    return at<0 ? 0 : at>(float)(in - 1) ? in - 1 : (int64_t)at;
}

static int run(const ei_node *node, const ei_work *work) {
    const ei_tensor *x = node->in[0], *y = node->out[0];
    const ei_resize_params *p = node->params;
    int64_t size = ei_element_bytes(x->dtype), pixel = x->dims[3] * size;
    int64_t from_step = x->stride * size, to_step = y->stride * size, begin, end;
    int64_t row = x->dims[2] * from_step, width = y->dims[2], height = y->dims[1], last = -1;
    ei_split(y->dims[0] * height, 1, work, &begin, &end);
    for (int64_t r = begin; r < end; r++) {
        int64_t from = r / height * x->dims[1] + nearest(p, r % height, x->dims[1], y->dims[1]);
        char *dst = (char *)y->data + r * width * to_step;
        const char *src = (const char *)x->data + from * row;
        if (from == last && to_step == pixel) /* enlarged: the row that was just written */
            memcpy(dst, dst - width * pixel, (size_t)(width * pixel));
        else
            for (int64_t j = 0; j < width; j++)
                ei_copy(dst + j * to_step, src + nearest(p, j, x->dims[2], y->dims[2]) * from_step,
                        pixel);
        last = from;
    }
    return EI_OK;
}

const ei_kernel EI_KERNEL(resize_nearest) = {.name = EI_KERNEL_NAME("resize_nearest"),
                                             .op = EI_OP_RESIZE_NEAREST,
                                             .parallel = true,
                                             .strided = EI_STRIDED_X | EI_STRIDED_Y,
                                             .check = check,
                                             .run = run};
