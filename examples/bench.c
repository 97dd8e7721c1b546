/*
 * sd-bench: how fast each stage runs, and how near to what the machine can do.
 *
 * Every rate is quoted beside a ceiling measured in the same run, just before the stage, because
 * machines drift: the float32 FMA peak of the CPU's threads, or on an NVIDIA card cuBLAS's largest
 * float16 product. Effective FLOP/s count a convolution as its direct sum, so that an algorithm
 * with fewer multiplications (Winograd) can pass 1.
 */
#include "cli.h"

#include "peak.h"
#include <sd/profile.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAM "sd-bench"
#define MAX_RUNS 101

typedef struct bench {
    sd_context *ctx;
    sd_model *model;
    sd_model_info info;
    sd_work_info work;
    int width, height, batch, runs, steps, threads;
    float scale;
    bool profile;
    peak_cuda *card;  /* NULL: the CPU computes */
    double copy_rate; /* bytes/s */
    sd_cond *cond, *uncond;
    sd_tensor *latent, *pixels;
    sd_tensor *concat;    /* NULL: the UNet takes the latent alone */
    sd_sampler *stepping; /* of bench_steps */
    double median;        /* seconds, of what was measured last */
    double decode;        /* the VAE's */
} bench;

typedef sd_status (*stage_fn)(bench *b);

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double ceiling(const bench *b) {
    return b->card ? peak_cuda_matrix(b->card) : peak_fma(b->threads, NULL);
}

/* "0.85", or "-" where there is nothing to compare with. */
static const char *ratio(char *text, size_t size, double rate, double peak) {
    if (peak > 0)
        snprintf(text, size, "%.2f", rate / peak);
    else
        snprintf(text, size, "-");
    return text;
}

/* One row: median, least time, rate, ratio to the peak. The first run warms up and is not counted
 * when there are more than two. */
static sd_status measure(bench *b, const char *name, double flops, stage_fn run, int runs) {
    double times[MAX_RUNS];
    int first = runs > 2 ? 1 : 0;
    cli_progress bar;
    double peak = ceiling(b);
    cli_progress_begin(&bar, name);
    for (int i = 0; i < runs; i++) {
        double begin = peak_clock();
        sd_status status = run(b);
        times[i] = peak_clock() - begin;
        if (status) {
            cli_progress_end(&bar);
            return status;
        }
        cli_progress_update(&bar, i + 1, runs);
    }
    cli_progress_end(&bar);
    int n = runs - first;
    qsort(times + first, (size_t)n, sizeof *times, compare);
    double median = b->median = times[first + n / 2], rate = flops / median;
    char text[16];
    printf("%-14s %10.3f %10.3f %9.4f %9.1f %9.1f %7s\n", name, 1e3 * median, 1e3 * times[first],
           flops / 1e12, rate / 1e9, peak / 1e9, ratio(text, sizeof text, rate, peak));
    fflush(stdout);
    return SD_OK;
}

/* Where the time of one run of a stage goes, by operation. */
static sd_status profile(bench *b, const char *name, stage_fn run) {
    sd_status status = sd_profile_begin(b->ctx);
    if (!status)
        status = run(b);
    sd_status ended = sd_profile_end(b->ctx);
    if (status || ended)
        return status ? status : ended;
    double all = 0, peak = ceiling(b);
    sd_profile_row row = SD_PROFILE_ROW_INIT;
    for (int i = 0; !sd_profile_get(b->ctx, i, &row); i++)
        all += row.seconds;
    printf("\n%-18s %6s %10s %6s %9s %7s %9s %7s\n", name, "calls", "ms", "share", "GFLOP/s",
           "ratio", "GB/s", "ratio");
    for (int i = 0; !sd_profile_get(b->ctx, i, &row); i++) {
        char flop_ratio[16], byte_ratio[16];
        double rate = row.flops / row.seconds, bytes = row.bytes / row.seconds;
        printf("%-18s %6llu %10.3f %5.1f%% %9.1f %7s %9.1f %7s\n", row.operation,
               (unsigned long long)row.calls, 1e3 * row.seconds, 100 * row.seconds / all,
               rate / 1e9, ratio(flop_ratio, sizeof flop_ratio, rate, peak), bytes / 1e9,
               ratio(byte_ratio, sizeof byte_ratio, bytes, b->copy_rate));
    }
    printf("%-18s %6s %10.3f\n", "all", "", 1e3 * all);
    return SD_OK;
}

