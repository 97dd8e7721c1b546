/* Checkpoints in the original naming that are well-formed but no Stable Diffusion 1.x, or an
 * incomplete one. The good one is the tiny random model that the build makes. */
#include "fault.h"

#include <sys/stat.h>
#include <unistd.h>

static const char *tiny_file(void) {
    const char *path = getenv("SD_TEST_TINY_FILE");
    ck_assert_msg(path != NULL, "SD_TEST_TINY_FILE is not set; run the tests with meson test");
    return path;
}

static const struct {
    const char *tensor, *shape, *part;
} families[] = {
    {"conditioner.embedders.0.transformer.x", "[1]", "text encoders of Stable Diffusion XL alone"},
    {"conditioner.embedders.1.model.x", "[1]", "text encoders of Stable Diffusion XL alone"},
    {"edm_mean", "[4]", "Playground"},
    {"edm_vpred.sigma_max", "[]", "CosXL"},
    {"model.diffusion_model.label_emb.0.0.weight", "[1, 1]", "class or size"},
    {"model.diffusion_model.joint_blocks.0.x", "[1]", "Diffusion 3"},
    {"model.diffusion_model.double_blocks.0.x", "[1]", "Flux"},
    {"double_blocks.0.img_attn.qkv.weight", "[1]", "Flux"},
    {"cond_stage_model.embedding.weight", "[1]", "YAML config"},
    {"first_stage_model.quantize.embedding.weight", "[1]", "YAML config"},
    {"cond_stage_model.transformer.token_emb.weight", "[1]", "BERT"},
    {"first_stage_model.quantize.embedding.weight", "[1, 1]", "VQ"},
    {"control_model.input_blocks.0.0.weight", "[1]", "ControlNet"},
    {"lora_unet_down_blocks_0.lora_up.weight", "[1, 1]", "a LoRA ("},
    {"lora_te_text_model_encoder_layers_0_mlp_fc1.alpha", "[]", "--lora"},
    {"lora_te1_text_model_encoder_layers_0_mlp_fc1.alpha", "[]", "LoRA for Stable Diffusion XL"},
    {"lora_te2_text_model_encoder_layers_0_mlp_fc1.alpha", "[]", "LoRA for Stable Diffusion XL"},
    {"lora_unet_input_blocks_4_1_proj_in.lora_down.weight", "[1, 1]", "Diffusion XL"},
    {"lora_unet_double_blocks_0_img_attn_proj.lora_down.weight", "[1, 1]", "LoRA for Flux"},
    {"lora_unet_down_blocks_0_x.hada_w1_a", "[1, 1]", "LoHa"},
    {"lora_unet_down_blocks_0_x.lokr_w1", "[1, 1]", "LoKr"},
    {"lycoris_down_blocks_0_x.diff", "[1, 1]", "LyCORIS"},
    {"base_model.model.down_blocks.0.to_q.lora_A.weight", "[1, 1]", "PEFT"},
    {"unet.down_blocks.0.attn1.to_q.lora_A.weight", "[1, 1]", "PEFT"},
    {"unet.down_blocks.0.attn1.to_q.lora.down.weight", "[1, 1]", "LoRA as diffusers writes it"},
    {"down_blocks.0.attn1.processor.to_q_lora.down.weight", "[1, 1]", "LoRA as diffusers"},
    {"text_encoder_2.text_model.encoder.layers.0.x.lora_A.weight", "[1, 1]", "Diffusion XL"},
    {"zero_convs.0.0.weight", "[1]", "ControlNet"},
    {"controlnet_cond_embedding.conv_in.weight", "[1]", "ControlNet as diffusers"},
    {"lllite_unet_input_blocks_4_1.down.0.weight", "[1]", "LLLite"},
    {"lora_controlnet", "[]", "Control-LoRA"},
    {"adapter.body.0.resnets.0.block1.weight", "[1]", "T2I-Adapter"},
    {"body.0.block1.weight", "[1]", "T2I-Adapter"},
    {"3.conv.0.weight", "[1]", "TAESD"},
    {"down_blocks.0.motion_modules.0.temporal_transformer.norm.weight", "[1]", "AnimateDiff"},
    {"ip_adapter.1.to_k_ip.weight", "[1, 1]", "IP-Adapter"},
    {"image_proj.proj.weight", "[1, 1]", "IP-Adapter"},
    {"model.1.sub.0.RDB1.conv1.0.weight", "[1]", "ESRGAN"},
    {"body.0.rdb1.conv1.weight", "[1]", "ESRGAN"},
    {"layers.0.residual_group.blocks.0.norm1.weight", "[1]", "SwinIR"},
    {"body.0.weight", "[64, 3, 3, 3]", "upscaler"},
    {"emb_params", "[1, 768]", "textual inversion"},
    {"<my-cat>", "[2, 768]", "textual inversion"},
    {"<my-dog>", "[1024]", "--embedding"},
    {"clip_g", "[2, 1280]", "embedding for Stable Diffusion XL"},
    {"768.0.linear.0.weight", "[1, 1]", "hypernetwork"},
    {"embedder.model.visual.proj", "[1, 1]", "unCLIP"},
    {"noise_augmentor.data_mean", "[1, 1]", "unCLIP"},
    {"model.diffusion_model.label_emb.0.0.weight", "[1, 2816]", "without text encoders"},
    {"model.diffusion_model.label_emb.0.0.weight", "[1, 2560]", "refiner without"},
    {"model.diffusion_model.label_emb.0.0.weight", "[1, 2048]", "unCLIP"},
    {"model.diffusion_model.label_emb.weight", "[1000, 1]", "upscaler"},
    {"model.diffusion_model.input_blocks.1.0.time_stack.x", "[1]", "Video"},
    {"add_embedding.linear_1.weight", "[1]", "Diffusion XL diffusers folder"},
    {"transformer_blocks.0.attn.to_q.weight", "[1]", "transformer of a newer model"},
    {"unet.conv_in.weight", "[1]", "single file in diffusers' naming"},
    {"decoder.up.0.block.0.conv1.weight", "[1]", "--vae)"},
    {"first_stage_model.decoder.conv_in.weight", "[1]", "VAE alone"},
    {"cond_stage_model.transformer.text_model.x", "[1]", "text encoder alone"},
    {"transformer.resblocks.0.ln_1.weight", "[1]", "OpenCLIP"},
    {"encoder.block.0.layer.0.x", "[1]", "T5"},
    {"decoder.layers.0.weight", "[1]", "TAESD"},
    {"input_blocks.0.0.weight", "[1]", "UNet alone"},
    {"down_blocks.0.resnets.0.conv1.weight", "[1]", "UNet of a diffusers folder"},
    {"encoder.down_blocks.0.x", "[1]", "VAE of a diffusers folder"},
    {"text_model.encoder.layers.0.x", "[1]", "text encoder of a diffusers folder"},
    {"encoder.down.0.block.0.conv1.weight", "[1]", "VAE alone"},
    {"model.layers.0.self_attn.q_proj.weight", "[1, 1]", "no Stable Diffusion"},
};

