/* The sizes of models, from config files and from shapes. Broken files are in tests/fault. */
#include "model/source.h"

#include "../tools/fixture.h"
#include "../tools/suite.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

static sd_source *open_source(const char *path) {
    sd_source *s;
    ck_assert_msg(sdi_source_open(ctx, path, &s) == SD_OK, "%s", sdi_error_get());
    return s;
}

static void check_fails(const char *path, sd_status status, const char *part) {
    sd_source *s;
    ck_assert_int_eq(sdi_source_open(ctx, path, &s), status);
    ck_assert_ptr_null(s);
    ck_assert_msg(strstr(sdi_error_get(), part), "'%s' is not in: %s", part, sdi_error_get());
}

static void check_ints(const int *values, const int *expected, int n) {
    for (int i = 0; i < n; i++)
        ck_assert_int_eq(values[i], expected[i]);
}

/* The description that both tiny models have. */
static void check_tiny(const sd_source *s, int unet_heads, int sample_size) {
    const sd_text_config *t = &s->desc->text;
    ck_assert(t->vocab_size == 100 && t->width == 128 && t->layers == 2 && t->heads == 2);
    ck_assert(t->mlp_width == 512 && t->tokens == 77 && t->act == SD_TEXT_QUICK_GELU);
    ck_assert(fabsf(t->eps - 1e-5f) < 1e-9f);
    ck_assert(t->names.layout != SD_LAYOUT_OPEN_CLIP);
    const sd_unet_config *u = &s->desc->unet;
    ck_assert(u->in_channels == 4 && u->out_channels == 4 && u->model_channels == 32);
    ck_assert_int_eq(u->n_levels, 3);
    check_ints(u->channels, (const int[]){32, 64, 64}, 3);
    check_ints(u->heads, (const int[]){unet_heads, unet_heads, unet_heads}, 3);
    check_ints(u->depth_in, (const int[]){0, 1, 1, 0, 1, 1, 0, 0, 0}, 9);
    check_ints(u->depth_out, (const int[]){0, 0, 0, 1, 1, 1, 1, 1, 1}, 9);
    ck_assert(u->depth_mid == 1 && u->mid_blocks == 2);
    ck_assert(u->res_blocks[2] == 2 && u->context_dim == 128);
    ck_assert(u->norm_groups == 32 && fabsf(u->norm_eps - 1e-5f) < 1e-9f);
    ck_assert(!u->linear_projection && u->sample_size == sample_size);
    const sd_vae_config *v = &s->desc->vae;
    ck_assert(v->in_channels == 3 && v->out_channels == 3 && v->n_levels == 2);
    check_ints(v->channels, (const int[]){32, 64}, 2);
    ck_assert(v->res_blocks == 1 && v->latent_channels == 4 && v->norm_groups == 32);
    ck_assert(v->scaling_factor == 0.18215 && v->shift_factor == 0.0);
    ck_assert(v->mid_attention && v->quant_conv && v->post_quant_conv);
    const sd_schedule_config *c = &s->desc->schedule;
    ck_assert(c->beta_schedule == SD_BETA_SCALED_LINEAR && c->prediction == SD_PREDICT_EPSILON);
    ck_assert(c->beta_start == 0.00085 && c->beta_end == 0.012 && c->train_timesteps == 1000);
}

START_TEST(reads_a_diffusers_folder) {
    files_make_tiny_diffusers(dir);
    sd_source *s = open_source(dir);
    check_tiny(s, 4, 16);
    ck_assert_int_eq(s->desc->unet.names.layout, SD_LAYOUT_DIFFUSERS);
    ck_assert_str_eq(s->desc->family, "Stable Diffusion 1.x");
    ck_assert_str_eq(s->desc->path, dir);
    ck_assert_str_eq(s->directory, dir);
    ck_assert_ptr_null(s->tokenizer_dirs[SD_PART_TEXT]);
    ck_assert_int_eq(s->n_files, 3);
    ck_assert_str_eq(s->desc->text.names.prefix, "text_model.");
    ck_assert_str_eq(s->desc->unet.names.prefix, "");
    ck_assert_str_eq(s->desc->vae.names.prefix, "");
    ck_assert_ptr_nonnull(sdi_weights_find(s->weights[SD_PART_UNET], "conv_in.weight"));
    ck_assert_ptr_nonnull(sdi_weights_find(s->weights[SD_PART_VAE], "encoder.conv_in.weight"));
    sdi_source_close(s);
}
END_TEST

