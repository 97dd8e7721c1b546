/*
 * sd-prove: libsd's half of the full-size proof (prove_sd15.py has the other). Reads the inputs
 * DIR/ref-*.npy, runs each stage and whole runs through the public API, writes DIR/sd-*.npy.
 *
 *   sd-prove CHECKPOINT DIR [--backend NAME] [--threads N] [--image FILE] [--only PART]
 *
 * PART: "stages" (one call of each network), "txt2img", "img2img"; without it, all.
 */
#include "../support/cond.h"
#include "../support/params.h"
#include "npy.h"
#include "tool.h"

#include <sd/original.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct proof {
    sd_context *ctx;
    sd_model *model;
    const char *folder;
    double started;
} proof;

static void fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, sd_last_error());
    exit(1);
}

#define must(call)                                                                                 \
    do {                                                                                           \
        if ((call) != SD_OK)                                                                       \
            fail(#call);                                                                           \
    } while (0)

static npy read_array(const proof *p, const char *name) {
    char path[4096];
    npy a;
    snprintf(path, sizeof(path), "%s/ref-%s.npy", p->folder, name);
    if (!npy_load(path, &a))
        exit(1);
    return a;
}

/* Rows first .. first + n - 1 of ref-NAME.npy; n 0: all. */
static sd_tensor *read_tensor(const proof *p, const char *name, int64_t first, int64_t n) {
    npy a = read_array(p, name);
    sd_tensor *t;
    size_t row = a.n / (size_t)a.dims[0];
    a.dims[0] = n ? n : a.dims[0];
    must(sd_tensor_new(p->ctx, a.n_dims, a.dims, a.f32 + (size_t)first * row, &t));
    npy_free(&a);
    return t;
}

/* Writes sd-NAME.npy and says how long it took since the last. */
static void write_tensor(proof *p, const char *name, sd_tensor *t) {
    char path[4096];
    double seconds = now() - p->started;
    snprintf(path, sizeof(path), "%s/sd-%s.npy", p->folder, name);
    if (!npy_save(path, NPY_F32, sd_tensor_n_dims(t), sd_tensor_dims(t), sd_tensor_data(t)))
        fail(path);
    printf("%-20s %.2f s\n", name, seconds);
    fflush(stdout);
    sd_tensor_free(t);
    p->started = now();
}

static void write_image(proof *p, const char *name, const sd_tensor *latent) {
    char path[4096];
    sd_tensor *pixels;
    sd_image *image;
    must(sd_vae_decode(p->model, latent, NULL, &pixels));
    must(sd_image_from_tensor(pixels, 0, &image));
    const int64_t dims[3] = {sd_image_height(image), sd_image_width(image), 3};
    snprintf(path, sizeof(path), "%s/sd-%s.npy", p->folder, name);
    if (!npy_save(path, NPY_U8, 3, dims, sd_image_pixels(image)))
        fail(path);
    snprintf(path, sizeof(path), "%s/sd-%s.png", p->folder, name);
    must(sd_image_save(image, path, NULL));
    sd_image_free(image);
    sd_tensor_free(pixels);
}

/* The networks, one call each, from the reference's inputs. */
static void stages(proof *p) {
    npy ids = read_array(p, "ids");
    sd_cond *cond;
    sd_tensor *text, *out;
    p->started = now();
    must(sd_encode_tokens(p->model, (const int32_t *[]){ids.i32}, 1, 2, NULL, &cond));
    must(context_of(SD_OK, cond, &out));
    write_tensor(p, "text", out);
    npy_free(&ids);

    const double t[2] = {981, 981};
    sd_tensor *x = read_tensor(p, "unet-in", 0, 0);
    text = read_tensor(p, "text", 0, 0);
    cond = cond_of(p->ctx, text);
    must(sd_unet_predict(p->model, x, t, cond, &out));
    sd_cond_free(cond);
    write_tensor(p, "unet", out);
    sd_tensor_free(x);
    sd_tensor_free(text);

    x = read_tensor(p, "pixels", 0, 0);
    must(sd_vae_encode(p->model, x, NULL, &out));
    /* The reference keeps the mean before the scale. */
    sd_model_info info = {sizeof(info)};
    must(sd_model_get_info(p->model, &info));
    for (int64_t i = 0; i < sd_tensor_n_elements(out); i++)
        sd_tensor_data_mut(out)[i] /= (float)info.latent_scale;
    write_tensor(p, "moments", out);
    sd_tensor_free(x);

    x = read_tensor(p, "decode-in", 0, 0);
    must(sd_vae_decode(p->model, x, NULL, &out));
    write_tensor(p, "decode", out);
    sd_tensor_free(x);
}

static int32_t show(void *user, const sd_progress *progress) {
    (void)user;
    printf("  step %2d of %d, %.2f s\n", progress->step, progress->total, progress->seconds);
    fflush(stdout);
    return 0;
}

/* A sampler as the reference has it, with libsd's own embeddings. */
typedef struct run {
    sd_sampler *sampler;
    sd_cond *cond, *uncond;
} run;

static run run_begin(proof *p) {
    npy ids = read_array(p, "ids");
    sd_sampler_params sp = SD_SAMPLER_PARAMS_INIT;
    run r;
    p->started = now();
    must(sd_encode_tokens(p->model, (const int32_t *[]){ids.i32}, 1, 1, NULL, &r.uncond));
    must(sd_encode_tokens(p->model, (const int32_t *[]){ids.i32 + 77}, 1, 1, NULL, &r.cond));
    npy_free(&ids);
    sp.steps = 20;
    sp.guidance_scale = 7.5f;
    sd_original_params original = SD_ORIGINAL_PARAMS_INIT;
    sp.original = &original;
    original.original_encode = 1; /* as sd-img2img */
    sp.width = sp.height = 512;
    sp.progress = show;
    must(sd_sampler_new(p->model, &sp, &r.sampler));
    return r;
}

static void run_end(run *r) {
    sd_cond_free(r->cond);
    sd_cond_free(r->uncond);
    sd_sampler_free(r->sampler);
}

static void txt2img(proof *p) {
    run r = run_begin(p);
    sd_tensor *noise = read_tensor(p, "noise", 0, 0), *latent;
    must(sd_sample(r.sampler, RUN(r.cond, r.uncond, NULL, noise), &latent));
    write_image(p, "txt2img-image", latent);
    write_tensor(p, "txt2img-latent", latent);
    sd_tensor_free(noise);
    run_end(&r);
}

/* From libsd's own encoding of the picture. */
static void img2img(proof *p) {
    run r = run_begin(p);
    sd_tensor *pixels = read_tensor(p, "pixels", 0, 0), *init, *latent;
    sd_tensor *encode_noise = read_tensor(p, "encode-noise", 0, 0);
    sd_tensor *noise = read_tensor(p, "img2img-noise", 0, 0);
    must(sd_vae_encode(p->model, pixels, NOISE(encode_noise), &init));
    must(sd_sample(r.sampler, RUN(r.cond, r.uncond, init, noise), &latent));
    write_image(p, "img2img-image", latent);
    write_tensor(p, "img2img-latent", latent);
    sd_tensor_free(noise);
    sd_tensor_free(encode_noise);
    sd_tensor_free(pixels);
    sd_tensor_free(init);
    run_end(&r);
}

/* The picture as libsd reads and resizes it, for comparison with PIL's. */
static void picture(proof *p, const char *path) {
    sd_image *image, *small;
    sd_tensor *pixels;
    must(sd_image_load(p->ctx, path, NULL, &image));
    must(sd_image_resize(image, 512, 512, &small));
    must(sd_image_to_tensor(small, &pixels));
    write_tensor(p, "pixels", pixels);
    sd_image_free(image);
    sd_image_free(small);
}

static const char *option(int argc, char **argv, const char *name) {
    for (int i = 3; i + 1 < argc; i += 2)
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    return NULL;
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*run)(proof *p);
    } parts[] = {{"stages", stages}, {"txt2img", txt2img}, {"img2img", img2img}};
    proof p = {NULL, NULL, argc > 2 ? argv[2] : NULL, now()};
    sd_context_params cp = SD_CONTEXT_PARAMS_INIT;
    sd_model_params mp = SD_MODEL_PARAMS_INIT;
    if (argc < 3 || argc % 2 == 0) {
        fprintf(stderr, "usage: sd-prove CHECKPOINT DIR [--backend NAME] [--threads N] "
                        "[--image FILE] [--only PART]\n");
        return 2;
    }
    const char *threads = option(argc, argv, "--threads");
    const char *image = option(argc, argv, "--image");
    const char *only = option(argc, argv, "--only");
    cp.backend = option(argc, argv, "--backend");
    cp.n_threads = threads ? atoi(threads) : 0;
    mp.precision = SD_PRECISION_FULL;
    must(sd_context_new(&cp, &p.ctx));
    must(sd_model_load(p.ctx, argv[1], &mp, &p.model));
    printf("%s, loaded in %.2f s\n", sd_context_device(p.ctx), now() - p.started);
    if (image)
        picture(&p, image);
    for (int i = 0; i < 3; i++)
        if (!only || strcmp(only, parts[i].name) == 0)
            parts[i].run(&p);
    sd_model_free(p.model);
    sd_context_free(p.ctx);
    return 0;
}
