/*
 * Sampling methods. A method is one file with one `const sd_method`, and one row of the registry in
 * sampler.c. It chooses timesteps, computes its numbers once in float64, and makes a step from
 * these: evaluations of the network and sums of latents, all on the device.
 *
 * Latents are [n, h, w, c] of SDB_F32, always scaled as the network takes them:
 * x = sqrt(a) x_0 + sqrt(1 - a) noise. Methods of the literature on sigmas work on x / sqrt(a) =
 * x_0 + sigma noise, sigma^2 = (1 - a) / a; the factors are part of their numbers here.
 *
 * A step is ordinary code around the network, which alone is recorded and replayed. Errors stay in
 * run->e->status.
 */
#ifndef SD_SAMPLER_SAMPLER_H
#define SD_SAMPLER_SAMPLER_H

#include "backend/exec.h"
#include "describe/description.h"
#include "sampler/times.h"

#define SD_METHOD_MAX_COEFS 32
#define SD_METHOD_MAX_HISTORY 8

typedef struct sd_run sd_run;

typedef struct sd_method {
    const char *name;
    int n_coefs;    /* numbers of a step, at most SD_METHOD_MAX_COEFS */
    int n_history;  /* latents kept from step to step, at most SD_METHOD_MAX_HISTORY */
    int n_noises;   /* that a noisy step takes: 2, or 0 for one */
    unsigned times; /* SD_TIMES_* */
    /* Image to image with sd_original_params.original_encode noises the init latent to the time
     * above the first step's, as scripts/img2img.py does. */
    bool encode_above;
    bool inverse;  /* from x_0 to noise: the run begins at the init latent as it is */
    bool original; /* of the original: takes quantize_denoised and use_original_steps */
    bool mixes;    /* predictions of several x: see sd_run.raw */
    bool twice;    /* evaluates the network twice in each step but the last */
    bool at_zero;  /* needs no x_0 / sqrt(alpha): a schedule may end at alpha 0 */
    /* Refuses parameters that the method cannot follow. NULL: it follows all. */
    sd_status (*check)(const sd_context *ctx, const sd_sampler_params *params);
    /* Chooses other times than sdi_times_fill. NULL: that one. */
    sd_status (*fill_times)(sd_times *t, const sd_context *ctx, const sd_schedule *s,
                            const sd_sampler_params *params);
    /* The n_coefs numbers of step i, which leads from times[i] to times[i - 1]. Where a run will
     * begin is not known here: a multistep method has numbers for each order. */
    void (*coefs)(const sd_run *run, int i, double *coefs);
    /* Whether step i takes noise, which is in run->noise then, and of n_noises in
     * run->second_noise. NULL: no step does. */
    bool (*noisy)(const sd_run *run, int i);
    /* How many noises the original draws in a step, `done` steps after the run's first, also those
     * that it multiplies by 0: with a mask, whose noises come of the same stream, all are drawn.
     * NULL: as many as `noisy` says. */
    int (*draws)(int done);
    /* x of times[i] becomes x of times[i - 1] in run->x; pred_x0 is left in run->pred_x0. Steps
     * are made from a run's first index down to 0; run->done of them were made before. */
    void (*step)(sd_run *run, int i);
} sd_method;

const sd_method *sdi_method_at(int i); /* NULL after the last; the first is the default */
const sd_method *sdi_method_find(const char *name); /* NULL: unknown */
/* How often the network is evaluated in so many steps, as the web UIs count (total_steps): the last
 * one's second that is left out is counted. */
int sdi_method_evaluations(const sd_method *method, int steps);

/* A row of the table: the time, two numbers that turn the network's output into epsilon, two that
 * make x_0 from x and epsilon, two that noise an x_0, then the method's own. */
enum { SD_ROW_TIME = 0, SD_ROW_EPS = 1, SD_ROW_X0 = 3, SD_ROW_NOISED = 5, SD_ROW_METHOD = 7 };

/* A run as its method sees it. Of the fields above `user` only the run's state changes, from
 * `total` to `touched`. */
struct sd_run {
    const sd_context *ctx;
    const sd_method *method;
    const sd_schedule *schedule; /* not owned */
    sd_prediction prediction;
    double eta, ancestral_eta, temperature;
    bool clip_denoised; /* DDPM's */
    double clip;        /* clip_sample_range of a folder; 0: x_0 is not clipped */
    /* x_0 is made of what the network gives (v, x_0), not of epsilon: where alpha may be 0, and
     * where diffusers' PNDM mixes outputs as they are. */
    bool raw;
    sd_times times;
    float *table; /* a row of numbers for each step, SD_ROW_* */
    int total;    /* steps of the run that was begun */
    int done;     /* of them were made */
    int next;     /* index of the next */
    bool touched; /* x was changed from outside since the last step */

    sd_exec *e;
    sdb_tensor x;       /* x_t */
    sdb_tensor eps;     /* the last guided prediction of the noise, where `denoise` leaves it */
    sdb_tensor pred_x0; /* the last predicted x_0 */
    sdb_tensor output;  /* with `raw`: what the network gave */
    sdb_tensor noise;   /* of a step that is noisy */
    sdb_tensor second_noise;
    sdb_tensor history[SD_METHOD_MAX_HISTORY];
    sdb_tensor numbers; /* `table` on the device, [1, 1, 1, all of it] */

    void *user;
    /* Evaluates the network at x and `time` ([1, 1, 1, 1] on the device), with guidance, and leaves
     * its output in run->eps. */
    void (*denoise)(void *user, sdb_tensor x, sdb_tensor time);
    /* Takes the nearest rows of the codebook (quantize_denoised). NULL: not wanted. */
    void (*quantize)(void *user, sdb_tensor x);
};

