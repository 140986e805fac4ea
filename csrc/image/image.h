/* image.h: from a camera's uint8 picture to a network's input tensor in one pass, and from a
 * detector's numbers to boxes.
 *
 *     size_t room = ei_image_plan_bytes(&options);          // once per pair of sizes
 *     ei_image_plan *plan = aligned_alloc(64, room);
 *     ei_image_plan_init(&options, plan, room);
 *     void *work = aligned_alloc(64, ei_image_workspace_bytes(plan));
 *     ei_image_run(plan, pixels, bytes, stride, tensor, tensor_bytes, work);   // for ever
 *
 * The arithmetic is defined in integers up to one float multiplication and addition per element,
 * so every instruction set gives the same bytes, floats included:
 *   1. Destination pixel x has its centre at (x + 1/2) * source / dest - 1/2 (half-pixel centres,
 *      as OpenCV's INTER_LINEAR and TFLite's half_pixel_centers = true), clamped at the border.
 *      Nearest takes floor((x + 1/2) * source / dest), as OpenCV's INTER_NEAREST_EXACT. Area
 *      averages the covered source pixels, partly covered ones by their share, as INTER_AREA.
 *   2. Horizontal weights have 8 bits (sum 256), vertical ones 11 (sum 2048):
 *      v = sum wy * (sum wx * pixel - 32768), an int32. Within 0.8 of 255 of exact bilinear.
 *   3. real = (pixel - mean) * scale; q = real / quant_scale + quant_zero, folded when the plan is
 *      made into float(v) * a + b, two roundings; 8-bit outputs round to nearest even, saturate.
 * Nothing here allocates; bad sizes are a status. */
#ifndef EI_IMAGE_H
#define EI_IMAGE_H

#include "../edgeinfer.h"

#if defined(__GNUC__)
#pragma GCC visibility push(default)
#endif

/* cffi:begin */
typedef enum ei_image_layout {
    EI_IMAGE_STRETCH = 0,   /* the whole source on the whole tensor */
    EI_IMAGE_LETTERBOX = 1, /* aspect kept, centred, the rest is `pad` */
    EI_IMAGE_CROP = 2       /* aspect kept, tensor filled, the source's middle */
} ei_image_layout;

typedef enum ei_image_filter {
    EI_IMAGE_BILINEAR = 0,
    EI_IMAGE_NEAREST = 1,
    EI_IMAGE_AREA = 2
} ei_image_filter;

typedef struct ei_image_options {
    int32_t source_height, source_width, source_channels; /* channels 1, 3 or 4 */
    int32_t crop_y, crop_x, crop_height, crop_width;      /* part used; height 0: all of it */
    int32_t height, width, channels;                      /* of the tensor; channels 1, 3 or 4 */
    int32_t layout, filter;
    int32_t grey;            /* 1: channels = 1 of luma, BT.601, order[0..2] = source's R, G, B */
    int32_t order[4];        /* source channel of each tensor channel */
    int32_t dtype;           /* EI_U8, EI_I8 or EI_F32 */
    int32_t isa;             /* EI_ISA_...; -1: the best one here */
    float mean[4], scale[4]; /* per tensor channel: real = (pixel - mean) * scale */
    float quant_scale;       /* 8-bit tensors: q = real / quant_scale + quant_zero */
    int32_t quant_zero;
    float pad[4]; /* letterbox colour in pixel values, per tensor channel */
} ei_image_options;

/* tensor x = source x * scale_x + offset_x, in pixels whose edges are whole numbers. */
typedef struct ei_image_transform {
    float scale_x, scale_y, offset_x, offset_y;
} ei_image_transform;

typedef struct ei_image_plan ei_image_plan;

