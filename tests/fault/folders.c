/* diffusers folders with configurations that are broken, out of range, or of other models. */
#include "fault.h"

static const char unet[] = "unet/config.json";
static const char vae[] = "vae/config.json";
static const char text[] = "text_encoder/config.json";
static const char schedule[] = "scheduler/scheduler_config.json";
static const char model_index[] = "model_index.json";

static const char *base_of(const char *file) {
    return file == unet       ? tiny_unet_config
           : file == vae      ? tiny_vae_config
           : file == text     ? tiny_text_config
           : file == schedule ? tiny_scheduler_config
                              : tiny_model_index;
}

/* FORMAT: of the wrong type or out of range. UNSUPPORTED: another model. MODEL: does not fit. */
#define BAD SD_ERROR_FORMAT
#define OTHER SD_ERROR_UNSUPPORTED
#define UNFIT SD_ERROR_MODEL

static const struct {
    const char *file, *changes;
    sd_status status;
    const char *part;
} rows[] = {
    {model_index, "{\"text_encoder_2\": [\"transformers\", \"T5EncoderModel\"]}", OTHER, "T5"},
    {model_index, "{\"text_encoder_2\": [\"transformers\", \"CLIPTextModelWithProjection\"]}",
     SD_ERROR_IO, "text_encoder_2/config.json"},
    {model_index,
     "{\"_class_name\": \"StableDiffusionXLPipeline\", \"force_zeros_for_empty_prompt\": 1}", BAD,
     "force_zeros_for_empty_prompt"},
    {model_index, "{\"_class_name\": \"FluxPipeline\"}", OTHER, "FluxPipeline"},
    {model_index, "{\"_class_name\": \"StableDiffusion3Pipeline\"}", OTHER, "Stable Diffusion 3"},
    {model_index, "{\"_class_name\": \"OnnxStableDiffusionPipeline\"}", OTHER, "ONNX"},
    {model_index, "{\"_class_name\": \"FlaxStableDiffusionPipeline\"}", OTHER, "Flax"},
    {model_index, "{\"_class_name\": [\"m\", \"KolorsPipeline\"]}", OTHER, "KolorsPipeline"},
    {model_index, "{\"_class_name\": 5}", BAD, "_class_name"},
    {model_index, "{\"unet\": [\"diffusers\", \"UNet3DConditionModel\"]}", OTHER, "UNet3D"},
    {model_index, "{\"vae\": [\"diffusers\", \"AsymmetricAutoencoderKL\"]}", OTHER, "Asymmetric"},
    {model_index, "{\"text_encoder\": [\"transformers\", \"T5EncoderModel\"]}", OTHER, "T5"},
    {model_index, "{\"unet\": \"UNet2DConditionModel\"}", BAD, "unet"},
    {model_index, "{\"vae\": [null, null]}", BAD, "vae"},

    {unet, "{\"_class_name\": \"UNet2DModel\"}", OTHER, "_class_name"},
    {unet, "{\"act_fn\": \"gelu\"}", OTHER, "act_fn"},
    {unet, "{\"attention_head_dim\": 0}", BAD, "attention_head_dim"},
    {unet, "{\"attention_head_dim\": -8}", BAD, "attention_head_dim"},
    {unet, "{\"attention_head_dim\": 5}", UNFIT, "attention_head_dim"},
    {unet, "{\"attention_head_dim\": [4, 4]}", BAD, "attention_head_dim"},
    {unet, "{\"attention_head_dim\": [4, 4, \"4\"]}", BAD, "attention_head_dim"},
    {unet, "{\"attention_head_dim\": 8.5}", BAD, "attention_head_dim"},
    {unet, "{\"num_attention_heads\": 3}", UNFIT, "heads"},
    {unet, "{\"attention_type\": \"gated\"}", OTHER, "attention_type"},
    {unet, "{\"block_out_channels\": []}", BAD, "block_out_channels"},
    {unet, "{\"block_out_channels\": 320}", BAD, "block_out_channels"},
    {unet, "{\"block_out_channels\": [32, 64]}", BAD, "down_block_types"},
    {unet, "{\"block_out_channels\": [32, 64, 0]}", BAD, "block_out_channels"},
    {unet, "{\"block_out_channels\": [32, 64, 65536]}", BAD, "65536"},
    {unet, "{\"block_out_channels\": [32, 64, 1e3]}", BAD, "block_out_channels"},
    {unet, "{\"block_out_channels\": [32, 64, 4294967328]}", BAD, "block_out_channels"},
    {unet, "{\"block_out_channels\": [32, 64, 72]}", UNFIT, "norm_num_groups"},
    {unet, "{\"block_out_channels\": [32, 32, 32, 32, 32, 32, 32, 32, 32]}", BAD, "1 to 8"},
    {unet, "{\"center_input_sample\": true}", OTHER, "center_input_sample"},
    {unet, "{\"class_embed_type\": \"timestep\"}", OTHER, "class_embed_type"},
    {unet, "{\"addition_embed_type\": \"image\"}", OTHER, "addition_embed_type"},
    {unet, "{\"addition_embed_type\": \"text_time\"}", BAD,
     "projection_class_embeddings_input_dim"},
    {unet, "{\"addition_embed_type\": \"text_time\", \"projection_class_embeddings_input_dim\": 9}",
     BAD, "addition_time_embed_dim"},
    {unet,
     "{\"addition_embed_type\": \"text_time\", \"addition_time_embed_dim\": 2, "
     "\"projection_class_embeddings_input_dim\": 9}",
     OTHER, "second text encoder"},
    {unet, "{\"conv_in_kernel\": 1}", OTHER, "conv_in_kernel"},
    {unet, "{\"conv_out_kernel\": 5}", OTHER, "conv_out_kernel"},
    {unet, "{\"cross_attention_dim\": 0}", BAD, "cross_attention_dim"},
    {unet, "{\"cross_attention_dim\": \"128\"}", BAD, "cross_attention_dim"},
    {unet, "{\"cross_attention_dim\": [128, 64, 128]}", OTHER, "cross_attention_dim"},
    {unet, "{\"cross_attention_dim\": 256}", UNFIT, "256"},
    {unet, "{\"cross_attention_norm\": \"layer_norm\"}", OTHER, "cross_attention_norm"},
    {unet, "{\"down_block_types\": \"DownBlock2D\"}", BAD, "down_block_types"},
    {unet, "{\"down_block_types\": [\"DownBlock2D\", \"DownBlock2D\"]}", BAD, "down_block_types"},
    {unet,
     "{\"down_block_types\": [\"AttnDownBlock2D\", \"CrossAttnDownBlock2D\", "
     "\"DownBlock2D\"]}",
     OTHER, "AttnDownBlock2D"},
    {unet, "{\"down_block_types\": [1, 2, 3]}", BAD, "down_block_types"},
    {unet, "{\"transformer_layers_per_block\": [[1, 1], [1, 1], 1]}", BAD,
     "reverse_transformer_layers_per_block"},
    {unet,
     "{\"transformer_layers_per_block\": [[1], [1, 1], 1], "
     "\"reverse_transformer_layers_per_block\": 1}",
     BAD, "list of 2"},
    {unet, "{\"reverse_transformer_layers_per_block\": [1, 1, [1, 0, 1]]}", BAD, "is 0"},
    {unet, "{\"reverse_transformer_layers_per_block\": [1, 1]}", BAD, "list of 3"},
    {unet, "{\"up_block_types\": [\"UpBlock2D\", \"SkipUpBlock2D\", \"UpBlock2D\"]}", OTHER,
     "SkipUpBlock2D"},
    {unet, "{\"downsample_padding\": 0}", OTHER, "downsample_padding"},
    {unet, "{\"dual_cross_attention\": true}", OTHER, "dual_cross_attention"},
    {unet, "{\"encoder_hid_dim\": 1024}", OTHER, "encoder_hid_dim"},
    {unet, "{\"flip_sin_to_cos\": false}", OTHER, "flip_sin_to_cos"},
    {unet, "{\"freq_shift\": 1}", OTHER, "freq_shift"},
    {unet, "{\"in_channels\": 3}", OTHER, "3 channels"},
    {unet, "{\"in_channels\": 0}", BAD, "in_channels"},
    {unet, "{\"in_channels\": true}", BAD, "in_channels"},
    {unet, "{\"out_channels\": 8}", OTHER, "variance"},
    {unet, "{\"layers_per_block\": 0}", BAD, "layers_per_block"},
    {unet, "{\"layers_per_block\": 65}", BAD, "layers_per_block"},
    {unet, "{\"layers_per_block\": []}", BAD, "layers_per_block"},
    {unet, "{\"layers_per_block\": [2, 2, 0]}", BAD, "layers_per_block"},
    {unet, "{\"layers_per_block\": [2, 2]}", BAD, "layers_per_block"},
    {unet, "{\"layers_per_block\": {}}", BAD, "layers_per_block"},
    {unet, "{\"mid_block_type\": \"UNetMidBlock2DSimpleCrossAttn\"}", OTHER, "mid_block_type"},
    {unet, "{\"mid_block_scale_factor\": 1.5}", OTHER, "mid_block_scale_factor"},
    {unet, "{\"norm_eps\": 0}", BAD, "norm_eps"},
    {unet, "{\"norm_eps\": -1e-5}", BAD, "norm_eps"},
    {unet, "{\"norm_eps\": \"1e-5\"}", BAD, "norm_eps"},
    {unet, "{\"norm_num_groups\": 0}", BAD, "norm_num_groups"},
    {unet, "{\"norm_num_groups\": 33}", UNFIT, "norm_num_groups"},
    {unet, "{\"num_class_embeds\": 1000}", OTHER, "num_class_embeds"},
    {unet, "{\"only_cross_attention\": [true, false, false]}", OTHER, "only_cross_attention"},
    {unet, "{\"resnet_time_scale_shift\": \"scale_shift\"}", OTHER, "resnet_time_scale_shift"},
    {unet, "{\"sample_size\": 0}", BAD, "sample_size"},
    {unet, "{\"sample_size\": 100000}", BAD, "sample_size"},
    {unet, "{\"sample_size\": [64, 0]}", BAD, "sample_size"},
    {unet, "{\"sample_size\": [64]}", BAD, "sample_size"},
    {unet, "{\"time_embedding_type\": \"fourier\"}", OTHER, "time_embedding_type"},
    {unet, "{\"transformer_layers_per_block\": [1, 2]}", BAD, "transformer_layers"},
    {unet, "{\"time_cond_proj_dim\": 1}", BAD, "time_cond_proj_dim"},
    {unet, "{\"transformer_layers_per_block\": 0}", BAD, "transformer_layers"},
    {unet, "{\"transformer_layers_per_block\": [[1], [1], [1]]}", BAD, "transformer_layers"},
    {unet, "{\"use_linear_projection\": 1}", BAD, "use_linear_projection"},

    {vae, "{\"_class_name\": \"VQModel\"}", OTHER, "VQModel"},
    {vae, "{\"act_fn\": \"relu\"}", OTHER, "act_fn"},
    {vae, "{\"block_out_channels\": [32, 100000]}", BAD, "block_out_channels"},
    {vae, "{\"block_out_channels\": [32, 40]}", UNFIT, "norm_num_groups"},
    {vae, "{\"block_out_channels\": [32, 64, 64]}", BAD, "down_block_types"},
    {vae, "{\"down_block_types\": [\"AttnDownEncoderBlock2D\", \"DownEncoderBlock2D\"]}", OTHER,
     "AttnDownEncoderBlock2D"},
    {vae, "{\"up_block_types\": [\"UpDecoderBlock2D\", \"AttnUpDecoderBlock2D\"]}", OTHER,
     "AttnUpDecoderBlock2D"},
    {vae, "{\"in_channels\": 4}", OTHER, "only 3"},
    {vae, "{\"latent_channels\": 16}", OTHER, "channels"},
    {vae, "{\"latent_channels\": -4}", BAD, "latent_channels"},
    {vae, "{\"layers_per_block\": 1.5}", BAD, "layers_per_block"},
    {vae, "{\"latents_mean\": [0, 0, 0]}", BAD, "latents_mean"},
    {vae, "{\"latents_mean\": 0}", BAD, "latents_mean"},
    {vae, "{\"_latent_rgb\": 0}", BAD, "_latent_rgb"},
    {vae, "{\"_latent_rgb\": [[1, 2, 3]]}", BAD, "for each latent channel"},
    {vae, "{\"_latent_rgb\": [[0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0]]}", BAD, "three numbers"},
    {vae, "{\"_class_name\": \"AutoencoderTiny\", \"act_fn\": \"silu\"}", OTHER, "act_fn"},
    {vae, "{\"_class_name\": \"AutoencoderTiny\", \"num_encoder_blocks\": [1, 1]}", BAD,
     "num_decoder_blocks"},
    {vae,
     "{\"_class_name\": \"AutoencoderTiny\", \"encoder_block_out_channels\": [64, 64, 64, 32]}",
     OTHER, "equal channels"},
    {vae, "{\"latents_std\": [1, 1, 1, 0]}", BAD, "latents_std"},
    {vae, "{\"latents_std\": [1, 1, 1, \"1\"]}", BAD, "latents_std"},
    {vae, "{\"latent_channels\": 65, \"latents_std\": [1]}", OTHER, "latents_std"},
    {vae, "{\"norm_num_groups\": \"32\"}", BAD, "norm_num_groups"},
    {vae, "{\"scaling_factor\": 0}", BAD, "scaling_factor"},
    {vae, "{\"scaling_factor\": -0.18}", BAD, "scaling_factor"},
    {vae, "{\"scaling_factor\": [0.18]}", BAD, "scaling_factor"},
    {vae, "{\"shift_factor\": 1e300}", BAD, "shift_factor"},
    {vae, "{\"use_quant_conv\": \"yes\"}", BAD, "use_quant_conv"},

    {text, "{\"model_type\": \"t5\"}", OTHER, "model_type"},
    {text, "{\"hidden_act\": \"relu\"}", OTHER, "hidden_act"},
    {text, "{\"hidden_act\": 1}", BAD, "hidden_act"},
    {text, "{\"hidden_size\": 64}", UNFIT, "64"},
    {text, "{\"hidden_size\": 0}", BAD, "hidden_size"},
    {text, "{\"hidden_size\": 9223372036854775807}", BAD, "hidden_size"},
    {text, "{\"intermediate_size\": -1}", BAD, "intermediate_size"},
    {text, "{\"num_hidden_layers\": 1000}", BAD, "num_hidden_layers"},
    {text, "{\"num_attention_heads\": 3}", UNFIT, "num_attention_heads"},
    {text, "{\"max_position_embeddings\": 1}", BAD, "max_position_embeddings"},
    {text, "{\"vocab_size\": 2}", BAD, "vocab_size"},
    {text, "{\"vocab_size\": 2000000000}", BAD, "vocab_size"},
    {text, "{\"layer_norm_eps\": true}", BAD, "layer_norm_eps"},

    {schedule, "{\"_class_name\": \"FlowMatchEulerDiscreteScheduler\"}", OTHER, "FlowMatch"},
    {schedule, "{\"beta_schedule\": \"sigmoid\"}", OTHER, "beta_schedule"},
    {schedule, "{\"beta_schedule\": 1}", BAD, "beta_schedule"},
    {schedule, "{\"beta_start\": 0}", BAD, "beta_start"},
    {schedule, "{\"beta_start\": 0.5, \"beta_end\": 0.1}", BAD, "beta_end"},
    {schedule, "{\"beta_end\": 1.0}", BAD, "beta_end"},
    {schedule, "{\"num_train_timesteps\": 0}", BAD, "num_train_timesteps"},
    {schedule, "{\"num_train_timesteps\": 1000000000}", BAD, "num_train_timesteps"},
    {schedule, "{\"prediction_type\": \"flow\"}", OTHER, "prediction_type"},
    {schedule, "{\"rescale_betas_zero_snr\": 1}", BAD, "rescale_betas_zero_snr"},
    {schedule, "{\"trained_betas\": [0.1, 0.2]}", BAD, "a list of 1000 numbers"},
    {schedule, "{\"num_train_timesteps\": 2, \"trained_betas\": [0.1, 1.2]}", BAD, "trained_betas"},
    {schedule, "{\"num_train_timesteps\": 2, \"trained_betas\": [0.1, \"0.2\"]}", BAD,
     "trained_betas"},
    {schedule, "{\"trained_betas\": {}}", BAD, "trained_betas"},
    {schedule, "{\"timestep_spacing\": \"even\"}", OTHER, "timestep_spacing"},
    {schedule, "{\"timestep_spacing\": 1}", BAD, "timestep_spacing"},
    {schedule, "{\"steps_offset\": -1}", BAD, "steps_offset"},
    {schedule, "{\"set_alpha_to_one\": \"no\"}", BAD, "set_alpha_to_one"},
};