START_TEST(reads_an_original_checkpoint) {
    safetensors *t = safetensors_tiny_original();
    const char *path = files_path(dir, "model.safetensors");
    safetensors_save(t, path);
    sd_source *s = open_source(path);
    check_tiny(s, 8, 64);
    ck_assert_int_eq(s->desc->unet.names.layout, SD_LAYOUT_ORIGINAL);
    ck_assert_str_eq(s->desc->family, "Stable Diffusion 1.x");
    ck_assert_str_eq(s->directory, dir);
    ck_assert_int_eq(s->n_files, 1);
    ck_assert_str_eq(s->desc->unet.names.prefix, "model.diffusion_model.");
    ck_assert_str_eq(s->desc->vae.names.prefix, "first_stage_model.");
    ck_assert_str_eq(s->desc->text.names.prefix, "cond_stage_model.transformer.text_model.");
    ck_assert(s->weights[SD_PART_TEXT] == s->files[0] && s->weights[SD_PART_VAE] == s->files[0]);
    sdi_source_close(s);

    safetensors_metadata(t, "sd.unet_heads", "[2, 4, 8]");
    safetensors_metadata(t, "sd.text_heads", "4");
    safetensors_metadata(t, "sd.sample_size", "8");
    safetensors_metadata(t, "sd.scaling_factor", "0.5");
    safetensors_metadata(t, "sd.latent_rgb",
                         "[[1, 2, 3], [4, 5, 6], [7, 8, 9], [10, 11, 12], [0.5, 0, 1]]");
    safetensors_save(t, path);
    safetensors_free(t);
    s = open_source(path);
    check_ints(s->desc->unet.heads, (const int[]){2, 4, 8}, 3);
    ck_assert(s->desc->text.heads == 4 && s->desc->unet.sample_size == 8 &&
              s->desc->vae.scaling_factor == 0.5);
    ck_assert(s->desc->vae.has_latent_rgb && s->desc->vae.latent_rgb[3][1] == 11.0f &&
              s->desc->vae.latent_rgb[4][0] == 0.5f);
    sdi_source_close(s);
}
END_TEST

/* All numbers of SD 1.x, by the shapes of the released file (zeros, on no disk space). */
START_TEST(infers_stable_diffusion_1) {
    static const char *const blocks[][2] = {{"320", "320"},   {"320", "320"},   {"op", "320"},
                                            {"640", "320"},   {"640", "640"},   {"op", "640"},
                                            {"1280", "640"},  {"1280", "1280"}, {"op", "1280"},
                                            {"1280", "1280"}, {"1280", "1280"}};
    safetensors *t = safetensors_new();
    char name[128], shape[64];
    safetensors_add(t, "model.diffusion_model.input_blocks.0.0.weight", "F16", "[320, 4, 3, 3]");
    for (int i = 0; i < 11; i++) {
        const char *out = blocks[i][0], *in = blocks[i][1];
        bool op = strcmp(out, "op") == 0;
        snprintf(name, sizeof name, "model.diffusion_model.input_blocks.%d.0.%s.weight", i + 1,
                 op ? "op" : "in_layers.2");
        snprintf(shape, sizeof shape, "[%s, %s, 3, 3]", op ? in : out, in);
        safetensors_add(t, name, "F16", shape);
        if (op || i > 8)
            continue;
        snprintf(name, sizeof name,
                 "model.diffusion_model.input_blocks.%d.1.transformer_blocks.0."
                 "attn2.to_k.weight",
                 i + 1);
        snprintf(shape, sizeof shape, "[%s, 768]", out);
        safetensors_add(t, name, "F16", shape);
    }
    safetensors_add(t,
                    "model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight",
                    "F16", "[1280, 768]");
    safetensors_add(t, "model.diffusion_model.out.2.weight", "F16", "[4, 320, 3, 3]");
    safetensors_add(t, "first_stage_model.encoder.conv_in.weight", "F16", "[128, 3, 3, 3]");
    for (int i = 0; i < 8; i++) {
        static const int channels[] = {128, 256, 512, 512};
        snprintf(name, sizeof name, "first_stage_model.encoder.down.%d.block.%d.conv1.weight",
                 i / 2, i % 2);
        snprintf(shape, sizeof shape, "[%d, 128, 3, 3]", channels[i / 2]);
        safetensors_add(t, name, "F16", shape);
    }
    safetensors_add(t, "first_stage_model.encoder.mid.attn_1.q.weight", "F16", "[512, 512, 1, 1]");
    safetensors_add(t, "first_stage_model.quant_conv.weight", "F16", "[8, 8, 1, 1]");
    safetensors_add(t, "first_stage_model.decoder.conv_in.weight", "F16", "[512, 4, 3, 3]");
    safetensors_add(t, "first_stage_model.decoder.conv_out.weight", "F16", "[3, 128, 3, 3]");
    for (int i = 0; i < 12; i++) {
        snprintf(name, sizeof name, "cond_stage_model.transformer.encoder.layers.%d.mlp.fc1.weight",
                 i);
        safetensors_add(t, name, "F16", "[3072, 768]");
    }
    safetensors_add(t, "cond_stage_model.transformer.embeddings.token_embedding.weight", "F16",
                    "[49408, 768]");
    safetensors_add(t, "cond_stage_model.transformer.embeddings.position_embedding.weight", "F16",
                    "[77, 768]");
    const char *path = files_path(dir, "v1-5.safetensors");
    safetensors_save(t, path);
    safetensors_free(t);

    sd_source *s = open_source(path);
    check_ints(s->desc->unet.channels, (const int[]){320, 640, 1280, 1280}, 4);
    check_ints(s->desc->unet.heads, (const int[]){8, 8, 8, 8}, 4);
    ck_assert(s->desc->unet.n_levels == 4 && s->desc->unet.res_blocks[3] == 2 &&
              s->desc->unet.context_dim == 768);
    ck_assert(s->desc->unet.depth_in[8] == 1 && s->desc->unet.depth_in[10] == 0);
    check_ints(s->desc->vae.channels, (const int[]){128, 256, 512, 512}, 4);
    ck_assert(s->desc->vae.n_levels == 4 && s->desc->vae.res_blocks == 2);
    ck_assert(s->desc->text.vocab_size == 49408 && s->desc->text.width == 768 &&
              s->desc->text.layers == 12);
    ck_assert(s->desc->text.heads == 12 && s->desc->text.mlp_width == 3072);
    ck_assert_str_eq(s->desc->text.names.prefix,
                     "cond_stage_model.transformer."); /* no text_model. */
    sdi_source_close(s);
}
END_TEST