/* --- sampler.c --- */
/* Chooses timesteps and computes all numbers. `params` is complete (lib/api checked it). */
sd_status sdi_run_init(sd_run *run, const sd_context *ctx, const sd_schedule *schedule,
                       sd_prediction prediction, const sd_sampler_params *params);
void sdi_run_free(sd_run *run);

/* Takes the run's tensors from the executor, all but eps: [n, h, w, c] as that has it. */
void sdi_run_layout(sd_run *run, sd_exec *e);
/* Puts the numbers on the device. */
void sdi_run_upload(sd_run *run);

/* --- run.c --- */
/* How many noises step i takes. */
int sdi_run_noises(const sd_run *run, int i);
int sdi_run_row_size(const sd_run *run);
/* y = x0 noised to the time of step i: DDPM eq. 4. In place is fine. */
void sdi_run_q_sample(sd_run *run, int i, sdb_tensor y, sdb_tensor x0, sdb_tensor noise);

/* For methods: the guided noise predicted at `x` and times[i], in run->eps. A network that
 * predicts v or x_0 is converted. Here and below i is the step that is made or the one after it;
 * after the last comes the last again. */
void sdi_run_predict(sd_run *run, sdb_tensor x, int i);
/* sdi_run_predict at a time between two steps: numbers first .. first + 2 of step i are those of
 * sdi_run_time_coefs. */
void sdi_run_predict_between(sd_run *run, sdb_tensor x, int i, int first);
void sdi_run_time_coefs(const sd_run *run, double time, double alpha, double out[3]);
/* For methods: run->pred_x0 from run->eps, both of run->x and times[i] (DDIM eq. 12). With
 * run->raw from run->output. */
void sdi_run_predict_x0(sd_run *run, int i);
/* For methods: run->pred_x0 within clip_sample_range, where a folder wants that. */
void sdi_run_clip_x0(sd_run *run);
/* For methods: the epsilon of an output at run->x and times[i]. */
void sdi_run_epsilon(sd_run *run, sdb_tensor eps, sdb_tensor output, int i);
/* For methods of the original: pred_x0 quantised, where that is wanted. */
void sdi_run_quantize_x0(sd_run *run);
/* For methods: numbers first .. first + count - 1 of step i, for sdi_op_sum. */
sdb_tensor sdi_run_coefs(const sd_run *run, int i, int first, int count);
/* For methods: y = the sum of `count` terms with the numbers of step i from `first` on. */
void sdi_run_combine(sd_run *run, sdb_tensor y, int i, int first, int count,
                     const sdb_tensor *terms);
/* For methods: t becomes history[0]; what was in history[0 .. n - 1] moves up one place. */
void sdi_run_keep(sd_run *run, sdb_tensor t, int n);
/* For methods: alphas_cumprod at times[i], sigma = sqrt((1 - a) / a) and lambda = -log(sigma);
 * i = -1 is the end of the last step. */
double sdi_run_alpha(const sd_run *run, int i);
double sdi_run_sigma(const sd_run *run, int i);
double sdi_run_lambda(const sd_run *run, int i);
/* For ddim and plms: alphas_cumprod where step i ends. */
double sdi_run_end(const sd_run *run, int i);
/* For multistep solvers: whether step i is of their second order, as done and a folder have it. */
bool sdi_run_second_order(const sd_run *run, int i);
/* For multistep methods: how many of steps i, i + 1, .. i + n - 1 have a sigma of their own, since
 * timesteps may be equal. */
int sdi_run_distinct(const sd_run *run, int i, int n);
/* 1 / (2 r_0) of the multistep solvers (Lu et al. 2022b, algorithm 2): how much of the prediction
 * before comes off step i's. 0 where there is none before, where step i ends at x_0, and where
 * timesteps are equal. */
double sdi_run_older_share(const sd_run *run, int i);
/* For methods: a step of the probability flow's equation dx/dsigma = eps (Karras et al. 2022,
 * eq. 1) from alpha `a` to `b` in one go: x' = out[0] x + out[1] eps. DDIM with eta 0 is the same.
 */
void sdi_flow_coefs(double a, double b, double out[2]);

/* A step from sigma `from` to `to` with noise anew, as in DDPM's posterior times eta^2: epsilon
 * goes to `down`, and `up` of noise comes to it, down^2 + up^2 = to^2 (get_ancestral_step of
 * k-diffusion). */
typedef struct sd_ancestral {
    double down, up;
} sd_ancestral;
sd_ancestral sdi_ancestral(double from, double to, double eta);
/* ... of step i, and whether that takes noise. */
sd_ancestral sdi_run_ancestral(const sd_run *run, int i);
bool sdi_run_ancestral_noisy(const sd_run *run, int i);

/* The methods. */
extern const sd_method sdi_method_ddim, sdi_method_plms, sdi_method_ddpm, sdi_method_ddim_inverse,
    sdi_method_euler, sdi_method_euler_a, sdi_method_heun, sdi_method_dpm2, sdi_method_lms,
    sdi_method_dpmpp_2m, sdi_method_dpmpp_2m_sde, sdi_method_unipc, sdi_method_lcm,
    sdi_method_dpm_solver, sdi_method_dpm2_a, sdi_method_dpmpp_2s, sdi_method_dpmpp_2s_a,
    sdi_method_dpmpp_sde, sdi_method_dpmpp_3m_sde, sdi_method_deis, sdi_method_tcd;

#endif