START_TEST(bad_values) {
    files_make_tiny_diffusers(fault_dir);
    for (size_t i = 0; i < SD_COUNT(rows); i++) {
        const char *path = files_path(fault_dir, rows[i].file);
        files_write_json(path, base_of(rows[i].file), rows[i].changes);
        fault_refused(rows[i].changes, fault_load(fault_dir), rows[i].status, fault_dir,
                      rows[i].part);
        files_write_json(path, base_of(rows[i].file), NULL);
    }
}
END_TEST

/* Numbers that Python writes and JSON does not have, where a number is needed. */
START_TEST(no_numbers) {
    static const struct {
        const char *file, *key, *value;
    } keys[] = {{unet, "norm_eps", "NaN"},
                {unet, "layers_per_block", "Infinity"},
                {vae, "scaling_factor", "-Infinity"},
                {text, "hidden_size", "NaN"},
                {schedule, "beta_start", "Infinity"}};
    files_make_tiny_diffusers(fault_dir);
    for (size_t i = 0; i < SD_COUNT(keys); i++) {
        const char *path = files_path(fault_dir, keys[i].file);
        char json[256], part[64];
        snprintf(json, sizeof json, "{\"%s\": %s, \"NaN\": \"\\\\\", \"a\": [-Infinity , NaN]}",
                 keys[i].key, keys[i].value);
        snprintf(part, sizeof part, "\"%s\" is \"%s\"", keys[i].key, keys[i].value);
        files_write_text(path, json);
        fault_refused(json, fault_load(fault_dir), BAD, path, part);
        files_write_json(path, base_of(keys[i].file), NULL);
    }
}
END_TEST

