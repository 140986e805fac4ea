/* Runs the image path over many sizes, every array in its own allocation of exactly the bytes the
 * header asks for, so that sanitizers see one byte too far. On the vector ISA and on ref: the same
 * bytes, or it says where not and fails. */
#include "../../csrc/image/image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint32_t seed = 1;

static uint32_t next(uint32_t below) {
    seed = seed * 1664525u + 1013904223u;
    return (seed >> 8) % below;
}

static void *run(ei_image_options *o, int isa, const uint8_t *source, size_t size, size_t stride,
                 size_t *bytes) {
    o->isa = isa;
    size_t room = ei_image_plan_bytes(o);
    if (!room) return NULL;
    ei_image_plan *plan = malloc(room);
    if (ei_image_plan_init(o, plan, room)) abort();
    void *work = malloc(ei_image_workspace_bytes(plan));
    *bytes = ei_image_tensor_bytes(plan);
    void *out = malloc(*bytes);
    if (ei_image_run(plan, source, size, stride, out, *bytes, work)) abort();
    if (!ei_image_run(plan, source, size - 1, stride, out, *bytes, work)) abort();
    if (!ei_image_run(plan, source, size, stride, out, *bytes - 1, work)) abort();
    free(work);
    free(plan);
    return out;
}

static int one(void) {
    static const int channels[3] = {1, 3, 4}, types[3] = {EI_U8, EI_I8, EI_F32};
    ei_image_options o = {0};
    o.source_height = 1 + (int)next(40);
    o.source_width = 1 + (int)next(70);
    o.source_channels = channels[next(3)];
    o.height = 1 + (int)next(40);
    o.width = 1 + (int)next(70);
    o.channels = channels[next(3)];
    o.layout = (int)next(3);
    o.filter = (int)next(3);
    o.grey = o.channels == 1 && o.source_channels > 1 && next(2);
    o.dtype = types[next(3)];
    o.quant_scale = 0.01f + 0.001f * (float)next(100);
    o.quant_zero = (int)next(256) - 128;
    if (next(2)) {
        o.crop_height = 1 + (int)next((uint32_t)o.source_height);
        o.crop_width = 1 + (int)next((uint32_t)o.source_width);
        o.crop_y = (int)next((uint32_t)(o.source_height - o.crop_height + 1));
        o.crop_x = (int)next((uint32_t)(o.source_width - o.crop_width + 1));
    }
    for (int c = 0; c < 4; c++) {
        o.order[c] = (int)next((uint32_t)o.source_channels);
        o.mean[c] = (float)next(255) + 0.3f;
        o.scale[c] = 1.0f / (float)(1 + next(200));
        o.pad[c] = (float)next(256);
    }
    size_t line = (size_t)(o.source_width * o.source_channels), stride = line + next(9);
    size_t size = stride * (size_t)(o.source_height - 1) + line, n = 0, m = 0;
    uint8_t *source = malloc(size);
    for (size_t i = 0; i < size; i++) source[i] = (uint8_t)next(256);
    void *a = run(&o, EI_ISA_REF, source, size, stride, &n);
    void *b = run(&o, -1, source, size, stride, &m);
    int bad = !a || !b || n != m || memcmp(a, b, n);
    if (bad)
        printf("differs: %dx%dx%d to %dx%dx%d layout %d filter %d type %d grey %d\n",
               o.source_height, o.source_width, o.source_channels, o.height, o.width, o.channels,
               o.layout, o.filter, o.dtype, o.grey);
    free(a);
    free(b);
    free(source);
    return bad;
}

static int boxes(void) {
    int32_t n = (int32_t)next(60), count = 0;
    float *b = malloc((size_t)n * 16), *s = malloc((size_t)n * 4);
    int32_t *work = malloc((size_t)n * 8), *kept = malloc((size_t)n * 4);
    for (int32_t i = 0; i < n; i++) {
        s[i] = (float)next(20) / 20;
        for (int k = 0; k < 4; k++) b[4 * i + k] = (float)next(30) + (k > 1 ? 10 : 0);
    }
    int bad = ei_box_nms(b, s, NULL, n, 0.1f, 0.5f, kept, n, &count, work) || count > n;
    for (int32_t i = 1; i < count; i++) bad |= s[kept[i]] > s[kept[i - 1]];
    free(b);
    free(s);
    free(work);
    free(kept);
    return bad;
}

int main(int argc, char **argv) {
    int bad = 0, rounds = argc > 1 ? atoi(argv[1]) : 500;
    for (int i = 0; i < rounds; i++) bad += one() + boxes();
    ei_image_options o = {.source_height = 1 << 30, .source_width = 1 << 30};
    bad += ei_image_plan_bytes(&o) != 0 || ei_image_plan_bytes(NULL) != 0;
    printf("%d rounds, %d wrong, best isa %s\n", rounds, bad, ei_isa_name(ei_isa_best()));
    return bad != 0;
}
