/* Devices and comparisons: what a test program of kernels does with its operations. */
#include "kernels.h"

#include "../tools/suite.h"

#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TARGETS 32

/* A way to compute that is compared with the reference in float64 and float32: a device, with
 * activations of a type.
 */
typedef struct target {
    const sdb_backend *api;
    int index;
    sdb_type act;
} target;

static struct {
    const kt_op *ops;
    int n_ops, n_threads;
    bool bench, verbose;
    const char *only_device, *only_op;
    target targets[MAX_TARGETS];
    int n_targets;
} run;

/* -------------------------------------------------------------------------------------- targets */

static void add_target(const sdb_backend *api, int index, sdb_type act) {
    char name[64];
    snprintf(name, sizeof name, "%s:%d", api->name, index);
    if (run.n_targets == MAX_TARGETS || (run.only_device && strcmp(run.only_device, name) != 0))
        return;
    run.targets[run.n_targets++] = (target){api, index, act};
}

/* The device in float32, in the type that it prefers under autocast, and in bfloat16 beside
 * float16. */
static bool add_device(const sdb_backend *api, int index) {
    kt_device *d = kt_open(api, index, run.n_threads);
    sdb_device_info info;
    if (!d) {
        printf("%s:%d is not supported here: skipped\n", api->name, index);
        return false;
    }
    api->device_info(d->dev, &info);
    kt_close(d);
    add_target(api, index, SDB_F32);
    if (info.autocast_type != SDB_F32)
        add_target(api, index, info.autocast_type);
    if (info.autocast_type == SDB_F16)
        add_target(api, index, SDB_BF16);
    return true;
}

static void add_module(const char *path) {
    void *module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    void *symbol = module ? dlsym(module, "sdb_module_entry") : NULL;
    sdb_module_entry_fn entry;
    memcpy(&entry, &symbol, sizeof entry); /* ISO C has no cast from object to function */
    KT_REQUIRE(symbol != NULL, "%s: no backend module: %s", path, dlerror());
    const sdb_backend *api = entry();
    KT_REQUIRE(api && api->api_version == SDB_API_VERSION, "%s: another version", path);
    for (int index = 0; index < 3 && add_device(api, index); index++) {
    }
}

static void find_targets(void) {
    const char *list = getenv("SD_TEST_BACKENDS");
    add_target(&sdb_reference_backend, 0, SDB_F16);
    add_target(&sdb_reference_backend, 0, SDB_BF16);
    for (int index = 0; index < 3; index++) /* best, AVX2, portable */
        add_device(&sdb_cpu_backend, index);
    if (!list)
        return;
    char *copy = malloc(strlen(list) + 1);
    memcpy(copy, list, strlen(list) + 1);
    for (char *path = strtok(copy, ":"); path; path = strtok(NULL, ":"))
        add_module(path);
    free(copy);
}

/* ---------------------------------------------------------------------------------- comparisons */

typedef struct summary {
    double worst, worst_ratio; /* error, and its part of the tolerance */
    int n, n_skipped, n_failed;
    char worst_case[256];
} summary;

static double relative_error(const double *a, const double *b, size_t n) {
    double difference = 0, norm = 0;
    for (size_t i = 0; i < n; i++) {
        difference += (a[i] - b[i]) * (a[i] - b[i]);
        norm += b[i] * b[i];
    }
    return norm > 0 ? sqrt(difference / norm) : sqrt(difference);
}

static double tolerance(const kt_op *op, const void *test_case, sdb_type act) {
    if (act == SDB_F16)
        return KT_TOLERANCE_F16;
    if (act == SDB_BF16)
        return KT_TOLERANCE_BF16;
    return op->tolerance ? op->tolerance(test_case) : KT_TOLERANCE;
}

static void explain(const double *a, const double *b, size_t n) {
    size_t nans = 0, worst = 0;
    for (size_t i = 0; i < n; i++) {
        nans += isnan(a[i]) && !isnan(b[i]);
        if (fabs(a[i] - b[i]) > fabs(a[worst] - b[worst]) || (isnan(a[i]) && !isnan(a[worst])))
            worst = i;
    }
    printf("    %zu of %zu are NaN; worst is element %zu: %.9g, expected %.9g\n", nans, n, worst,
           a[worst], b[worst]);
}

typedef struct comparison {
    const kt_op *op;
    const void *test_case;
    uint64_t seed;
    char text[200];
} comparison;

static void compare(summary *s, kt_device *d, const comparison *c, const double *expected,
                    size_t n_expected) {
    double *out, limit = tolerance(c->op, c->test_case, d->act);
    size_t n;
    kt_status status = kt_run(d, c->op->run, c->test_case, c->seed, &out, &n);
    if (run.verbose)
        printf("  %s %s: %s\n", d->label, c->text, status == KT_OK ? "ran" : "did not run");
    if (status == KT_SKIPPED) {
        s->n_skipped++;
        return;
    }
    s->n++;
    double error = status == KT_OK && n == n_expected ? relative_error(out, expected, n) : NAN;
    if (!(error <= limit)) {
        s->n_failed++;
        printf("FAILED %s on %s, %s: error %.3g, tolerance %.1g %s\n", c->op->name, d->label,
               c->text, error, limit, d->message);
        if (status == KT_OK && n == n_expected)
            explain(out, expected, n);
    } else if (error / limit >= s->worst_ratio) {
        s->worst_ratio = error / limit;
        s->worst = error;
        snprintf(s->worst_case, sizeof s->worst_case, "%s", c->text);
    }
    free(out);
}

