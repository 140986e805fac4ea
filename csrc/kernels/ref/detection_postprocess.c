/* DETECTION_POSTPROCESS (TFLite_Detection_PostProcess): boxes decoded from anchors, then
 * non-maximum suppression, either fast (one pass over each box's best score) or regular (per class,
 * merged). Places past the count are zeros. Of equal scores the first box stays first. */
#include <math.h>
#include <string.h>

#include "elementwise.h"

typedef struct box {
    float ymin, xmin, ymax, xmax;
} box;

typedef struct found {
    float score;
    int32_t anchor, class;
} found;

/* Scratch of one run, carved out of the worker's memory. */
typedef struct room {
    box *boxes;
    float *scores;
    int32_t *order, *spare, *chosen;
    found *list, *merged;
    uint8_t *dropped;
} room;

static int32_t min_i32(int32_t a, int32_t b) {
    return a < b ? a : b;
}

static int64_t list_length(const ei_detection_params *p) {
    return (int64_t)p->max_detections + min_i32(p->detections_per_class, p->max_detections);
}

static size_t scratch(const ei_node *node) {
    size_t n = (size_t)node->in[0]->dims[1];
    size_t list = (size_t)list_length(node->params) * sizeof(found);
    return n * (sizeof(box) + 4 * sizeof(float) + 1) + 2 * list + 64;
}

static room carve(const ei_node *node, void *memory) {
    size_t n = (size_t)node->in[0]->dims[1], list = (size_t)list_length(node->params);
    room r = {.boxes = memory};
    r.scores = (float *)(r.boxes + n);
    r.order = (int32_t *)(r.scores + n);
    r.spare = r.order + n;
    r.chosen = r.spare + n;
    r.list = (found *)(r.chosen + n);
    r.merged = r.list + list;
    r.dropped = (uint8_t *)(r.merged + list);
    return r;
}

static bool is_real(const ei_tensor *t) {
    return t->dtype == EI_F32 || ei_is_q8(t);
}

static int check(const ei_node *node) {
    if (node->n_in != 3 || node->n_out != 4 || node->params_bytes != sizeof(ei_detection_params))
        return EI_E_UNSUPPORTED;
    const ei_detection_params *p = node->params;
    const ei_tensor *b = node->in[0], *s = node->in[1], *a = node->in[2];
    if (!b || !s || !a || !is_real(b) || !is_real(s) || !is_real(a) || b->rank != 3 ||
        s->rank != 3 || a->rank != 2)
        return EI_E_UNSUPPORTED;
    const int32_t n = b->dims[1], most = 1 << 20;
    bool good = b->dims[0] == 1 && b->dims[2] >= 4 && s->dims[0] == 1 && s->dims[1] == n &&
                a->dims[0] == n && a->dims[1] == 4 && n <= most && p->classes >= 1 &&
                (s->dims[2] == p->classes || s->dims[2] - 1 == p->classes) &&
                p->max_detections >= 1 && p->max_detections <= most &&
                p->classes_per_detection >= 1 && p->classes_per_detection <= most &&
                p->detections_per_class >= 1 && p->iou_threshold > 0 && p->iou_threshold <= 1 &&
                p->y_scale != 0 && p->x_scale != 0 && p->h_scale != 0 && p->w_scale != 0;
    int64_t places = (int64_t)p->max_detections * p->classes_per_detection;
    for (int i = 0; good && i < 4; i++) {
        const ei_tensor *y = node->out[i];
        good = y && y->dtype == EI_F32 && ei_count(y) == (i == 0 ? 4 * places : i < 3 ? places : 1);
    }
    return good ? EI_OK : EI_E_UNSUPPORTED;
}

static float load(const ei_tensor *t, int64_t i) {
    if (t->dtype == EI_F32) return ((const float *)t->data)[i];
    return ((float)ei_load_int(t, i) - (float)t->zero) * t->scale;
}

/* Doubles, as in the TFLite kernel; false where a box is inside out. */
static bool decode(const ei_node *node, box *boxes) {
    const ei_detection_params *p = node->params;
    const ei_tensor *b = node->in[0], *a = node->in[2];
    for (int64_t i = 0; i < b->dims[1]; i++) {
        double code[4], anchor[4];
        for (int k = 0; k < 4; k++) {
            code[k] = load(b, i * b->dims[2] + k);
            anchor[k] = load(a, i * 4 + k);
        }
        float y = (float)(code[0] / p->y_scale * anchor[2] + anchor[0]);
        float x = (float)(code[1] / p->x_scale * anchor[3] + anchor[1]);
        float h = (float)(0.5 * exp(code[2] / p->h_scale) * anchor[2]);
        float w = (float)(0.5 * exp(code[3] / p->w_scale) * anchor[3]);
        boxes[i] = (box){y - h, x - w, y + h, x + w};
        if (boxes[i].ymin > boxes[i].ymax || boxes[i].xmin > boxes[i].xmax) return false;
    }
    return true;
}

static float overlap(const box *a, const box *b) {
    float area_a = (a->ymax - a->ymin) * (a->xmax - a->xmin);
    float area_b = (b->ymax - b->ymin) * (b->xmax - b->xmin);
    if (area_a <= 0 || area_b <= 0) return 0;
    float h = fminf(a->ymax, b->ymax) - fmaxf(a->ymin, b->ymin);
    float w = fminf(a->xmax, b->xmax) - fmaxf(a->xmin, b->xmin);
    float common = fmaxf(h, 0) * fmaxf(w, 0);
    return common / (area_a + area_b - common);
}

