/*
 * struct sd_sampler, for the files that make it up: sampling.c has its memory, sampling_run.c a
 * run, sampling_step.c one step of it, sampling_access.c what is read and set between steps,
 * concat.c what the network sees beside the latent.
 */
#ifndef SD_PIPELINE_SAMPLING_INTERNAL_H
#define SD_PIPELINE_SAMPLING_INTERNAL_H

#include "pipeline/finite.h"
#include "pipeline/noise.h"
#include "pipeline/sampling.h"
#include "pipeline/shapes.h"
#include "pipeline/stage.h"
#include "sampler/sampler.h"

/* Lists of latents [n, c, h, w] on the host, with room for what any run keeps. */
typedef struct sd_inter {
    float *x, *x0;    /* NULL: nothing is kept */
    atomic_int count; /* entries of both */
} sd_inter;

struct sd_sampler {
    sd_handle handle;
    atomic_uintptr_t owner; /* the thread whose call uses it: sd_call_claim */
    atomic_bool stop;       /* it was freed: a run ends */
    atomic_int left;        /* total - run.done, for any thread */
    sd_model *model;        /* retained */
    sd_sampler_params params;
    int n, h, w, c; /* the latents: [n, c, h, w] in public, [n, h, w, c] on the device */
    int halves;     /* 2 with guidance: unconditional, then conditional */
    int extra;      /* channels that the UNet takes beside the latent's */
    sd_noise noise;
    int skip_draws;
    float *nchw, *nhwc; /* one batch of latents each, on the host */
    float *score;       /* two batches, for the score corrector; NULL: there is none */
    float *drawn[2];    /* [n, h, w, c]: noise of what the mask holds, and of the step */
    bool ahead;         /* they are the next step's, which `ahead_of` were drawn for */
    unsigned ahead_of;
    sd_run run;

    sd_exec *e;
    size_t workspace;      /* of the stack: what the network computes between begins there */
    size_t top;            /* and what else a step does, here */
    sdb_tensor x_in;       /* [halves * n, h, w, c + extra]: x_t, then what concat.c put there */
    sdb_tensor out;        /* [halves * n, h, w, c]; the first half becomes run.eps */
    sdb_tensor t;          /* [halves * n, 1, 1, 1] */
    sdb_tensor guidance;   /* [1, 1, 1, 2]: 1 - s, s */
    sdb_tensor scale;      /* [n, 1, 1, guidance_dim], for a UNet that is told s; or none */
    sdb_tensor kv;         /* keys and values of the prompts */
    sdb_tensor mask;       /* [n, h, w, 1], with has_mask: 1 where `known` is held */
    sdb_tensor known;      /* [n, h, w, c]: x_0 */
    sdb_tensor mask_noise; /* [n, h, w, c]: that it is noised with in a step */

    sd_inter inter;

    int next;  /* index of the next step */
    int total; /* steps of the run; run.done of them were made */
    bool has_latent, has_x0, has_concat, has_mask;
    bool busy; /* within sd_sampling_run or _step: a callback may be calling */
};

/* sampling.c */
/* A call begins; inside a run's callback it is part of the run. */
void sd_sampling_enter(sd_sampler *s);
/* Of the prompts, into s->kv. Both NULL while measuring. */
void sd_sampling_encode_prompts(sd_sampler *s, const sd_tensor *cond, const sd_tensor *uncond);
/* One batch of latents [n, c, h, w] to the device. */
void sd_sampling_upload(sd_sampler *s, sdb_tensor dst, const float *nchw);

/* sampling_step.c */
/* Step i of the run: given to the device, perhaps not yet made. Failures are left in the executor's
 * status. */
void sd_sampling_compute(sd_sampler *s, int i);
/* A step from the middle of a run, while measuring. */
void sd_sampling_compute_measured(sd_sampler *s);
/* The run's `denoise`; `user` is the sampler. */
void sd_sampling_denoise(void *user, sdb_tensor x, sdb_tensor time);
/* The network alone, on what lies in x_in, t, kv and scale: a stage of the executor. */
void sd_sampling_network(sd_sampler *s);
sd_stage_key sd_sampling_network_key(const sd_sampler *s);

/* sampling_run.c */
/* Finite latents [n, c, h, w], and where `one_is_fine` also [1, c, h, w]. */
sd_status sd_sampling_check_latent(const sd_sampler *s, const sd_tensor *t, const char *what,
                                   bool one_is_fine);

/* intermediates.c */
sd_status sd_inter_new(sd_sampler *s); /* sd_inter_free after a failure too */
void sd_inter_free(sd_sampler *s);
/* A run begins at `x`, one batch of latents [n, c, h, w]. */
void sd_inter_begin(sd_sampler *s, const float *x);
/* A step was made, and its x is in s->nhwc; a failure is left in the executor's status. */
void sd_inter_step(sd_sampler *s);

#endif