START_TEST(other_families) {
    const char *path = files_path(fault_dir, "family.safetensors");
    for (size_t i = 0; i < SD_COUNT(families); i++) {
        safetensors *s = safetensors_new();
        safetensors_add(s, families[i].tensor, "F16", families[i].shape);
        safetensors_save(s, path);
        safetensors_free(s);
        fault_refused(families[i].tensor, fault_load(path), SD_ERROR_UNSUPPORTED, path,
                      families[i].part);
    }
    safetensors_write_raw(path, 2, "{}", 0);
    fault_refused("no tensors", fault_load(path), SD_ERROR_MODEL, path, "0 tensors");
}
END_TEST

/* Without one of its networks; and a file of another kind with a config. */
START_TEST(pruned) {
    static const struct {
        const char *prefix, *part;
    } rows[] = {{"first_stage_model.", "has no VAE (pruned)"},
                {"cond_stage_model.", "has no text encoder (pruned)"},
                {"model.diffusion_model.", "VAE alone"}};
    const char *path = files_path(fault_dir, "pruned.safetensors");
    for (size_t i = 0; i < SD_COUNT(rows); i++) {
        safetensors *s = safetensors_open(tiny_file());
        for (size_t k = safetensors_count(s); k > 0; k--) {
            const char *name = safetensors_name(s, k - 1);
            if (strncmp(name, rows[i].prefix, strlen(rows[i].prefix)) == 0)
                safetensors_drop(s, name);
        }
        safetensors_save(s, path);
        safetensors_free(s);
        fault_refused(rows[i].prefix, fault_load(path), 0, path, rows[i].part);
    }
}
END_TEST

