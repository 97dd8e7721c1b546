/* The JSON files of a diffusers folder, with the keys and values that SD 1.5's and SDXL's have. */
#include "checkpoint.h"

#include <errno.h>
#include <jansson.h>
#include <string.h>
#include <sys/stat.h>

bool make_folder(const char *path) {
    if (mkdir(path, 0777) == 0 || errno == EEXIST)
        return true;
    fprintf(stderr, "cannot make the folder %s: %s\n", path, strerror(errno));
    return false;
}

bool join_path(char out[PATH_SIZE], const char *folder, const char *name) {
    size_t n = strlen(folder), m = strlen(name);
    if (n + m + 2 > PATH_SIZE) {
        fprintf(stderr, "the path is too long: %s\n", folder);
        return false;
    }
    memcpy(out, folder, n);
    out[n] = '/';
    memcpy(out + n + 1, name, m + 1);
    return true;
}

/* Takes `json` over. */
static bool write_json(const char *folder, const char *name, json_t *json) {
    char path[PATH_SIZE] = "";
    bool ok =
        json && join_path(path, folder, name) && json_dump_file(json, path, JSON_INDENT(2)) == 0;
    json_decref(json);
    if (!ok)
        fprintf(stderr, "cannot write %s\n", path);
    return ok;
}

static json_t *strings(const char *const *items, int n) {
    json_t *array = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(array, json_string(items[i]));
    return array;
}

static json_t *repeated(const char *item) {
    const char *items[N_LEVELS] = {item, item, item, item};
    return strings(items, N_LEVELS);
}

static json_t *integers(const int *items, int n) {
    json_t *array = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(array, json_integer(items[i]));
    return array;
}

static json_t *model_index(const model_size *s) {
    return json_pack("{s:s, s:s, s:[n, n], s:b, s:[n, n], s:[s, s], s:[s, s], s:[s, s], s:[s, s],"
                     " s:[s, s]}",
                     "_class_name", "StableDiffusionPipeline", "_diffusers_version", "0.6.0",
                     "feature_extractor", "requires_safety_checker", 0, "safety_checker",
                     "scheduler", "diffusers", "DDIMScheduler", "text_encoder", "transformers",
                     "CLIPTextModel", "tokenizer", "transformers", "CLIPTokenizer", "unet",
                     "diffusers", "UNet2DConditionModel", "vae", "diffusers",
                     s->tiny ? "AutoencoderTiny" : "AutoencoderKL");
}

static json_t *text_config(const model_size *s) {
    return json_pack(
        "{s:[s], s:f, s:i, s:f, s:i, s:s, s:i, s:f, s:f, s:i, s:f, s:i, s:s, s:i, s:i, s:i, s:i,"
        " s:s, s:i}",
        "architectures", "CLIPTextModel", "attention_dropout", 0.0, "bos_token_id",
        s->vocab_size - 2, "dropout", 0.0, "eos_token_id", s->vocab_size - 1, "hidden_act",
        "quick_gelu", "hidden_size", s->text_width, "initializer_factor", 1.0, "initializer_range",
        0.02, "intermediate_size", s->text_mlp, "layer_norm_eps", 1e-5, "max_position_embeddings",
        TEXT_TOKENS, "model_type", "clip_text_model", "num_attention_heads", s->text_heads,
        "num_hidden_layers", s->text_layers, "pad_token_id", 1, "projection_dim", s->text_width,
        "torch_dtype", "float32", "vocab_size", s->vocab_size);
}

static json_t *unet_config(const model_size *s) {
    static const char *const down[] = {"CrossAttnDownBlock2D", "CrossAttnDownBlock2D",
                                       "CrossAttnDownBlock2D", "DownBlock2D"};
    static const char *const up[] = {"UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D",
                                     "CrossAttnUpBlock2D"};
    /* attention_head_dim is the number of heads: diffusers keeps the misnomer for old files. */
    return json_pack(
        "{s:s, s:s, s:s, s:i, s:o, s:b, s:i, s:o, s:i, s:b, s:i, s:i, s:i, s:i, s:f, s:i, s:i,"
        " s:i, s:o}",
        "_class_name", "UNet2DConditionModel", "_diffusers_version", "0.6.0", "act_fn", "silu",
        "attention_head_dim", s->unet_heads, "block_out_channels",
        integers(s->unet_channels, N_LEVELS), "center_input_sample", 0, "cross_attention_dim",
        s->text_width, "down_block_types", strings(down, N_LEVELS), "downsample_padding", 1,
        "flip_sin_to_cos", 1, "freq_shift", 0, "in_channels", s->unet_in, "layers_per_block",
        s->unet_res_blocks, "mid_block_scale_factor", 1, "norm_eps", 1e-5, "norm_num_groups", 32,
        "out_channels", LATENT_CHANNELS, "sample_size", s->sample_size, "up_block_types",
        strings(up, N_LEVELS));
}