/* Words of other tools in the header of a file, and the rest that is asked of the network. */
START_TEST(finds_what_the_unet_predicts) {
    static const struct {
        const char *key, *value; /* a NULL value: an empty tensor */
        bool sd2, v, ask;
        int sample_size;
    } rows[] = {
        {"format", "pt", false, false, false, 64},
        {"format", "pt", true, false, true, 0},
        {"modelspec.prediction_type", "v", false, true, false, 64},
        {"modelspec.prediction_type", "v", true, true, false, 96},
        {"modelspec.prediction_type", "v_prediction", true, true, false, 96},
        {"modelspec.prediction_type", "epsilon", true, false, false, 64},
        {"modelspec.prediction_type", "flow", true, false, true, 0},
        {"modelspec.architecture", "stable-diffusion-v2-768-v", true, true, false, 96},
        {"modelspec.architecture", "stable-diffusion-v2-512/lora", true, false, false, 64},
        {"modelspec.architecture", "stable-diffusion-v1", false, false, false, 64},
        {"v_pred", NULL, false, true, false, 64},
        {"v_pred", NULL, true, true, false, 96},
        {"ztsnr", NULL, false, false, false, 64},
        {"sd.prediction", "\"v\"", true, true, false, 96},
        {"sd.prediction", "\"epsilon\"", true, false, false, 64},
    };
    const char *path = files_path(dir, "prediction.safetensors");
    for (size_t i = 0; i < SD_COUNT(rows); i++) {
        safetensors *t = safetensors_tiny_original();
        if (rows[i].sd2)
            safetensors_add(t, "model.diffusion_model.middle_block.1.proj_in.weight", "F16",
                            "[64, 64]");
        if (rows[i].value)
            safetensors_metadata(t, rows[i].key, rows[i].value);
        else
            safetensors_add(t, rows[i].key, "F32", "[0]");
        safetensors_save(t, path);
        sd_source *s = open_source(path);
        ck_assert_int_eq(s->desc->schedule.prediction, rows[i].ask ? SD_PREDICT_UNKNOWN
                                                       : rows[i].v ? SD_PREDICT_V
                                                                   : SD_PREDICT_EPSILON);
        ck_assert_int_eq(s->desc->schedule.zero_snr, strcmp(rows[i].key, "ztsnr") == 0);
        ck_assert_int_eq(s->desc->unet.sample_size, rows[i].sample_size);
        if (rows[i].ask) { /* what the network said, later */
            sdi_description_predicts(s->desc, SD_PREDICT_V);
            ck_assert_int_eq(s->desc->schedule.prediction, SD_PREDICT_V);
            ck_assert_int_eq(s->desc->unet.sample_size, 96);
        }
        sdi_source_close(s);
        safetensors_metadata(t, "sd.sample_size", "80");
        safetensors_save(t, path);
        safetensors_free(t);
        s = open_source(path);
        ck_assert_int_eq(s->desc->unet.sample_size, 80);
        sdi_source_close(s);
    }
}
END_TEST

