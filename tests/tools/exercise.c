/*
 * sd-exercise: every network of a model once, for tools that watch what a backend does. Nothing is
 * compared.
 *
 *   sd-exercise [--backend NAME] [--precision full|autocast|bfloat16] [--size N] [--steps N]
 *               [--method NAME] [--only text|unet|vae] [--record yes|no] MODEL...
 *
 * MODEL is a checkpoint, or the name of a YAML config and a list of tensors without their endings
 * (tests/golden/data/ldm/celeba), for which random weights are written to a temporary file. Runs
 * the text encoder or the classes, a guided run with and without a mask, the first stage both ways,
 * and a codebook where there is one. With --record no nothing becomes a CUDA graph.
 */
#include "../golden/listed.h"
#include "../support/cond.h"
#include "../support/params.h"
#include "tool.h"

#include <sd/original.h>
#include <sd/profile.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct options {
    const char *backend, *precision, *method, *only, *record;
    int size, steps;
} options;

typedef struct subject {
    const options *o;
    const char *name;
    sd_context *ctx;
    sd_model *model;
    sd_model_info info;
    double started;
} subject;

#define must(s, call)                                                                              \
    do {                                                                                           \
        if ((call) != SD_OK) {                                                                     \
            fprintf(stderr, "%s: %s: %s\n", (s)->name, #call, sd_last_error());                    \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static void done(subject *s, const char *what) {
    printf("%-24s %-14s %6.2f s\n", s->name, what, now() - s->started);
    fflush(stdout);
    s->started = now();
}

static bool wanted(const subject *s, const char *what) {
    return !s->o->only || !strcmp(s->o->only, what);
}

/* Numbers of no meaning, below 1. */
static sd_tensor *numbers(subject *s, int c, int h, int w) {
    const int64_t dims[] = {1, c, h, w};
    sd_tensor *t;
    must(s, sd_tensor_new(s->ctx, 4, dims, NULL, &t));
    for (int64_t i = 0; i < sd_tensor_n_elements(t); i++)
        sd_tensor_data_mut(t)[i] = (float)(i * 37 % 101) / 101.0f - 0.5f;
    return t;
}

/* Token ids that every vocabulary has, classes, or NULL. */
static sd_cond *conditions(subject *s) {
    int32_t ids[2 * 77] = {1, 2, 3};
    sd_cond *out = NULL;
    if (s->info.conditioning == SD_CONDITIONING_TEXT && s->info.text_tokens <= 77)
        must(s, sd_encode_tokens(s->model, (const int32_t *[]){ids, ids}, s->info.n_encoders, 2,
                                 NULL, &out));
    if (s->info.conditioning == SD_CONDITIONING_CLASS)
        must(s, sd_encode_class(s->model, ids, 2, &out));
    return out;
}

/* One row of two. */
static sd_cond *row(subject *s, const sd_cond *two, int i) {
    sd_cond *one = NULL;
    if (two)
        must(s, sd_cond_rows(two, i, 1, &one));
    return one;
}

/* Two runs from one sampler, so that the second replays what the first recorded: plain, and with a
 * mask over the left half. */
static void run_sampler(subject *s, const sd_cond *both) {
    sd_sampler_params p = SD_SAMPLER_PARAMS_INIT;
    sd_sampler *sampler;
    int side = s->o->size / s->info.latent_downscale, c = s->info.latent_channels;
    sd_cond *cond = row(s, both, 0), *uncond = row(s, both, 1);
    sd_run_params run = run_of(cond, uncond, NULL, NULL);
    sd_tensor *latent;
    sd_tensor *x0 = numbers(s, c, side, side), *mask = numbers(s, 1, side, side), *beside = NULL;
    for (int64_t i = 0; i < sd_tensor_n_elements(mask); i++)
        sd_tensor_data_mut(mask)[i] = i % side < side / 2 ? 1.0f : 0.0f;
    p.method = s->o->method;
    p.steps = s->o->steps;
    p.width = p.height = s->o->size;
    sd_original_params original = SD_ORIGINAL_PARAMS_INIT;
    p.original = &original;
    original.quantize_denoised = s->info.n_codes > 0;
    must(s, sd_sampler_new(s->model, &p, &sampler));
    if (s->info.unet_channels > c) {
        beside = numbers(s, s->info.unet_channels - c, side, side);
        run.concat = beside;
    }
    for (int i = 0; i < 2; i++) {
        if (i)
            run = with_mask(mask, x0, run);
        must(s, sd_sample(sampler, &run, &latent));
        sd_tensor_free(latent);
        done(s, i ? "masked run" : "run");
    }
    sd_sampler_free(sampler);
    sd_cond_free(cond);
    sd_cond_free(uncond);
    sd_tensor *const all[] = {x0, mask, beside};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        sd_tensor_free(all[i]);
}

static void run_codebook(subject *s, const sd_tensor *latent, const sd_tensor *pixels) {
    int side = s->o->size / s->info.latent_downscale;
    sd_tensor *quantized, *decoded;
    int32_t *ids = calloc((size_t)side * (size_t)side, sizeof *ids);
    if (!ids)
        exit(1);
    must(s, sd_vae_encode_ids(s->model, pixels, NULL, ids, (int64_t)side * side));
    must(s, sd_vae_quantize(s->model, latent, ids, (int64_t)side * side, &quantized));
    must(s, sd_vae_decode_ids(s->model, ids, 1, side, side, NULL, &decoded));
    sd_tensor_free(quantized);
    sd_tensor_free(decoded);
    free(ids);
    done(s, "codebook");
}

static void run_first_stage(subject *s) {
    int size = s->o->size, side = size / s->info.latent_downscale, c = s->info.latent_channels;
    sd_tensor *pixels = numbers(s, 3, size, size), *noise = numbers(s, c, side, side);
    sd_tensor *latent, *decoded;
    must(s, sd_vae_encode(s->model, pixels, NOISE(noise), &latent));
    done(s, "encode");
    must(s, sd_vae_decode(s->model, latent, NULL, &decoded));
    done(s, "decode");
    if (s->info.n_codes > 0)
        run_codebook(s, latent, pixels);
    sd_tensor *const all[] = {pixels, noise, latent, decoded};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        sd_tensor_free(all[i]);
}

static void exercise(subject *s, const char *path, const char *config) {
    sd_context_params cp = SD_CONTEXT_PARAMS_INIT;
    sd_model_params mp = SD_MODEL_PARAMS_INIT;
    cp.backend = s->o->backend;
    mp.config = config;
    mp.precision = precision_of(s->o->precision);
    s->started = now();
    must(s, sd_context_new(&cp, &s->ctx));
    must(s, sd_model_load(s->ctx, path, &mp, &s->model));
    s->info.struct_size = sizeof s->info;
    must(s, sd_model_get_info(s->model, &s->info));
    done(s, "load");
    if (!strcmp(s->o->record, "no")) /* regions are not recorded while they are profiled */
        must(s, sd_profile_begin(s->ctx));
    if (wanted(s, "vae"))
        run_first_stage(s);
    if (s->info.unet_channels && (wanted(s, "text") || wanted(s, "unet"))) {
        sd_cond *both = conditions(s);
        done(s, "conditions");
        if (wanted(s, "unet"))
            run_sampler(s, both);
        sd_cond_free(both);
    }
    if (!strcmp(s->o->record, "no"))
        must(s, sd_profile_end(s->ctx));
    sd_model_free(s->model);
    sd_context_free(s->ctx);
}

/* A model by its list of tensors, or a checkpoint. */
static void exercise_name(const options *o, const char *name) {
    char list[4096], config[4096], path[] = "/tmp/sd-exercise-XXXXXX.safetensors";
    const char *last = strrchr(name, '/');
    subject s = {.o = o, .name = last ? last + 1 : name};
    snprintf(list, sizeof list, "%s.tsv", name);
    snprintf(config, sizeof config, "%s.yaml", name);
    if (access(list, R_OK) != 0) {
        exercise(&s, name, NULL);
        return;
    }
    int file = mkstemps(path, (int)strlen(".safetensors"));
    if (file < 0 || !listed_write(list, path)) {
        fprintf(stderr, "%s cannot be written\n", path);
        exit(1);
    }
    exercise(&s, path, config);
    close(file);
    unlink(path);
}

int main(int argc, char **argv) {
    options o = {"cuda", "autocast", "ddim", NULL, "yes", 64, 2};
    int i = 1;
    for (; i + 1 < argc && !strncmp(argv[i], "--", 2); i += 2) {
        const char *name = argv[i] + 2, *value = argv[i + 1];
        if (!strcmp(name, "backend"))
            o.backend = value;
        else if (!strcmp(name, "precision"))
            o.precision = value;
        else if (!strcmp(name, "method"))
            o.method = value;
        else if (!strcmp(name, "only"))
            o.only = value;
        else if (!strcmp(name, "record"))
            o.record = value;
        else if (!strcmp(name, "size"))
            o.size = atoi(value);
        else if (!strcmp(name, "steps"))
            o.steps = atoi(value);
        else
            break;
    }
    if (i >= argc || !strncmp(argv[i], "--", 2)) {
        fprintf(stderr, "usage: sd-exercise [--backend NAME] [--precision full|autocast|bfloat16] "
                        "[--size N] [--steps N] [--method NAME] [--only text|unet|vae] [--record "
                        "yes|no] MODEL...\n");
        return 2;
    }
    for (; i < argc; i++)
        exercise_name(&o, argv[i]);
    return 0;
}
