/*
 * YAML configs of Stability's generative-models (sd_xl_base.yaml, sd_xl_refiner.yaml): a
 * DiffusionEngine is a network, a first stage, a denoiser, which says what the network predicts,
 * and a conditioner, a list of embedders of one input each.
 */
#include "describe/config.h"

#include "describe/ldm_section.h"

#include <string.h>

typedef sd_ldm_section section;

/* ------------------------------------------------------------------------- the denoiser */

static void predicts_epsilon(section *s) {
    s->desc->schedule.prediction = SD_PREDICT_EPSILON;
}

static void predicts_v(section *s) {
    s->desc->schedule.prediction = SD_PREDICT_V;
}

static void read_discretization(section *s) {
    static const char *const read[] = {"linear_start", "linear_end", "num_timesteps", NULL};
    sd_schedule_config *c = &s->desc->schedule;
    sdi_ldm_check(s, read, NULL, NULL, 0);
    c->beta_start = sdi_reader_number(&s->r, "linear_start", 0.00085, 1e-9, 0.999);
    c->beta_end = sdi_reader_number(&s->r, "linear_end", 0.0120, c->beta_start, 0.999);
    c->train_timesteps = sdi_reader_int(&s->r, "num_timesteps", 1000, 1, 100000);
}

#define DENOISER "modules.diffusionmodules."
static const sd_ldm_class scalings[] = {
    {"sgm." DENOISER "denoiser_scaling.EpsScaling", predicts_epsilon},
    {"ldm." DENOISER "denoiser_scaling.EpsScaling", predicts_epsilon},
    {"sgm." DENOISER "denoiser_scaling.VScaling", predicts_v},
};
static const sd_ldm_class discretizations[] = {
    {"sgm." DENOISER "discretizer.LegacyDDPMDiscretization", read_discretization},
    {"ldm." DENOISER "discretizer.LegacyDDPMDiscretization", read_discretization},
};

static void read_denoiser(section *s) {
    static const char *const read[] = {"num_idx", "scaling_config", "discretization_config", NULL};
    static const char *const ignored[] = {"weighting_config", "do_append_zero", "quantize_c_noise",
                                          "flip", NULL};
    sdi_ldm_check(s, read, ignored, NULL, 0);
    sdi_ldm_need(s, "num_idx");
    int n = sdi_reader_int(&s->r, "num_idx", 1000, 1, 100000);
    s->desc->schedule = sdi_schedule_default();
    sdi_ldm_instantiate_key(s, "scaling_config", scalings, SD_COUNT(scalings));
    sdi_ldm_instantiate_key(s, "discretization_config", discretizations, SD_COUNT(discretizations));
    if (!s->r.status && s->desc->schedule.train_timesteps != n)
        s->r.status = sdi_fail(s->r.ctx, SD_ERROR_MODEL,
                               "%s: \"num_idx\" is %d, the discretization has %d timesteps",
                               s->r.path, n, s->desc->schedule.train_timesteps);
}

static const sd_ldm_class denoisers[] = {
    {"sgm." DENOISER "denoiser.DiscreteDenoiser", read_denoiser},
    {"ldm." DENOISER "denoiser.DiscreteDenoiser", read_denoiser},
};

/* ------------------------------------------------------------------------- the conditioner */

/* FrozenCLIPEmbedder's hidden state; that it is the one before the last layer's is checked when the
 * layers are known. */
static void read_clip(section *s) {
    static const char *const read[] = {"layer", "layer_idx", "version", "max_length", NULL};
    static const char *const ignored[] = {"device", "freeze", NULL};
    static const sd_fixed fixed[] = {{"layer", SD_FIXED_TEXT, 0, "hidden"},
                                     {"version", SD_FIXED_TEXT, 0, "openai/clip-vit-large-patch14"},
                                     {"max_length", SD_FIXED_NUMBER, 77, NULL},
                                     {"always_return_pooled", SD_FIXED_FALSE, 0, NULL}};
    sdi_ldm_check(s, read, ignored, fixed, SD_COUNT(fixed));
    sdi_ldm_need(s, "layer");
    sdi_ldm_need(s, "layer_idx");
    s->desc->text = (sd_text_config){.act = SD_TEXT_QUICK_GELU};
    s->desc->text.hidden = sdi_reader_int(&s->r, "layer_idx", 11, 1, SD_MAX_BLOCKS);
}

static void read_open_clip(section *s) {
    static const char *const read[] = {"arch", NULL};
    static const char *const ignored[] = {"device", "freeze", "version", NULL};
    static const sd_fixed fixed[] = {{"layer", SD_FIXED_TEXT, 0, "penultimate"},
                                     {"max_length", SD_FIXED_NUMBER, 77, NULL},
                                     {"always_return_pooled", SD_FIXED_TRUE, 0, NULL},
                                     {"legacy", SD_FIXED_FALSE, 0, NULL}};
    sdi_ldm_check(s, read, ignored, fixed, SD_COUNT(fixed));
    for (size_t i = 0; i < SD_COUNT(fixed); i++)
        if (fixed[i].kind != SD_FIXED_NUMBER)
            sdi_ldm_need(s, fixed[i].key);
    s->desc->text_2 = (sd_text_config){.names = {.layout = SD_LAYOUT_OPEN_CLIP}};
}

