/*
 * sd-prove-backends: one model on two backends, stage by stage and as whole runs from the same
 * noise. The first is taken as right: the CPU, float32.
 *
 *   sd-prove-backends CHECKPOINT BACKEND [--precision full|autocast|bfloat16]
 *                     [--size N] [--steps N] [--batch N] [--method NAME] [--threads N] [--out
 * PREFIX]
 *
 * Prints the relative error of each stage and the PSNR of the picture, each with its limit:
 * float16 within 1e-2 a UNet call and 30 dB, bfloat16 (an eighth of the precision) within 8e-2 and
 * 25 dB, float32 within 1e-4 and 50 dB. With --out, the two pictures go to PREFIX-cpu.png and
 * PREFIX-BACKEND.png. Ends with 1 where a limit is broken.
 */
#include "../support/cond.h"
#include "compare.h"
#include "tool.h"

#include <sd/sd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct options {
    const char *checkpoint, *backend, *precision, *method, *out;
    int size, steps, batch, threads;
} options;

enum { TEXT, UNET, ENCODE, DECODE, LATENT, N_RESULTS };
static const char *const result_names[N_RESULTS] = {"text encoder", "UNet, one call", "VAE encode",
                                                    "VAE decode", "final latent"};

typedef struct side {
    sd_context *ctx;
    sd_model *model;
    sd_tensor *results[N_RESULTS];
    double seconds[N_RESULTS];
    sd_image *image;
    double started;
} side;

