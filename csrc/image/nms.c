/* Greedy non-maximum suppression over caller's arrays. */
#include "image.h"

#include <string.h>

/* Merge sort of indices by falling score: stable, no recursion, no allocation. */
static void sort(int32_t *order, int32_t *spare, int32_t n, const float *scores) {
    for (int64_t width = 1; width < n; width *= 2) {
        for (int64_t lo = 0; lo < n; lo += 2 * width) {
            int64_t mid = lo + width < n ? lo + width : n, hi = mid + width < n ? mid + width : n;
            int64_t i = lo, j = mid;
            for (int64_t k = lo; k < hi; k++) {
                int left = i < mid && (j >= hi || !(scores[order[j]] > scores[order[i]]));
                spare[k] = left ? order[i++] : order[j++];
            }
        }
        memcpy(order, spare, (size_t)n * sizeof *order);
    }
}

static float min_f32(float a, float b) {
    return a < b ? a : b;
}

static float max_f32(float a, float b) {
    return a > b ? a : b;
}

static float area(const float *b) {
    return (b[2] - b[0]) * (b[3] - b[1]);
}

/* Boxes without area overlap nothing, as in TFLite. */
static int overlaps(const float *a, const float *b, float threshold) {
    float w = min_f32(a[2], b[2]) - max_f32(a[0], b[0]);
    float h = min_f32(a[3], b[3]) - max_f32(a[1], b[1]);
    if (!(w > 0) || !(h > 0)) return 0 > threshold;
    float area_a = area(a), area_b = area(b), common = w * h;
    if (area_a <= 0 || area_b <= 0) return 0 > threshold;
    return common / (area_a + area_b - common) > threshold;
}

int ei_box_nms(const float *boxes, const float *scores, const int32_t *classes, int32_t n,
               float score_threshold, float iou_threshold, int32_t *kept, int32_t capacity,
               int32_t *count, int32_t *work) {
    if (n < 0 || capacity < 0 || !count || (n && (!boxes || !scores || !work)) ||
        (capacity && !kept))
        return EI_E_ARGUMENT;
    int32_t *order = work, found = 0, m = 0;
    for (int32_t i = 0; i < n; i++)
        if (scores[i] > score_threshold) order[m++] = i;
    if (m) sort(order, order + n, m, scores);
    for (int32_t i = 0; i < m && found < capacity; i++) {
        int32_t at = order[i], k = 0;
        for (; k < found; k++)
            if ((!classes || classes[kept[k]] == classes[at]) &&
                overlaps(boxes + 4 * (size_t)kept[k], boxes + 4 * (size_t)at, iou_threshold))
                break;
        if (k == found) kept[found++] = at;
    }
    *count = found;
    return EI_OK;
}