static void check_concat(sd_context *ctx, sd_model *model, const char *part) {
    sd_tensor *pixels = NULL, *mask = NULL, *out = NULL;
    const int64_t dims[] = {1, 3, 64, 64}, one[] = {1, 1, 64, 64};
    ck_assert_int_eq(sd_tensor_new(ctx, 4, dims, NULL, &pixels), SD_OK);
    ck_assert_int_eq(sd_tensor_new(ctx, 4, one, NULL, &mask), SD_OK);
    sd_status status = sd_inpaint_concat(model, pixels, mask, NULL, &out);
    ck_assert_int_eq(status, part ? SD_ERROR_UNSUPPORTED : SD_OK);
    ck_assert_msg(!status || strstr(sd_last_error(), part), "%s", sd_last_error());
    sd_tensor_free(pixels);
    sd_tensor_free(mask);
    sd_tensor_free(out);
}

/* The tiny model with a UNet whose first weight is of `shape`. */
static sd_model *open_widened(sd_context *ctx, const char *shape) {
    const char *path = files_path(fault_dir, "channels.safetensors");
    const char *name = "model.diffusion_model.input_blocks.0.0.weight";
    char vocab[FILES_PATH];
    sd_model *model = NULL;
    sd_model_params mp = SD_MODEL_PARAMS_INIT;
    safetensors *s = safetensors_open(tiny_file());
    ck_assert(safetensors_drop(s, name));
    safetensors_add(s, name, "F16", shape);
    safetensors_save(s, path);
    safetensors_free(s);
    snprintf(vocab, sizeof vocab, "%s/tokenizer", getenv("SD_TEST_TINY_FOLDER"));
    mp.vocab = vocab;
    ck_assert_msg(sd_model_load(ctx, path, &mp, &model) == SD_OK, "%s", sd_last_error());
    return model;
}

/* Models that are painted with more than a prompt say which they are. */
START_TEST(more_channels) {
    static const struct {
        const char *shape, *txt2img, *inpaint;
    } rows[] = {{"[32, 9, 3, 3]", "use sd-inpaint (sd_generate with a mask)", NULL},
                {"[32, 8, 3, 3]", "instruct-pix2pix", "instruct-pix2pix"},
                {"[32, 5, 3, 3]", "depth-to-image", "depth-to-image"},
                {"[32, 7, 3, 3]", "upscaler", "upscaler"},
                {"[32, 6, 3, 3]", "conditioned on pictures", "no inpainting model"}};
    for (size_t i = 0; i < SD_COUNT(rows); i++) {
        sd_image *image = NULL;
        sd_generate_params p = SD_GENERATE_PARAMS_INIT;
        sd_sampler_params sampling = SD_SAMPLER_PARAMS_INIT;
        sd_context *ctx;
        ck_assert_int_eq(sd_context_new(NULL, &ctx), SD_OK);
        sd_model *model = open_widened(ctx, rows[i].shape);
        sampling.steps = 1;
        sampling.width = sampling.height = 64;
        p.prompt = "x";
        p.sampling = &sampling;
        ck_assert_int_eq(sd_generate(model, &p, &image, 1), SD_ERROR_ARGUMENT);
        ck_assert_msg(strstr(sd_last_error(), rows[i].txt2img), "%s", sd_last_error());
        check_concat(ctx, model, rows[i].inpaint);
        sd_model_free(model);
        sd_context_free(ctx);
    }
}
END_TEST

static void count_warning(void *user, sd_log_level level, const char *message) {
    (void)message;
    *(int *)user += level <= SD_LOG_LEVEL_WARN;
}

/* Tensors that tell something and are used by no network are not told of. */
START_TEST(markers) {
    const char *path = files_path(fault_dir, "markers.safetensors");
    static const char *const names[] = {"v_pred", "ztsnr",
                                        "depth_model.model.pretrained.model.norm.weight"};
    int warnings = 0;
    sd_context_params cp = SD_CONTEXT_PARAMS_INIT;
    sd_model_params mp = SD_MODEL_PARAMS_INIT;
    sd_model_info info = SD_MODEL_INFO_INIT;
    sd_context *ctx;
    sd_model *model;
    safetensors *s = safetensors_open(tiny_file());
    for (size_t i = 0; i < SD_COUNT(names); i++)
        safetensors_add(s, names[i], "F16", "[]");
    safetensors_save(s, path);
    safetensors_free(s);
    cp.backend = "cpu";
    cp.log = count_warning;
    cp.log_user = &warnings;
    mp.strict = 1;
    ck_assert_int_eq(sd_context_new(&cp, &ctx), SD_OK);
    ck_assert_msg(sd_model_load(ctx, path, &mp, &model) == SD_OK, "%s", sd_last_error());
    ck_assert_int_eq(sd_model_get_info(model, &info), SD_OK);
    ck_assert_str_eq(info.prediction, "v");
    ck_assert_int_eq(info.n_unexpected, 0);
    ck_assert_int_le(warnings, 1); /* of a vocabulary */
    sd_model_free(model);
    sd_context_free(ctx);
}
END_TEST

