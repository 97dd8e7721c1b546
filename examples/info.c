/* sd-info: what is in a checkpoint, and what a run with it takes. */
#include "cli.h"

#include <sd/profile.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAM "sd-info"
#define MAX_TYPES 16

typedef struct contents {
    bool list; /* print every tensor */
    int n_tensors;
    uint64_t n_bytes, n_values;
    struct {
        char name[8];
        int tensors;
        uint64_t bytes;
    } types[MAX_TYPES];
    int n_types;
} contents;

static void count_type(contents *c, const char *type, uint64_t n_bytes) {
    int i = 0;
    while (i < c->n_types && strcmp(c->types[i].name, type))
        i++;
    if (i == MAX_TYPES)
        return;
    if (i == c->n_types)
        snprintf(c->types[c->n_types++].name, sizeof c->types[0].name, "%s", type);
    c->types[i].tensors++;
    c->types[i].bytes += n_bytes;
}

static int32_t on_tensor(void *user, const sd_checkpoint_tensor *tensor) {
    contents *c = user;
    uint64_t values = 1;
    for (int i = 0; i < tensor->n_dims; i++)
        values *= (uint64_t)tensor->dims[i];
    c->n_tensors++;
    c->n_bytes += tensor->n_bytes;
    c->n_values += values;
    count_type(c, tensor->type, tensor->n_bytes);
    if (c->list) {
        printf("%s\t%s\t", tensor->name, tensor->type);
        for (int i = 0; i < tensor->n_dims; i++)
            printf("%s%lld", i ? "," : "", (long long)tensor->dims[i]);
        printf("\n");
    }
    return cli_interrupted();
}

static void print_contents(const contents *c) {
    char bytes[32];
    printf("tensors:     %d, %.1f million values, %s\n", c->n_tensors, (double)c->n_values / 1e6,
           cli_bytes(bytes, sizeof bytes, c->n_bytes));
    for (int i = 0; i < c->n_types; i++)
        printf("  %-10s %d tensors, %s\n", c->types[i].name, c->types[i].tensors,
               cli_bytes(bytes, sizeof bytes, c->types[i].bytes));
}

static void print_model(const sd_model *model, const sd_model_info *info) {
    char bytes[32];
    printf("family:      %s, %s layout\n", info->family, info->layout);
    printf("parameters:  %.2f million, %s as prepared for this device\n",
           (double)info->n_parameters / 1e6,
           cli_bytes(bytes, sizeof bytes, (uint64_t)info->weight_bytes));
    if (info->conditioning == SD_CONDITIONING_TEXT)
        printf("text:        %d tokens of width %d%s, vocabulary %s\n", info->text_tokens,
               info->text_width, info->n_encoders > 1 ? " by two encoders" : "",
               info->has_vocabulary ? "found" : "not found");
    else if (info->conditioning == SD_CONDITIONING_CLASS)
        printf("classes:     %d, of width %d\n", info->n_classes, info->text_width);
    else
        printf("condition:   none\n");
    printf("latents:     %d channels, 1/%d of the picture, scale %g\n", info->latent_channels,
           info->latent_downscale, info->latent_scale);
    printf("pictures:    %d x %d by default, sides multiples of %d\n", info->default_width,
           info->default_height, info->size_multiple);
    if (!info->unet_channels)
        printf("unet:        none: a first stage alone\n");
    else if (info->unet_channels != info->latent_channels)
        printf("unet:        takes %d channels\n", info->unet_channels);
    if (info->train_timesteps)
        printf("schedule:    %d timesteps; the UNet gives %s\n", info->train_timesteps,
               info->prediction);
    if (info->default_method)
        printf("sampling:    %s, %s spacing, %d steps, guidance %g by default%s\n",
               info->default_method, sd_sampler_spacing(info->default_spacing), info->default_steps,
               info->default_guidance,
               info->guidance_embedding ? "; the UNet is told the guidance" : "");
    if (info->pooled_width)
        printf("beside time: a text as %d numbers, and %d of the picture%s\n", info->pooled_width,
               info->n_sizes, info->n_sizes == 5 ? ", an aesthetic score among them" : "");
    static const char *const previews[] = {"", "the VAE", "factors", "the small autoencoder"};
    printf("previews:    by %s%s\n", previews[info->default_preview],
           info->has_taesd ? ", which lies beside the VAE" : "");
    if (info->n_unexpected)
        printf("unexpected:  %d tensors that no network uses\n", info->n_unexpected);
    for (int i = 0; i < info->n_unexpected && i < 10; i++)
        printf("  %s\n", sd_model_unexpected(model, i));
}

static void print_text(const char *name, const char *text) {
    if (text)
        printf("%-12s %s\n", name, text);
}

static void print_adapter(const sd_adapter_info *info) {
    print_text("kind:", info->kind);
    print_text("for:", info->family ? info->family : "any model that it fits: it does not tell");
    print_text("title:", info->title);
    print_text("base model:", info->base_model);
    print_text("triggers:", info->trigger_words);
    if (info->n_tokens) {
        printf("embeddings:  %d of width %d\n", info->n_tokens, info->token_width);
        return;
    }
    printf("modules:     %d of the UNet, %d of the text encoder, %d of the second one\n",
           info->n_unet, info->n_text, info->n_text_2);
    if (info->max_rank)
        printf("rank:        %d to %d", info->min_rank, info->max_rank);
    if (info->max_rank && info->alpha > 0)
        printf(", alpha %g", info->alpha);
    if (info->max_rank)
        printf("\n");
    if (info->n_unknown)
        printf("unknown:     %d tensors, which are passed over\n", info->n_unknown);
}

