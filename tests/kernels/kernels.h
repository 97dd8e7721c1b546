/*
 * Shared by the tests of the backends' operations.
 *
 * An operation's test is a function that makes its tensors on a device and runs the operation once,
 * from a case that says which shapes. The harness calls it twice for each device, as a network is
 * run: first with planning on, when tensors have no memory, then for real. The same seed gives the
 * same numbers on every device, so the outputs can be compared with those of the reference.
 *
 * What is checked besides the numbers: outputs are NaN before the run, so that an element that was
 * not written shows; what lies around a tensor (between its rows when ld > c, before and after it)
 * is NaN as well, must not get into the result, and must not change; nothing is allocated while an
 * operation runs, and nothing is left when the device is closed.
 *
 *     kernel_test [--bench] [--verbose] [--device cpu:1] [--threads N] [--op NAME]
 *
 * Modules are tested too when SD_TEST_BACKENDS names their files, separated by ':'.
 */
#ifndef SD_TESTS_KERNELS_H
#define SD_TESTS_KERNELS_H

#include "backend/backend.h"

#include <check.h>
#include <stddef.h>

/* Ends the program (or Check's test process) with a message: also outside of tests, where Check's
 * own macros do not work. */
#define KT_REQUIRE(condition, ...) ((condition) ? (void)0 : kt_stop(__VA_ARGS__))
void kt_stop(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

/* ------------------------------------------------------------------------------ random numbers */

typedef struct kt_rng {
    uint64_t state;
} kt_rng;

uint64_t kt_bits(kt_rng *r);
int kt_below(kt_rng *r, int n);             /* 0 .. n - 1 */
int kt_pick(kt_rng *r, int n, const int *); /* one of n numbers */
double kt_normal(kt_rng *r);                /* mean 0, variance 1, |x| < 3.5 */
#define KT_PICK(r, ...)                                                                            \
    kt_pick((r), (int)(sizeof((int[]){__VA_ARGS__}) / sizeof(int)), (const int[]){__VA_ARGS__})

/* ---------------------------------------------------------------------------------------- host */

/* An sdb_host with threads of its own, which counts allocations. */
typedef struct kt_host kt_host;

kt_host *kt_host_new(int n_threads);
void kt_host_free(kt_host *host);
const sdb_host *kt_host_api(kt_host *host);
const char *kt_host_error(const kt_host *host); /* the last sentence */
long kt_host_live(const kt_host *host);         /* blocks not yet freed */
long kt_host_allocations(const kt_host *host);  /* blocks ever allocated */
/* Tasks are handed out from the last to the first. */
void kt_host_reverse(kt_host *host, bool reverse);

/* Two clocks: on a machine that is busy with other work, only the ratio of times that this process
 * spent on the processors tells something. */
typedef struct kt_time {
    double wall, cpu; /* seconds; cpu: of all threads together, over the number of threads */
} kt_time;

kt_time kt_now(int n_threads);
/* GFLOP/s of independent float32 multiply-adds in registers on n threads, by both clocks; 0 where
 * unknown. */
kt_time kt_fma_peak(int n_threads);

/* -------------------------------------------------------------------------------------- device */

typedef enum kt_status { KT_OK = 0, KT_SKIPPED, KT_FAILED } kt_status;

typedef struct kt_buffer {
    void *device; /* the whole allocation */
    char *before; /* host copy of what was there at first */
    size_t size;
    sdb_tensor view; /* data: within `device` */
    bool output, scratch;
} kt_buffer;

typedef struct kt_device {
    const sdb_backend *api;
    int index;
    char label[160]; /* "cpu (avx512, 2 threads)" */
    kt_host *host;
    sdb_device *dev;
    sdb_queue *queue;

    sdb_type act;   /* of activations in this run */
    sdb_type round; /* inputs are rounded to this type first */
    bool planning;
    kt_rng rng;
    kt_buffer buffers[32];
    int n_buffers;
    sdb_weight *weights[4];
    int n_weights;
    kt_status status;
    char message[512];

    kt_time started;
    long started_allocations;
    bool bench;
    int reps;
    double times[256], cpu_times[256];
    double flops, bytes; /* of one run */
} kt_device;

/* Tensors of the activations' type. ld is c + margin; with a margin the view begins at an odd
 * channel. */
sdb_tensor kt_input(kt_device *d, int n, int h, int w, int c, int margin);
sdb_tensor kt_input_with(kt_device *d, int n, int h, int w, int c, int margin, double mean,
                         double std);
sdb_tensor kt_output(kt_device *d, int n, int h, int w, int c, int margin);
/* Random at first, and an output too: for operations in place. */
sdb_tensor kt_inout(kt_device *d, int n, int h, int w, int c, int margin);
sdb_tensor kt_inout_with(kt_device *d, int n, int h, int w, int c, int margin, double mean,
                         double std);
/* NaN at first, and whatever an operation leaves there: not compared. */
sdb_tensor kt_scratch(kt_device *d, sdb_type type, int n, int h, int w, int c);
/* Given numbers, [1, 1, 1, n] or [n, 1, 1, 1], of any type. */
sdb_tensor kt_values(kt_device *d, sdb_type type, int n, int c, const double *values);
/* kt_output of another type. */
sdb_tensor kt_output_typed(kt_device *d, sdb_type type, int n, int h, int w, int c, int margin);

typedef struct kt_weight_args {
    sdb_weight_kind kind;
    int in;
    int n_parts; /* 0 means 1 */
    int rows[8];
    sdb_type type;  /* of the checkpoint */
    bool mixed;     /* odd parts are float32 whatever `type` */
    unsigned bias;  /* bit i: part i has one */
    bool bias_list; /* desc.bias is there although no bit is set */
    bool gamma;     /* around 1 */
    bool upsample;
} kt_weight_args;

/* Random weights, of variance 1 / fan-in, whose source is at an odd address and overwritten after
 * preparation. */
const sdb_weight *kt_weight(kt_device *d, const kt_weight_args *args);
/* Given weights, one part of float32, with a bias or NULL. */
const sdb_weight *kt_weight_values(kt_device *d, sdb_weight_kind kind, int rows, int in,
                                   const float *values, const float *bias);

/* Runs the operation of this name, many times when benchmarking, and notes how that went. */
#define KT_RUN(d, name, operation)                                                                 \
    kt_run_op((d), &(sdb_op){.kind = SDB_OP_##name, .name = *(operation)})
void kt_run_op(kt_device *d, const sdb_op *op);

/* ---------------------------------------------------------------------------------- operations */

typedef void (*kt_run_fn)(kt_device *d, const void *test_case);

typedef struct kt_op {
    const char *name;
    size_t case_size;
    kt_run_fn run;
    void (*describe)(char *text, size_t size, const void *test_case);
    const void *cases; /* of the table, then n_random made by `randomise` */
    int n_cases, n_random;
    void (*randomise)(kt_rng *r, void *test_case);
    double (*tolerance)(const void *test_case); /* NULL: KT_TOLERANCE */
    const void *thread_cases;                   /* same bits with 1, 2 and 3 threads */
    int n_thread_cases;
    const void *bench_cases;
    int n_bench_cases;
} kt_op;

/* Relative error in the 2-norm against float64 arithmetic, for float32 activations: some 20 times
 * what a plain float32 sum of 3,000 products gives, 8 times that of Winograd F(4x4,3x3). */
#define KT_TOLERANCE 1e-5
#define KT_TOLERANCE_F16 2e-3
#define KT_TOLERANCE_BF16 1.2e-2

#define KT_COUNT(array) ((int)(sizeof(array) / sizeof((array)[0])))

/* One run on one device; `out` gets the outputs as float64, in order, and *n their number. Free
 * `out` with free(). */
kt_status kt_run(kt_device *d, kt_run_fn run, const void *test_case, uint64_t seed, double **out,
                 size_t *n);
kt_device *kt_open(const sdb_backend *api, int index, int n_threads); /* NULL: not supported here */
void kt_close(kt_device *d);

/* Runs `run` on the reference and returns its outputs, for tests of known answers. */
double *kt_reference(kt_run_fn run, const void *test_case, size_t *n);

/* `add` may add tests of its own to the suite's case. Returns main's result. */
int kt_main(int argc, char **argv, const char *name, const kt_op *ops, int n_ops,
            void (*add)(TCase *tc));

#endif
