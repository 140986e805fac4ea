/* The strided copy that most data-movement kernels share. Not a kernel itself. */
#include <string.h>

#include "strided.h"

int64_t ei_element_bytes(int dtype) {
    switch (dtype) {
    case EI_I8:
    case EI_U8:
    case EI_BOOL:
        return 1;
    case EI_F16:
    case EI_I16:
        return 2;
    case EI_F32:
    case EI_I32:
        return 4;
    case EI_I64:
        return 8;
    default:
        return 0;
    }
}

void ei_strided_add(ei_strided *s, int64_t dim, int64_t dst, int64_t src) {
    s->dims[s->rank] = dim;
    s->dst[s->rank] = dst;
    s->src[s->rank] = src;
    s->rank++;
}

void ei_dense_strides(const ei_tensor *t, int64_t strides[EI_MAX_DIMS]) {
    int64_t stride = ei_element_bytes(t->dtype);
    for (int i = t->rank - 1; i >= 0; i--) {
        strides[i] = stride;
        stride *= t->dims[i];
    }
}

void ei_strided_merge(ei_strided *s) {
    int n = 0; /* dimensions kept */
    for (int i = 0; i < s->rank; i++) {
        if (s->dims[i] == 1) continue;
        if (n && s->dst[n - 1] == s->dims[i] * s->dst[i] &&
            s->src[n - 1] == s->dims[i] * s->src[i]) {
            s->dims[n - 1] *= s->dims[i];
        } else {
            s->dims[n] = s->dims[i];
            n++;
        }
        s->dst[n - 1] = s->dst[i];
        s->src[n - 1] = s->src[i];
    }
    /* A dense innermost dimension becomes the element: one memcpy. */
    if (n > 1 && s->dst[n - 1] == s->element && s->src[n - 1] == s->element) {
        s->element *= s->dims[n - 1];
        n--;
    }
    s->rank = n;
}

/* Sizes known to the compiler become plain loads and stores. */
static inline void copy_row(char *d, const char *s, int64_t n, int64_t ds, int64_t ss,
                            int64_t element) {
    switch (element) {
    case 1:
        for (int64_t i = 0; i < n; i++) memcpy(d + i * ds, s + i * ss, 1);
        break;
    case 2:
        for (int64_t i = 0; i < n; i++) memcpy(d + i * ds, s + i * ss, 2);
        break;
    case 4:
        for (int64_t i = 0; i < n; i++) memcpy(d + i * ds, s + i * ss, 4);
        break;
    case 8:
        for (int64_t i = 0; i < n; i++) memcpy(d + i * ds, s + i * ss, 8);
        break;
    default:
        for (int64_t i = 0; i < n; i++) memmove(d + i * ds, s + i * ss, (size_t)element);
    }
}

/* 8 x 8 bytes transposed in registers: neighbours at distance 1, 2 and 4 swap their off-diagonal
 * halves. Source rows are `ss` apart, target rows `ds`. */
static void block_1(char *d, const char *s, int64_t ds, int64_t ss) {
    uint64_t x[8];
    for (int k = 0; k < 8; k++) memcpy(&x[k], s + k * ss, 8);
    for (int step = 1; step < 8; step *= 2) {
        int bits = 8 * step;
        uint64_t mask = step == 1   ? 0x00ff00ff00ff00ffu
                        : step == 2 ? 0x0000ffff0000ffffu
                                    : 0x00000000ffffffffu;
        for (int k = 0; k < 8; k++) {
            if (k & step) continue;
            uint64_t swap = ((x[k] >> bits) ^ x[k + step]) & mask;
            x[k + step] ^= swap;
            x[k] ^= swap << bits;
        }
    }
    for (int k = 0; k < 8; k++) memcpy(d + k * ds, &x[k], 8);
}

/* 8 x 8 elements of 4 bytes through a small array: whole rows are read and written. */
static void block_4(char *d, const char *s, int64_t ds, int64_t ss) {
    uint32_t x[8][8], y[8][8];
    for (int k = 0; k < 8; k++) memcpy(x[k], s + k * ss, 32);
    for (int k = 0; k < 8; k++)
        for (int m = 0; m < 8; m++) y[k][m] = x[m][k];
    for (int k = 0; k < 8; k++) memcpy(d + k * ds, y[k], 32);
}