/* The good file's header with zeros for data is good, too. */
START_TEST(zeros_are_a_model) {
    const char *path = files_path(fault_dir, "zeros.safetensors");
    safetensors *s = safetensors_open(tiny_file());
    safetensors_save(s, path);
    safetensors_free(s);
    ck_assert_msg(fault_load(path) == SD_OK, "%s", sd_last_error());
}
END_TEST

typedef enum change { DROP, WIDER, RANK, INTEGER, N_CHANGES } change;

/* True where the change was made. */
static bool apply(safetensors *s, const char *name, change kind) {
    switch (kind) {
    case DROP:
        return safetensors_drop(s, name);
    case WIDER:
        return safetensors_reshape(s, name, 1, false);
    case RANK:
        return safetensors_reshape(s, name, 0, true);
    default:
        return safetensors_retype(s, name, "I32");
    }
}

/* One tensor at a time is dropped, one wider, of one more dimension, or of integers. */
START_TEST(each_tensor_is_needed) {
    const char *path = files_path(fault_dir, "changed.safetensors");
    safetensors *good = safetensors_open(tiny_file());
    size_t n = safetensors_count(good), step = 7;
    for (size_t i = 0; i < n; i += step) {
        const char *name = safetensors_name(good, i);
        if (strstr(name, "position_ids"))
            continue; /* which nothing reads */
        safetensors *s = safetensors_open(tiny_file());
        change kind = (change)(i / step % N_CHANGES);
        ck_assert(apply(s, name, kind));
        safetensors_save(s, path);
        safetensors_free(s);
        fault_refused(name, fault_load(path), 0, path, NULL);
    }
    safetensors_free(good);
}
END_TEST

static const struct {
    const char *label, *tensor, *shape;
    sd_status status;
    const char *part;
} shapes[] = {
#define UNET "model.diffusion_model."
#define VAE "first_stage_model."
#define TEXT "cond_stage_model.transformer.text_model."
    {"less than the latent", UNET "input_blocks.0.0.weight", "[32, 3, 3, 3]", SD_ERROR_UNSUPPORTED,
     "3 channels"},
    {"learned sigma", UNET "out.2.weight", "[8, 32, 3, 3]", SD_ERROR_UNSUPPORTED, "variance"},
    {"no channels", UNET "input_blocks.0.0.weight", "[0, 4, 3, 3]", SD_ERROR_MODEL, "dimension 0"},
    {"huge channels", UNET "input_blocks.1.0.in_layers.2.weight", "[20000, 1, 3, 3]",
     SD_ERROR_MODEL, "20000"},
    {"uneven groups", UNET "input_blocks.7.0.in_layers.2.weight", "[48, 64, 3, 3]",
     SD_ERROR_UNSUPPORTED, "differ in kind"},
    {"uneven groups of the VAE", VAE "encoder.down.1.block.0.conv1.weight", "[48, 32, 3, 3]",
     SD_ERROR_MODEL, "norm_num_groups"},
    {"other context", UNET "middle_block.1.transformer_blocks.0.attn2.to_k.weight", "[64, 64]",
     SD_ERROR_MODEL, "widths"},
    {"deeper level", UNET "input_blocks.9.0.in_layers.2.weight", "[64, 64, 3, 3]", SD_ERROR_MODEL,
     "input_blocks"},
    {"no cross-attention", UNET "input_blocks.7.1.qkv.weight", "[64, 64, 1]", SD_ERROR_UNSUPPORTED,
     "no cross-attention"},
    {"VAE with attention", VAE "encoder.down.1.attn.0.q.weight", "[64, 64, 1, 1]",
     SD_ERROR_UNSUPPORTED, "attention"},
    {"deeper VAE level", VAE "encoder.down.1.block.1.conv1.weight", "[64, 64, 3, 3]",
     SD_ERROR_UNSUPPORTED, "depths"},
    {"other latent", VAE "quant_conv.weight", "[6, 8, 1, 1]", SD_ERROR_UNSUPPORTED, "z_channels"},
    {"grey VAE", VAE "decoder.conv_out.weight", "[1, 32, 3, 3]", SD_ERROR_UNSUPPORTED, "only 3"},
    {"one token", TEXT "embeddings.token_embedding.weight", "[1, 128]", SD_ERROR_MODEL, "too few"},
    {"vector of tokens", TEXT "embeddings.token_embedding.weight", "[100]", SD_ERROR_MODEL,
     "dimensions"},
    {"other width", TEXT "embeddings.token_embedding.weight", "[100, 64]", SD_ERROR_MODEL, "wide"},
    {"many positions", TEXT "embeddings.position_embedding.weight", "[5000, 128]", SD_ERROR_MODEL,
     "5000"},
};

