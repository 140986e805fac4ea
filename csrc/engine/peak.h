/* What this machine could do at best: the ceilings that a profile and a benchmark divide by. */
#ifndef EI_ENGINE_PEAK_H
#define EI_ENGINE_PEAK_H

#include "../edgeinfer.h"

/* One inner loop of a vector instruction: `macs` multiply-accumulates for each of n rounds, on
 * registers alone, with enough accumulators in flight to hide the latency. */
typedef struct ei_peak_loop {
    void (*run)(uint64_t n);
    int macs;
} ei_peak_loop;

enum { EI_PEAK_BLOCK = 512 }; /* bytes one round of a reading loop loads */

typedef struct ei_peak_loops {
    ei_peak_loop f32, i8;
    void (*read)(const void *from, uint64_t blocks);
} ei_peak_loops;

/* One per folder of csrc/kernels that has vector instructions: <folder>/peak.c. */
extern const ei_peak_loops ei_peak_avx2;
extern const ei_peak_loops ei_peak_avx512vnni;
extern const ei_peak_loops ei_peak_avxvnni;
extern const ei_peak_loops ei_peak_neon;
extern const ei_peak_loops ei_peak_dotprod;
extern const ei_peak_loops ei_peak_i8mm;

/* cffi:begin */
/* Multiply-accumulates a second of `threads` threads at once with the instructions of an ISA, for
 * EI_F32 or EI_I8 (8-bit factors, 32-bit sums): the best of many short rounds within `seconds`,
 * since whatever else runs can only slow a round. EI_E_UNSUPPORTED for an ISA that is not here or
 * has no vector instructions (ref), EI_E_ARGUMENT for another type. */
int ei_peak_macs(int isa, int dtype, int threads, double seconds, double *rate);

/* Bytes read a second by `threads` threads from `bytes` of memory, each over its own share, again
 * and again, with the widest loads there are: from the cache that holds them, else from memory. */
int ei_peak_read(uint64_t bytes, int threads, double seconds, double *rate);
/* cffi:end */

#endif
