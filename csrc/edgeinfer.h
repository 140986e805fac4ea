/* edgeinfer.h: the one public header of the C side.
 *
 * A plan is a file made by `edgeinfer compile` (or Plan.save in Python): a graph placed on kernels,
 * laid out in one arena, weights packed for one ISA. A C program needs nothing else:
 *
 *     ei_plan *plan; ei_session *session; ei_error err;
 *     if (ei_plan_open(bytes, size, &plan, &err)) fail(err.text);
 *     if (ei_session_create(plan, 1, &session, &err)) fail(err.text);
 *     memcpy(ei_session_tensor(session, ei_plan_input(plan, 0)), pixels, n);
 *     if (ei_session_run(session)) ...
 *     read(ei_session_tensor(session, ei_plan_output(plan, 0)));
 *     ei_session_destroy(session); ei_plan_close(plan);
 *
 * Every function that can fail returns an ei_status (0 is success). Nothing allocates after
 * ei_session_create; ei_session_run may be called for ever. A plan may be shared by sessions and
 * threads; one session belongs to one caller at a time, but for ei_session_cancel and
 * ei_session_close, which any thread may call at any moment. A run that does not come to its end
 * (an error, a cancel, a deadline) leaves the states as they were before it.
 */
#ifndef EDGEINFER_H
#define EDGEINFER_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__GNUC__)
#pragma GCC visibility push(default) /* the library is built with hidden visibility */
#endif

/* cffi:begin */
#define EI_ABI_VERSION  2 /* raised on every incompatible change of this header */
#define EI_PLAN_VERSION 4 /* raised on every incompatible change of the plan file */
#define EI_MAX_DIMS     6
#define EI_MAX_THREADS  64
#define EI_ALIGN        64 /* of the arena and of every constant in a plan, bytes */

typedef enum ei_status {
    EI_OK = 0,
    EI_E_ARGUMENT = 1,    /* a caller's argument is out of range */
    EI_E_FORMAT = 2,      /* not a plan, or a damaged one */
    EI_E_VERSION = 3,     /* a plan of another format version */
    EI_E_ISA = 4,         /* the plan needs instructions this machine lacks */
    EI_E_UNSUPPORTED = 5, /* no kernel here takes this step */
    EI_E_MEMORY = 6,      /* out of memory while a session is built */
    EI_E_DELEGATE = 7,    /* the step belongs to a delegate, not to the C engine */
    EI_E_DATA = 8,        /* input values made a step impossible, e.g. an index out of range */
    EI_E_CANCELLED = 9,   /* ei_session_cancel ended the run */
    EI_E_CLOSED = 10      /* ei_session_close came before the run */
} ei_status;

typedef enum ei_dtype {
    EI_F32 = 0,
    EI_F16 = 1,
    EI_I8 = 2,
    EI_U8 = 3,
    EI_I16 = 4,
    EI_I32 = 5,
    EI_I64 = 6,
    EI_BOOL = 7,
    EI_BLOB = 8, /* packed constants of one kernel; dims = {bytes} */
    EI_F64 = 9,  /* constants of kernels alone */
    EI_DTYPES = 10
} ei_dtype;

/* Instruction sets, one per folder of csrc/kernels. A plan names one. */
typedef enum ei_isa {
    EI_ISA_REF = 0,
    EI_ISA_AVX2 = 1,       /* AVX2 + FMA */
    EI_ISA_AVX512VNNI = 2, /* AVX-512 F, BW, DQ, VL, VNNI */
    EI_ISA_NEON = 3,       /* AArch64 Advanced SIMD */
    EI_ISA_DOTPROD = 4,    /* AArch64 SDOT/UDOT (Armv8.2) */
    EI_ISA_I8MM = 5,       /* AArch64 SMMLA (Armv8.6), with those of DOTPROD */
    EI_ISA_AVXVNNI = 6,    /* AVX2 + FMA, and VPDPBUSD on 256 bits in VEX encoding */
    EI_ISAS = 7
} ei_isa;

/* How an integer accumulator becomes an 8-bit output; a plan names one and never mixes.
 * XNNPACK: float(acc) * scale, nearest even. TFLITE: the double rounding of the fixed-point
 * reference kernels (gemmlowp: SaturatingRoundingDoublingHighMul, RoundingDivideByPOT). */
