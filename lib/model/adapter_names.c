/*
 * The names in adapters' files, by those who write them: kohya's sd-scripts, LyCORIS, PEFT,
 * diffusers of all ages, ComfyUI.
 */
#include "model/adapter.h"

#include <string.h>

/* The longer before those that they end with. */
static const struct {
    const char *end;
    sd_adapter_tensor tensor;
} ends[] = {
    {".lora_down.weight", SD_LORA_DOWN}, /* kohya, LyCORIS */
    {".lora_up.weight", SD_LORA_UP},
    {".lora_mid.weight", SD_LORA_MID},
    {".alpha", SD_ALPHA},
    {".lora_A.weight", SD_LORA_DOWN}, /* PEFT */
    {".lora_B.weight", SD_LORA_UP},
    {".lora_A.default.weight", SD_LORA_DOWN},
    {".lora_B.default.weight", SD_LORA_UP},
    {".lora_B.bias", SD_LORA_BIAS},
    {".lora_B.default.bias", SD_LORA_BIAS},
    {".lora_magnitude_vector", SD_MAGNITUDE},
    {".lora_magnitude_vector.weight", SD_MAGNITUDE},
    {".lora_magnitude_vector.default.weight", SD_MAGNITUDE},
    {".lora_linear_layer.down.weight", SD_LORA_DOWN}, /* diffusers */
    {".lora_linear_layer.up.weight", SD_LORA_UP},
    {".lora.down.weight", SD_LORA_DOWN},
    {".lora.up.weight", SD_LORA_UP},
    {"_lora.down.weight", SD_LORA_DOWN}, /* before 0.20 */
    {"_lora.up.weight", SD_LORA_UP},
    {".hada_w1_a", SD_HADA_W1_A},
    {".hada_w1_b", SD_HADA_W1_B},
    {".hada_w2_a", SD_HADA_W2_A},
    {".hada_w2_b", SD_HADA_W2_B},
    {".hada_t1", SD_HADA_T1},
    {".hada_t2", SD_HADA_T2},
    {".lokr_w1", SD_LOKR_W1},
    {".lokr_w1_a", SD_LOKR_W1_A},
    {".lokr_w1_b", SD_LOKR_W1_B},
    {".lokr_w2", SD_LOKR_W2},
    {".lokr_w2_a", SD_LOKR_W2_A},
    {".lokr_w2_b", SD_LOKR_W2_B},
    {".lokr_t2", SD_LOKR_T2},
    {".diff", SD_DIFF},
    {".diff_b", SD_DIFF_B},
    {".w_norm", SD_W_NORM},
    {".b_norm", SD_B_NORM},
    {".dora_scale", SD_DORA_SCALE},
};

/* Where a module is: the first that fits counts. Dots are underscores. */
static const struct {
    const char *begin;
    unsigned nets;
} places[] = {
    {"lora_unet_", SD_NET_UNET},
    {"lora_te_text_model_", SD_NET_TEXT},
    {"lora_te1_text_model_", SD_NET_TEXT},
    {"lora_te2_text_model_", SD_NET_TEXT_2},
    {"lora_te_", SD_NET_TEXT},
    {"lora_te1_", SD_NET_TEXT},
    {"lora_te2_", SD_NET_TEXT_2},
    {"unet_base_model_model_", SD_NET_UNET},
    {"unet_", SD_NET_UNET},
    {"text_encoder_2_base_model_model_text_model_", SD_NET_TEXT_2},
    {"text_encoder_2_text_model_", SD_NET_TEXT_2},
    {"text_encoder_2_", SD_NET_TEXT_2},
    {"text_encoder_base_model_model_text_model_", SD_NET_TEXT},
    {"text_encoder_text_model_", SD_NET_TEXT},
    {"text_encoder_", SD_NET_TEXT},
    {"model_diffusion_model_", SD_NET_UNET},
    {"diffusion_model_", SD_NET_UNET},
    {"text_encoders_clip_l_transformer_text_model_", SD_NET_TEXT},
    {"text_encoders_clip_g_transformer_text_model_", SD_NET_TEXT_2},
    {"clip_l_transformer_text_model_", SD_NET_TEXT},
    {"clip_g_transformer_text_model_", SD_NET_TEXT_2},
    {"base_model_model_text_model_", SD_NET_TEXT},
    {"base_model_model_", SD_NET_UNET | SD_NET_TEXT},
    {"lycoris_text_model_", SD_NET_TEXT},
    {"lycoris_", SD_NET_UNET | SD_NET_TEXT},
    {"text_model_", SD_NET_TEXT},
    {"", SD_NET_UNET | SD_NET_TEXT},
};

