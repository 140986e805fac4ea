/* Detector heads to boxes, scores and classes. */
#include "image.h"

#include <math.h>

typedef struct list {
    float *boxes, *scores;
    int32_t *ids, capacity, *count;
} list;

static int bad(const list *l, const float *data, int64_t n, int32_t classes) {
    return !data || n < 0 || classes < 1 || !l->count || *l->count < 0 || l->capacity < 0 ||
           *l->count > l->capacity || (l->capacity && (!l->boxes || !l->scores || !l->ids));
}

static int add(list *l, float x, float y, float w, float h, float score, int32_t id) {
    if (*l->count >= l->capacity) return EI_E_DATA;
    int32_t at = (*l->count)++;
    float *b = l->boxes + 4 * (int64_t)at;
    b[0] = x - w / 2;
    b[1] = y - h / 2;
    b[2] = x + w / 2;
    b[3] = y + h / 2;
    l->scores[at] = score;
    l->ids[at] = id;
    return EI_OK;
}

static int32_t best_of(const float *v, int32_t n) {
    int32_t best = 0;
    for (int32_t i = 1; i < n; i++)
        if (v[i] > v[best]) best = i;
    return best;
}

static float sigmoid(float v) {
    return 1.0f / (1.0f + expf(-v));
}

int ei_yolo5_decode(const float *p, int32_t n, int32_t classes, float score_threshold, float *boxes,
                    float *scores, int32_t *class_ids, int32_t capacity, int32_t *count) {
    list l = {boxes, scores, class_ids, capacity, count};
    if (count) *count = 0;
    if (bad(&l, p, n, classes)) return EI_E_ARGUMENT;
    int status = EI_OK;
    for (int32_t i = 0; i < n && !status; i++, p += 5 + (int64_t)classes) {
        if (!(p[4] > score_threshold)) continue; /* a class score is at most 1 */
        int32_t id = best_of(p + 5, classes);
        float score = p[4] * p[5 + id];
        if (score > score_threshold) status = add(&l, p[0], p[1], p[2], p[3], score, id);
    }
    return status;
}

int ei_yolo5_decode_grid(const float *head, int32_t height, int32_t width, int32_t anchors,
                         int32_t classes, float stride, const float *sizes, float score_threshold,
                         float *boxes, float *scores, int32_t *class_ids, int32_t capacity,
                         int32_t *count) {
    list l = {boxes, scores, class_ids, capacity, count};
    if (bad(&l, head, 0, classes) || height < 0 || width < 0 || anchors < 1 || !sizes)
        return EI_E_ARGUMENT;
    int status = EI_OK;
    for (int64_t i = 0; i < (int64_t)height * width * anchors && !status; i++) {
        const float *p = head + i * (5 + (int64_t)classes);
        int64_t cell = i / anchors, a = i % anchors;
        float objectness = sigmoid(p[4]);
        if (!(objectness > score_threshold)) continue;
        int32_t id = best_of(p + 5, classes);
        float score = objectness * sigmoid(p[5 + id]);
        if (!(score > score_threshold)) continue;
        float x = (2 * sigmoid(p[0]) - 0.5f + (float)(cell % width)) * stride;
        float y = (2 * sigmoid(p[1]) - 0.5f + (float)(cell / width)) * stride;
        float w = 2 * sigmoid(p[2]), h = 2 * sigmoid(p[3]);
        status = add(&l, x, y, w * w * sizes[2 * a], h * h * sizes[2 * a + 1], score, id);
    }
    return status;
}

int ei_fastestdet_decode(const float *head, int32_t height, int32_t width, int32_t classes,
                         float score_threshold, float *boxes, float *scores, int32_t *class_ids,
                         int32_t capacity, int32_t *count) {
    list l = {boxes, scores, class_ids, capacity, count};
    if (count) *count = 0;
    if (bad(&l, head, 0, classes) || height < 0 || width < 0) return EI_E_ARGUMENT;
    int status = EI_OK;
    for (int64_t i = 0; i < (int64_t)height * width && !status; i++) {
        const float *p = head + i * (5 + (int64_t)classes);
        int32_t id = best_of(p + 5, classes);
        /* Quantised heads may stray below 0, where a power is not a number. */
        float objectness = p[0] > 0 ? p[0] : 0, sure = p[5 + id] > 0 ? p[5 + id] : 0;
        float score = powf(objectness, 0.6f) * powf(sure, 0.4f);
        if (!(score > score_threshold)) continue;
        float x = ((float)(i % width) + tanhf(p[1])) / (float)width;
        float y = ((float)(i / width) + tanhf(p[2])) / (float)height;
        status = add(&l, x, y, sigmoid(p[3]), sigmoid(p[4]), score, id);
    }
    return status;
}