typedef enum ei_rounding { EI_ROUND_XNNPACK = 0, EI_ROUND_TFLITE = 1 } ei_rounding;

typedef struct ei_error {
    int status;
    char text[252]; /* one sentence: the thing, the value, the fix */
} ei_error;

typedef struct ei_plan ei_plan;
typedef struct ei_session ei_session;

/* What a caller may know of a tensor of a plan. */
typedef struct ei_tensor_info {
    const char *name;
    int dtype;
    int rank;
    int32_t dims[EI_MAX_DIMS];
    float scale; /* real = scale * (q - zero); 0 where the tensor is not quantised */
    int32_t zero;
    uint64_t bytes;
} ei_tensor_info;

const char *ei_status_text(int status);
const char *ei_version(void);

int ei_isa_has(int isa);          /* 1 when this machine can run that ISA's kernels */
int ei_isa_best(void);            /* the best here; EDGEINFER_ISA=name forces a lesser one */
const char *ei_isa_name(int isa); /* "ref", "avx2", ...; NULL when unknown */
/* Kernels that an ISA adds: "avx2/conv_2d_q8" for i = 0, 1, ...; NULL beyond the last one and for
 * the ISAs of other machines. */
const char *ei_isa_kernel(int isa, int i);

/* Opens a plan in memory. `data` is borrowed, must stay valid, and must be 64-byte aligned (a
 * mapped file is). The whole file is checked: sizes, offsets, checksum, every step's kernel. */
int ei_plan_open(const void *data, uint64_t size, ei_plan **plan, ei_error *err);
void ei_plan_close(ei_plan *plan);
int ei_plan_inputs(const ei_plan *plan);
int ei_plan_outputs(const ei_plan *plan);
int ei_plan_input(const ei_plan *plan, int i);  /* tensor index, -1 out of range */
int ei_plan_output(const ei_plan *plan, int i); /* tensor index, -1 out of range */
int ei_plan_tensors(const ei_plan *plan);
int ei_plan_tensor(const ei_plan *plan, int tensor, ei_tensor_info *info);
int ei_plan_steps(const ei_plan *plan);
const char *ei_plan_step_name(const ei_plan *plan, int step);
const char *ei_plan_step_kernel(const ei_plan *plan, int step); /* "avx2/conv_2d_q8", ... */
int ei_plan_step_delegate(const ei_plan *plan, int step);       /* 0: the C engine */
double ei_plan_step_macs(const ei_plan *plan, int step); /* multiply-accumulates; 0: not known */
int ei_plan_step_shares(const ei_plan *plan, int step);  /* the most it can be cut into */
/* What delegate part 1.. was compiled to; the pointers are into the plan. */
int ei_plan_delegate(const ei_plan *plan, int part, const char **name, const void **data,
                     uint64_t *bytes);
/* Tensor indices of a step, inputs then outputs (-1: absent): n_in << 16 | n_out, or -1. */
int ei_plan_step_tensors(const ei_plan *plan, int step, int *tensors, int count);
int ei_plan_isa(const ei_plan *plan);
int ei_plan_rounding(const ei_plan *plan);
uint64_t ei_plan_arena_bytes(const ei_plan *plan);

/* Memory for one run at a time: arena, state, scratch; `threads` 1..EI_MAX_THREADS. */
int ei_session_create(const ei_plan *plan, int threads, ei_session **session, ei_error *err);
void ei_session_destroy(ei_session *session);
void *ei_session_tensor(ei_session *session, int tensor); /* NULL out of range */
uint64_t ei_session_bytes(const ei_session *session);     /* arena + scratch + bookkeeping */
int ei_session_run(ei_session *session);
int ei_session_run_steps(ei_session *session, int first, int count); /* between delegates */
int ei_session_reset(ei_session *session);                           /* state to its start */
int ei_session_failed_step(const ei_session *session); /* of the last run; -1 when none */
/* One run with a clock read around each step: ns[step], `count` entries. */
int ei_session_profile(ei_session *session, uint64_t *ns, int count);

/* Ends the run in progress before its next step or share: its status is EI_E_CANCELLED. Returns 1,
 * or 0 where no run was in progress or announced by ei_session_arm (which ei_session_disarm takes
 * back). */