/* Whether the file is an adapter, which is told then. */
static bool tell_adapter(sd_context *ctx, const char *path) {
    sd_adapter *adapter;
    sd_adapter_info info = SD_ADAPTER_INFO_INIT;
    if (sd_adapter_load(ctx, path, NULL, &adapter))
        return false;
    sd_status status = sd_adapter_get_info(adapter, &info);
    if (!status) {
        printf("adapter:     %s\n", path);
        print_adapter(&info);
    }
    sd_adapter_free(adapter);
    return !status;
}

static sd_status print_memory(sd_model *model, const sd_model_info *info, int width, int height,
                              int batch, bool tiled) {
    sd_sampler_params sampling = SD_SAMPLER_PARAMS_INIT;
    sampling.width = width;
    sampling.height = height;
    sampling.batch = batch;
    sd_vae_params vae = SD_VAE_PARAMS_INIT;
    vae.tile = tiled ? CLI_TILE : 0;
    sd_estimate_params estimate = SD_ESTIMATE_PARAMS_INIT;
    estimate.sampling = &sampling;
    estimate.vae = &vae;
    sd_memory_info memory = SD_MEMORY_INFO_INIT;
    sd_status status = sd_memory_estimate(model, &estimate, &memory);
    if (status)
        return status;
    const struct {
        const char *name;
        uint64_t bytes;
    } rows[] = {{"weights", memory.weights},    {"text encoder", memory.text},
                {"UNet", memory.unet},          {"VAE decoder", memory.decode},
                {"VAE encoder", memory.encode}, {"the host", memory.host},
                {"peak", memory.peak}};
    printf("memory:      for %d picture%s of %d x %d\n", batch, batch == 1 ? "" : "s",
           width ? width : info->default_width, height ? height : info->default_height);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char bytes[32];
        printf("  %-14s %s\n", rows[i].name, cli_bytes(bytes, sizeof bytes, rows[i].bytes));
    }
    return SD_OK;
}

int main(int argc, char **argv) {
    bool list = false, tiled = false;
    int width = 0, height = 0, batch = 1, threads = 0;
    const char *backend = "auto";
    sd_model_params loading = SD_MODEL_PARAMS_INIT;
    cli_option rows[8 + CLI_N_PARTS] = {
        {"tensors", CLI_FLAG, &list, "list name, type and shape of every tensor, and no more"},
        {"config", CLI_TEXT, &loading.config, "YAML config of the checkpoint; most need none"},
        {"W", CLI_INT, &width, "width in pixels for the memory estimate; 0 is the model's"},
        {"H", CLI_INT, &height, "height in pixels; 0 is the model's"},
        {"n_samples", CLI_INT, &batch, "pictures at once"},
        {"tiled", CLI_FLAG, &tiled, "the memory of the VAE in tiles"},
        {"backend", CLI_TEXT, &backend, "auto, cpu, reference, cuda, cuda:1"},
        {"threads", CLI_INT, &threads, "CPU threads; 0 is one per core"},
    };
    cli_part_rows(&loading, rows + 8);
    const cli_program program = {
        PROGRAM, "Tells what a checkpoint holds and what a run takes, or what an adapter is.",
        "CHECKPOINT", rows, (int)(sizeof rows / sizeof *rows)};
    int exit_code, first = cli_parse(&program, argc, argv, &exit_code);
    if (first < 0)
        return exit_code;
    if (first + 1 != argc) {
        fprintf(stderr, PROGRAM
                ": one checkpoint was expected: a .safetensors or .ckpt file, or a folder\n");
        return 2;
    }
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    params.backend = backend;
    params.n_threads = threads;
    params.log = cli_log;
    sd_context *ctx;
    sd_model *model = NULL;
    sd_status status = sd_context_new(&params, &ctx);
    if (status)
        return cli_fail(PROGRAM, status);
    cli_cancel_on_interrupt(ctx);
    if (!list && tell_adapter(ctx, argv[first])) {
        sd_context_free(ctx);
        return 0;
    }
    contents c = {.list = list};
    status = sd_checkpoint_list(ctx, argv[first], on_tensor, &c);
    if (!status && !list) {
        printf("checkpoint:  %s\ndevice:      %s\n", argv[first], sd_context_device(ctx));
        print_contents(&c);
        status = sd_model_load(ctx, argv[first], &loading, &model);
    }
    if (model) {
        sd_model_info info = SD_MODEL_INFO_INIT;
        status = sd_model_get_info(model, &info);
        if (!status)
            print_model(model, &info);
        if (!status && info.unet_channels == info.latent_channels)
            status = print_memory(model, &info, width, height, batch, tiled);
    }
    exit_code = status ? cli_fail(PROGRAM, status) : 0;
    sd_model_free(model);
    sd_context_free(ctx);
    return exit_code;
}