/* Kinds that change a model in another way, by a part of a tensor's name. */
static const struct {
    const char *part, *kind;
} unsupported[] = {
    {".oft_blocks", "OFT"},
    {".oft_diag", "OFT"},
    {".oft_R", "OFT"},
    {".boft_R", "BOFT"},
    {".on_input", "IA3"},
    {".ia3_l", "IA3"},
    {".a1.weight", "GLoRA"},
    {".b1.weight", "GLoRA"},
    {".vera_lambda", "VeRA"},
    {".lora_edora", "EDoRA"},
    {".set_weight", "a file of replaced weights"},
};

/* Other families, by how keys begin. */
static const struct {
    const char *begin, *family;
} families[] = {
    {"double_blocks_", "Flux"},
    {"single_blocks_", "Flux"},
    {"transformer_single_transformer_blocks_", "Flux"},
    {"joint_blocks_", "Stable Diffusion 3"},
    {"transformer_transformer_blocks_", "Stable Diffusion 3 or Flux"},
    {"transformer_", "a newer model with a transformer"},
    {"lora_prior_", "Stable Cascade"},
};

sd_adapter_tensor sdi_adapter_tensor_of(const char *name, size_t *length) {
    size_t n = strlen(name);
    for (size_t i = 0; i < SD_COUNT(ends); i++) {
        size_t end = strlen(ends[i].end);
        if (n > end && strcmp(name + n - end, ends[i].end) == 0) {
            *length = n - end;
            return ends[i].tensor;
        }
    }
    return SD_N_ADAPTER_TENSORS;
}

unsigned sdi_adapter_key(char key[SD_MAX_NAME], const char *name, size_t length) {
    char flat[2 * SD_MAX_NAME];
    size_t n = length < sizeof flat ? length : sizeof flat - 1, i = 0;
    for (size_t k = 0; k < n; k++)
        flat[k] = (char)(name[k] == '.' ? '_' : name[k]);
    flat[n] = 0;
    while (strncmp(flat, places[i].begin, strlen(places[i].begin)) != 0)
        i++;
    const char *path = flat + strlen(places[i].begin);
    n = strlen(path);
    n = n < SD_MAX_NAME ? n : SD_MAX_NAME - 1;
    memcpy(key, path, n);
    key[n] = 0;
    return places[i].nets;
}

const char *sdi_adapter_unsupported(const char *name) {
    for (size_t i = 0; i < SD_COUNT(unsupported); i++)
        if (strstr(name, unsupported[i].part))
            return unsupported[i].kind;
    return NULL;
}

const char *sdi_adapter_family_of_key(const char *key) {
    for (size_t i = 0; i < SD_COUNT(families); i++)
        if (strncmp(key, families[i].begin, strlen(families[i].begin)) == 0)
            return families[i].family;
    return NULL;
}

const char *sdi_family_of_context(int width) {
    static const struct {
        int width;
        const char *family;
    } rows[] = {{768, "Stable Diffusion 1.x"},
                {1024, "Stable Diffusion 2.x"},
                {2048, "Stable Diffusion XL"},
                {1280, "the Stable Diffusion XL refiner"}};
    for (size_t i = 0; i < SD_COUNT(rows); i++)
        if (rows[i].width == width)
            return rows[i].family;
    return NULL;
}
