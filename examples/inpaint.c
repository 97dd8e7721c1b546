/* sd-inpaint: the white part of a mask is painted anew. The mask, its size among the latents and
 * the result are those of scripts/inpaint.py of the original; the sampling is DDIMSampler's with
 * mask and x0, which takes any model. */
#include "paint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAM "sd-inpaint"

typedef struct inpaint {
    paint p;
    const char *init_path, *mask_path;
    float strength;
    int width, height;
    sd_model_info info;
    sd_image *init, *mask;    /* RGB, width x height */
    sd_tensor *known;         /* the picture's latent [1, c, h, w] */
    sd_tensor *keep;          /* [1, 1, h, w]: 1 where the picture is kept */
    sd_tensor *cond, *uncond; /* [1, tokens, width] of `prompt` */
    const char *prompt;
} inpaint;

/* convert("L") of PIL, and the threshold of make_batch. */
static bool is_white(const uint8_t *rgb) {
    return (rgb[0] * 19595 + rgb[1] * 38470 + rgb[2] * 7471 + 0x8000) >> 16 >= 128;
}

static sd_status fit(const inpaint *job, sd_image **image) {
    sd_image *resized;
    if (sd_image_width(*image) == job->width && sd_image_height(*image) == job->height)
        return SD_OK;
    sd_status status = sd_image_resize(*image, job->width, job->height, &resized);
    if (!status) {
        sd_image_free(*image);
        *image = resized;
    }
    return status;
}

/* As load_img of scripts/img2img.py: down to a multiple of 64. */
static int side(int given, int own, int multiple) {
    int step = 64 % multiple == 0 ? 64 : multiple;
    return given ? given : own < step ? step : own / step * step;
}

static int load_pictures(inpaint *job) {
    sd_context *ctx = job->p.ctx;
    sd_status status = sd_image_load(ctx, job->init_path, &job->init);
    if (!status)
        status = sd_image_load(ctx, job->mask_path, &job->mask);
    if (status)
        return cli_fail(PROGRAM, ctx, status);
    int width = sd_image_width(job->init), height = sd_image_height(job->init);
    if (sd_image_width(job->mask) != width || sd_image_height(job->mask) != height) {
        fprintf(stderr, PROGRAM ": %s is %dx%d; %dx%d was expected, the size of %s\n",
                job->mask_path, sd_image_width(job->mask), sd_image_height(job->mask), width,
                height, job->init_path);
        return 1;
    }
    job->width = side(job->width, width, job->info.size_multiple);
    job->height = side(job->height, height, job->info.size_multiple);
    status = fit(job, &job->init);
    if (!status)
        status = fit(job, &job->mask);
    return status ? cli_fail(PROGRAM, ctx, status) : 0;
}

/* The mask at the latents' size by torch's interpolate, whose default takes the nearest pixel: of
 * each square the first. */
static sd_status make_keep(inpaint *job) {
    int scale = job->info.latent_downscale;
    int64_t dims[] = {1, 1, job->height / scale, job->width / scale};
    sd_status status = sd_tensor_new(job->p.ctx, 4, dims, NULL, &job->keep);
    if (status)
        return status;
    float *keep = sd_tensor_data(job->keep);
    const uint8_t *mask = sd_image_pixels(job->mask);
    for (int64_t y = 0; y < dims[2]; y++)
        for (int64_t x = 0; x < dims[3]; x++)
            *keep++ = is_white(mask + 3 * (y * scale * job->width + x * scale)) ? 0.0f : 1.0f;
    return SD_OK;
}

static sd_status encode_picture(inpaint *job) {
    sd_tensor *pixels = NULL;
    sd_status status = make_keep(job);
    if (!status)
        status = sd_image_to_tensor(job->init, &pixels);
    if (!status)
        status = sd_vae_encode(job->p.model, pixels, NULL, &job->known);
    sd_tensor_free(pixels);
    return status;
}

/* Both prompts at once, so that they have as many tokens. */
static sd_status encode_prompt(inpaint *job, const char *prompt) {
    const paint_options *o = job->p.options;
    if (job->cond && prompt == job->prompt)
        return SD_OK;
    sd_tensor_free(job->cond);
    sd_tensor_free(job->uncond);
    job->cond = job->uncond = NULL;
    const char *texts[] = {prompt, o->negative};
    sd_text_params text = {sizeof text, o->weighted, o->clip_skip};
    sd_tensor *both;
    sd_status status = sd_encode_text_with(job->p.model, texts, 2, &text, &both);
    if (status)
        return status;
    int64_t dims[] = {1, sd_tensor_dims(both)[1], sd_tensor_dims(both)[2]};
    const float *rows = sd_tensor_data(both);
    status = sd_tensor_new(job->p.ctx, 3, dims, rows, &job->cond);
    if (!status)
        status = sd_tensor_new(job->p.ctx, 3, dims, rows + dims[1] * dims[2], &job->uncond);
    sd_tensor_free(both);
    job->prompt = prompt;
    return status;
}

static sd_status sample(inpaint *job, const sd_sampler_params *sampling, sd_tensor **latent) {
    sd_sampler *sampler = NULL;
    sd_status status = sd_sampler_new(job->p.model, sampling, &sampler);
    if (!status)
        status = sd_sampler_set_mask(sampler, job->keep, job->known);
    if (!status)
        status = sd_sample(sampler, job->cond, job->uncond,
                           job->strength < 1.0f ? job->known : NULL, NULL, latent);
    sd_sampler_free(sampler);
    return status;
}