static sd_sampler_params sampling(const bench *b) {
    sd_sampler_params p = SD_SAMPLER_PARAMS_INIT;
    p.method = "ddim"; /* one evaluation a step, whatever a folder's scheduler is */
    p.spacing = SD_SPACING_UNIFORM;
    p.width = b->width;
    p.height = b->height;
    p.batch = b->batch;
    p.steps = b->steps;
    p.guidance_scale = b->scale;
    return p;
}

/* ------------------------------------------------------------------------------- stages */

/* Token ids of no meaning: a vocabulary is not needed for timing. */
static sd_status encode_ids(bench *b, int first, int n, sd_cond **out) {
    int tokens = b->info.text_tokens;
    int32_t *ids = malloc((size_t)(tokens * n) * sizeof *ids);
    if (!ids)
        return SD_ERROR_MEMORY;
    for (int i = 0; i < tokens * n; i++)
        ids[i] = first + i;
    const int32_t *of_encoders[] = {ids};
    sd_status status = sd_encode_tokens(b->model, of_encoders, 1, n, NULL, out);
    free(ids);
    return status;
}

/* The prompt's and the negative prompt's. */
static sd_status run_text(bench *b) {
    sd_cond *out;
    sd_status status = encode_ids(b, 0, 2, &out);
    sd_cond_free(out);
    return status;
}

static sd_status run_encode(bench *b) {
    sd_tensor *out;
    sd_status status = sd_vae_encode(b->model, b->pixels, NULL, &out);
    sd_tensor_free(out);
    return status;
}

static sd_status run_decode(bench *b) {
    sd_tensor *out;
    sd_status status = sd_vae_decode(b->model, b->latent, NULL, &out);
    sd_tensor_free(out);
    return status;
}

static sd_status run_tiny(bench *b) {
    sd_vae_params how = SD_VAE_PARAMS_INIT;
    sd_tensor *out;
    how.tiny = 1;
    sd_status status = sd_vae_decode(b->model, b->latent, &how, &out);
    sd_tensor_free(out);
    return status;
}

static sd_status run_matrix(bench *b) {
    sd_preview_params how = SD_PREVIEW_PARAMS_INIT;
    sd_image *out;
    how.method = SD_PREVIEW_MATRIX;
    sd_status status = sd_sampler_preview(b->stepping, &how, &out);
    sd_image_free(out);
    return status;
}

/* An inpainting model gets noise for the picture that it sees beside the latent. */
static sd_run_params inputs(const bench *b) {
    sd_run_params p = SD_RUN_PARAMS_INIT;
    p.cond = b->cond;
    p.uncond = b->uncond;
    p.concat = b->concat;
    return p;
}

/* Text, all steps, decoding: what a user waits for. */
static sd_status run_picture(bench *b) {
    sd_sampler_params p = sampling(b);
    sd_sampler *sampler = NULL;
    sd_run_params run = inputs(b);
    sd_cond *cond = NULL;
    sd_tensor *latent = NULL, *pixels = NULL;
    sd_status status = encode_ids(b, 1, 1, &cond);
    if (!status)
        status = sd_sampler_new(b->model, &p, &sampler);
    run.cond = cond;
    if (!status)
        status = sd_sample(sampler, &run, &latent);
    sd_sampler_free(sampler);
    if (!status)
        status = sd_vae_decode(b->model, latent, NULL, &pixels);
    sd_cond_free(cond);
    sd_tensor_free(latent);
    sd_tensor_free(pixels);
    return status;
}

static sd_status run_step(bench *b) {
    return sd_sampler_step(b->stepping);
}

/* A sampler for that many steps, b->stepping, which is there for sd_sampler_free where this fails
 * too. */
static sd_status begin_steps(bench *b, int steps) {
    sd_sampler_params p = sampling(b);
    const sd_run_params run = inputs(b);
    p.steps = steps;
    sd_status status = sd_sampler_new(b->model, &p, &b->stepping);
    return status ? status : sd_sampler_begin(b->stepping, &run);
}

static sd_status bench_steps(bench *b) {
    sd_status status = begin_steps(b, b->runs < 2 ? 2 : b->runs);
    const char *name = b->scale == 1 ? "UNet step" : "guided step";
    if (!status)
        status = measure(b, name, b->work.step, run_step, b->runs);
    sd_sampler_free(b->stepping);
    return status;
}