/* Any of the files may be no JSON at all. */
START_TEST(broken_json) {
    static const char *const files[] = {unet, vae, text, schedule, model_index};
    static const char *const texts[] = {
        "",
        "{",
        "[]",
        "null",
        "{\"a\": 1, \"a\": 2}",
        "\xff\xfe",
        "{\"a\": Nan}",
        "{\"a\": +Infinity}",
        "{NaN: 1}",
        "{\"a\": -NaN}",
        "{\"a\": 1e999}",
        "{'a': 1}",
        "<html></html>",
        "{} x",
    };
    files_make_tiny_diffusers(fault_dir);
    for (size_t i = 0; i < SD_COUNT(files); i++) {
        const char *path = files_path(fault_dir, files[i]);
        for (size_t k = 0; k < SD_COUNT(texts); k++) {
            files_write_text(path, texts[k]);
            fault_refused(texts[k], fault_load(fault_dir), SD_ERROR_FORMAT, path, NULL);
        }
        files_write_json(path, base_of(files[i]), NULL);
    }
}
END_TEST

/* They are no reason not to load: sd_encode_text says what is wrong (unit-added). */
START_TEST(broken_tokenizer_settings) {
    static const char *const texts[] = {"{", "[]", "{\"pad_token\": 0}", "{\"pad_token\": {}}",
                                        "{\"pad_token\": \"[PAD]\"}"};
    files_make_tiny_diffusers(fault_dir);
    const char *path = files_path(fault_dir, "tokenizer/special_tokens_map.json");
    for (size_t i = 0; i < SD_COUNT(texts); i++) {
        files_write_text(path, texts[i]);
        fault_refused(texts[i], fault_load(fault_dir), 0, fault_dir, NULL);
    }
    files_write_text(path, "{\"pad_token\": \"[PAD]\"}");
    const char *vocab = files_path(fault_dir, "tokenizer/vocab.json");
    static const char *const vocabs[] = {"[]", "{}", "{\"[PAD]\": \"1\"}", "{\"[PAD]\": 100}",
                                         "{\"[PAD]\": -1}"};
    for (size_t i = 0; i < SD_COUNT(vocabs); i++) {
        files_write_text(vocab, vocabs[i]);
        fault_refused(vocabs[i], fault_load(fault_dir), 0, fault_dir, NULL);
    }
}
END_TEST

