/* The common flags of the programs that paint, their rounds of pictures, and the files that these
 * become. */
#include "paint.h"

#include "grid.h"
#include "paint_adapters.h"
#include "parameters.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_NAMES 64 /* of a flag's value */
#define ORIGINAL_CKPT "models/ldm/stable-diffusion-v1/model.ckpt"

void paint_option_rows(paint_options *o, cli_option rows[PAINT_N_OPTIONS]) {
    const cli_option common[PAINT_N_OPTIONS - CLI_N_PARTS] = {
        {"prompt", CLI_TEXT, &o->prompt, "what to paint"},
        {"negative", CLI_TEXT, &o->negative, "what to stay away from"},
        {"ckpt", CLI_TEXT, &o->ckpt,
         "checkpoint: .safetensors or .ckpt, or a diffusers folder [" ORIGINAL_CKPT "]"},
        {"config", CLI_TEXT, &o->config, "YAML config of the checkpoint; most need none"},
        {"outdir", CLI_TEXT, &o->outdir, "folder for the results"},
        {"ddim_steps", CLI_INT, &o->ddim_steps,
         "number of steps, of any sampler; 0 is the model's, most often 50"},
        {"ddim_eta", CLI_FLOAT, &o->ddim_eta, "DDIM's eta; 0 is deterministic"},
        {"eta", CLI_FLOAT, &o->eta, "of the samplers that are ancestral or SDE"},
        {"subseed", CLI_SEED, &o->subseed, "variation seed of the first picture"},
        {"subseed_strength", CLI_FLOAT, &o->subseed_strength, "how far noise goes to it, 0 to 1"},
        {"ensd", CLI_INT, &o->ensd, "eta noise seed delta: noise of steps is of seed + ENSD"},
        {"n_iter", CLI_INT, &o->n_iter, "how many times to sample"},
        {"n_samples", CLI_INT, &o->n_samples, "pictures at once"},
        {"n_rows", CLI_INT, &o->n_rows, "pictures side by side in the grid; 0: n_samples"},
        {"skip_grid", CLI_FLAG, &o->skip_grid, "no OUTDIR/grid-0000.png of all pictures"},
        {"skip_save", CLI_FLAG, &o->skip_save, "no OUTDIR/samples/00000.png and so on"},
        {"from-file", CLI_TEXT, &o->from_file,
         "instead of --prompt: a text file, each line the prompt of a picture"},
        {"fixed_code", CLI_FLAG, &o->fixed_code, "begin every iteration with the same noise"},
        {"C", CLI_INT, &o->latent_channels, "channels of the latents; 0 is the model's"},
        {"f", CLI_INT, &o->downscale, "pixels per latent, across; 0 is the model's"},
        {"scale", CLI_FLOAT, &o->scale,
         "guidance scale; without, the original script's, or that of a folder's pipeline"},
        {"seed", CLI_SEED, &o->seed,
         "seed of the first picture; the next has seed + 1; -1: a random one, which is printed"},
        {"precision", CLI_TEXT, &o->precision, "full, autocast or bfloat16"},
        {"rng", CLI_TEXT, &o->rng, "whose noise: cpu (torch on the CPU) or cuda"},
        {"threads", CLI_INT, &o->threads, "CPU threads; 0 is one per core"},
        {"backend", CLI_TEXT, &o->backend, "auto, cpu, reference, cuda, cuda:1"},
        {"vocab", CLI_TEXT, &o->vocab, "CLIP vocabulary, where the checkpoint has none beside it"},
        {"weighted", CLI_FLAG, &o->weighted,
         "prompts with (weights:1.2), [less], BREAK, [from:to:0.5], [a|b], AND"},
        {"clean", CLI_FLAG, &o->clean,
         "prompts as ftfy cleans them (straight quotes, plain letters, no entities), which the "
         "original's environment has: this is done unless --no_clean"},
        {"no_clean", CLI_FLAG, &o->no_clean, "prompts as they are"},
        {"plms", CLI_FLAG, &o->plms, "the original's flag for --sampler plms"},
        {"dpm_solver", CLI_FLAG, &o->dpm_solver,
         "the original's flag for --sampler dpm_solver (DPM-Solver++, second order multistep)"},
        {"dpm", CLI_FLAG, &o->dpm_solver, "Stability's flag for the same"},
        {"sampler", CLI_TEXT, &o->sampler,
         "ddim, plms, ddpm, ddim_inverse, euler, euler_a, heun, dpm2, lms, dpmpp_2m, dpmpp_2m_sde, "
         "unipc, lcm, dpm_solver, dpm2_a, dpmpp_2s, dpmpp_2s_a, dpmpp_sde, dpmpp_3m_sde, deis, "
         "tcd; or as a web UI or diffusers names it (\"DPM++ 2M Karras\"); without, ddim, or what "
         "a folder's scheduler is"},
        {"spacing", CLI_TEXT, &o->spacing,
         "of timesteps: uniform, quad, linspace, trailing, leading, karras, exponential, beta, "
         "sgm_uniform, simple, normal, ddim_uniform, ays, kl_optimal; without, uniform, or the "
         "folder's"},
        {"clip_skip", CLI_INT, &o->clip_skip, "n > 1 ends the text encoder n - 1 layers early"},
        {"embedding", CLI_LIST, &o->embeddings,
         "NAME=FILE: a textual-inversion file for a word of prompts, any number of times; FILE "
         "alone (also one whose path has a '='): for its name"},
        {"lora", CLI_LIST, &o->loras,
         "FILE[:STRENGTH[:TEXT_STRENGTH]]: a LoRA, LoHa, LoKr, DoRA or difference that changes the "
         "model, any number of times"},
        {"lora-dir", CLI_TEXT, &o->lora_dir,
         "folder of the files that <lora:NAME:STRENGTH> in prompts stands for, also <lyco:...> and "
         "with :TEXT_STRENGTH behind; without, such a tag is text"},
        {"use_ema", CLI_FLAG, &o->use_ema,
         "the UNet's averaged weights (model_ema.*), as ema_scope of the original"},
        {"no_ema", CLI_FLAG, &o->no_ema,
         "the weights that training ended with; with neither flag a config's use_ema decides"},
        {"tiny_vae", CLI_FLAG, &o->tiny_vae,
         "the small autoencoder in place of the VAE: faster pictures, not as fine"},
        {"preview", CLI_TEXT, &o->preview.path,
         "PNG that is rewritten while a picture is painted, with how it looks by now"},
        {"preview_every", CLI_INT, &o->preview.every, "steps from one preview to the next"},
        {"preview_method", CLI_TEXT, &o->preview.method,
         "auto, vae, matrix (colours of the latent, its size) or tiny (by --taesd)"},
        {"tiled", CLI_FLAG, &o->tiled, "the VAE in tiles: large pictures with the memory of one"},
        {"original_width", CLI_INT, &o->sizes.original_width,
         "SDXL is told: size of the picture before it was scaled; 0, as of the next: the run's"},
        {"original_height", CLI_INT, &o->sizes.original_height, "... its height"},
        {"target_width", CLI_INT, &o->sizes.target_width, "... and the size that is wanted"},
        {"target_height", CLI_INT, &o->sizes.target_height, "... its height"},
        {"crop_top", CLI_INT, &o->sizes.crop_top, "... and what was cut off above"},
        {"crop_left", CLI_INT, &o->sizes.crop_left, "... and on the left"},
        {"aesthetic_score", CLI_DOUBLE, &o->sizes.aesthetic_score,
         "SDXL's refiner is told: how the picture is liked, 0 to 10"},
    };
    memcpy(rows, common, sizeof common);
    cli_part_rows(&o->parts, rows + PAINT_N_OPTIONS - CLI_N_PARTS);
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

/* --spacing; -1 after saying that there is no such spacing. */
static int choose_spacing(const char *program, const char *text) {
    const char *names[MAX_NAMES];
    int n = 0;
    for (; n < MAX_NAMES && sd_sampler_spacing(n); n++)
        names[n] = sd_sampler_spacing(n);
    return choose(program, "spacing", text, names, n);
}

/* What --sampler stands for. A name that is none is left for the library to refuse. */
static const char *named_method(const paint_options *o, sd_timestep_spacing *spacing) {
    const char *method = NULL;
    *spacing = SD_SPACING_AUTO;
    if (!o->sampler || sd_sampler_find(o->sampler, &method, spacing))
        return o->sampler;
    return method;
}

/* NULL: the model's. Seeds of the original are for what it has. */
static const char *sampling_method(const paint_options *o) {
    sd_timestep_spacing spacing;
    return o->dpm_solver                      ? "dpm_solver"
           : o->plms                          ? "plms"
           : o->original_seeds && !o->sampler ? "ddim"
                                              : named_method(o, &spacing);
}

/* The original's flags are with its spacing. */
static sd_timestep_spacing sampling_spacing(const paint_options *o) {
    bool original = o->dpm_solver || o->plms || o->original_seeds;
    sd_timestep_spacing named;
    for (int i = 0; o->spacing && sd_sampler_spacing(i); i++)
        if (!strcmp(o->spacing, sd_sampler_spacing(i)))
            return (sd_timestep_spacing)i;
    named_method(o, &named);
    return original && named == SD_SPACING_AUTO ? SD_SPACING_UNIFORM : named;
}

static int32_t on_load(void *user, const sd_progress *progress) {
    cli_progress_update(user, progress->step, progress->total);
    return cli_interrupted();
}

static int32_t on_step(void *user, const sd_progress *state) {
    paint *p = user;
    cli_progress_update(&p->progress, state->step, state->total);
    preview_update(&p->preview, state);
    return cli_interrupted();
}

/* --C and --f, which the original builds the latent's shape from. */
static int check_latents(paint *p) {
    const paint_options *o = p->options;
    sd_status status = sd_model_get_info(p->model, &p->info);
    if (status)
        return cli_fail(p->program, status);
    if (o->latent_channels && o->latent_channels != p->info.latent_channels) {
        fprintf(stderr, "%s: --C %d: the model's latents have %d channels\n", p->program,
                o->latent_channels, p->info.latent_channels);
        return 2;
    }
    if (o->downscale && o->downscale != p->info.latent_downscale) {
        fprintf(stderr, "%s: --f %d: a latent of the model stands for %d pixels\n", p->program,
                o->downscale, p->info.latent_downscale);
        return 2;
    }
    return 0;
}

static int32_t is_averaged(void *user, const sd_checkpoint_tensor *tensor) {
    bool *found = user;
    *found = !strncmp(tensor->name, "model_ema.", strlen("model_ema.")) &&
             strcmp(tensor->name, "model_ema.decay") &&
             strcmp(tensor->name, "model_ema.num_updates");
    return *found; /* ends the walk */
}

/* With neither flag the config decides, or what the checkpoint has, where the program wants that.
 */
static sd_ema choose_weights(const paint *p) {
    const paint_options *o = p->options;
    bool found = false;
    if (o->use_ema || o->no_ema)
        return o->use_ema ? SD_EMA_ON : SD_EMA_OFF;
    if (o->ema_where_given && !o->config)
        sd_checkpoint_list(p->ctx, p->ckpt, is_averaged, &found); /* loading will say what failed */
    return found ? SD_EMA_ON : SD_EMA_AUTO;
}

/* As the model, but for what is said of that alone. */
static sd_status load_refiner(paint *p, sd_model_params *model) {
    model->adapters = NULL;
    model->n_adapters = 0;
    model->config = NULL;
    model->use_ema = SD_EMA_AUTO;
    model->unet = model->vae = model->text_encoder = model->text_encoder_2 = NULL;
    cli_progress_begin(&p->progress, "loading the refiner");
    sd_status status = sd_model_load(p->ctx, p->options->refiner, model, &p->refiner);
    cli_progress_end(&p->progress);
    return status;
}

static int load(paint *p) {
    static const char *const precisions[] = {"full", "autocast", "bfloat16"};
    const paint_options *o = p->options;
    int precision = choose(p->program, "precision", o->precision, precisions, 3);
    if (precision < 0)
        return 2;
    sd_context_params context = SD_CONTEXT_PARAMS_INIT;
    context.backend = o->backend;
    context.n_threads = o->threads;
    context.log = cli_log;
    sd_status status = sd_context_new(&context, &p->ctx);
    if (status)
        return cli_fail(p->program, status);
    cli_cancel_on_interrupt(p->ctx);
    sd_model_params model = o->parts;
    model.precision = (sd_precision)(SD_PRECISION_FULL + precision); /* in that order */
    model.vocab = o->vocab;
    model.config = o->config;
    model.progress = on_load;
    model.progress_user = &p->progress;
    model.use_ema = choose_weights(p);
    lora_list loras = {.n = 0};
    for (int i = 0; i < o->loras.n; i++)
        if (!lora_add(&loras, p->program, o->loras.items[i])) {
            lora_free(&loras);
            return 2;
        }
    status = paint_load_model(p, &model, &loras);
    lora_free(&loras);
    if (!status && o->refiner)
        status = load_refiner(p, &model);
    return status ? cli_fail(p->program, status) : check_latents(p);
}

/* DPM-Solver draws x_T alone, with the original's times and with diffusers'. */
static bool is_dpm_solver(const char *method) {
    return !strcmp(method, "dpm_solver") || !strcmp(method, "dpmpp_2m");
}

/* --original_seeds where it has a meaning: what the original can draw. */
static int check_original_seeds(const char *program, const paint_options *o) {
    const char *method = sampling_method(o), *cannot = NULL;
    if (!o->original_seeds)
        return 0;
    if (o->from_picture && strcmp(method, "ddim"))
        cannot = "the original img2img.py has ddim only";
    else if (strcmp(method, "ddim") && strcmp(method, "plms") && !is_dpm_solver(method))
        cannot = "the original has ddim, --plms and --dpm_solver only";
    else if (sampling_spacing(o) != SD_SPACING_UNIFORM)
        cannot = "the original has --spacing uniform only";
    else if (o->fixed_code && o->ddim_eta > 0.0f)
        cannot = "it does not go with --fixed_code and a --ddim_eta";
    if (!cannot)
        return 0;
    fprintf(stderr, "%s: --original_seeds: %s\n", program, cannot);
    return 2;
}

/* Faults of the flags that show before anything is opened. */
static int check_options(const char *program, const paint_options *o) {
    static const char *const generators[] = {"cpu", "cuda"};
    if (!o->ckpt && access(ORIGINAL_CKPT, F_OK) != 0) {
        fprintf(stderr,
                "%s: --ckpt is missing: a .safetensors or .ckpt file, or a diffusers folder; "
                "there is no " ORIGINAL_CKPT " here\n",
                program);
        return 2;
    }
    if (choose(program, "rng", o->rng, generators, 2) < 0)
        return 2;
    if (o->spacing && choose_spacing(program, o->spacing) < 0)
        return 2;
    if (o->n_samples < 1 || o->n_iter < 1 || o->n_rows < 0) {
        fprintf(stderr, "%s: --n_samples and --n_iter must be at least 1, --n_rows at least 0\n",
                program);
        return 2;
    }
    if (o->clean && o->no_clean) {
        fprintf(stderr, "%s: --clean and --no_clean do not go together\n", program);
        return 2;
    }
    if (o->use_ema && o->no_ema) {
        fprintf(stderr, "%s: --use_ema and --no_ema do not go together\n", program);
        return 2;
    }
    return check_original_seeds(program, o);
}

/* The prompts of --from-file. The original takes n_samples of them at once, which with its seeds is
 * what a picture's noise depends on; it fails where some are missing at the end. */
static int read_prompts(paint *p) {
    const paint_options *o = p->options;
    p->lines = cli_read_lines(p->program, o->from_file, &p->n_lines);
    if (!p->lines)
        return 1;
    if (!p->n_lines) {
        fprintf(stderr, "%s: %s has no lines\n", p->program, o->from_file);
        return 1;
    }
    p->lines_at_once = o->original_seeds ? o->n_samples : 1;
    size_t room = (size_t)p->n_lines + (size_t)p->lines_at_once;
    p->prompts = calloc(room, sizeof *p->prompts);
    if (!p->prompts) {
        fprintf(stderr, "%s: out of memory\n", p->program);
        return 1;
    }
    for (size_t i = 0; i < room; i++)
        p->prompts[i] = i < (size_t)p->n_lines ? p->lines[i] : "";
    return 0;
}

/* The prompts, and room for the grid's pictures. */
static int plan(paint *p) {
    const paint_options *o = p->options;
    int exit_code = o->from_file ? read_prompts(p) : 0;
    if (!exit_code && o->lora_dir)
        exit_code = paint_check_tags(p);
    if (exit_code)
        return exit_code;
    size_t pictures = (size_t)o->n_iter * (size_t)(p->lines ? p->n_lines : o->n_samples);
    if (pictures > INT_MAX) {
        fprintf(stderr, "%s: %zu pictures are more than can be counted\n", p->program, pictures);
        return 2;
    }
    if (!o->skip_grid && !o->own_names && !(p->kept = calloc(pictures, sizeof *p->kept))) {
        fprintf(stderr, "%s: out of memory\n", p->program);
        return 1;
    }
    return 0;
}

/* OUTDIR, and in it samples/, whose files are counted as the original scripts count. */
static int make_folders(paint *p) {
    const paint_options *o = p->options;
    const char *below = o->own_names ? "" : "/samples";
    p->samples.digits = 5;
    int n = snprintf(p->samples.prefix, sizeof p->samples.prefix, "%s%s", o->outdir, below);
    if (n < 0 || (size_t)n + sizeof "/00000000000.png" > sizeof p->samples.prefix) {
        fprintf(stderr, "%s: --outdir: the path is too long\n", p->program);
        return 2;
    }
    if (!cli_make_directory(p->program, p->samples.prefix) ||
        (!o->skip_grid && !cli_make_directory(p->program, o->outdir)))
        return 1;
    p->samples.next = cli_count_entries(p->samples.prefix);
    memcpy(p->samples.prefix + n, "/", 2);
    return 0;
}

int paint_begin(paint *p, const char *program, const paint_options *options) {
    *p = (paint){.program = program,
                 .options = options,
                 .ckpt = options->ckpt ? options->ckpt : ORIGINAL_CKPT,
                 .text = SD_TEXT_PARAMS_INIT,
                 .vae = SD_VAE_PARAMS_INIT,
                 .info = SD_MODEL_INFO_INIT};
    p->text = options->sizes;
    p->text.weighted = options->weighted;
    p->text.clean = !options->no_clean;
    p->text.clip_skip = options->clip_skip;
    p->vae.tile = options->tiled ? CLI_TILE : 0;
    p->vae.tiny = options->tiny_vae;
    p->preview = options->preview;
    p->preview.program = program;
    int exit_code = preview_check(&p->preview) ? check_options(program, options) : 2;
    if (!exit_code)
        exit_code = plan(p);
    if (exit_code)
        return exit_code;
    exit_code = make_folders(p);
    return exit_code ? exit_code : load(p);
}

void paint_end(paint *p) {
    cli_cancel_on_interrupt(NULL);
    for (int i = 0; i < p->n_kept; i++)
        sd_image_free(p->kept[i]);
    free(p->kept);
    free(p->prompts);
    free(p->lines);
    lora_free(&p->tags);
    sd_model_free(p->adapted);
    sd_model_free(p->refiner);
    sd_model_free(p->model);
    sd_context_free(p->ctx);
}

sd_generate_params paint_request(const paint *p, const paint_round *round) {
    sd_generate_params params = SD_GENERATE_PARAMS_INIT;
    params.prompt = round->prompt;
    params.prompts = round->prompts;
    params.negative_prompt = p->options->negative;
    params.sampling = &round->sampling;
    params.text = &p->text;
    params.refiner = p->refiner;
    params.refiner_start = p->options->refiner_start;
    params.vae = &p->vae;
    return params;
}

/* Rounds of one iteration. */
static int rounds_at_once(const paint *p) {
    return p->lines ? (p->n_lines + p->lines_at_once - 1) / p->lines_at_once : 1;
}

int paint_rounds(const paint *p) {
    return p->options->n_iter * rounds_at_once(p);
}

static int steps_of(const paint *p) {
    return p->options->ddim_steps ? p->options->ddim_steps : p->info.default_steps;
}

/* 7.5 is what a model has that says nothing: there the script's own holds. */
static float scale_of(const paint *p) {
    if (!isnan(p->options->scale))
        return p->options->scale;
    return p->info.default_guidance == 7.5 ? p->options->script_scale
                                           : (float)p->info.default_guidance;
}

/*
 * Batches of noise that an iteration of the original draws: x_T, then one in each step of DDIM and
 * PLMS, also where it is multiplied by 0, and one more in the first step of PLMS, which has two.
 * make_ddim_timesteps "uniform" has every (1000 // steps)-th, which can be more than `steps`. Image
 * to image draws for stochastic_encode, then in each of its int(strength * steps) steps.
 */
static int draws_of_an_iteration(const paint *p) {
    const char *method = sampling_method(p->options);
    int asked = steps_of(p);                /* may be out of range: the library will say so */
    double strength = p->options->strength; /* may be out of range too */
    if (p->options->from_picture)
        return 1 + (strength > 0 && strength <= 1 ? (int)(strength * asked) : 0);
    if (is_dpm_solver(method) || asked < 1 || asked > p->info.train_timesteps)
        return 1;
    int stride = p->info.train_timesteps / asked;
    int steps = (p->info.train_timesteps + stride - 1) / stride;
    return 1 + steps + !strcmp(method, "plms");
}

/* The seed of the first picture of a round. The original draws the lines of --from-file n_samples
 * at a time, and with --fixed_code each such batch from the same noise. */
static uint64_t round_seed(const paint *p, int index) {
    const paint_options *o = p->options;
    int picture = p->lines ? index : index * o->n_samples;
    if (o->fixed_code)
        picture = p->lines ? index % p->n_lines % o->n_samples : 0;
    return o->seed + (uint64_t)picture;
}

paint_round paint_round_at(paint *p, int index) {
    const paint_options *o = p->options;
    sd_sampler_params sampling = SD_SAMPLER_PARAMS_INIT;
    const char *method = sampling_method(o);
    sampling.method = method ? method : p->info.default_method;
    sampling.spacing = sampling_spacing(o);
    sampling.steps = steps_of(p);
    sampling.eta = o->ddim_eta;
    sampling.ancestral_eta = o->eta;
    sampling.subseed = o->subseed + round_seed(p, index) - o->seed;
    sampling.subseed_strength = o->subseed_strength;
    sampling.eta_noise_seed_delta = o->ensd;
    sampling.guidance_scale = scale_of(p);
    sampling.batch = p->lines ? p->lines_at_once : o->n_samples;
    sampling.seed = o->subseed_strength > 0 ? o->seed : round_seed(p, index);
    sampling.original = &p->original;
    p->original = (sd_original_params)SD_ORIGINAL_PARAMS_INIT;
    if (o->original_seeds) {
        long long skip = (long long)index * draws_of_an_iteration(p);
        sampling.seed = o->seed;
        p->original.one_stream = 1;
        p->original.skip_draws = o->fixed_code ? 0 : skip > INT_MAX ? INT_MAX : (int)skip;
    }
    sampling.rng = strcmp(o->rng, "cuda") ? SD_RNG_CPU : SD_RNG_CUDA;
    sampling.progress = on_step;
    sampling.progress_user = p;
    cli_progress_begin(&p->progress, "sampling");
    if (!p->lines)
        return (paint_round){o->prompt, sampling, NULL, sampling.batch};
    int first = index % rounds_at_once(p) * p->lines_at_once, left = p->n_lines - first;
    return (paint_round){p->prompts[first], sampling, p->prompts + first,
                         left < sampling.batch ? left : sampling.batch};
}

/* Generation parameters in the form that the popular web UIs write and read. Caller frees. */
static char *parameters_of(const paint *p, const paint_round *round, int index,
                           const sd_image *image, const char *extra, const char *model) {
    const sd_sampler_params *sampling = &round->sampling;
    const paint_options *o = p->options;
    const char *format =
        "%s%s%s\nSteps: %d, Sampler: %s%s, CFG scale: %g, Seed: %llu, Size: %dx%d, "
        "Model: %s, Eta: %g, RNG: %s%s%s%s, Version: libsd %s";
    const char *negative = o->negative ? o->negative : "";
    const char *label = *negative ? "\nNegative prompt: " : "";
    const char *prompt = round->prompts ? round->prompts[index] : round->prompt;
    char *text = NULL, stream[64] = "", skip[192] = "", schedule[48] = "";
    bool one_seed = o->original_seeds || sampling->subseed_strength > 0;
    sd_timestep_spacing spacing = sampling->spacing;
    if (spacing == SD_SPACING_AUTO)
        spacing = p->info.default_spacing;
    if (spacing == SD_SPACING_KARRAS)
        snprintf(schedule, sizeof schedule, ", Schedule type: Karras");
    else if (spacing != SD_SPACING_UNIFORM && spacing != SD_SPACING_LEADING)
        snprintf(schedule, sizeof schedule, ", Spacing: %s", sd_sampler_spacing(spacing));
    if (o->original_seeds) /* the seed alone does not say which picture of the stream it is */
        snprintf(stream, sizeof stream, ", Noise: \"%d batches on, picture %d of %d\"",
                 (int)p->original.skip_draws, index + 1, sampling->batch);
    parameters_noise(sampling, index, skip, sizeof skip);
    if (o->clip_skip > 1)
        snprintf(skip + strlen(skip), sizeof skip - strlen(skip), ", Clip skip: %d", o->clip_skip);
    for (int size = 0;;) {
        int n = snprintf(text, (size_t)size, format, prompt, label, negative, sampling->steps,
                         parameters_sampler(sampling->method), schedule,
                         (double)sampling->guidance_scale,
                         (unsigned long long)(sampling->seed + (one_seed ? 0 : (uint64_t)index)),
                         sd_image_width(image), sd_image_height(image), model, (double)o->ddim_eta,
                         strcmp(o->rng, "cuda") ? "CPU" : "GPU", stream, skip, extra,
                         sd_library_version_string());
        if (n < size || n < 0)
            return text;
        size = n + 1;
        text = malloc((size_t)size);
        if (!text)
            return NULL;
    }
}

static char *parameters_text(const paint *p, const paint_round *round, int index,
                             const sd_image *image, const char *extra) {
    char *model = parameters_model(p->ckpt);
    char *text = model ? parameters_of(p, round, index, image, extra, model) : NULL;
    free(model);
    return text;
}

/* `path` becomes what was written. */
static sd_status save_numbered(paint_place *place, const sd_image *image, const char *text,
                               char path[CLI_PATH]) {
    sd_image_save_params params = SD_IMAGE_SAVE_PARAMS_INIT;
    params.parameters = text;
    params.only_new = 1;
    sd_status status;
    do { /* between the look and the save another program may take the number */
        place->next = cli_free_path(path, place->prefix, place->digits, place->next) + 1;
        status = sd_image_save(image, path, &params);
    } while (status == SD_ERROR_STATE && place->next < INT_MAX);
    return status;
}

/* To `path` where that is free, and else to a numbered one beside it, which it becomes. */
static sd_status save_named(const paint *p, const sd_image *image, const char *text,
                            char path[CLI_PATH]) {
    sd_image_save_params params = SD_IMAGE_SAVE_PARAMS_INIT;
    params.parameters = text;
    params.only_new = 1;
    sd_status status = sd_image_save(image, path, &params);
    if (status != SD_ERROR_STATE)
        return status;
    paint_place beside = {.digits = 4, .next = 1};
    snprintf(beside.prefix, sizeof beside.prefix, "%.*s-", (int)(strlen(path) - strlen(".png")),
             path);
    fprintf(stderr, "%s: %s is there and is left as it is\n", p->program, path);
    return save_numbered(&beside, image, text, path);
}

/* Says what failed, or prints the path. */
static int tell(const paint *p, sd_status status, const char *path) {
    if (status)
        return cli_fail(p->program, status);
    printf("%s\n", path);
    if (fflush(stdout) == 0)
        return 0;
    fprintf(stderr, "%s: cannot write to the standard output\n", p->program);
    return 1;
}

/* To `place`, or to `path` where that is NULL. */
static int save_one(const paint *p, const paint_round *round, int index, const sd_image *image,
                    const char *extra, paint_place *place, char path[CLI_PATH]) {
    char *text = parameters_text(p, round, index, image, extra);
    if (!text) {
        fprintf(stderr, "%s: out of memory\n", p->program);
        return 1;
    }
    sd_status status =
        place ? save_numbered(place, image, text, path) : save_named(p, image, text, path);
    free(text);
    return tell(p, status, path);
}

int paint_save(paint *p, sd_status status, const paint_round *round, sd_image **images,
               const char *extra) {
    int exit_code = 0;
    char path[CLI_PATH];
    cli_progress_end(&p->progress);
    if (status)
        return cli_fail(p->program, status);
    for (int i = 0; i < round->sampling.batch; i++) {
        bool wanted = i < round->n_pictures;
        if (!exit_code && wanted && !p->options->skip_save)
            exit_code = save_one(p, round, i, images[i], extra, &p->samples, path);
        if (p->kept && wanted)
            p->kept[p->n_kept++] = images[i];
        else
            sd_image_free(images[i]);
        images[i] = NULL;
    }
    return exit_code;
}

int paint_save_as(paint *p, sd_status status, const paint_round *round, sd_image **image,
                  const char *extra, const char *wanted) {
    char path[CLI_PATH];
    cli_progress_end(&p->progress);
    if (status)
        return cli_fail(p->program, status);
    int n = snprintf(path, sizeof path, "%s", wanted), exit_code = 1;
    if (n < 0 || (size_t)n >= sizeof path)
        fprintf(stderr, "%s: %s: the path is too long\n", p->program, wanted);
    else
        exit_code = save_one(p, round, 0, *image, extra, NULL, path);
    sd_image_free(*image);
    *image = NULL;
    return exit_code;
}

int paint_save_grid(paint *p) {
    const paint_options *o = p->options;
    if (!p->n_kept)
        return 0;
    char path[CLI_PATH];
    paint_place place = {.digits = 4};
    place.next = cli_count_entries(o->outdir) - 1; /* OUTDIR has samples/ besides */
    place.next = place.next < 0 ? 0 : place.next;
    snprintf(place.prefix, sizeof place.prefix, "%s/grid-", o->outdir);
    sd_image *grid;
    sd_status status =
        grid_make(p->ctx, p->kept, p->n_kept, o->n_rows ? o->n_rows : o->n_samples, &grid);
    if (!status)
        status = save_numbered(&place, grid, NULL, path);
    sd_image_free(grid);
    return tell(p, status, path);
}