/* Bytes of the plan's memory, 0 where the options are out of range. */
size_t ei_image_plan_bytes(const ei_image_options *options);
/* Fills caller's memory (8-byte aligned, `bytes` of it, as many as asked for or more). */
int ei_image_plan_init(const ei_image_options *options, void *memory, size_t bytes);
size_t ei_image_workspace_bytes(const ei_image_plan *plan);
size_t ei_image_tensor_bytes(const ei_image_plan *plan);
int ei_image_plan_isa(const ei_image_plan *plan);
int ei_image_plan_transform(const ei_image_plan *plan, ei_image_transform *transform);
/* One picture: rows of `stride` bytes, `source_bytes` readable from `source`. EI_E_ARGUMENT
 * where the source or the tensor is smaller than the plan says; `workspace` 8-byte aligned. */
int ei_image_run(const ei_image_plan *plan, const uint8_t *source, size_t source_bytes,
                 size_t stride, void *tensor, size_t tensor_bytes, void *workspace);

/* Boxes are four floats: corners (x0, y0, x1, y1) or (y0, x0, y1, x1), all in one order. */

/* Greedy non-maximum suppression: by falling score, ties by index; a box goes when its
 * intersection over union with a kept one of its class (of any, where `classes` is NULL) is above
 * iou_threshold. Scores not above score_threshold (NaN too) are never kept. `work` holds 2 n.
 * Writes at most `capacity` indices, best first. */
int ei_box_nms(const float *boxes, const float *scores, const int32_t *classes, int32_t n,
               float score_threshold, float iou_threshold, int32_t *kept, int32_t capacity,
               int32_t *count, int32_t *work);

/* SSD, as TFLite_Detection_PostProcess: codes [n, 4], scores [n, score_columns] (classes or one
 * more, the first being background), anchors [n, 4], all float (8-bit tensors dequantised
 * before). `room` of ei_ssd_decode_bytes. Outputs hold `max_detections` (x classes_per_detection)
 * places, as the operator's: boxes y0 x0 y1 x1, class, score. */
typedef struct ei_ssd_options {
    int32_t anchors, classes, score_columns;
    int32_t max_detections, classes_per_detection, detections_per_class, regular_nms;
    float score_threshold, iou_threshold;
    float y_scale, x_scale, h_scale, w_scale;
} ei_ssd_options;
size_t ei_ssd_decode_bytes(const ei_ssd_options *options); /* 0: out of range */
int ei_ssd_decode(const ei_ssd_options *options, const float *codes, const float *scores,
                  const float *anchors, float *boxes, float *classes, float *best, int32_t *count,
                  void *room);

/* YOLOv5 predictions [n, 5 + classes]: x y w h objectness classes, score = objectness * best
 * class; boxes x0 y0 x1 y1 in the unit of the input. Those with a score above the threshold, in
 * order; EI_E_DATA where there are more than `capacity` (the first ones are written). */
int ei_yolo5_decode(const float *predictions, int32_t n, int32_t classes, float score_threshold,
                    float *boxes, float *scores, int32_t *class_ids, int32_t capacity,
                    int32_t *count);
/* One raw YOLOv5 head [height, width, anchors, 5 + classes] before its sigmoids: xy = (2 s - 1/2
 * + cell) * stride, wh = (2 s)^2 * anchor (anchors: w h in pixels). Appends at *count. */
int ei_yolo5_decode_grid(const float *head, int32_t height, int32_t width, int32_t anchors,
                         int32_t classes, float stride, const float *anchor_sizes,
                         float score_threshold, float *boxes, float *scores, int32_t *class_ids,
                         int32_t capacity, int32_t *count);
/* FastestDet [height, width, 5 + classes]: objectness, dx, dy, w, h before tanh and sigmoid;
 * score = objectness^0.6 * class^0.4; boxes x0 y0 x1 y1, normalised to 0..1 (not clipped). */
int ei_fastestdet_decode(const float *head, int32_t height, int32_t width, int32_t classes,
                         float score_threshold, float *boxes, float *scores, int32_t *class_ids,
                         int32_t capacity, int32_t *count);
/* cffi:end */

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif
#endif