/* Merge sort of indices by falling score: stable, no recursion, no allocation. */
static void sort(int32_t *order, int32_t *spare, int32_t n, const float *scores) {
    for (int32_t width = 1; width < n; width *= 2) {
        for (int32_t lo = 0; lo < n; lo += 2 * width) {
            int32_t mid = min_i32(lo + width, n), hi = min_i32(lo + 2 * width, n);
            int32_t i = lo, j = mid;
            for (int32_t k = lo; k < hi; k++) {
                bool left = i < mid && (j >= hi || !(scores[order[j]] > scores[order[i]]));
                spare[k] = left ? order[i++] : order[j++];
            }
        }
        memcpy(order, spare, (size_t)n * sizeof *order);
    }
}

/* Greedy suppression among r->scores; the chosen boxes, best first. */
static int32_t suppress(const ei_node *node, const room *r, int32_t most) {
    const ei_detection_params *p = node->params;
    int32_t n = 0, chosen = 0;
    for (int32_t i = 0; i < node->in[0]->dims[1]; i++)
        if (r->scores[i] >= p->score_threshold) r->order[n++] = i;
    sort(r->order, r->spare, n, r->scores);
    memset(r->dropped, 0, (size_t)n);
    for (int32_t i = 0; i < n && chosen < most; i++) {
        if (r->dropped[i]) continue;
        const box *best = &r->boxes[r->order[i]];
        r->chosen[chosen++] = r->order[i];
        for (int32_t j = i + 1; j < n; j++)
            if (!r->dropped[j] && overlap(best, &r->boxes[r->order[j]]) > p->iou_threshold)
                r->dropped[j] = 1;
    }
    return chosen;
}

static void put(const ei_node *node, const room *r, int64_t place, int32_t anchor, int32_t class,
                float score) {
    memcpy((float *)node->out[0]->data + 4 * place, &r->boxes[anchor], sizeof(box));
    ((float *)node->out[1]->data)[place] = (float)class;
    ((float *)node->out[2]->data)[place] = score;
}

/* The class with the best score that ranks below (score, class) `after`; ties by class number. */
static int32_t next_class(const ei_node *node, int32_t anchor, int32_t after) {
    const ei_detection_params *p = node->params;
    const ei_tensor *s = node->in[1];
    int64_t row = (int64_t)anchor * s->dims[2] + s->dims[2] - p->classes;
    float limit = after < 0 ? 0 : load(s, row + after), best = 0;
    int32_t class = -1;
    for (int32_t c = 0; c < p->classes; c++) {
        float v = load(s, row + c);
        bool below = after < 0 || v < limit || (v == limit && c > after);
        if (below && (class < 0 || v > best)) {
            best = v;
            class = c;
        }
    }
    return class < 0 ? 0 : class;
}

static int32_t fast(const ei_node *node, const room *r) {
    const ei_detection_params *p = node->params;
    const ei_tensor *s = node->in[1];
    int64_t first = s->dims[2] - p->classes;
    for (int32_t i = 0; i < s->dims[1]; i++)
        r->scores[i] = load(s, (int64_t)i * s->dims[2] + first + next_class(node, i, -1));
    int32_t n = suppress(node, r, p->max_detections);
    for (int32_t i = 0; i < n; i++) {
        int32_t anchor = r->chosen[i], class = -1;
        for (int32_t k = 0; k < min_i32(p->classes_per_detection, p->classes); k++) {
            class = next_class(node, anchor, class);
            put(node, r, (int64_t)i * p->classes_per_detection + k, anchor, class,
                load(s, (int64_t)anchor * s->dims[2] + first + class));
        }
    }
    return n;
}

static int32_t regular(const ei_node *node, const room *r) {
    const ei_detection_params *p = node->params;
    const ei_tensor *s = node->in[1];
    int32_t n = 0, each = min_i32(p->detections_per_class, p->max_detections);
    for (int32_t c = 0; c < p->classes; c++) {
        for (int32_t i = 0; i < s->dims[1]; i++)
            r->scores[i] = load(s, (int64_t)i * s->dims[2] + s->dims[2] - p->classes + c);
        int32_t more = suppress(node, r, each), i = 0, j = 0;
        for (int32_t k = 0; k < n + more; k++) { /* of equals the earlier class first */
            bool old = i < n && (j >= more || !(r->scores[r->chosen[j]] > r->list[i].score));
            r->merged[k] = old ? r->list[i] : (found){r->scores[r->chosen[j]], r->chosen[j], c};
            if (old)
                i++;
            else
                j++;
        }
        n = min_i32(n + more, p->max_detections);
        memcpy(r->list, r->merged, (size_t)n * sizeof(found));
    }
    for (int32_t i = 0; i < n; i++)
        put(node, r, i, r->list[i].anchor, r->list[i].class, r->list[i].score);
    return n;
}

static int run(const ei_node *node, const ei_work *work) {
    room r = carve(node, work->scratch);
    if (!decode(node, r.boxes)) return EI_E_DATA;
    for (int i = 0; i < 4; i++) memset(node->out[i]->data, 0, node->out[i]->bytes);
    bool per_class = ((const ei_detection_params *)node->params)->regular_nms;
    *(float *)node->out[3]->data = (float)(per_class ? regular(node, &r) : fast(node, &r));
    return EI_OK;
}

const ei_kernel ei_ref_detection_postprocess = {.name = "ref/detection_postprocess",
                                                .op = EI_OP_DETECTION_POSTPROCESS,
                                                .check = check,
                                                .scratch = scratch,
                                                .run = run};