/* Outside of the mask the given picture: "inpainted = (1-mask)*image+mask*predicted_image". */
static void keep_outside(const inpaint *job, sd_image *painted) {
    const uint8_t *mask = sd_image_pixels(job->mask), *from = sd_image_pixels(job->init);
    uint8_t *to = sd_image_pixels(painted);
    size_t n = (size_t)job->width * (size_t)job->height;
    for (size_t i = 0; i < 3 * n; i += 3)
        if (!is_white(mask + i))
            memcpy(to + i, from + i, 3);
}

static sd_status paint_batch(inpaint *job, paint_round *round, sd_image **images) {
    sd_tensor *latent = NULL, *pixels = NULL;
    round->sampling.strength = job->strength;
    round->sampling.width = job->width;
    round->sampling.height = job->height;
    sd_status status = encode_prompt(job, round->prompt);
    if (!status) {
        round->sampling.text_tokens = (int)sd_tensor_dims(job->cond)[1];
        status = sample(job, &round->sampling, &latent);
    }
    if (!status)
        status = sd_vae_decode(job->p.model, latent, &pixels);
    for (int i = 0; i < round->sampling.batch && !status; i++) {
        status = sd_image_from_tensor(pixels, i, &images[i]);
        if (!status)
            keep_outside(job, images[i]);
    }
    sd_tensor_free(latent);
    sd_tensor_free(pixels);
    return status;
}

static int run(inpaint *job) {
    paint *p = &job->p;
    int n = p->options->n_samples;
    sd_image **images = calloc((size_t)n, sizeof *images);
    if (!images) {
        fprintf(stderr, PROGRAM ": out of memory\n");
        return 1;
    }
    int exit_code = 0;
    for (int i = 0; i < paint_rounds(p) && !exit_code && !cli_interrupted(); i++) {
        paint_round round = paint_round_at(p, i);
        sd_status status = paint_batch(job, &round, images);
        exit_code = paint_save(p, status, &round, images, ", Inpainting: masked latents");
    }
    if (!exit_code && !cli_interrupted())
        exit_code = paint_save_grid(p);
    for (int i = 0; i < n; i++)
        sd_image_free(images[i]);
    free(images);
    return cli_interrupted() ? 130 : exit_code;
}

static int begin_and_run(inpaint *job, const paint_options *o) {
    int exit_code = paint_begin(&job->p, PROGRAM, o);
    if (exit_code)
        return exit_code;
    sd_status status = sd_model_get_info(job->p.model, &job->info);
    if (status)
        return cli_fail(PROGRAM, job->p.ctx, status);
    exit_code = load_pictures(job);
    if (exit_code)
        return exit_code;
    status = encode_picture(job);
    return status ? cli_fail(PROGRAM, job->p.ctx, status) : run(job);
}

static void end(inpaint *job) {
    sd_image_free(job->init);
    sd_image_free(job->mask);
    sd_tensor_free(job->known);
    sd_tensor_free(job->keep);
    sd_tensor_free(job->cond);
    sd_tensor_free(job->uncond);
    paint_end(&job->p);
}

int main(int argc, char **argv) {
    paint_options o = {
        .prompt = "",
        .outdir = "outputs/inpaint-samples",
        .n_iter = 1,
        .n_samples = 1,
        .scale = 7.5f,
        PAINT_COMMON_DEFAULTS,
    };
    inpaint job = {.strength = 1.0f, .info = SD_MODEL_INFO_INIT};
    cli_option rows[PAINT_N_OPTIONS + 6] = {
        [PAINT_N_OPTIONS] = {"init-img", CLI_TEXT, &job.init_path, "the picture"},
        {"mask-img", CLI_TEXT, &job.mask_path, "of its size: white is painted anew, black kept"},
        {"strength", CLI_FLOAT, &job.strength,
         "how much to change what is white, 0 to 1; at 1 nothing of it is seen"},
        {"W", CLI_INT, &job.width, "width; 0: the picture's, cut down to a multiple of 64"},
        {"H", CLI_INT, &job.height, "height; 0: the picture's, cut down to a multiple of 64"},
        {"steps", CLI_INT, &o.ddim_steps, "the original inpaint.py's name for --ddim_steps"},
    };
    paint_option_rows(&o, rows);
    const cli_program program = {
        PROGRAM,
        "Paints a part of a picture anew, after a prompt, with Stable Diffusion. Any model of text "
        "to\n"
        "image does it: what is outside of the mask is kept, in each step and in the result.\n"
        "There is no safety checker and no invisible watermark: results are neither checked nor "
        "marked.",
        NULL, rows, PAINT_N_OPTIONS + 6};
    int exit_code;
    if (cli_parse(&program, argc, argv, &exit_code) < 0)
        return exit_code;
    if (!job.init_path || !job.mask_path) {
        fprintf(stderr, PROGRAM ": --%s is missing: a PNG or JPEG file\n",
                job.init_path ? "mask-img" : "init-img");
        return 2;
    }
    exit_code = begin_and_run(&job, &o);
    end(&job);
    return exit_code;
}