static json_t *vae_config(const model_size *s) {
    return json_pack("{s:s, s:s, s:s, s:o, s:o, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:o}",
                     "_class_name", "AutoencoderKL", "_diffusers_version", "0.6.0", "act_fn",
                     "silu", "block_out_channels", integers(s->vae_channels, N_LEVELS),
                     "down_block_types", repeated("DownEncoderBlock2D"), "in_channels", 3,
                     "latent_channels", LATENT_CHANNELS, "layers_per_block", s->vae_res_blocks,
                     "norm_num_groups", 32, "out_channels", 3, "sample_size", 8 * s->sample_size,
                     "scaling_factor", s->xl ? 0.13025 : 0.18215, "up_block_types",
                     repeated("UpDecoderBlock2D"));
}

static json_t *tiny_config(const tiny_size *s) {
    const int widths[N_LEVELS] = {s->width, s->width, s->width, s->width};
    return json_pack(
        "{s:s, s:s, s:s, s:o, s:o, s:o, s:b, s:i, s:i, s:i, s:f, s:o, s:o, s:i, s:f,"
        " s:s, s:i}",
        "_class_name", "AutoencoderTiny", "_diffusers_version", "0.20.0", "act_fn", "relu",
        "block_out_channels", integers(widths, N_LEVELS), "decoder_block_out_channels",
        integers(widths, N_LEVELS), "encoder_block_out_channels", integers(widths, N_LEVELS),
        "force_upcast", 0, "in_channels", 3, "latent_channels", LATENT_CHANNELS, "latent_magnitude",
        3, "latent_shift", 0.5, "num_decoder_blocks", integers(s->decoder_blocks, N_LEVELS),
        "num_encoder_blocks", integers(s->encoder_blocks, N_LEVELS), "out_channels", 3,
        "scaling_factor", 1.0, "upsample_fn", "nearest", "upsampling_scaling_factor", 2);
}

bool tiny_config_write(const char *folder, const tiny_size *size) {
    return make_folder(folder) && write_json(folder, "config.json", tiny_config(size));
}

/* --- SDXL --- */

/* The refiner is used by its image to image pipeline. */
static json_t *xl_index(const model_size *s) {
    bool refiner = is_refiner(s);
    json_t *index = json_pack(
        "{s:s, s:s, s:b, s:[s, s], s:[s, s], s:[s, s], s:[s, s], s:[s, s]}", "_class_name",
        refiner                        ? "StableDiffusionXLImg2ImgPipeline"
        : s->unet_in > LATENT_CHANNELS ? "StableDiffusionXLInpaintPipeline"
                                       : "StableDiffusionXLPipeline",
        "_diffusers_version", "0.19.0", "force_zeros_for_empty_prompt", !refiner, "scheduler",
        "diffusers", "EulerDiscreteScheduler", "text_encoder_2", "transformers",
        "CLIPTextModelWithProjection", "tokenizer_2", "transformers", "CLIPTokenizer", "unet",
        "diffusers", "UNet2DConditionModel", "vae", "diffusers", "AutoencoderKL");
    if (refiner) {
        json_object_set_new(index, "requires_aesthetics_score", json_true());
        json_object_set_new(index, "text_encoder", json_pack("[n, n]"));
        json_object_set_new(index, "tokenizer", json_pack("[n, n]"));
    } else {
        json_object_set_new(index, "text_encoder",
                            json_pack("[s, s]", "transformers", "CLIPTextModel"));
        json_object_set_new(index, "tokenizer",
                            json_pack("[s, s]", "transformers", "CLIPTokenizer"));
    }
    return index;
}

static json_t *text_2_config(const model_size *s) {
    const text_2_size *t = &s->text_2;
    return json_pack("{s:[s], s:i, s:i, s:s, s:i, s:i, s:f, s:i, s:s, s:i, s:i, s:i, s:i, s:i}",
                     "architectures", "CLIPTextModelWithProjection", "bos_token_id", 0,
                     "eos_token_id", 2, "hidden_act", "gelu", "hidden_size", t->width,
                     "intermediate_size", t->mlp, "layer_norm_eps", 1e-5, "max_position_embeddings",
                     TEXT_TOKENS, "model_type", "clip_text_model", "num_attention_heads",
                     t->width / 64, "num_hidden_layers", t->layers, "pad_token_id", 1,
                     "projection_dim", t->projection, "vocab_size", s->vocab_size);
}