START_TEST(takes_the_defaults_of_diffusers) {
    files_make_tiny_diffusers(dir);
    files_write_text(files_path(dir, "unet/config.json"),
                     "{\"cross_attention_dim\": 512, \"sample_size\": null}");
    files_write_text(files_path(dir, "vae/config.json"), "{}");
    files_write_text(files_path(dir, "text_encoder/config.json"), "{}");
    files_write_text(files_path(dir, "scheduler/scheduler_config.json"), "{}");
    sd_source *s = open_source(dir);
    check_ints(s->desc->unet.channels, (const int[]){320, 640, 1280, 1280}, 4);
    check_ints(s->desc->unet.heads, (const int[]){8, 8, 8, 8}, 4);
    ck_assert(s->desc->unet.depth_in[8] == 1 && s->desc->unet.depth_in[10] == 0 &&
              s->desc->unet.sample_size == 64);
    ck_assert(s->desc->vae.n_levels == 1 && s->desc->vae.channels[0] == 64 &&
              s->desc->vae.res_blocks == 1);
    ck_assert(s->desc->text.width == 512 && s->desc->text.heads == 8 &&
              s->desc->text.mlp_width == 2048);
    ck_assert(s->desc->schedule.beta_schedule == SD_BETA_LINEAR);
    ck_assert(s->desc->schedule.beta_start == 0.0001 && s->desc->schedule.beta_end == 0.02);
    sdi_source_close(s);
}
END_TEST

START_TEST(reads_stable_diffusion_2_settings) {
    files_make_tiny_diffusers(dir);
    files_write_json(files_path(dir, "unet/config.json"), tiny_unet_config,
                     "{\"attention_head_dim\": [2, 4, 8], \"use_linear_projection\": true, "
                     "\"sample_size\": [24, 24], \"layers_per_block\": [2, 2, 2], "
                     "\"transformer_layers_per_block\": [1, 1, 1], \"upcast_attention\": true, "
                     "\"only_cross_attention\": [false, false, false], \"norm_eps\": 1e-6, "
                     "\"mid_block_scale_factor\": 1.0}");
    files_write_json(files_path(dir, "vae/config.json"), tiny_vae_config,
                     "{\"scaling_factor\": 0.5, \"shift_factor\": 0.25, \"use_quant_conv\": false, "
                     "\"use_post_quant_conv\": false, \"mid_block_add_attention\": false, "
                     "\"norm_num_groups\": 16, \"force_upcast\": true}");
    files_write_json(files_path(dir, "text_encoder/config.json"), tiny_text_config,
                     "{\"hidden_act\": \"gelu\", \"max_position_embeddings\": 50, "
                     "\"layer_norm_eps\": 1e-6, \"bos_token_id\": 11, \"eos_token_id\": 12}");
    files_write_json(files_path(dir, "scheduler/scheduler_config.json"), tiny_scheduler_config,
                     "{\"prediction_type\": \"v_prediction\", \"beta_schedule\": "
                     "\"squaredcos_cap_v2\", \"num_train_timesteps\": 500}");
    files_write_text(files_path(dir, "tokenizer/special_tokens_map.json"),
                     "{\"pad_token\": \"!\"}");
    sd_source *s = open_source(dir);
    ck_assert_str_eq(s->desc->family, "Stable Diffusion 2.x");
    ck_assert_str_eq(s->tokenizer_dirs[SD_PART_TEXT], files_path(dir, "tokenizer"));
    check_ints(s->desc->unet.heads, (const int[]){2, 4, 8}, 3);
    ck_assert(s->desc->unet.linear_projection && s->desc->unet.sample_size == 24);
    ck_assert(fabsf(s->desc->unet.norm_eps - 1e-6f) < 1e-10f);
    ck_assert(s->desc->vae.scaling_factor == 0.5 && s->desc->vae.shift_factor == 0.25);
    ck_assert(!s->desc->vae.quant_conv && !s->desc->vae.post_quant_conv &&
              !s->desc->vae.mid_attention);
    ck_assert_int_eq(s->desc->vae.norm_groups, 16);
    ck_assert(s->desc->text.act == SD_TEXT_GELU && s->desc->text.tokens == 50);
    ck_assert(s->desc->schedule.prediction == SD_PREDICT_V);
    ck_assert(s->desc->schedule.beta_schedule == SD_BETA_COSINE &&
              s->desc->schedule.train_timesteps == 500);
    sdi_source_close(s);
}
END_TEST

