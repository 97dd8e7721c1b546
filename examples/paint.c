#include "paint.h"

#include "peak.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void paint_option_rows(paint_options *o, cli_option rows[PAINT_N_OPTIONS]) {
    const cli_option common[PAINT_N_OPTIONS] = {
        {"prompt", CLI_TEXT, &o->prompt, "what to paint"},
        {"negative", CLI_TEXT, &o->negative, "what to stay away from"},
        {"ckpt", CLI_TEXT, &o->ckpt, "checkpoint: .safetensors or .ckpt, or a diffusers folder"},
        {"config", CLI_TEXT, &o->config, "YAML config of the checkpoint; most need none"},
        {"outdir", CLI_TEXT, &o->outdir, "folder for the results"},
        {"ddim_steps", CLI_INT, &o->ddim_steps, "number of steps, of any sampler"},
        {"ddim_eta", CLI_FLOAT, &o->ddim_eta, "DDIM's eta; 0 is deterministic"},
        {"n_iter", CLI_INT, &o->n_iter, "how many times to sample"},
        {"n_samples", CLI_INT, &o->n_samples, "pictures at once"},
        {"scale", CLI_FLOAT, &o->scale, "guidance scale"},
        {"seed", CLI_U64, &o->seed, "seed of the first picture; the next has seed + 1"},
        {"precision", CLI_TEXT, &o->precision, "full or autocast"},
        {"rng", CLI_TEXT, &o->rng, "whose noise: cpu (torch on the CPU) or cuda"},
        {"threads", CLI_INT, &o->threads, "CPU threads; 0 is one per core"},
        {"backend", CLI_TEXT, &o->backend, "auto, cpu, reference, cuda, cuda:1"},
        {"vocab", CLI_TEXT, &o->vocab, "CLIP vocabulary, where the checkpoint has none beside it"},
        {"weighted", CLI_FLAG, &o->weighted,
         "prompts with (weights:1.2), [less], BREAK, any length"},
        {"plms", CLI_FLAG, &o->plms, "the original's flag for --sampler plms"},
        {"sampler", CLI_TEXT, &o->sampler,
         "ddim, plms, ddpm, ddim_inverse, euler, euler_a, heun, dpm2, lms, dpmpp_2m, dpmpp_2m_sde, "
         "unipc, lcm"},
        {"spacing", CLI_TEXT, &o->spacing,
         "of timesteps: uniform, quad, linspace, trailing, karras"},
        {"clip_skip", CLI_INT, &o->clip_skip, "n > 1 ends the text encoder n - 1 layers early"},
    };
    memcpy(rows, common, sizeof common);
}

/* The index of `text` in `names`, or -1 after saying so. */
static int choose(const char *program, const char *flag, const char *text, const char *const *names,
                  int n) {
    for (int i = 0; i < n; i++)
        if (!strcmp(text, names[i]))
            return i;
    fprintf(stderr, "%s: --%s '%s': ", program, flag, text);
    for (int i = 0; i < n; i++)
        fprintf(stderr, "%s%s", i == 0 ? "" : i < n - 1 ? ", " : " or ", names[i]);
    fprintf(stderr, " was expected\n");
    return -1;
}

/* In the order of sd_timestep_spacing. */
static const char *const spacings[] = {"uniform", "quad", "linspace", "trailing", "karras"};
#define N_SPACINGS ((int)(sizeof spacings / sizeof *spacings))

/* Methods by the names that the popular web UIs write. */
static const char *const sampler_labels[][2] = {
    {"ddim", "DDIM"},   {"plms", "PLMS"},
    {"ddpm", "DDPM"},   {"ddim_inverse", "DDIM inverse"},
    {"euler", "Euler"}, {"euler_a", "Euler a"},
    {"heun", "Heun"},   {"dpm2", "DPM2"},
    {"lms", "LMS"},     {"dpmpp_2m", "DPM++ 2M"},
    {"unipc", "UniPC"}, {"dpmpp_2m_sde", "DPM++ 2M SDE"},
    {"lcm", "LCM"},
};

static const char *sampler_label(const char *method) {
    for (size_t i = 0; i < sizeof sampler_labels / sizeof *sampler_labels; i++)
        if (!strcmp(method, sampler_labels[i][0]))
            return sampler_labels[i][1];
    return method;
}

static int on_load(void *user, int done, int total) {
    cli_progress_update(user, done, total);
    return cli_interrupted();
}

static int on_step(void *user, const sd_progress *state) {
    paint *p = user;
    cli_progress_update(&p->progress, state->step, state->total);
    return cli_interrupted();
}

static int load(paint *p) {
    static const char *const precisions[] = {"full", "autocast"};
    const paint_options *o = p->options;
    int precision = choose(p->program, "precision", o->precision, precisions, 2);
    if (precision < 0)
        return 2;
    sd_context_params context = SD_CONTEXT_PARAMS_INIT;
    context.backend = o->backend;
    context.n_threads = o->threads;
    context.log = cli_log;
    sd_status status = sd_context_new(&context, &p->ctx);
    if (status)
        return cli_fail(p->program, NULL, status);
    cli_cancel_on_interrupt(p->ctx);
    sd_model_params model = SD_MODEL_PARAMS_INIT;
    model.precision = precision == 0 ? SD_PRECISION_FULL : SD_PRECISION_AUTOCAST;
    model.vocab = o->vocab;
    model.config = o->config;
    model.progress = on_load;
    model.progress_user = &p->progress;
    cli_progress_begin(&p->progress, "loading");
    status = sd_model_load(p->ctx, o->ckpt, &model, &p->model);
    cli_progress_end(&p->progress);
    return status ? cli_fail(p->program, p->ctx, status) : 0;
}

