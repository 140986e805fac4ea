/* Strided copies: transpose, slice, tile, depth to space and the like are all one loop nest. */
#ifndef EI_REF_STRIDED_H
#define EI_REF_STRIDED_H

#include <string.h>

#include "../kernel.h"

#define EI_STRIDED_DIMS 12

/* dst[sum i_d * dst_stride_d] = src[sum i_d * src_stride_d], strides in bytes, outermost first. */
typedef struct ei_strided {
    int rank;
    int64_t element; /* bytes: 1, 2, 4 or 8; after ei_strided_merge any number */
    int64_t dims[EI_STRIDED_DIMS], dst[EI_STRIDED_DIMS], src[EI_STRIDED_DIMS];
} ei_strided;

int64_t ei_element_bytes(int dtype); /* 0 for a blob */

/* Copies n bytes; dst and src are apart or the same. Short pieces, as those of a pixel, are not
 * worth a call. */
static inline void ei_copy(void *dst, const void *src, int64_t n) {
    char *to = dst;
    const char *from = src;
    if (n > 256) {
        memmove(dst, src, (size_t)n);
        return;
    }
    for (; n >= 16; n -= 16, to += 16, from += 16) memcpy(to, from, 16);
    for (; n >= 4; n -= 4, to += 4, from += 4) memcpy(to, from, 4);
    for (; n > 0; n--) *to++ = *from++;
}

/* Appends a dimension; strides in bytes. */
void ei_strided_add(ei_strided *s, int64_t dim, int64_t dst, int64_t src);
/* Byte strides of a dense tensor, strides[rank - 1] = element. */
void ei_dense_strides(const ei_tensor *t, int64_t strides[EI_MAX_DIMS]);
/* Joins dimensions that lie densely in both, drops those of length 1. */
void ei_strided_merge(ei_strided *s);
/* The worker's share of the merged copy, cut along the outermost dimension. */
void ei_strided_copy(ei_strided *s, void *dst, const void *src, const ei_work *work);

/* Element strides of `t` broadcast to `out` from the right (0 where it is repeated), in[0] is the
 * outermost of EI_MAX_DIMS dimensions; false where the shapes do not broadcast. */
bool ei_broadcast_strides(const ei_tensor *t, const ei_tensor *out, int64_t strides[EI_MAX_DIMS]);

/* The dimensions of `out` filled up with leading ones. */
void ei_full_dims(const ei_tensor *t, int64_t dims[EI_MAX_DIMS]);

#endif
