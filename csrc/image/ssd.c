/* SSD post-processing for callers without a plan: the kernel of the operator itself, over plain
 * arrays, so there is one definition of its rules. */
#include "image.h"
#include "../kernels/kernel.h"
#include "../kernels/ops_shape.h"

extern const ei_kernel ei_ref_detection_postprocess;

typedef struct step {
    ei_tensor tensors[7];
    ei_tensor *pointers[7];
    ei_detection_params params;
    ei_node node;
} step;

static ei_tensor tensor(const void *data, int rank, int32_t d0, int32_t d1, int32_t d2) {
    ei_tensor t = {.data = (void *)data, .dtype = EI_F32, .rank = (uint8_t)rank};
    int32_t dims[EI_MAX_DIMS] = {d0, d1, d2, 1, 1, 1};
    for (int i = 0; i < EI_MAX_DIMS; i++) t.dims[i] = dims[i];
    t.bytes = 4 * (uint64_t)d0 * (uint64_t)d1 * (uint64_t)d2;
    return t;
}

static int make(const ei_ssd_options *o, step *s) {
    const int32_t most = 1 << 20;
    if (!o || o->anchors < 1 || o->anchors > most || o->score_columns < 1 ||
        o->score_columns > 65536 || o->max_detections < 1 || o->max_detections > most ||
        o->classes_per_detection < 1 || o->classes_per_detection > 1024)
        return EI_E_ARGUMENT;
    int32_t places = o->max_detections * (o->regular_nms ? 1 : o->classes_per_detection);
    s->tensors[0] = tensor(NULL, 3, 1, o->anchors, 4);
    s->tensors[1] = tensor(NULL, 3, 1, o->anchors, o->score_columns);
    s->tensors[2] = tensor(NULL, 2, o->anchors, 4, 1);
    s->tensors[3] = tensor(NULL, 3, 1, places, 4);
    s->tensors[4] = s->tensors[5] = tensor(NULL, 2, 1, places, 1);
    s->tensors[6] = tensor(NULL, 1, 1, 1, 1);
    for (int i = 0; i < 7; i++) s->pointers[i] = &s->tensors[i];
    s->params = (ei_detection_params){.max_detections = o->max_detections,
                                      .classes_per_detection =
                                          o->regular_nms ? 1 : o->classes_per_detection,
                                      .detections_per_class = o->detections_per_class,
                                      .classes = o->classes,
                                      .regular_nms = o->regular_nms,
                                      .score_threshold = o->score_threshold,
                                      .iou_threshold = o->iou_threshold,
                                      .y_scale = o->y_scale,
                                      .x_scale = o->x_scale,
                                      .h_scale = o->h_scale,
                                      .w_scale = o->w_scale};
    s->node = (ei_node){.kernel = &ei_ref_detection_postprocess,
                        .in = s->pointers,
                        .out = s->pointers + 3,
                        .params = &s->params,
                        .params_bytes = sizeof s->params,
                        .op = EI_OP_DETECTION_POSTPROCESS,
                        .n_in = 3,
                        .n_out = 4};
    return ei_ref_detection_postprocess.check(&s->node) ? EI_E_ARGUMENT : EI_OK;
}

size_t ei_ssd_decode_bytes(const ei_ssd_options *options) {
    step s;
    return make(options, &s) ? 0 : ei_ref_detection_postprocess.scratch(&s.node);
}

int ei_ssd_decode(const ei_ssd_options *options, const float *codes, const float *scores,
                  const float *anchors, float *boxes, float *classes, float *best, int32_t *count,
                  void *room) {
    step s;
    int status = make(options, &s);
    if (status) return status;
    if (!codes || !scores || !anchors || !boxes || !classes || !best || !count || !room ||
        (uintptr_t)room % 8)
        return EI_E_ARGUMENT;
    const void *data[7] = {codes, scores, anchors, boxes, classes, best, NULL};
    float found = 0;
    for (int i = 0; i < 7; i++) s.tensors[i].data = (void *)data[i];
    s.tensors[6].data = &found;
    ei_work work = {0, 1, room};
    status = ei_ref_detection_postprocess.run(&s.node, &work);
    *count = (int32_t)found;
    return status;
}