/* transformers 5 leaves "text_model." out; files may be sharded or of a variant. */
START_TEST(finds_weights_by_any_name) {
    static const char *const names[] = {"model.fp16.safetensors", "model.safetensors.index.json",
                                        "model.safetensors.index.fp16.json",
                                        "model.fp16.safetensors.index.json"};
    files_make_tiny_diffusers(dir);
    remove(files_path(dir, "text_encoder/model.safetensors"));
    for (size_t i = 0; i < SD_COUNT(names); i++) {
        bool index = strstr(names[i], "index") != NULL;
        safetensors *t = safetensors_new();
        safetensors_add(t, "embeddings.token_embedding.weight", "F32", "[1]");
        char name[96];
        snprintf(name, sizeof name, "text_encoder/%s", names[i]);
        const char *path = files_path(dir, name);
        safetensors_save(t, index ? files_path(dir, "text_encoder/shard.safetensors") : path);
        safetensors_free(t);
        if (index)
            files_write_text(path, "{\"weight_map\": {\"embeddings.token_embedding.weight\": "
                                   "\"shard.safetensors\"}}");
        sd_source *s = open_source(dir);
        ck_assert_str_eq(s->desc->text.names.prefix, "");
        ck_assert_uint_eq(sdi_weights_count(s->weights[SD_PART_TEXT]), 1);
        sdi_source_close(s);
        remove(path);
    }
}
END_TEST

START_TEST(says_what_is_missing) {
    static const char *const parts[] = {"model_index.json", "unet/config.json", "vae/config.json",
                                        "text_encoder/config.json"};
    for (size_t i = 0; i < SD_COUNT(parts); i++) {
        files_make_tiny_diffusers(dir);
        remove(files_path(dir, parts[i]));
        check_fails(dir, SD_ERROR_IO, parts[i]);
    }
    static const char *const weights[] = {"unet/diffusion_pytorch_model", "text_encoder/model",
                                          "vae/diffusion_pytorch_model"};
    for (size_t i = 0; i < SD_COUNT(weights); i++) {
        char name[64];
        files_make_tiny_diffusers(dir);
        snprintf(name, sizeof name, "%s.safetensors", weights[i]);
        remove(files_path(dir, name));
        check_fails(dir, SD_ERROR_IO, "no weights");
    }
    check_fails(files_path(dir, "nothing"), SD_ERROR_IO, "nothing: cannot open");
}
END_TEST

/* transformers calls its file otherwise than diffusers; a .safetensors file is preferred. */
START_TEST(finds_torch_files) {
    static const char *const rows[][2] = {
        {"unet/diffusion_pytorch_model", "unet/diffusion_pytorch_model"},
        {"text_encoder/model", "text_encoder/pytorch_model"},
        {"vae/diffusion_pytorch_model", "vae/diffusion_pytorch_model"},
    };
    static const char *const ends[] = {".bin", ".fp16.bin"};
    size_t n;
    uint8_t *bytes = files_read(files_path(SD_TEST_DATA, "ckpt/plain.pt"), &n);
    for (size_t i = 0; i < 2 * SD_COUNT(rows); i++) {
        char old[64], name[64];
        sd_source *s;
        files_make_tiny_diffusers(dir);
        snprintf(name, sizeof name, "%s%s", rows[i / 2][1], ends[i % 2]);
        snprintf(old, sizeof old, "%s.safetensors", rows[i / 2][0]);
        files_write(files_path(dir, name), bytes, n);
        ck_assert_msg(sdi_source_open(ctx, dir, &s) == SD_OK, "%s", sdi_error_get());
        ck_assert_ptr_nonnull(strstr(sdi_weights_path(s->files[(i / 2 + 1) % 3], NULL), ".safe"));
        sdi_source_close(s);
        remove(files_path(dir, old));
        ck_assert_msg(sdi_source_open(ctx, dir, &s) == SD_OK, "%s", sdi_error_get());
        size_t found = 0;
        for (int k = 0; k < s->n_files; k++)
            found += sdi_weights_find(s->files[k], "shared.whole") != NULL;
        ck_assert_uint_eq(found, 1);
        ck_assert_int_eq(sdi_source_choose_weights(s, SD_EMA_ON), SD_ERROR_MODEL);
        ck_assert_int_eq(sdi_source_choose_weights(s, SD_EMA_AUTO), SD_OK);
        sdi_source_close(s);
        remove(files_path(dir, name));
    }
    free(bytes);
}
END_TEST

