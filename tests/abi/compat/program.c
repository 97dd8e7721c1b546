/*
 * A program of the first release: compiled with the header that was frozen then, linked with
 * today's library, it paints what it painted. Every handle and most structs cross the boundary: one
 * picture is made in one call and once more by the stages, and both are the same.
 */
#include <sd/sd.h>
#include <stdio.h>
#include <string.h>

#define SIDE 64

typedef struct program {
    sd_context *ctx;
    sd_model *model;
    sd_sampler_params sampling;
    int steps_told, tensors_told;
} program;

static int fail(const char *what) {
    fprintf(stderr, "%s: %s\n", what, sd_last_error());
    return 1;
}

static int32_t loading(void *user, const sd_progress *progress) {
    program *p = user;
    p->tensors_told += progress->step >= 1 && progress->step <= progress->total;
    return 0;
}

static int32_t stepping(void *user, const sd_progress *progress) {
    program *p = user;
    p->steps_told += progress->step <= progress->total;
    return 0;
}

static int open_model(program *p, const char *path) {
    sd_context_params context_params = SD_CONTEXT_PARAMS_INIT;
    sd_model_params model_params = SD_MODEL_PARAMS_INIT;
    sd_model_info info = SD_MODEL_INFO_INIT;
    context_params.backend = "cpu";
    context_params.n_threads = 2;
    if (sd_context_new(&context_params, &p->ctx))
        return fail("sd_context_new");
    model_params.progress = loading;
    model_params.progress_user = p;
    model_params.strict = 1;
    if (sd_model_load(p->ctx, path, &model_params, &p->model))
        return fail("sd_model_load");
    if (sd_model_get_info(p->model, &info) || info.latent_downscale != 8 ||
        info.train_timesteps != 1000 || info.guidance_embedding || !info.has_vocabulary ||
        p->tensors_told == 0)
        return fail("sd_model_get_info");
    return 0;
}

static int in_one_call(program *p, sd_image **image) {
    sd_generate_params params = SD_GENERATE_PARAMS_INIT;
    params.prompt = "a lake";
    params.negative_prompt = "a boat";
    params.sampling = &p->sampling;
    return sd_generate(p->model, &params, image, 1) ? fail("sd_generate") : 0;
}

static int by_stages(program *p, sd_image **image) {
    const char *const texts[] = {"a lake", "a boat"};
    sd_run_params run = SD_RUN_PARAMS_INIT;
    sd_text_params text = SD_TEXT_PARAMS_INIT;
    sd_cond *both = NULL, *cond = NULL, *uncond = NULL;
    sd_tensor *latent = NULL, *pixels = NULL;
    sd_sampler *sampler = NULL;
    sd_status status = sd_encode_text(p->model, texts, 2, &text, &both);
    if (!status)
        status = sd_cond_rows(both, 0, 1, &cond);
    if (!status)
        status = sd_cond_rows(both, 1, 1, &uncond);
    if (!status)
        status = sd_sampler_new(p->model, &p->sampling, &sampler);
    run.cond = cond;
    run.uncond = uncond;
    if (!status)
        status = sd_sample(sampler, &run, &latent);
    if (!status)
        status = sd_vae_decode(p->model, latent, NULL, &pixels);
    if (!status)
        status = sd_image_from_tensor(pixels, 0, image);
    sd_cond_free(both);
    sd_cond_free(cond);
    sd_cond_free(uncond);
    sd_tensor_free(latent);
    sd_tensor_free(pixels);
    sd_sampler_free(sampler);
    return status ? fail("the stages") : 0;
}

/* Saved and loaded, an image is what it was. */
static int through_a_file(program *p, sd_image *image, const char *path) {
    sd_image_save_params params = SD_IMAGE_SAVE_PARAMS_INIT;
    sd_image *again = NULL;
    params.parameters = "a lake";
    int bad = sd_image_save(image, path, &params) || sd_image_load(p->ctx, path, NULL, &again) ||
              sd_image_width(again) != SIDE || sd_image_height(again) != SIDE ||
              memcmp(sd_image_pixels(image), sd_image_pixels(again), SIDE * SIDE * 3) != 0;
    sd_image_free(again);
    remove(path);
    return bad ? fail(path) : 0;
}

/* A failure says so with the numbers that the program was compiled with. */
static int refused(program *p) {
    sd_image *none = NULL;
    sd_sampler *sampler = NULL;
    sd_sampler_params odd = p->sampling;
    odd.width = SIDE + 1;
    if (sd_image_load(p->ctx, "no such file", NULL, &none) != SD_ERROR_IO ||
        sd_sampler_new(p->model, &odd, &sampler) != SD_ERROR_ARGUMENT)
        return fail("other statuses were expected");
    return 0;
}

static int run(program *p, const char *model, const char *file, sd_image *images[2]) {
    sd_sampler_params sampling = SD_SAMPLER_PARAMS_INIT;
    sampling.method = "euler_a";
    sampling.width = sampling.height = SIDE;
    sampling.steps = 3;
    sampling.guidance_scale = 4.0f;
    sampling.spacing = SD_SPACING_TRAILING;
    sampling.seed = 7;
    sampling.progress = stepping;
    sampling.progress_user = p;
    p->sampling = sampling;
    if (open_model(p, model) || in_one_call(p, &images[0]) || by_stages(p, &images[1]))
        return 1;
    if (memcmp(sd_image_pixels(images[0]), sd_image_pixels(images[1]), SIDE * SIDE * 3) != 0 ||
        p->steps_told < 6) {
        fprintf(stderr, "the stages give another picture, %d steps\n", p->steps_told);
        return 1;
    }
    return through_a_file(p, images[0], file) || refused(p);
}

int main(int argc, char **argv) {
    program p = {0};
    sd_image *images[2] = {NULL, NULL};
    if (argc != 3)
        return 2;
    int code = run(&p, argv[1], argv[2], images);
    sd_image_free(images[0]);
    sd_image_free(images[1]);
    sd_model_free(p.model);
    sd_context_free(p.ctx);
    if (!code)
        printf("compiled with %d.%d.%d, run by %s\n", SD_VERSION_MAJOR, SD_VERSION_MINOR,
               SD_VERSION_PATCH, sd_library_version_string());
    return code;
}