int paint_begin(paint *p, const char *program, const paint_options *options) {
    static const char *const generators[] = {"cpu", "cuda"};
    *p = (paint){.program = program, .options = options};
    if (!options->ckpt) {
        fprintf(stderr,
                "%s: --ckpt is missing: a .safetensors or .ckpt file, or a diffusers folder\n",
                program);
        return 2;
    }
    if (choose(program, "rng", options->rng, generators, 2) < 0)
        return 2;
    if (choose(program, "spacing", options->spacing, spacings, N_SPACINGS) < 0)
        return 2;
    if (options->n_samples < 1 || options->n_iter < 1) {
        fprintf(stderr, "%s: --n_samples and --n_iter must be at least 1\n", program);
        return 2;
    }
    int n = snprintf(p->samples, sizeof p->samples, "%s/samples", options->outdir);
    if (n < 0 || (size_t)n >= sizeof p->samples) {
        fprintf(stderr, "%s: --outdir: the path is too long\n", program);
        return 2;
    }
    if (!cli_make_directory(program, p->samples))
        return 1;
    p->next = cli_next_number(p->samples);
    return load(p);
}

void paint_end(paint *p) {
    cli_cancel_on_interrupt(NULL);
    sd_model_free(p->model);
    sd_context_free(p->ctx);
}

sd_sampler_params paint_sampling(paint *p, int iteration) {
    const paint_options *o = p->options;
    sd_sampler_params sampling = SD_SAMPLER_PARAMS_INIT;
    sampling.method = o->plms ? "plms" : o->sampler;
    sampling.spacing = (sd_timestep_spacing)choose(p->program, "spacing", o->spacing, spacings,
                                                   N_SPACINGS); /* paint_begin checked it */
    sampling.steps = o->ddim_steps;
    sampling.eta = o->ddim_eta;
    sampling.guidance_scale = o->scale;
    sampling.batch = o->n_samples;
    sampling.seed = o->seed + (uint64_t)iteration * (uint64_t)o->n_samples;
    sampling.rng = strcmp(o->rng, "cuda") ? SD_RNG_CPU : SD_RNG_CUDA;
    sampling.progress = on_step;
    sampling.progress_user = p;
    cli_progress_begin(&p->progress, "sampling");
    return sampling;
}

/* Generation parameters in the form that the popular web UIs write and read. Caller frees. */
static char *parameters_text(const paint *p, const sd_sampler_params *sampling, int index,
                             const sd_image *image, const char *extra) {
    const paint_options *o = p->options;
    const char *slash = strrchr(o->ckpt, '/');
    const char *model = slash && slash[1] ? slash + 1 : o->ckpt;
    const char *format =
        "%s%s%s\nSteps: %d, Sampler: %s%s, CFG scale: %g, Seed: %llu, Size: %dx%d, "
        "Model: %s, Eta: %g, RNG: %s%s%s, Version: libsd %s";
    const char *label = *o->negative ? "\nNegative prompt: " : "";
    char *text = NULL, skip[32] = "", schedule[48] = "";
    if (sampling->spacing == SD_SPACING_KARRAS)
        snprintf(schedule, sizeof schedule, ", Schedule type: Karras");
    else if (sampling->spacing != SD_SPACING_UNIFORM)
        snprintf(schedule, sizeof schedule, ", Spacing: %s", o->spacing);
    if (o->clip_skip > 1)
        snprintf(skip, sizeof skip, ", Clip skip: %d", o->clip_skip);
    for (int size = 0;;) {
        int n = snprintf(text, (size_t)size, format, o->prompt, label, o->negative, o->ddim_steps,
                         sampler_label(sampling->method), schedule, (double)o->scale,
                         (unsigned long long)(sampling->seed + (uint64_t)index),
                         sd_image_width(image), sd_image_height(image), model, (double)o->ddim_eta,
                         strcmp(o->rng, "cuda") ? "CPU" : "GPU", skip, extra, sd_version_string());
        if (n < size || n < 0)
            return text;
        size = n + 1;
        text = malloc((size_t)size);
        if (!text)
            return NULL;
    }
}

int paint_save(paint *p, const sd_sampler_params *sampling, sd_image **images, const char *extra) {
    int exit_code = 0;
    cli_progress_end(&p->progress);
    for (int i = 0; i < sampling->batch; i++) {
        char path[4200];
        snprintf(path, sizeof path, "%s/%05d.png", p->samples, p->next);
        char *text = exit_code ? NULL : parameters_text(p, sampling, i, images[i], extra);
        if (!exit_code) {
            sd_status status = sd_image_save(images[i], path, text);
            if (status)
                exit_code = cli_fail(p->program, p->ctx, status);
            else
                printf("%s\n", path);
            p->next++;
        }
        free(text);
        sd_image_free(images[i]);
        images[i] = NULL;
    }
    fflush(stdout);
    return exit_code;
}
