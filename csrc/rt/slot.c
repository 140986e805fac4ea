/* Newest-value slot: a ring of seqlocks under one counter.
 *
 * Value n lies in buffer n % EI_SLOT_BUFFERS. The writer marks that buffer (2n - 1: being written),
 * copies, marks it (2n: whole) and then raises `head` to n. A reader takes `head`, copies that
 * buffer and looks whether its mark was 2n before and after. A single seqlock would starve readers
 * of a fast writer and would be lost with a writer killed in the middle; with a ring the newest
 * whole value is left alone for EI_SLOT_BUFFERS - 1 more writes.
 *
 * The copies are atomic words, relaxed, between fences, as in Boehm, "Can seqlocks get along with
 * programming language memory models?", MSPC 2012: a plain memcpy would be a data race. */
#include "rt.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

enum { TRIES = 64, LINE = 64 };

#define MAGIC 0x31746f6c73696531ull

typedef struct {
    _Atomic uint64_t mark; /* 2n: value n is here; odd: being written */
    _Atomic uint64_t bytes;
    _Atomic int64_t time_ns;
    uint64_t pad[5];
} buffer_head;

typedef struct {
    _Atomic uint64_t magic;
    _Atomic uint64_t capacity;
    uint64_t pad[6];
    _Atomic uint64_t head;
    uint64_t pad2[7];
} slot_head;

_Static_assert(sizeof(buffer_head) == LINE && sizeof(slot_head) == 2 * LINE, "cache lines");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "a lock in shared memory dies with its holder");

static uint64_t stride(uint64_t capacity) {
    return sizeof(buffer_head) + (capacity + LINE - 1) / LINE * LINE;
}

uint64_t ei_slot_bytes(uint64_t capacity) {
    if (capacity == 0 || capacity > UINT64_MAX / 16) return 0;
    return sizeof(slot_head) + EI_SLOT_BUFFERS * stride(capacity);
}

static buffer_head *buffer(const ei_slot *slot, uint64_t n) {
    uint8_t *first = (uint8_t *)slot->base + sizeof(slot_head);
    return (buffer_head *)(void *)(first + n % EI_SLOT_BUFFERS * stride(slot->capacity));
}

int ei_slot_create(ei_slot *slot, void *memory, uint64_t bytes, uint64_t capacity) {
    slot_head *head = memory;
    uint64_t need = ei_slot_bytes(capacity);
    if (need == 0 || bytes < need || (uintptr_t)memory % LINE) return EINVAL;
    memset(memory, 0, need);
    atomic_store_explicit(&head->capacity, capacity, memory_order_relaxed);
    atomic_store_explicit(&head->magic, MAGIC, memory_order_release);
    *slot = (ei_slot){memory, capacity};
    return 0;
}

int ei_slot_open(ei_slot *slot, void *memory, uint64_t bytes) {
    slot_head *head = memory;
    uint64_t capacity;
    if (bytes < sizeof *head || (uintptr_t)memory % LINE) return EINVAL;
    if (atomic_load_explicit(&head->magic, memory_order_acquire) != MAGIC) return EINVAL;
    capacity = atomic_load_explicit(&head->capacity, memory_order_relaxed);
    if (ei_slot_bytes(capacity) == 0 || bytes < ei_slot_bytes(capacity)) return EINVAL;
    *slot = (ei_slot){memory, capacity};
    return 0;
}

/* The buffer's content is words; the last one may reach past the value, into its padding. */
static void store_words(_Atomic uint64_t *to, const uint8_t *from, uint64_t bytes) {
    uint64_t word, i = 0;
    for (; bytes >= 8; bytes -= 8, i++) {
        memcpy(&word, from + 8 * i, 8);
        atomic_store_explicit(&to[i], word, memory_order_relaxed);
    }
    if (bytes) {
        word = 0;
        memcpy(&word, from + 8 * i, bytes);
        atomic_store_explicit(&to[i], word, memory_order_relaxed);
    }
}

static void load_words(uint8_t *to, const _Atomic uint64_t *from, uint64_t bytes) {
    uint64_t word, i = 0;
    for (; bytes >= 8; bytes -= 8, i++) {
        word = atomic_load_explicit(&from[i], memory_order_relaxed);
        memcpy(to + 8 * i, &word, 8);
    }
    if (bytes) {
        word = atomic_load_explicit(&from[i], memory_order_relaxed);
        memcpy(to + 8 * i, &word, bytes);
    }
}

int ei_slot_write_parts(ei_slot *slot, const void *head, uint64_t head_bytes, const void *data,
                        uint64_t bytes, int64_t time_ns) {
    slot_head *shared = slot->base;
    uint64_t n = atomic_load_explicit(&shared->head, memory_order_relaxed) + 1;
    buffer_head *b = buffer(slot, n);
    _Atomic uint64_t *words = (_Atomic uint64_t *)(void *)(b + 1);
    if (bytes > slot->capacity || head_bytes > slot->capacity - bytes || head_bytes % 8)
        return EINVAL;
    atomic_store_explicit(&b->mark, 2 * n - 1, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    store_words(words, head, head_bytes);
    store_words(words + head_bytes / 8, data, bytes);
    atomic_store_explicit(&b->bytes, head_bytes + bytes, memory_order_relaxed);
    atomic_store_explicit(&b->time_ns, time_ns, memory_order_relaxed);
    atomic_store_explicit(&b->mark, 2 * n, memory_order_release);
    atomic_store_explicit(&shared->head, n, memory_order_release);
    return 0;
}

int ei_slot_write(ei_slot *slot, const void *data, uint64_t bytes, int64_t time_ns) {
    return ei_slot_write_parts(slot, NULL, 0, data, bytes, time_ns);
}

uint64_t ei_slot_count(const ei_slot *slot) {
    return atomic_load_explicit(&((slot_head *)slot->base)->head, memory_order_acquire);
}

int64_t ei_slot_read(const ei_slot *slot, void *data, uint64_t room, uint64_t *count,
                     int64_t *time_ns) {
    for (int i = 0; i < TRIES; i++) {
        uint64_t n = ei_slot_count(slot), bytes;
        buffer_head *b = buffer(slot, n);
        *count = n;
        if (n == 0) return 0;
        if (atomic_load_explicit(&b->mark, memory_order_acquire) != 2 * n) continue;
        bytes = atomic_load_explicit(&b->bytes, memory_order_relaxed);
        *time_ns = atomic_load_explicit(&b->time_ns, memory_order_relaxed);
        if (bytes <= room && bytes <= slot->capacity)
            load_words(data, (_Atomic uint64_t *)(void *)(b + 1), bytes);
        atomic_thread_fence(memory_order_acquire);
        if (atomic_load_explicit(&b->mark, memory_order_relaxed) != 2 * n) continue;
        return bytes <= room && bytes <= slot->capacity ? (int64_t)bytes : EI_SLOT_SMALL;
    }
    return EI_SLOT_BUSY;
}