/* A true transposition (source dense along dims[0], target along dims[1]) in blocks of 8 x 8. */
static void transpose_plane(char *d, const char *s, const int64_t *dims, int64_t ds, int64_t ss,
                            int64_t element) {
    const int64_t whole_i = dims[0] / 8 * 8, whole_j = dims[1] / 8 * 8;
    for (int64_t i = 0; i < whole_i; i += 8) {
        for (int64_t j = 0; j < whole_j; j += 8) {
            char *to = d + i * ds + j * element;
            const char *from = s + i * element + j * ss;
            if (element == 1)
                block_1(to, from, ds, ss);
            else
                block_4(to, from, ds, ss);
        }
        for (int64_t k = i; k < i + 8; k++)
            copy_row(d + k * ds + whole_j * element, s + k * element + whole_j * ss,
                     dims[1] - whole_j, element, ss, element);
    }
    for (int64_t i = whole_i; i < dims[0]; i++)
        copy_row(d + i * ds, s + i * element, dims[1], element, ss, element);
}

/* The two innermost dimensions in squares, so that the cache lines of a transposition are used
 * whole before they are evicted. */
static void copy_plane(char *d, const char *s, const int64_t *dims, const int64_t *ds,
                       const int64_t *ss, int64_t element) {
    enum { SIDE = 32 };
    if ((element == 1 || element == 4) && ss[0] == element && ds[1] == element) {
        transpose_plane(d, s, dims, ds[0], ss[1], element);
        return;
    }
    if (element > 64 || ss[1] < ss[0]) { /* long pieces, or rows already in order */
        for (int64_t i = 0; i < dims[0]; i++)
            copy_row(d + i * ds[0], s + i * ss[0], dims[1], ds[1], ss[1], element);
        return;
    }
    for (int64_t j = 0; j < dims[1]; j += SIDE) {
        int64_t n = dims[1] - j < SIDE ? dims[1] - j : SIDE;
        for (int64_t i = 0; i < dims[0]; i++)
            copy_row(d + i * ds[0] + j * ds[1], s + i * ss[0] + j * ss[1], n, ds[1], ss[1],
                     element);
    }
}

static void copy_dims(const ei_strided *s, int level, char *dst, const char *src) {
    if (s->rank - level == 2) {
        copy_plane(dst, src, s->dims + level, s->dst + level, s->src + level, s->element);
    } else if (s->rank - level == 1) {
        copy_row(dst, src, s->dims[level], s->dst[level], s->src[level], s->element);
    } else if (s->rank == level) {
        memmove(dst, src, (size_t)s->element);
    } else {
        for (int64_t i = 0; i < s->dims[level]; i++)
            copy_dims(s, level + 1, dst + i * s->dst[level], src + i * s->src[level]);
    }
}

/* The dimension along which the source is dense goes next to the innermost: then the two form a
 * plane that copy_plane can take in blocks. */
static void order(ei_strided *s) {
    int to = s->rank - 2;
    for (int i = 0; i < to; i++) {
        if (s->src[i] != s->element) continue;
        int64_t dim = s->dims[i], dst = s->dst[i], src = s->src[i];
        s->dims[i] = s->dims[to], s->dst[i] = s->dst[to], s->src[i] = s->src[to];
        s->dims[to] = dim, s->dst[to] = dst, s->src[to] = src;
        return;
    }
}

void ei_strided_copy(ei_strided *s, void *dst, const void *src, const ei_work *work) {
    for (int i = 0; i < s->rank; i++)
        if (s->dims[i] == 0) return;
    ei_strided_merge(s);
    if (s->rank == 0) {
        int64_t begin, end;
        ei_split(s->element, EI_ALIGN, work, &begin, &end);
        memmove((char *)dst + begin, (const char *)src + begin, (size_t)(end - begin));
        return;
    }
    order(s);
    int64_t begin, end;
    ei_split(s->dims[0], 1, work, &begin, &end);
    if (begin == end) return;
    ei_strided part = *s;
    part.dims[0] = end - begin;
    copy_dims(&part, 0, (char *)dst + begin * s->dst[0], (const char *)src + begin * s->src[0]);
}

void ei_full_dims(const ei_tensor *t, int64_t dims[EI_MAX_DIMS]) {
    int pad = EI_MAX_DIMS - t->rank;
    for (int i = 0; i < EI_MAX_DIMS; i++) dims[i] = i < pad ? 1 : t->dims[i - pad];
}

bool ei_broadcast_strides(const ei_tensor *t, const ei_tensor *out, int64_t strides[EI_MAX_DIMS]) {
    int64_t dims[EI_MAX_DIMS], full[EI_MAX_DIMS], stride = 1;
    ei_full_dims(t, dims);
    ei_full_dims(out, full);
    for (int i = EI_MAX_DIMS - 1; i >= 0; i--) {
        if (dims[i] != full[i] && dims[i] != 1) return false;
        strides[i] = dims[i] == 1 ? 0 : stride;
        stride *= dims[i];
    }
    return true;
}