START_TEST(parts_missing) {
    static const char *const parts[] = {
        "model_index.json",
        "unet/config.json",
        "vae/config.json",
        "text_encoder/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "vae/diffusion_pytorch_model.safetensors",
        "text_encoder/model.safetensors",
    };
    for (size_t i = 0; i < SD_COUNT(parts); i++) {
        files_make_tiny_diffusers(fault_dir);
        remove(files_path(fault_dir, parts[i]));
        fault_refused(parts[i], fault_load(fault_dir), SD_ERROR_IO, fault_dir, NULL);
    }
    files_make_tiny_diffusers(fault_dir); /* whole, but with one tensor in each file */
    fault_refused("one tensor", fault_load(fault_dir), SD_ERROR_MODEL, fault_dir, NULL);
    const char *path = files_path(fault_dir, "vae/diffusion_pytorch_model.safetensors");
    files_write_text(path, "version https://git-lfs.github.com/spec/v1\n");
    fault_refused("git-lfs", fault_load(fault_dir), SD_ERROR_FORMAT, path, "git-lfs");
    fault_refused("git-lfs", fault_list(fault_dir), SD_ERROR_FORMAT, path, "git-lfs");
}
END_TEST

void fault_add_folders(Suite *suite) {
    TCase *tcase = fault_case(suite, "folders");
    tcase_add_test(tcase, bad_values);
    tcase_add_test(tcase, no_numbers);
    tcase_add_test(tcase, broken_json);
    tcase_add_test(tcase, broken_tokenizer_settings);
    tcase_add_test(tcase, parts_missing);
}