/* Pipelines with the three networks of Stable Diffusion. */
START_TEST(knows_pipelines) {
    static const char *const names[] = {"\"StableDiffusionInpaintPipeline\"",
                                        "\"StableDiffusionInpaintPipelineLegacy\"",
                                        "\"StableDiffusionControlNetPipeline\"",
                                        "\"StableDiffusionControlNetInpaintPipeline\"",
                                        "\"StableDiffusionPipelineSafe\"",
                                        "\"StableDiffusionAdapterPipeline\"",
                                        "\"StableDiffusionInstructPix2PixPipeline\"",
                                        "\"StableDiffusionDepth2ImgPipeline\"",
                                        "\"LatentConsistencyModelPipeline\"",
                                        "\"LatentConsistencyModelImg2ImgPipeline\"",
                                        "[\"my_pipeline\", \"MyPipeline\"]"};
    for (size_t i = 0; i < SD_COUNT(names); i++) {
        char changes[200];
        files_make_tiny_diffusers(dir);
        snprintf(changes, sizeof changes,
                 "{\"_class_name\": %s, \"text_encoder\": [\"transformers\", "
                 "\"CLIPTextModelWithProjection\"], \"controlnet\": [\"diffusers\", \"X\"]}",
                 names[i]);
        files_write_json(files_path(dir, "model_index.json"), tiny_model_index, changes);
        sd_source *s = open_source(dir);
        bool lcm = strstr(names[i], "Consistency") != NULL;
        ck_assert_int_eq(s->desc->scheduler.steps, lcm ? 4 : 50);
        ck_assert(s->desc->scheduler.guidance == (lcm ? 8.5 : 7.5));
        sdi_source_close(s);
    }
}
END_TEST

static void empty_folder(void) {
    files_remove_tree(dir);
    ck_assert_int_eq(mkdir(dir, 0777), 0);
}

/* Copies a file's bytes. */
static void copy_file(const char *from, const char *to) {
    size_t n;
    uint8_t *bytes = files_read(from, &n);
    files_write(to, bytes, n);
    free(bytes);
}

