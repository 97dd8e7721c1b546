/*
 * Sampling methods. A method is one file with one `const sd_method`, and one row of the registry in
 * sampler.c. It chooses timesteps, computes its numbers once in float64, and makes a step from
 * these: evaluations of the network and sums of latents, all on the device.
 *
 * Latents are [n, h, w, c] of SDB_F32. Errors stay in run->e->status.
 */
#ifndef SD_SAMPLER_SAMPLER_H
#define SD_SAMPLER_SAMPLER_H

#include "backend/exec.h"
#include "io/source.h"
#include "sampler/schedule.h"

#define SD_METHOD_MAX_COEFS 32
#define SD_METHOD_MAX_HISTORY 8

typedef struct sd_run sd_run;

typedef struct sd_method {
    const char *name;
    int n_coefs;   /* numbers of a step, at most SD_METHOD_MAX_COEFS */
    int n_history; /* latents kept from step to step, at most SD_METHOD_MAX_HISTORY */
    /* Refuses parameters that the method cannot follow. NULL: it follows all. */
    sd_status (*check)(const sd_context *ctx, const sd_sampler_params *params);
    /* The times that the network sees, ascending; as sd_ddim_timesteps. */
    sd_status (*timesteps)(const sd_context *ctx, const sd_schedule *s,
                           sd_timestep_spacing spacing, int steps, int *out, int *count);
    /* The n_coefs numbers of step i, which leads from timesteps[i] to timesteps[i - 1]. */
    void (*coefs)(const sd_run *run, int i, double *coefs);
    /* x_t of timesteps[i] becomes x of timesteps[i - 1] in run->x; pred_x0 is left in
     * run->pred_x0. Steps are made from a run's first index down to 0. */
    void (*step)(sd_run *run, int i);
} sd_method;

const sd_method *sd_method_at(int i); /* NULL after the last; the first is the default */
const sd_method *sd_method_find(const char *name); /* NULL: unknown */

/* What a method works with. The fields above `user` do not change during a run. */
struct sd_run {
    const sd_context *ctx;
    const sd_method *method;
    const sd_schedule *schedule; /* not owned */
    sd_prediction prediction;
    double eta, temperature;
    int n_steps;
    int *timesteps;   /* [n_steps], ascending */
    float *table;     /* a row of numbers for each step, see sampler.c */

    sd_exec *e;
    sdb_tensor x;       /* x_t */
    sdb_tensor eps;     /* the last guided prediction of the noise */
    sdb_tensor pred_x0; /* the last predicted x_0 */
    sdb_tensor noise;   /* the last noise drawn */
    sdb_tensor history[SD_METHOD_MAX_HISTORY];
    sdb_tensor numbers; /* `table` on the device, [1, 1, 1, all of it] */

    void *user;
    /* Evaluates the network at x and `time` ([1, 1, 1, 1] on the device), with guidance, and leaves
     * its output in run->eps. */
    void (*denoise)(void *user, sdb_tensor x, sdb_tensor time);
    /* Draws the next noise of the run's generators into run->noise. */
    void (*draw)(void *user);
};

/* Chooses timesteps and computes all numbers. `params` is complete (lib/api checked it). */
sd_status sd_run_init(sd_run *run, const sd_context *ctx, const sd_schedule *schedule,
                      sd_prediction prediction, const sd_sampler_params *params);
void sd_run_free(sd_run *run);

/* Takes the run's tensors from the executor: the same ones each time, if its stack is the same. */
void sd_run_layout(sd_run *run, sd_exec *e, int n, int h, int w, int c);
/* Puts the numbers on the device. */
void sd_run_upload(sd_run *run);

/* For methods: the guided noise predicted at `x` and timesteps[i], in run->eps. A network that
 * predicts v or x_0 is converted. */
void sd_run_predict(sd_run *run, sdb_tensor x, int i);
/* For methods: numbers first .. first + count - 1 of step i, for sd_op_combine. */
sdb_tensor sd_run_coefs(const sd_run *run, int i, int first, int count);
/* For methods: alphas_cumprod at timesteps[i]; i = -1 is the end of the last step, for which the
 * original takes alphas_cumprod[0]. */
double sd_run_alpha(const sd_run *run, int i);

/* The methods. */
extern const sd_method sd_method_ddim;

#endif