/* A preview: its share of the VAE's decode. */
static sd_status bench_preview(bench *b, const char *name, stage_fn run) {
    sd_status status = measure(b, name, 0, run, b->runs);
    if (!status)
        printf("  %.3f ms, 1/%.0f of the VAE's decode\n", 1e3 * b->median, b->decode / b->median);
    return status;
}

/* By factors where the model has them. */
static sd_status bench_matrix(bench *b) {
    sd_status status = begin_steps(b, 2);
    if (!status)
        status = run_step(b);
    if (!status && run_matrix(b) == SD_OK)
        status = bench_preview(b, "matrix preview", run_matrix);
    sd_sampler_free(b->stepping);
    return status;
}

static sd_status bench_previews(bench *b) {
    b->decode = b->median;
    sd_status status = b->info.has_taesd ? bench_preview(b, "TAESD decode", run_tiny) : SD_OK;
    return status ? status : bench_matrix(b);
}

/* -------------------------------------------------------------------------------- set-up */

static sd_status prepare(bench *b) {
    const int64_t latent[] = {b->batch, b->info.latent_channels,
                              b->height / b->info.latent_downscale,
                              b->width / b->info.latent_downscale};
    const int64_t beside[] = {b->batch, b->info.unet_channels - latent[1], latent[2], latent[3]};
    const int64_t pixels[] = {1, 3, b->height, b->width};
    sd_sampler_params p = sampling(b);
    b->work = (sd_work_info)SD_WORK_INFO_INIT;
    sd_estimate_params estimate = SD_ESTIMATE_PARAMS_INIT;
    estimate.sampling = &p;
    sd_status status = sd_work_estimate(b->model, &estimate, &b->work);
    if (!status)
        status = encode_ids(b, 1, 1, &b->cond);
    if (!status)
        status = encode_ids(b, 0, 1, &b->uncond);
    if (!status)
        status = sd_randn(b->ctx, SD_RNG_CPU, 1, 4, latent, &b->latent);
    if (!status && beside[1] > 0)
        status = sd_randn(b->ctx, SD_RNG_CPU, 3, 4, beside, &b->concat);
    if (!status)
        status = sd_randn(b->ctx, SD_RNG_CPU, 2, 4, pixels, &b->pixels);
    return status;
}

/* One step with its operations apart, of a sampler that has made one before. */
static sd_status profile_step(bench *b) {
    sd_status status = begin_steps(b, 2);
    if (!status)
        status = run_step(b);
    if (!status)
        status = profile(b, b->scale == 1 ? "UNet step" : "guided step", run_step);
    sd_sampler_free(b->stepping);
    return status;
}

static sd_status profile_all(bench *b) {
    sd_status status = profile(b, "text x2", run_text);
    if (!status)
        status = profile_step(b);
    if (!status)
        status = profile(b, "VAE encode", run_encode);
    if (!status)
        status = profile(b, "VAE decode", run_decode);
    if (!status && b->info.has_taesd)
        status = profile(b, "TAESD decode", run_tiny);
    return status;
}

static void print_memory(const bench *b) {
    sd_device_memory_info memory = SD_DEVICE_MEMORY_INFO_INIT;
    char text[32];
    printf("\npeak memory: %s", cli_bytes(text, sizeof text, cli_peak_memory()));
    if (!sd_context_device_memory(b->ctx, &memory) && memory.peak > 0)
        printf(" of the host, %s of the device", cli_bytes(text, sizeof text, memory.peak));
    printf("\n");
}

static sd_status run_all(bench *b, bool whole) {
    sd_status status = prepare(b);
    if (status)
        return status;
    b->copy_rate = b->card ? peak_cuda_copy(b->card) : peak_copy();
    printf("copy rate: %.1f GB/s\n\n", b->copy_rate / 1e9);
    printf("%-14s %10s %10s %9s %9s %9s %7s\n", "stage", "median ms", "least ms", "TFLOP",
           "GFLOP/s", b->card ? "cuBLAS" : "FMA peak", "ratio");
    status = measure(b, "text x2", 2 * b->work.text, run_text, b->runs);
    if (!status)
        status = bench_steps(b);
    if (!status)
        status = measure(b, "VAE encode", b->work.encode, run_encode, b->runs);
    if (!status)
        status = measure(b, "VAE decode", b->work.decode, run_decode, b->runs);
    if (!status)
        status = bench_previews(b);
    if (!status && whole)
        status =
            measure(b, "whole picture", b->work.text + b->steps * b->work.step + b->work.decode,
                    run_picture, b->card ? b->runs : 1);
    if (!status && b->profile)
        status = profile_all(b);
    if (!status)
        print_memory(b);
    return status;
}