START_TEST(odd_shapes) {
    const char *path = files_path(fault_dir, "shapes.safetensors");
    for (size_t i = 0; i < SD_COUNT(shapes); i++) {
        safetensors *s = safetensors_tiny_original();
        safetensors_drop(s, shapes[i].tensor);
        safetensors_add(s, shapes[i].tensor, "F16", shapes[i].shape);
        safetensors_save(s, path);
        safetensors_free(s);
        fault_refused(shapes[i].label, fault_load(path), shapes[i].status, path, shapes[i].part);
    }
}
END_TEST

static const struct {
    const char *key, *value, *part;
} overrides[] = {
    {"sd.unet_heads", "", "sd.unet_heads"},
    {"sd.unet_heads", "eight", "sd.unet_heads"},
    {"sd.unet_heads", "0", "1 to 16384"},
    {"sd.unet_heads", "-8", "1 to 16384"},
    {"sd.unet_heads", "[8, 8]", "a list of 3"},
    {"sd.unet_heads", "[8, 8, \"8\"]", "\"8\""},
    {"sd.unet_heads", "7", "do not divide"},
    {"sd.unet_heads", "99999999999", "1 to 16384"},
    {"sd.text_heads", "3", "do not divide"},
    {"sd.text_heads", "1.5", "sd.text_heads"},
    {"sd.text_heads", "[2]", "sd.text_heads"},
    {"sd.sample_size", "0", "sd.sample_size"},
    {"sd.sample_size", "1e9", "sd.sample_size"},
    {"sd.scaling_factor", "0", "sd.scaling_factor"},
    {"sd.scaling_factor", "-1", "a number from"},
    {"sd.scaling_factor", "NaN", "sd.scaling_factor"},
    {"sd.latent_rgb", "[[1, 2]]", "sd.latent_rgb"},
    {"sd.latent_rgb", "x", "a list"},
    {"sd.scaling_factor", "true", "a number"},
    {"sd.scaling_factor", "{}", "an object"},
};

START_TEST(bad_overrides) {
    const char *path = files_path(fault_dir, "overrides.safetensors");
    for (size_t i = 0; i < SD_COUNT(overrides); i++) {
        safetensors *s = safetensors_tiny_original();
        safetensors_metadata(s, overrides[i].key, overrides[i].value);
        safetensors_save(s, path);
        safetensors_free(s);
        fault_refused(overrides[i].key, fault_load(path), 0, path, overrides[i].part);
    }
}
END_TEST

typedef struct shortening {
    const char *path;
    int64_t size;
    int at; /* of 4 quarters of the tensors */
} shortening;

static int32_t shorten(void *user, const sd_progress *progress) {
    const shortening *s = user;
    if (progress->step == progress->total * s->at / 4)
        ck_assert_int_eq(truncate(s->path, s->size), 0);
    return 0;
}

/* Another process shortens a file that is being read; its pages are gone, and to touch one would be
 * the end of this process. */
START_TEST(shortened_while_read) {
    const char *path = files_path(fault_dir, "shortened.safetensors");
    for (int at = 0; at <= 4; at++) {
        shortening user = {path, 4096, at > 0 ? at : 1};
        sd_model_params params = SD_MODEL_PARAMS_INIT;
        sd_model *model = NULL;
        safetensors *s = safetensors_open(tiny_file());
        safetensors_save(s, path);
        safetensors_free(s);
        if (at == 0) { /* by one byte, which would be read as a zero */
            struct stat st;
            ck_assert_int_eq(stat(path, &st), 0);
            user.size = st.st_size - 1;
        }
        params.progress = shorten;
        params.progress_user = &user;
        sd_status status = sd_model_load(fault_ctx, path, &params, &model);
        fault_refused("shortened", status, SD_ERROR_IO, path, "was shortened");
        ck_assert_ptr_null(model);
    }
}
END_TEST

void fault_add_checkpoints(Suite *suite) {
    TCase *tcase = fault_case(suite, "checkpoints");
    tcase_add_test(tcase, other_families);
    tcase_add_test(tcase, pruned);
    tcase_add_test(tcase, more_channels);
    tcase_add_test(tcase, markers);
    tcase_add_test(tcase, zeros_are_a_model);
    tcase_add_test(tcase, each_tensor_is_needed);
    tcase_add_test(tcase, odd_shapes);
    tcase_add_test(tcase, bad_overrides);
    tcase_add_test(tcase, shortened_while_read);
}