static const char *file_of(const sd_weights *w) {
    const char *path = sdi_weights_path(w, NULL), *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Any variant where it is alone; of several the first in the order that folder.h tells. */
START_TEST(finds_variants) {
    static const struct {
        const char *there[4], *taken;
    } rows[] = {
        {{"X.bf16.safetensors"}, "X.bf16.safetensors"},
        {{"X.fp32.safetensors"}, "X.fp32.safetensors"},
        {{"X.non_ema.safetensors"}, "X.non_ema.safetensors"},
        {{"X.pruned-v2.safetensors"}, "X.pruned-v2.safetensors"},
        {{"X.fp16.safetensors", "X.safetensors"}, "X.safetensors"},
        {{"X.bf16.safetensors", "X.fp16.safetensors"}, "X.fp16.safetensors"},
        {{"X.bf16.safetensors", "X.fp32.safetensors", "X.non_ema.safetensors"},
         "X.fp32.safetensors"},
        {{"X.non_ema.safetensors", "X.zz.safetensors", "X.aa.safetensors"}, "X.aa.safetensors"},
        {{"X.bf16.safetensors", "X.bf16-00001-of-00002.safetensors", "X.safetensors.txt"},
         "X.bf16.safetensors"},
    };
    for (size_t i = 0; i < SD_COUNT(rows); i++) {
        char from[FILES_PATH], name[64], taken[64];
        empty_folder();
        files_make_tiny_diffusers(dir);
        snprintf(from, sizeof from, "%s", files_path(dir, "unet/old"));
        rename(files_path(dir, "unet/diffusion_pytorch_model.safetensors"), from);
        for (int k = 0; k < 4 && rows[i].there[k]; k++) {
            snprintf(name, sizeof name, "unet/diffusion_pytorch_model%s", rows[i].there[k] + 1);
            copy_file(from, files_path(dir, name));
        }
        sd_source *s = open_source(dir);
        snprintf(taken, sizeof taken, "diffusion_pytorch_model%s", rows[i].taken + 1);
        ck_assert_str_eq(file_of(s->weights[SD_PART_UNET]), taken);
        sdi_source_close(s);
    }
    empty_folder();
    files_make_tiny_diffusers(dir);
    rename(files_path(dir, "unet/diffusion_pytorch_model.safetensors"),
           files_path(dir, "unet/diffusion_pytorch_model-00001-of-00001.fp16.safetensors"));
    check_fails(dir, SD_ERROR_IO, "there is diffusion_pytorch_model-00001-of-00001.fp16");
}
END_TEST

/* Lists of sharded files, with the variant at either place. */
START_TEST(finds_lists_of_variants) {
    static const char *const names[] = {
        "model.safetensors.index.bf16.json", "model.bf16.safetensors.index.json",
        "pytorch_model.bin.index.fp16.json", "pytorch_model.non_ema.bin.index.json"};
    for (size_t i = 0; i < SD_COUNT(names); i++) {
        char name[96];
        empty_folder();
        files_make_tiny_diffusers(dir);
        rename(files_path(dir, "text_encoder/model.safetensors"),
               files_path(dir, "text_encoder/part-00001-of-00001.safetensors"));
        snprintf(name, sizeof name, "text_encoder/%s", names[i]);
        files_write_text(files_path(dir, name),
                         "{\"weight_map\": {\"text_model.embeddings.token_embedding.weight\": "
                         "\"part-00001-of-00001.safetensors\"}}");
        sd_source *s = open_source(dir);
        ck_assert_ptr_nonnull(sdi_weights_find(s->weights[SD_PART_TEXT],
                                               "text_model.embeddings.token_embedding.weight"));
        sdi_source_close(s);
    }
}
END_TEST

/* Other things that a path may be. */
START_TEST(understands_paths) {
    files_make_tiny_diffusers(dir);
    sd_source *s = open_source(files_path(dir, "model_index.json"));
    ck_assert_int_eq(s->desc->unet.names.layout, SD_LAYOUT_DIFFUSERS);
    ck_assert_str_eq(s->directory, dir);
    sdi_source_close(s);
    check_fails(files_path(dir, "unet/diffusion_pytorch_model.safetensors"), SD_ERROR_ARGUMENT,
                "this is the UNet of the diffusers folder");
    check_fails(files_path(dir, "vae/config.json"), SD_ERROR_ARGUMENT, "this is the VAE");
    check_fails(files_path(dir, "text_encoder/"), SD_ERROR_ARGUMENT, "this is the text encoder");
    check_fails(files_path(dir, "scheduler/scheduler_config.json"), SD_ERROR_ARGUMENT,
                "the scheduler of the diffusers folder");
    empty_folder();
    safetensors *t = safetensors_tiny_original();
    safetensors_save(t, files_path(dir, "one.safetensors"));
    files_write_text(files_path(dir, "README.md"), "# A model");
    s = open_source(dir);
    ck_assert_int_eq(s->desc->unet.names.layout, SD_LAYOUT_ORIGINAL);
    ck_assert_str_eq(s->desc->path, files_path(dir, "one.safetensors"));
    ck_assert_str_eq(s->desc->scheduler.method, "ddim");
    ck_assert(!s->desc->scheduler.folder && s->desc->scheduler.steps == 50 &&
              s->desc->scheduler.guidance == 7.5);
    sdi_source_close(s);
    safetensors_save(t, files_path(dir, "another.ckpt"));
    check_fails(dir, SD_ERROR_ARGUMENT, "give one of them: another.ckpt, one.safetensors");
    safetensors_free(t);
    empty_folder();
    files_write_text(files_path(dir, "README.md"), "# Nothing");
    check_fails(dir, SD_ERROR_IO, "it has no model_index.json");
}
END_TEST

/* Lists in place of numbers, and what is not square. */
START_TEST(reads_lists_of_levels) {
    files_make_tiny_diffusers(dir);
    files_write_json(
        files_path(dir, "unet/config.json"), tiny_unet_config,
        "{\"layers_per_block\": [1, 2, 3], \"transformer_layers_per_block\": [2, 1, 4], "
        "\"sample_size\": [16, 24], \"time_cond_proj_dim\": 256}");
    files_write_json(files_path(dir, "vae/config.json"), tiny_vae_config,
                     "{\"sample_size\": [128, 192], \"latents_mean\": [0, 1, 2, 3], "
                     "\"latents_std\": [1, 2, 3, 4]}");
    sd_source *s = open_source(dir);
    check_ints(s->desc->unet.res_blocks, (const int[]){1, 2, 3}, 3);
    check_ints(s->desc->unet.depth_in, (const int[]){0, 2, 0, 1, 1, 0, 0, 0, 0}, 9);
    check_ints(s->desc->unet.depth_out, (const int[]){0, 0, 0, 0, 1, 1, 1, 2, 2}, 9);
    ck_assert_int_eq(s->desc->unet.depth_mid, 4);
    ck_assert(s->desc->unet.sample_size == 16 && s->desc->unet.sample_width == 24);
    ck_assert_int_eq(s->desc->unet.guidance_dim, 256);
    ck_assert(s->desc->vae.latents_mean[3] == 3.0f && s->desc->vae.latents_std[3] == 4.0f);
    sdi_source_close(s);
}
END_TEST

/* SSD-1B and its like: a number for each block, other numbers on the way up, and a poorer middle.
 */
START_TEST(reads_pruned_shapes) {
    files_make_tiny_diffusers(dir);
    files_write_json(
        files_path(dir, "unet/config.json"), tiny_unet_config,
        "{\"transformer_layers_per_block\": [[0, 0], [2, 3], [4, 4]], "
        "\"reverse_transformer_layers_per_block\": [[4, 4, 5], [2, 1, 1], 1], "
        "\"down_block_types\": [\"DownBlock2D\", \"CrossAttnDownBlock2D\", "
        "\"CrossAttnDownBlock2D\"], \"up_block_types\": [\"CrossAttnUpBlock2D\", "
        "\"CrossAttnUpBlock2D\", \"UpBlock2D\"], \"mid_block_type\": \"UNetMidBlock2D\"}");
    sd_source *s = open_source(dir);
    const sd_unet_config *u = &s->desc->unet;
    check_ints(u->depth_in, (const int[]){0, 0, 0, 0, 2, 3, 0, 4, 4}, 9);
    check_ints(u->depth_out, (const int[]){4, 4, 5, 2, 1, 1, 0, 0, 0}, 9);
    ck_assert(u->depth_mid == 0 && u->mid_blocks == 1);
    sdi_source_close(s);
    files_write_json(files_path(dir, "unet/config.json"), tiny_unet_config,
                     "{\"transformer_layers_per_block\": [[1, 2], 3, [4, 4]], "
                     "\"reverse_transformer_layers_per_block\": [1, 5, [2, 1, 1]]}");
    s = open_source(dir);
    ck_assert(s->desc->unet.depth_mid == 4 && s->desc->unet.depth_in[5] == 3 &&
              s->desc->unet.depth_out[3] == 5 && s->desc->unet.depth_out[6] == 2);
    sdi_source_close(s);
    files_write_json(files_path(dir, "unet/config.json"), tiny_unet_config,
                     "{\"mid_block_type\": null}");
    s = open_source(dir);
    ck_assert(s->desc->unet.depth_mid == 0 && s->desc->unet.mid_blocks == 0);
    sdi_source_close(s);
}
END_TEST

/* The same told by tensors: the middle has one ResBlock, the second block down no attention. */
START_TEST(infers_pruned_shapes) {
#define UNET "model.diffusion_model."
#define K ".attn2.to_k.weight"
    static const char *const gone[] = {UNET "middle_block.1.proj_in.weight",
                                       UNET "middle_block.1.transformer_blocks.0" K,
                                       UNET "input_blocks.2.1.transformer_blocks.0" K};
    safetensors *t = safetensors_tiny_original();
    for (int i = 0; i < 3; i++)
        ck_assert(safetensors_drop(t, gone[i]));
    safetensors_add(t, UNET "middle_block.0.in_layers.2.weight", "F16", "[64, 64, 3, 3]");
    safetensors_add(t, UNET "output_blocks.5.1.transformer_blocks.1" K, "F16", "[64, 128]");
    safetensors_save(t, files_path(dir, "pruned.safetensors"));
    sd_source *s = open_source(files_path(dir, "pruned.safetensors"));
    const sd_unet_config *u = &s->desc->unet;
    check_ints(u->depth_in, (const int[]){0, 1, 0, 0, 1, 1, 0, 0, 0}, 9);
    check_ints(u->depth_out, (const int[]){0, 0, 0, 1, 1, 2, 1, 1, 1}, 9);
    ck_assert(u->depth_mid == 0 && u->mid_blocks == 1);
    sdi_source_close(s);
    safetensors_add(t, UNET "middle_block.2.in_layers.2.weight", "F16", "[64, 64, 3, 3]");
    safetensors_save(t, files_path(dir, "pruned.safetensors"));
    check_fails(files_path(dir, "pruned.safetensors"), SD_ERROR_MODEL, "middle_block.1");
    ck_assert(safetensors_drop(t, UNET "middle_block.2.in_layers.2.weight"));
    ck_assert(safetensors_drop(t, UNET "middle_block.0.in_layers.2.weight"));
    safetensors_save(t, files_path(dir, "pruned.safetensors"));
    s = open_source(files_path(dir, "pruned.safetensors"));
    ck_assert_int_eq(s->desc->unet.mid_blocks, 0);
    sdi_source_close(s);
    safetensors_free(t);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("source");
    TCase *tcase = tcase_create("source");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, reads_a_diffusers_folder);
    tcase_add_test(tcase, reads_an_original_checkpoint);
    tcase_add_test(tcase, infers_stable_diffusion_1);
    tcase_add_test(tcase, finds_what_the_unet_predicts);
    tcase_add_test(tcase, takes_the_defaults_of_diffusers);
    tcase_add_test(tcase, reads_stable_diffusion_2_settings);
    tcase_add_test(tcase, finds_weights_by_any_name);
    tcase_add_test(tcase, says_what_is_missing);
    tcase_add_test(tcase, finds_torch_files);
    tcase_add_test(tcase, knows_pipelines);
    tcase_add_test(tcase, finds_variants);
    tcase_add_test(tcase, finds_lists_of_variants);
    tcase_add_test(tcase, understands_paths);
    tcase_add_test(tcase, reads_lists_of_levels);
    tcase_add_test(tcase, reads_pruned_shapes);
    tcase_add_test(tcase, infers_pruned_shapes);
    suite_add_tcase(suite, tcase);
    return suite_run(suite, CK_FORK_GETENV);
}