/* One case on all devices. The oracle is the reference with float32 activations, fed with the
 * numbers that the device under test gets. */
static void compare_all(kt_device *oracle, kt_device **devices, summary *s, const comparison *c) {
    for (int type = 0; type <= SDB_BF16; type++) {
        double *expected = NULL;
        size_t n = 0;
        for (int t = 0; t < run.n_targets; t++) {
            if (!devices[t] || (int)devices[t]->act != type)
                continue;
            if (!expected) {
                oracle->round = (sdb_type)type;
                kt_status status = kt_run(oracle, c->op->run, c->test_case, c->seed, &expected, &n);
                ck_assert_msg(status == KT_OK, "%s on the reference, %s: %s", c->op->name, c->text,
                              oracle->message);
                bool finite = true; /* one assertion: each is a message to Check's process */
                for (size_t i = 0; i < n; i++)
                    finite = finite && isfinite(expected[i]);
                ck_assert_msg(finite, "%s on the reference, %s: not finite", c->op->name, c->text);
            }
            compare(&s[t], devices[t], c, expected, n);
        }
        free(expected);
    }
}

static void open_targets(kt_device **devices, int n_threads) {
    for (int t = 0; t < run.n_targets; t++) {
        devices[t] = kt_open(run.targets[t].api, run.targets[t].index, n_threads);
        if (devices[t])
            devices[t]->act = devices[t]->round = run.targets[t].act;
    }
}

static const char *act_name(sdb_type act) {
    return act == SDB_F16 ? "float16" : act == SDB_BF16 ? "bfloat16" : "float32";
}

static int report(const kt_op *op, kt_device **devices, const summary *s) {
    int failed = 0;
    for (int t = 0; t < run.n_targets; t++) {
        if (!devices[t])
            continue;
        printf("%-18s %-36s %-8s ", op->name, devices[t]->label, act_name(devices[t]->act));
        if (s[t].n == 0)
            printf("skipped\n");
        else
            printf("%4d cases, worst error %.2e (%.0f%% of tolerance; %s)\n", s[t].n, s[t].worst,
                   100 * s[t].worst_ratio, s[t].worst_case);
        failed += s[t].n_failed;
    }
    fflush(stdout);
    return failed;
}

static bool wanted(const kt_op *op) {
    return !run.only_op || strcmp(run.only_op, op->name) == 0;
}

START_TEST(test_against_reference) {
    const kt_op *op = &run.ops[_i];
    kt_device *devices[MAX_TARGETS], *oracle = kt_open(&sdb_reference_backend, 0, 2);
    summary summaries[MAX_TARGETS] = {{0}};
    void *random_case = malloc(op->case_size);
    kt_rng rng = {20221122};
    int failed = 0;

    if (wanted(op)) {
        open_targets(devices, run.n_threads);
        for (int i = 0; i < op->n_cases + op->n_random; i++) {
            comparison c = {op, (const char *)op->cases + (size_t)i * op->case_size,
                            1000 + (uint64_t)i, ""};
            if (i >= op->n_cases) {
                memset(random_case, 0, op->case_size);
                op->randomise(&rng, random_case);
                c.test_case = random_case;
            }
            op->describe(c.text, sizeof c.text, c.test_case);
            compare_all(oracle, devices, summaries, &c);
        }
        failed = report(op, devices, summaries);
        for (int t = 0; t < run.n_targets; t++)
            kt_close(devices[t]);
    }
    kt_close(oracle);
    free(random_case);
    ck_assert_msg(failed == 0, "%s: %d comparisons failed", op->name, failed);
}
END_TEST

/* ------------------------------------------------------------------- any number of threads, same
 * bits */

/* Runs a case on n threads, tasks in reverse order where asked. NULL: skipped. */
static double *on_threads(const target *t, const kt_op *op, const void *test_case, int n_threads,
                          bool reverse, size_t *n) {
    double *out = NULL;
    kt_device *d = kt_open(t->api, t->index, n_threads);
    if (!d)
        return NULL;
    d->act = d->round = t->act;
    kt_host_reverse(d->host, reverse);
    kt_status status = kt_run(d, op->run, test_case, 7, &out, n);
    ck_assert_msg(status != KT_FAILED, "%s on %s, %d threads: %s", op->name, d->label, n_threads,
                  d->message);
    kt_close(d);
    return out;
}