/* Levels in the order of the way down, or from the end. */
static json_t *blocks(const model_size *s, const char *plain, const char *attention, bool reverse) {
    int n = s->unet_levels;
    json_t *array = json_array();
    for (int i = 0; i < n; i++) {
        int depth = s->unet_depth[reverse ? n - 1 - i : i];
        json_array_append_new(array, json_string(depth > 0 ? attention : plain));
    }
    return array;
}

/* Layers of transformers: where a level has none, a number that nothing looks at. The middle has
 * the last level's. */
static json_t *depths(const model_size *s) {
    int depth[N_LEVELS], n = s->unet_levels;
    for (int i = 0; i < n; i++)
        depth[i] = s->unet_depth[i] > 0 ? s->unet_depth[i] : 1;
    depth[n - 1] = s->mid_depth;
    return integers(depth, n);
}

static json_t *xl_unet_config(const model_size *s) {
    int heads[N_LEVELS];
    for (int i = 0; i < s->unet_levels; i++)
        heads[i] = s->unet_channels[i] > 64 ? s->unet_channels[i] / 64 : 1;
    return json_pack(
        "{s:s, s:s, s:s, s:i, s:o, s:o, s:n, s:i, s:o, s:b, s:i, s:i, s:i, s:f, s:i, s:n, s:i, s:i,"
        " s:i, s:o, s:o, s:b}",
        "_class_name", "UNet2DConditionModel", "_diffusers_version", "0.19.0",
        "addition_embed_type", "text_time", "addition_time_embed_dim", SIZE_WIDTH,
        "attention_head_dim", integers(heads, s->unet_levels), "block_out_channels",
        integers(s->unet_channels, s->unet_levels), "class_embed_type", "cross_attention_dim",
        context_width(s), "down_block_types",
        blocks(s, "DownBlock2D", "CrossAttnDownBlock2D", false), "flip_sin_to_cos", 1, "freq_shift",
        0, "in_channels", s->unet_in, "layers_per_block", s->unet_res_blocks, "norm_eps", 1e-5,
        "norm_num_groups", 32, "num_class_embeds", "out_channels", LATENT_CHANNELS,
        "projection_class_embeddings_input_dim", label_width(s), "sample_size", s->sample_size,
        "transformer_layers_per_block", depths(s), "up_block_types",
        blocks(s, "UpBlock2D", "CrossAttnUpBlock2D", true), "use_linear_projection", 1);
}

static json_t *xl_scheduler_config(void) {
    return json_pack("{s:s, s:s, s:f, s:s, s:f, s:b, s:s, s:i, s:s, s:f, s:b, s:b, s:i, s:s, s:n,"
                     " s:b}",
                     "_class_name", "EulerDiscreteScheduler", "_diffusers_version", "0.19.0",
                     "beta_end", 0.012, "beta_schedule", "scaled_linear", "beta_start", 0.00085,
                     "clip_sample", 0, "interpolation_type", "linear", "num_train_timesteps", 1000,
                     "prediction_type", "epsilon", "sample_max_value", 1.0, "set_alpha_to_one", 0,
                     "skip_prk_steps", 1, "steps_offset", 1, "timestep_spacing", "leading",
                     "trained_betas", "use_karras_sigmas", 0);
}

static json_t *scheduler_config(void) {
    /* DDIM of the original, so that all layouts have one default */
    return json_pack("{s:s, s:s, s:f, s:s, s:f, s:i, s:b, s:i, s:n, s:b}", "_class_name",
                     "DDIMScheduler", "_diffusers_version", "0.6.0", "beta_end", 0.012,
                     "beta_schedule", "scaled_linear", "beta_start", 0.00085, "num_train_timesteps",
                     1000, "set_alpha_to_one", 0, "steps_offset", 1, "trained_betas", "clip_sample",
                     0);
}

/* Into a folder of its own. Takes `json` over. */
static bool write_in(const char *folder, const char *part, const char *name, json_t *json) {
    char path[PATH_SIZE];
    if (join_path(path, folder, part) && make_folder(path))
        return write_json(path, name, json);
    json_decref(json);
    return false;
}

bool diffusers_configs_write(const char *folder, const model_size *size) {
    bool xl = size->xl;
    return make_folder(folder) &&
           write_json(folder, "model_index.json", xl ? xl_index(size) : model_index(size)) &&
           (is_refiner(size) ||
            write_in(folder, "text_encoder", "config.json", text_config(size))) &&
           (!xl || write_in(folder, "text_encoder_2", "config.json", text_2_config(size))) &&
           write_in(folder, "unet", "config.json", xl ? xl_unet_config(size) : unet_config(size)) &&
           write_in(folder, "vae", "config.json",
                    size->tiny ? tiny_config(tiny_size_find(size->tiny)) : vae_config(size)) &&
           write_in(folder, "scheduler", "scheduler_config.json",
                    xl ? xl_scheduler_config() : scheduler_config());
}
