/*
 * Pictures in one call. generate.c has the order of things, init.c what becomes of a picture to
 * begin from, paint.c what a mask adds to that.
 */
#ifndef SD_PIPELINE_GENERATE_H
#define SD_PIPELINE_GENERATE_H

#include "io/mask.h"
#include "pipeline/model.h"

/* A picture as it is asked for, whole and checked by lib/api. Sides may be 0. */
typedef struct sd_request {
    const char *prompt, *negative_prompt; /* NULL is "" */
    const char *const *prompts;           /* sampling.batch of them in place of `prompt`; or NULL */
    const sd_cond *cond, *uncond;         /* in place of the prompts; or NULL */
    const sd_image *init;                 /* NULL: from noise */
    const sd_image *mask;                 /* NULL: all of init; else of what is painted */
    sd_masking masking;
    sd_sampler_params sampling;
    sd_original_params original; /* where sampling.original points */
    double strength;             /* with init: 0 .. 1 */
    const sd_model *refiner;     /* NULL: none */
    double refiner_start;        /* share that is done when it begins */
    sd_text_params text;
    sd_vae_params vae;
} sd_request;

/* The parts that a mask adds: paint.c. */
typedef struct sd_painting {
    sd_image *grey;        /* the mask at init's size */
    bool soft;             /* it has greys */
    sd_rect from, to;      /* only_masked: of init, of the run's size */
    sd_image *init, *mask; /* at the run's size */
    sd_tensor *white;      /* [1, 1, height, width]: 1 to paint */
} sd_painting;

/* A request on its way, stage by stage; NULL is what it has no need of. */
typedef struct sd_generation {
    const sd_model *base;  /* that was asked, */
    const sd_model *model; /* and that is at work: it, or its refiner */
    const sd_request *request;
    sd_sampler_params sampling; /* the request's, with sides filled in */
    sd_painting painting;
    sd_tensor *pixels; /* init, [1, 3, height, width] */
    sd_cond *cond, *uncond;
    sd_tensor *begin;        /* latent that the run begins from */
    sd_tensor *keep, *known; /* of sd_sampler_set_mask */
    sd_tensor *concat;       /* of sd_sampler_set_concat */
    int draws;               /* taken from the seeds before the sampler's first */
    sd_tensor *latent;       /* what the run made */
    sd_image **images;
} sd_generation;

/* generate.c. images[0 .. sampling.batch - 1] are set, to NULL after a failure. */
sd_status sdi_pipeline_generate(const sd_model *model, const sd_request *request,
                                sd_image **images);

/* init.c */
/* Sides that nobody named: the picture's own, cut down to a multiple of 64. */
void sdi_init_sides(const sd_model *model, const sd_image *init, sd_sampler_params *p);
sd_status sdi_init_load(sd_generation *g);
sd_status sdi_init_encode(sd_generation *g);
/* Noise [batch, c, h, w] for the VAE's posterior: the first that is drawn from the seeds, before
 * that of q_sample, as in the original scripts. How many draws of the sampler's stream it takes. */
sd_status sdi_posterior_noise(const sd_model *model, const sd_sampler_params *p, sd_tensor **out);
int sdi_posterior_draws(const sd_sampler_params *p);

/* paint.c */
sd_status sdi_paint_load(sd_generation *g);
sd_status sdi_paint_encode(sd_generation *g);
/* Lays what was painted over init. */
sd_status sdi_paint_finish(sd_generation *g);
void sdi_painting_free(sd_painting *painting);

#endif
