/*
 * Shared by the golden tests: the tiny random model through the public API alone, on every backend
 * here, against the fixtures in data/ (tests/tools/make_golden.py says how they were made).
 */
#ifndef SD_TESTS_GOLDEN_H
#define SD_TESTS_GOLDEN_H

#include "compare.h"
#include "cond.h"
#include "npy.h"

#include <check.h>
#include <sd/original.h>
#include <stdbool.h>

typedef struct golden_setup {
    const char *name;
    const char *backend;
    int n_threads;
    const char *model; /* environment variable that has the path */
    int use_ema;
    const char *config; /* a YAML config among the fixtures, or NULL */
    const char *taesd;  /* environment variable that has the path of a small autoencoder, or NULL */
} golden_setup;

/* Every backend, and both layouts. The first is "reference", which takes its time. */
extern const golden_setup golden_setups[];
extern const int n_golden_setups;

typedef struct golden {
    sd_context *ctx;
    sd_model *model;
} golden;

/* The backend to open for `backend`. With SD_TEST_BACKEND=cuda in the environment that is cuda for
 * "cpu", and for others NULL: the test has nothing to do. */
const char *golden_backend(const char *backend);
/* SD_TEST_THREADS, or n. */
int golden_threads(int n);

/* False: this processor does not have the backend, and the test has nothing to do. */
bool golden_open(const golden_setup *setup, golden *g);
void golden_close(golden *g);

/* Fails the test with libsd's sentence where status is not SD_OK. */
#define must(call) golden_must((call), #call)
void golden_must(sd_status status, const char *what);

/* data/NAME.npy; fails the test where it is missing. */
npy golden_array(const char *name);
/* The rows first .. first + n - 1 of a fixture as a tensor; n 0: all. */
sd_tensor *golden_tensor(const golden *g, const char *name, int64_t first, int64_t n);
/* Rows of a fixture as conditioning. */
sd_cond *golden_cond(const golden *g, const char *name, int64_t first, int64_t n);

/* Fails the test beyond the limit, and prints the error in any case. Takes the tensor over. */
void golden_check(const char *setup, const char *fixture, sd_tensor *got, double limit);

/* As make_golden.py's PROMPTS, STEPS, SCALE, SEEDS and STRENGTH. */
#define N_PROMPTS 4
extern const char *const golden_prompts[N_PROMPTS];
#define GOLDEN_STEPS 20
#define GOLDEN_SCALE 7.5f
#define GOLDEN_SEED 42
#define GOLDEN_STRENGTH 0.75 /* the default */

/* GOLDEN_STEPS guided steps of a 128 x 128 picture from GOLDEN_SEED. */
sd_sampler_params golden_params(int batch);

/* Runs a suite of one case; returns what main returns. */
typedef struct golden_test {
    const TTest *test;
    int first, end; /* of the loop */
} golden_test;
int golden_main(const char *name, const golden_test *tests, int n_tests);

#endif