#define must(s, call)                                                                              \
    do {                                                                                           \
        if ((call) != SD_OK) {                                                                     \
            fprintf(stderr, "%s: %s\n", #call, sd_last_error());                                   \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static void load(side *s, const options *o, const char *backend, const char *precision) {
    sd_context_params cp = SD_CONTEXT_PARAMS_INIT;
    sd_model_params mp = SD_MODEL_PARAMS_INIT;
    cp.backend = backend;
    cp.n_threads = o->threads;
    mp.precision = precision_of(precision);
    must(s, sd_context_new(&cp, &s->ctx));
    double begin = now();
    must(s, sd_model_load(s->ctx, o->checkpoint, &mp, &s->model));
    printf("%s, %s: loaded in %.2f s\n", sd_context_device(s->ctx), precision, now() - begin);
}

static void done(side *s, int what, sd_tensor *result) {
    s->results[what] = result;
    s->seconds[what] = now() - s->started;
    s->started = now();
}

/* Prompts without a vocabulary: numbers that every vocabulary has. */
static sd_cond *prompts(side *s, const sd_model_info *info, int n) {
    int count = n * info->text_tokens;
    int32_t *ids = malloc((size_t)count * sizeof *ids);
    sd_cond *out;
    if (!ids)
        exit(1);
    for (int i = 0; i < count; i++)
        ids[i] = (i * 79 + 13) % 151;
    must(s, sd_encode_tokens(s->model, (const int32_t *[]){ids, ids}, info->n_encoders, n, NULL,
                             &out));
    free(ids);
    return out;
}

static sd_cond *row_of(const sd_cond *all, int row) {
    sd_cond *out;
    must(s, sd_cond_rows(all, row, 1, &out));
    return out;
}

static void sample(side *s, const options *o, const sd_cond *text, const sd_tensor *noise) {
    sd_sampler_params p = SD_SAMPLER_PARAMS_INIT;
    sd_sampler *sampler;
    sd_cond *cond = row_of(text, 0), *uncond = row_of(text, 1);
    sd_tensor *latent, *pixels;
    p.method = o->method;
    p.width = p.height = o->size;
    p.steps = o->steps;
    p.batch = o->batch;
    must(s, sd_sampler_new(s->model, &p, &sampler));
    s->started = now();
    must(s, sd_sample(sampler, RUN(cond, uncond, NULL, noise), &latent));
    done(s, LATENT, latent);
    must(s, sd_vae_decode(s->model, latent, NULL, &pixels));
    must(s, sd_image_from_tensor(pixels, 0, &s->image));
    sd_tensor_free(pixels);
    sd_cond_free(cond);
    sd_cond_free(uncond);
    sd_sampler_free(sampler);
}

/* Every stage from inputs that are the same numbers on each side. */
static void run(side *s, const options *o) {
    sd_model_info info = SD_MODEL_INFO_INIT;
    sd_tensor *x, *noise, *pixels, *out;
    must(s, sd_model_get_info(s->model, &info));
    int side_length = o->size / info.latent_downscale;
    const int64_t latent[4] = {o->batch, info.latent_channels, side_length, side_length};
    const int64_t two[4] = {2, info.latent_channels, side_length, side_length};
    const int64_t picture[4] = {1, 3, o->size, o->size};
    const double t[2] = {981, 981};
    s->started = now();
    sd_cond *text = prompts(s, &info, 2);
    must(s, sd_cond_get(text, "context", &out));
    done(s, TEXT, out);
    must(s, sd_randn(s->ctx, SD_RNG_CPU, 1, 4, two, &x));
    must(s, sd_randn(s->ctx, SD_RNG_CPU, 2, 4, latent, &noise));
    must(s, sd_randn(s->ctx, SD_RNG_CPU, 3, 4, picture, &pixels));
    for (int64_t i = 0; i < sd_tensor_n_elements(pixels); i++)
        sd_tensor_data_mut(pixels)[i] *= 0.3f;
    s->started = now();
    must(s, sd_unet_predict(s->model, x, t, text, &out));
    done(s, UNET, out);
    must(s, sd_vae_encode(s->model, pixels, NULL, &out));
    done(s, ENCODE, out);
    must(s, sd_vae_decode(s->model, x, NULL, &out));
    done(s, DECODE, out);
    sample(s, o, text, noise);
    sd_cond_free(text);
    sd_tensor_free(x);
    sd_tensor_free(noise);
    sd_tensor_free(pixels);
}

static void save(const options *o, const side *s, const char *name) {
    char path[4096];
    if (!o->out)
        return;
    snprintf(path, sizeof path, "%s-%s.png", o->out, name);
    must(s, sd_image_save(s->image, path, NULL));
}

static bool compare(const options *o, side *want, side *got) {
    bool full = strcmp(o->precision, "full") == 0, fine = true;
    bool brain = strcmp(o->precision, "bfloat16") == 0;
    for (int i = 0; i < N_RESULTS; i++) {
        double limit = full ? 1e-4 : i == LATENT ? 0.2 : brain ? 8e-2 : 1e-2;
        printf("%6.2f s and %8.4f s  ", want->seconds[i], got->seconds[i]);
        fine &= check_error(result_names[i], sd_tensor_data(got->results[i]),
                            sd_tensor_data(want->results[i]),
                            (size_t)sd_tensor_n_elements(want->results[i]), limit);
    }
    size_t size = (size_t)sd_image_width(want->image) * (size_t)sd_image_height(want->image) * 3;
    fine &= check_psnr("picture", sd_image_pixels(got->image), sd_image_pixels(want->image), size,
                       full    ? 50
                       : brain ? 25
                               : 30);
    return fine;
}

static void clear(side *s) {
    for (int i = 0; i < N_RESULTS; i++)
        sd_tensor_free(s->results[i]);
    sd_image_free(s->image);
    sd_model_free(s->model);
    sd_context_free(s->ctx);
}

static bool parse(int argc, char **argv, options *o) {
    if (argc < 3 || argc % 2 == 0)
        return false;
    o->checkpoint = argv[1];
    o->backend = argv[2];
    for (int i = 3; i < argc; i += 2) {
        const char *value = argv[i + 1];
        struct {
            const char *name;
            const char **text;
            int *number;
        } rows[] = {{"--precision", &o->precision, NULL},
                    {"--method", &o->method, NULL},
                    {"--out", &o->out, NULL},
                    {"--size", NULL, &o->size},
                    {"--steps", NULL, &o->steps},
                    {"--batch", NULL, &o->batch},
                    {"--threads", NULL, &o->threads}};
        bool known = false;
        for (size_t r = 0; r < sizeof rows / sizeof *rows; r++)
            if (strcmp(argv[i], rows[r].name) == 0) {
                known = true;
                if (rows[r].text)
                    *rows[r].text = value;
                else
                    *rows[r].number = atoi(value);
            }
        if (!known)
            return false;
    }
    return true;
}

int main(int argc, char **argv) {
    options o = {.precision = "autocast", .size = 512, .steps = 20, .batch = 1};
    side cpu = {0}, other = {0};
    if (!parse(argc, argv, &o)) {
        fprintf(stderr,
                "usage: sd-prove-backends CHECKPOINT BACKEND [--precision full|autocast|bfloat16] "
                "[--size N]\n       [--steps N] [--batch N] [--method NAME] [--threads N] "
                "[--out PREFIX]\n");
        return 2;
    }
    load(&other, &o, o.backend, o.precision);
    run(&other, &o);
    load(&cpu, &o, "cpu", "full");
    run(&cpu, &o);
    bool fine = compare(&o, &cpu, &other);
    save(&o, &cpu, "cpu");
    save(&o, &other, o.backend);
    clear(&cpu);
    clear(&other);
    return fine ? 0 : 1;
}