START_TEST(test_same_bits_on_any_threads) {
    static const struct {
        int n_threads;
        bool reverse;
    } ways[] = {{2, false}, {3, false}, {3, true}, {1, true}};
    const kt_op *op = &run.ops[_i];
    int n_checked = 0;
    for (int t = 0; wanted(op) && t < run.n_targets; t++)
        for (int i = 0; i < op->n_thread_cases; i++) {
            const void *test_case = (const char *)op->thread_cases + (size_t)i * op->case_size;
            size_t n = 0, m = 0;
            double *one = on_threads(&run.targets[t], op, test_case, 1, false, &n);
            for (size_t way = 0; one && way < sizeof ways / sizeof ways[0]; way++) {
                double *other = on_threads(&run.targets[t], op, test_case, ways[way].n_threads,
                                           ways[way].reverse, &m);
                bool same = n == m && memcmp(one, other, n * sizeof *one) == 0;
                ck_assert_msg(same, "%s on %s:%d, case %d: %d threads%s differ from one by %g",
                              op->name, run.targets[t].api->name, run.targets[t].index, i,
                              ways[way].n_threads, ways[way].reverse ? " in reverse" : "",
                              n == m ? relative_error(other, one, n) : NAN);
                free(other);
                n_checked++;
            }
            free(one);
        }
    printf("%-18s same bits with 1, 2 and 3 threads: %d comparisons\n", op->name, n_checked);
    fflush(stdout);
}
END_TEST

/* ------------------------------------------------------------------------------------ benchmark */

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *times, int n) {
    qsort(times, (size_t)n, sizeof times[0], by_size);
    return times[n / 2];
}

static void bench_case(kt_device *d, const kt_op *op, const void *test_case) {
    char text[200];
    kt_time peak = kt_fma_peak(run.n_threads);
    double *out;
    size_t n;
    op->describe(text, sizeof text, test_case);
    kt_status status = kt_run(d, op->run, test_case, 1, &out, &n);
    free(out);
    if (status != KT_OK) {
        printf("  %-60s %s\n", text, status == KT_SKIPPED ? "skipped" : d->message);
        return;
    }
    double wall = median(d->times, d->reps), cpu = median(d->cpu_times, d->reps);
    printf("  %-60s %9.3f ms", text, wall * 1e3);
    if (d->flops > 0)
        printf(" %7.1f GFLOP/s", d->flops / wall * 1e-9);
    else
        printf(" %7.1f GB/s", d->bytes / wall * 1e-9);
    if (d->flops > 0 && peak.wall > 0)
        printf(" = %.2f of peak %.0f; by CPU time %.0f = %.2f of %.0f",
               d->flops / wall * 1e-9 / peak.wall, peak.wall, d->flops / cpu * 1e-9,
               d->flops / cpu * 1e-9 / peak.cpu, peak.cpu);
    printf("\n");
    fflush(stdout);
}

static int benchmark(void) {
    printf("Ratios are to the float32 FMA peak on %d threads, measured before each line.\n",
           run.n_threads);
    for (int t = 0; t < run.n_targets; t++) {
        if (run.targets[t].api == &sdb_reference_backend)
            continue;
        kt_device *d = kt_open(run.targets[t].api, run.targets[t].index, run.n_threads);
        d->act = d->round = run.targets[t].act;
        d->bench = true;
        for (int i = 0; i < run.n_ops; i++) {
            const kt_op *op = &run.ops[i];
            if (!wanted(op) || op->n_bench_cases == 0)
                continue;
            printf("%s on %s, %s\n", op->name, d->label, act_name(d->act));
            for (int k = 0; k < op->n_bench_cases; k++)
                bench_case(d, op, (const char *)op->bench_cases + (size_t)k * op->case_size);
        }
        kt_close(d);
    }
    return 0;
}

/* ----------------------------------------------------------------------------------------- main */

static bool parse(int argc, char **argv) {
    run.n_threads = 2;
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (strcmp(argv[i], "--bench") == 0)
            run.bench = true;
        else if (strcmp(argv[i], "--verbose") == 0)
            run.verbose = true;
        else if (strcmp(argv[i], "--device") == 0 && more)
            run.only_device = argv[++i];
        else if (strcmp(argv[i], "--op") == 0 && more)
            run.only_op = argv[++i];
        else if (strcmp(argv[i], "--threads") == 0 && more)
            run.n_threads = atoi(argv[++i]);
        else
            return false;
    }
    return run.n_threads > 0;
}

int kt_main(int argc, char **argv, const char *name, const kt_op *ops, int n_ops,
            void (*add)(TCase *tc)) {
    run.ops = ops;
    run.n_ops = n_ops;
    if (!parse(argc, argv)) {
        fprintf(stderr,
                "usage: %s [--bench] [--verbose] [--device NAME:N] [--op NAME] "
                "[--threads N]\n",
                argv[0]);
        return 2;
    }
    find_targets();
    if (run.bench)
        return benchmark();

    Suite *suite = suite_create(name);
    TCase *tc = tcase_create(name);
    tcase_set_timeout(tc, 300);
    tcase_add_loop_test(tc, test_against_reference, 0, n_ops);
    tcase_add_loop_test(tc, test_same_bits_on_any_threads, 0, n_ops);
    if (add)
        add(tc);
    suite_add_tcase(suite, tc);
    /* a driver that was opened cannot be used after a fork */
    return suite_run(suite, getenv("SD_TEST_BACKENDS") ? CK_NOFORK : CK_FORK_GETENV);
}