static void read_size(section *s) {
    static const char *const read[] = {"outdim", NULL};
    sdi_ldm_check(s, read, NULL, NULL, 0);
    sdi_ldm_need(s, "outdim");
    int width = sdi_reader_int(&s->r, "outdim", 256, 1, SD_MAX_CHANNELS);
    sd_unet_config *unet = &s->desc->unet;
    if (!s->r.status && unet->size_dim > 0 && unet->size_dim != width)
        sdi_reader_unsupported(&s->r, "outdim", sdi_reader_get(&s->r, "outdim"),
                               "the same number for all sizes");
    unet->size_dim = width;
}

#define ENCODERS "modules.encoders.modules."
static const sd_ldm_class embedders[] = {
    {"sgm." ENCODERS "FrozenCLIPEmbedder", read_clip},
    {"ldm." ENCODERS "FrozenCLIPEmbedder", read_clip},
    {"sgm." ENCODERS "FrozenOpenCLIPEmbedder2", read_open_clip},
    {"ldm." ENCODERS "FrozenOpenCLIPEmbedder2", read_open_clip},
    {"sgm." ENCODERS "ConcatTimestepEmbedderND", read_size},
    {"ldm." ENCODERS "ConcatTimestepEmbedderND", read_size},
};

/* What embedders are of, in the one order that the networks were trained with. */
static const char *const inputs[2][6] = {
    {"txt", "txt", "original_size_as_tuple", "crop_coords_top_left", "target_size_as_tuple", NULL},
    {"txt", "original_size_as_tuple", "crop_coords_top_left", "aesthetic_score", NULL, NULL}};

/* Whether the list has these inputs. */
static bool has_inputs(const json_t *list, const char *const *wanted) {
    size_t i = 0;
    for (; i < json_array_size(list) && wanted[i]; i++) {
        const char *key = json_string_value(json_object_get(json_array_get(list, i), "input_key"));
        if (!key || strcmp(key, wanted[i]) != 0)
            return false;
    }
    return i == json_array_size(list) && !wanted[i];
}

static void read_conditioner(section *s) {
    static const char *const read[] = {"emb_models", NULL};
    sdi_ldm_check(s, read, NULL, NULL, 0);
    sdi_ldm_need(s, "emb_models");
    const json_t *list = sdi_reader_get(&s->r, "emb_models");
    bool base = has_inputs(list, inputs[0]), refiner = has_inputs(list, inputs[1]);
    if (list && !base && !refiner)
        sdi_reader_unsupported(&s->r, "emb_models", list,
                               "the embedders of Stable Diffusion XL and of its refiner, in their "
                               "order");
    for (size_t i = 0; !s->r.status && i < json_array_size(list); i++)
        sdi_ldm_keep(s, sdi_ldm_instantiate(s, "emb_models", json_array_get(list, i), embedders,
                                            SD_COUNT(embedders)));
    s->desc->conditioning = SD_CONDITIONING_TEXT;
    s->desc->texts = base ? SD_TEXTS_BOTH : SD_TEXTS_SECOND;
}

static const sd_ldm_class conditioners[] = {
    {"sgm.modules.GeneralConditioner", read_conditioner},
    {"ldm.modules.GeneralConditioner", read_conditioner},
};

/* ------------------------------------------------------------------------- the engine */

void sdi_sgm_engine(section *s) {
    static const char *const read[] = {"network_config",
                                       "denoiser_config",
                                       "conditioner_config",
                                       "first_stage_config",
                                       "scale_factor",
                                       "use_ema",
                                       NULL};
    static const char *const ignored[] = {"disable_first_stage_autocast",
                                          "optimizer_config",
                                          "scheduler_config",
                                          "loss_fn_config",
                                          "sampler_config",
                                          "network_wrapper",
                                          "ckpt_path",
                                          "ema_decay_rate",
                                          "input_key",
                                          "log_keys",
                                          "no_cond_log",
                                          "compile_model",
                                          "en_and_decode_n_samples_a_time",
                                          NULL};
    sd_description *desc = s->desc;
    sdi_ldm_check(s, read, ignored, NULL, 0);
    desc->vae.scaling_factor = sdi_reader_number(&s->r, "scale_factor", 1.0, 1e-6, 1e6);
    desc->average = sdi_reader_bool(&s->r, "use_ema", false) ? SD_AVERAGE_ASKED : SD_AVERAGE_NONE;
    desc->unet.sample_size = 128; /* the released models', which no config says */
    sdi_ldm_unet(s, "network_config");
    sdi_ldm_first_stage(s, "first_stage_config");
    sdi_ldm_instantiate_key(s, "denoiser_config", denoisers, SD_COUNT(denoisers));
    sdi_ldm_instantiate_key(s, "conditioner_config", conditioners, SD_COUNT(conditioners));
}