int ei_session_cancel(ei_session *session);
int ei_session_arm(ei_session *session);    /* EI_OK or EI_E_CLOSED */
int ei_session_disarm(ei_session *session); /* EI_OK or, where a cancel came, EI_E_CANCELLED */
/* Cancels, and returns once no run is in progress; later ones give EI_E_CLOSED. The memory stays
 * until ei_session_destroy, which no other call may overlap. */
void ei_session_close(ei_session *session);

/* Runs with a deadline. The walker looks at the clock between steps and between the shares that
 * long steps are cut into, and gives up as soon as what is left takes longer than there is time. */
typedef enum ei_outcome { EI_DONE = 0, EI_LATE = 1, EI_SUBSTITUTED = 2 } ei_outcome;
enum ei_substitute { EI_LAST = -1 }; /* 1, 2, ...: a plan of the ladder */

typedef struct ei_result {
    int32_t outcome;    /* ei_outcome */
    int32_t substitute; /* what the outputs are of: 0: this run, EI_LAST, or the number of a plan */
    int32_t step;       /* before which the run was given up; the number of steps: it was not */
    int32_t reserved;
    uint64_t age_ns; /* from the begin of the run that gave the outputs to now */
} ei_result;

/* `deadline_ns` by CLOCK_MONOTONIC. EI_DONE: the outputs are this run's, in time. EI_SUBSTITUTED:
 * they are those of the first plan of the ladder that had time enough, or else of the last whole
 * run. EI_LATE: there was no substitute, and the outputs mean nothing if the run was given up; or
 * it came to its end after the deadline, and they are this run's. */
int ei_session_run_by(ei_session *session, uint64_t deadline_ns, ei_result *result);
/* Time from the begin of each step to the end of the run, ns; zeros (the start): only a
 * deadline that has passed is noticed. */
int ei_session_set_rest(ei_session *session, const uint64_t *ns, int count);
/* Shares per step, 1..EI_MAX_THREADS (1 where the kernel knows no shares); any number gives the
 * same bytes. For runs with a deadline or in turn with other sessions'. */
int ei_session_set_cuts(ei_session *session, const int *shares, int count);
/* One run in these shares: time of every step and of its longest share, ns. */
int ei_session_time(ei_session *session, uint64_t *step_ns, uint64_t *share_ns, int count);

/* A session of plans[0] whose memory the others use in its place. Each must have the same inputs
 * and outputs by name and shape; where their quantisation differs, values are converted. */
int ei_session_create_ladder(const ei_plan *const *plans, int count, int threads,
                             ei_session **session, ei_error *err);
/* Plan i of the ladder, for its times and cuts; not to be run, closed or destroyed. */
ei_session *ei_session_rung(ei_session *session, int i);
/* Keeps the outputs of every whole run, to be given up to that age. Allocates. */
int ei_session_keep_last(ei_session *session, uint64_t max_age_ns);
/* The outputs as they are now become the last result, of a run begun then: for runs in several
 * calls, between delegates. The others do so themselves. */
void ei_session_keep(ei_session *session, uint64_t begun_ns);
/* A substitute at once: `which` as in ei_result (EI_LAST: of whatever age), or 0 for the best by
 * the deadline. */
int ei_session_substitute(ei_session *session, int which, uint64_t deadline_ns, ei_result *result);

/* The scheduler of the process: runs of all sessions use at most so many cores at a time, the
 * earliest deadline first; a run gives way to one with an earlier deadline between steps and
 * shares. Runs without a deadline come last, in turn. 0 (the start): no limit, no order. */
int ei_scheduler_set_cores(int cores);
int ei_scheduler_cores(void);
/* Workers of the pool run on these cores alone (none: on any); who calls ei_session_run pins its
 * own threads. */
int ei_scheduler_pin(const int *cores, int count);
int ei_scheduler_waiting(void); /* runs that wait for their turn */
/* Runs of this session take no part in it: for those too short to matter. */
void ei_session_set_unscheduled(ei_session *session, int unscheduled);
int ei_session_preempted(const ei_session *session); /* how often its runs gave way */
/* cffi:end */

#if defined(__GNUC__)
#pragma GCC visibility pop
#endif

#ifdef __cplusplus
}
#endif
#endif