/* "cuda:1 (...)" is card 1. */
static void open_card(bench *b) {
    const char *device = sd_context_device(b->ctx);
    if (strncmp(device, "cuda", 4) != 0)
        return;
    b->card = peak_cuda_new(device[4] == ':' ? atoi(device + 5) : 0);
    if (!b->card)
        fprintf(stderr, PROGRAM ": the card's ceilings cannot be measured\n");
    else if (peak_cuda_matrix(b->card) <= 0)
        fprintf(stderr,
                PROGRAM ": cuBLAS was not found; there is no matrix rate to compare with\n");
}

static sd_status load(bench *b, const char *path, const sd_model_params *params) {
    cli_progress bar;
    double begin = peak_clock();
    cli_progress_begin(&bar, "loading");
    sd_status status = sd_model_load(b->ctx, path, params, &b->model);
    double seconds = peak_clock() - begin;
    cli_progress_end(&bar);
    if (status)
        return status;
    b->info = (sd_model_info)SD_MODEL_INFO_INIT;
    status = sd_model_get_info(b->model, &b->info);
    if (!b->width)
        b->width = b->info.default_width;
    if (!b->height)
        b->height = b->info.default_height;
    printf("device:    %s\nmodel:     %s, %.1f million parameters, loaded in %.2f s\n"
           "picture:   %d x %d, batch %d, %s\n",
           sd_context_device(b->ctx), b->info.family, (double)b->info.n_parameters / 1e6, seconds,
           b->width, b->height, b->batch, b->scale == 1 ? "no guidance" : "guided");
    return status;
}

int main(int argc, char **argv) {
    bench b = {.batch = 1, .runs = 5, .steps = 20, .scale = 7.5f};
    const char *backend = "auto";
    sd_model_params loading = SD_MODEL_PARAMS_INIT;
    bool whole = false;
    cli_option rows[11 + CLI_N_PARTS] = {
        {"W", CLI_INT, &b.width, "width in pixels; 0 is the model's"},
        {"H", CLI_INT, &b.height, "height in pixels; 0 is the model's"},
        {"n_samples", CLI_INT, &b.batch, "pictures at once"},
        {"runs", CLI_INT, &b.runs, "runs of each stage; the median is reported"},
        {"scale", CLI_FLOAT, &b.scale, "guidance scale; 1 evaluates the UNet once a step"},
        {"whole", CLI_FLAG, &whole, "time a whole picture too"},
        {"ddim_steps", CLI_INT, &b.steps, "steps of the whole picture"},
        {"profile", CLI_FLAG, &b.profile, "tell for each stage which operations take its time"},
        {"config", CLI_TEXT, &loading.config, "YAML config of the checkpoint; most need none"},
        {"backend", CLI_TEXT, &backend, "auto, cpu, reference, cuda, cuda:1"},
        {"threads", CLI_INT, &b.threads, "CPU threads; 0 is two"},
    };
    cli_part_rows(&loading, rows + 11);
    const cli_program program = {PROGRAM, "Times each stage of Stable Diffusion on this machine.",
                                 "CHECKPOINT", rows, (int)(sizeof rows / sizeof *rows)};
    int exit_code, first = cli_parse(&program, argc, argv, &exit_code);
    if (first < 0)
        return exit_code;
    if (first + 1 != argc || b.runs < 1 || b.runs > MAX_RUNS || b.batch < 1) {
        fprintf(stderr,
                PROGRAM ": one checkpoint, 1 to %d runs and a batch of at least 1 were "
                        "expected\n",
                MAX_RUNS);
        return 2;
    }
    if (!b.threads)
        b.threads = 2;
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    params.backend = backend;
    params.n_threads = b.threads;
    params.log = cli_log;
    sd_status status = sd_context_new(&params, &b.ctx);
    if (status)
        return cli_fail(PROGRAM, status);
    cli_cancel_on_interrupt(b.ctx);
    status = load(&b, argv[first], &loading);
    if (!status)
        open_card(&b);
    if (!status)
        status = run_all(&b, whole);
    peak_cuda_free(b.card);
    exit_code = status ? cli_fail(PROGRAM, status) : 0;
    sd_cond_free(b.cond);
    sd_cond_free(b.uncond);
    sd_tensor_free(b.latent);
    sd_tensor_free(b.concat);
    sd_tensor_free(b.pixels);
    sd_model_free(b.model);
    sd_context_free(b.ctx);
    return exit_code;
}
