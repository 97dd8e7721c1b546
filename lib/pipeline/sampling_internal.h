/*
 * struct sd_sampler, for the files that make it up: sampling.c has its memory, sampling_run.c a
 * run, sampling_step.c one step of it, sampling_cond.c what the network is conditioned on in each
 * evaluation, sampling_access.c what is read and set between steps, concat.c what the network sees
 * beside the latent.
 */
#ifndef SD_PIPELINE_SAMPLING_INTERNAL_H
#define SD_PIPELINE_SAMPLING_INTERNAL_H

#include "core/cond.h"
#include "core/expect.h"
#include "pipeline/unet.h"
#include "sampler/noise.h"
#include "sampler/sampler.h"

/* Lists of latents [entries * n, c, h, w], with room for what any run keeps. */
typedef struct sd_inter {
    sd_tensor *x, *x0; /* NULL: nothing is kept */
    atomic_int count;  /* entries of both, each a batch */
} sd_inter;

struct sd_sampler {
    sd_handle handle;
    atomic_uintptr_t owner; /* the thread whose call uses it: sdi_call_claim */
    atomic_bool stop;       /* it was freed: a run ends */
    atomic_int left;        /* run.total - run.done, for any thread */
    const sd_model *model;  /* retained */
    sd_sampler_params params;
    sd_original_params original; /* where params.original points */
    int n, h, w, c; /* the latents: [n, c, h, w] in public, [n, h, w, c] on the device */
    bool guided;    /* an unconditional evaluation goes with each conditional one */
    int terms;      /* conditionings that are combined; most often 1 */
    int extra;      /* channels that the UNet takes beside the latent's */
    sd_noise noise;
    int skip_draws;
    sd_tensor *host;     /* one batch of latents */
    sd_tensor *score[2]; /* x_t and e_t, for the score corrector; NULL: there is none */
    bool ahead; /* the next step's noise is on the device, where `ahead_of` it was wanted */
    unsigned ahead_of;
    sd_run run;
    const sd_stop *token; /* of the run, retained; or NULL */

    sd_exec *e;            /* the UNet's */
    sd_stage unet;         /* of n pictures for each conditioning, the unconditional one first: x is
                              x_t, then `beside` */
    sdb_tensor guidance;   /* [1, 1, 1, 2]: 1 - s, s */
    sdb_tensor mixing;     /* [n, 1, 1, conditionings]: what each adds to the conditional half */
    sdb_tensor beside;     /* [n, h, w, extra], or none: what concat.c puts there */
    sdb_tensor mask;       /* [n, h, w, 1], with has_mask: 1 where `known` is held */
    sdb_tensor known;      /* [n, h, w, c]: x_0 */
    sdb_tensor mask_noise; /* [n, h, w, c]: that it is noised with in a step */

    const sd_cond *cond, *uncond; /* of the run, retained; or NULL */
    int evaluations;              /* of the network that the run has made */
    int entry, unentry;           /* of cond and uncond, which the network looks at; -1: none yet */

    sd_inter inter;

    bool has_latent, has_x0, has_mask;
    bool busy; /* within sdi_sampler_run or _step: a callback may be calling */
};

/* sampling.c */
/* A call begins; inside a run's callback it is part of the run. */
void sdi_sampler_enter(sd_sampler *s);
/* Takes memory for so many conditionings of so many tokens; nothing where that was so already. What
 * the device had is gone then. */
sd_status sdi_sampler_plan(sd_sampler *s, int tokens, int terms);
/* Finite latents [n, c, h, w], and where `one_is_fine` also [1, c, h, w]. */
sd_status sdi_sampler_check_latent(const sd_sampler *s, const sd_tensor *t, const char *what,
                                   bool one_is_fine);
/* Latents of the device as a tensor of the host's. */
sd_status sdi_sampler_copy(sd_sampler *s, sdb_tensor from, sd_tensor **out);
/* There is no such thing before a run. */
sd_status sdi_sampler_fail_none(const sd_sampler *s, const char *what);

/* sampling_step.c */
/* Step i of the run: given to the device, perhaps not yet made. Failures are left in the executor's
 * status. */
void sdi_sampler_compute(sd_sampler *s, int i);
/* A step from the middle of a run, while planning. */
void sdi_sampler_compute_measured(sd_sampler *s);
/* The run's `denoise`; `user` is the sampler. */
void sdi_sampler_denoise(void *user, sdb_tensor x, sdb_tensor time);

/* sampling_cond.c */
/* How many conditionings a step evaluates. */
static inline int sdi_sampler_parts(const sd_sampler *s) {
    return s->guided + s->terms;
}
/* Whether the run's conditioning is there, and has the right shape. */
sd_status sdi_sampler_check_conds(const sd_sampler *s, const sd_run_params *given);
/* Keeps it, also past the call. */
void sdi_sampler_keep_conds(sd_sampler *s, const sd_cond *cond, const sd_cond *uncond);
/* An evaluation begins: the network looks at what it is to see now. */
void sdi_sampler_look(sd_sampler *s);
/* Predictions of several conditionings become the conditional half. */
void sdi_sampler_mix(sd_sampler *s);

/* sampling_access.c: a mask and what it holds. */
sd_status sdi_sampler_check_mask(const sd_sampler *s, const sd_tensor *mask, const sd_tensor *x0);
void sdi_sampler_put_mask(sd_sampler *s, const sd_tensor *mask, const sd_tensor *x0);

/* concat.c: what the network sees beside the latent; NULL where it takes none. */
sd_status sdi_sampler_check_concat(const sd_sampler *s, const sd_tensor *concat);
void sdi_sampler_put_concat(sd_sampler *s, const sd_tensor *concat);

/* intermediates.c */
sd_status sdi_inter_new(sd_sampler *s); /* sdi_inter_free after a failure too */
void sdi_inter_free(sd_sampler *s);
/* A run begins at what s->host has. */
void sdi_inter_begin(sd_sampler *s);
/* A step was made; a failure is left in the executor's status. */
void sdi_inter_step(sd_sampler *s);

#endif
