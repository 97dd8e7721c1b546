/* Adapters that are broken, of kinds that libsd does not know, or for another model. */
#include "fault.h"

#include <stdlib.h>
#include <string.h>

#define Q "down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"
#define K "down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k"
#define UNET "lora_unet_"

static const char *tiny(void) {
    const char *folder = getenv("SD_TEST_TINY_FOLDER");
    ck_assert_ptr_nonnull(folder);
    return folder;
}

static sd_status load_adapter(const char *path) {
    sd_adapter *adapter;
    sd_status status = sd_adapter_load(fault_ctx, path, NULL, &adapter);
    ck_assert((status == SD_OK) == (adapter != NULL));
    sd_adapter_free(adapter);
    return status;
}

/* Adapts `model`, or loads the tiny one where it is NULL. */
static sd_status use_adapter(const sd_model *model, const char *path) {
    sd_adapter_use use = SD_ADAPTER_USE_INIT;
    const sd_adapter_use *uses[] = {&use};
    sd_model_params params = SD_MODEL_PARAMS_INIT;
    sd_model *out;
    use.path = path;
    params.adapters = uses;
    params.n_adapters = 1;
    sd_status status = model ? sd_model_adapt(model, uses, 1, &out)
                             : sd_model_load(fault_ctx, tiny(), &params, &out);
    ck_assert((status == SD_OK) == (out != NULL));
    sd_model_free(out);
    return status;
}

/* Two tensors of one module, perhaps with a third. */
typedef struct row {
    const char *label, *names[3], *shapes[3];
    sd_status status;
    const char *part;
} row;

static const char *write_row(const row *r) {
    const char *path = files_path(fault_dir, "adapter.safetensors");
    safetensors *s = safetensors_new();
    for (int i = 0; i < 3 && r->names[i]; i++)
        safetensors_add(s, r->names[i], "F16", r->shapes[i]);
    safetensors_save(s, path);
    safetensors_free(s);
    return path;
}

static const row unknown[] = {
    {"OFT", {UNET Q ".oft_blocks"}, {"[2, 4, 4]"}, SD_ERROR_UNSUPPORTED, "OFT"},
    {"IA3", {UNET Q ".weight", UNET Q ".on_input"}, {"[8]", "[1]"}, SD_ERROR_UNSUPPORTED, "IA3"},
    {"GLoRA", {UNET Q ".a1.weight"}, {"[2, 8]"}, SD_ERROR_UNSUPPORTED, "GLoRA"},
    {"none", {"x.weight", "y.weight"}, {"[1]", "[1]"}, SD_ERROR_MODEL, "'x.weight'"},
    {"odd alpha", {UNET Q ".alpha"}, {"[2]"}, SD_ERROR_MODEL, "no finite number"},
};

START_TEST(other_kinds) {
    for (size_t i = 0; i < sizeof unknown / sizeof unknown[0]; i++) {
        const char *path = write_row(&unknown[i]);
        fault_refused(unknown[i].label, load_adapter(path), unknown[i].status, path,
                      unknown[i].part);
    }
}
END_TEST

#define DOWN(name) UNET name ".lora_down.weight"
#define UP(name) UNET name ".lora_up.weight"

/* The tiny model's to_q is [32, 32], its contexts are 128 wide. */
static const row misfits[] = {
    {"no up", {DOWN(Q)}, {"[2, 32]"}, SD_ERROR_MODEL, "lacks"},
    {"inputs", {DOWN(Q), UP(Q)}, {"[2, 31]", "[32, 2]"}, SD_ERROR_MODEL, "[2, 31]"},
    {"outputs", {DOWN(Q), UP(Q)}, {"[2, 32]", "[33, 2]"}, SD_ERROR_MODEL, "[33, 2]"},
    {"ranks", {DOWN(Q), UP(Q)}, {"[2, 32]", "[32, 3]"}, SD_ERROR_MODEL, "[32, 3]"},
    {"no rank", {DOWN(Q), UP(Q)}, {"[0, 32]", "[32, 0]"}, SD_ERROR_MODEL, "[0, 32]"},
    {"number", {DOWN(Q), UP(Q)}, {"[]", "[32, 2]"}, SD_ERROR_MODEL, "[]"},
    {"magnitudes",
     {DOWN(Q), UP(Q), UNET Q ".dora_scale"},
     {"[2, 32]", "[32, 2]", "[31, 1]"},
     SD_ERROR_MODEL,
     "31 numbers"},
    {"LoKr",
     {UNET Q ".lokr_w1", UNET Q ".lokr_w2"},
     {"[5, 4]", "[8, 8]"},
     SD_ERROR_MODEL,
     "[5, 4]"},
    {"LoKr's right side",
     {UNET Q ".lokr_w1", UNET Q ".lokr_w2"},
     {"[4, 4]", "[8, 9]"},
     SD_ERROR_MODEL,
     "[8, 9]"},
    {"LoKr of nothing", {UNET Q ".lokr_w1"}, {"[0, 0]"}, SD_ERROR_MODEL, "[0, 0]"},
    {"LoHa",
     {UNET Q ".hada_w1_a", UNET Q ".hada_w1_b"},
     {"[32, 2]", "[2, 32]"},
     SD_ERROR_MODEL,
     "lacks"},
    {"difference", {UNET Q ".diff"}, {"[32, 16]"}, SD_ERROR_MODEL, "[32, 16]"},
    {"SDXL", {DOWN(K), UP(K)}, {"[2, 2048]", "[32, 2]"}, SD_ERROR_MODEL, "Stable Diffusion XL"},
    {"SD 1", {DOWN(K), UP(K)}, {"[2, 768]", "[32, 2]"}, SD_ERROR_MODEL, "Stable Diffusion 1.x"},
    {"two encoders",
     {"lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_down.weight",
      "lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_up.weight"},
     {"[2, 128]", "[512, 2]"},
     SD_ERROR_MODEL,
     "second text encoder"},
    {"Flux",
     {DOWN("double_blocks_0_img_attn_proj"), UP("double_blocks_0_img_attn_proj")},
     {"[2, 32]", "[32, 2]"},
     SD_ERROR_MODEL,
     "Flux"},
    {"elsewhere",
     {DOWN("nowhere"), UP("nowhere")},
     {"[2, 32]", "[32, 2]"},
     SD_ERROR_MODEL,
     "none of"},
};

START_TEST(other_models) {
    for (size_t i = 0; i < sizeof misfits / sizeof misfits[0]; i++) {
        const char *path = write_row(&misfits[i]);
        fault_refused(misfits[i].label, use_adapter(NULL, path), misfits[i].status, path,
                      misfits[i].part);
    }
}
END_TEST

static const row good = {"good", {DOWN(Q), UP(Q)}, {"[2, 32]", "[32, 2]"}, SD_OK, NULL};

/* A file that ends too early, at each of some places. */
START_TEST(cut) {
    const char *path = write_row(&good);
    size_t n;
    uint8_t *bytes = files_read(path, &n);
    for (size_t i = 0; i < n; i += 1 + n / 50) {
        files_write(path, bytes, i);
        fault_refused("cut", load_adapter(path), SD_OK, path, NULL);
    }
    free(bytes);
}
END_TEST

/* NaN in an adapter would be in the model. */
START_TEST(no_numbers) {
    const char *path = write_row(&good);
    size_t n;
    uint8_t *bytes = files_read(path, &n);
    bytes[n - 1] = 0x7e; /* of the last number, float16 */
    files_write(path, bytes, n);
    free(bytes);
    fault_refused("NaN", use_adapter(NULL, path), SD_ERROR_MODEL, path, "NaN or infinity");
}
END_TEST

static void load_copy(const char *copy, sd_model **model) {
    size_t n;
    uint8_t *bytes = files_read(getenv("SD_TEST_TINY_FILE"), &n);
    files_write(copy, bytes, n);
    free(bytes);
    ck_assert_msg(sd_model_load(fault_ctx, copy, NULL, model) == SD_OK, "%s", sd_last_error());
}

/* The model's file is another one, shorter, or not there; the model itself goes on. */
START_TEST(the_file_changed) {
    char copy[FILES_PATH], path[FILES_PATH];
    sd_model *model;
    snprintf(copy, sizeof copy, "%s", files_path(fault_dir, "model.safetensors"));
    snprintf(path, sizeof path, "%s", write_row(&good));
    load_copy(copy, &model);
    ck_assert_int_eq(use_adapter(model, path), SD_OK);
    safetensors *s = safetensors_open(copy);
    safetensors_save(s, copy);
    safetensors_free(s);
    ck_assert_int_eq(use_adapter(model, path), SD_ERROR_IO);
    ck_assert_ptr_nonnull(strstr(sd_last_error(), "was changed since"));
    remove(copy);
    ck_assert_int_eq(use_adapter(model, path), SD_ERROR_IO);
    sd_model_free(model);
}
END_TEST

void fault_add_adapters(Suite *suite) {
    TCase *tcase = fault_case(suite, "adapters");
    tcase_add_test(tcase, other_kinds);
    tcase_add_test(tcase, other_models);
    tcase_add_test(tcase, cut);
    tcase_add_test(tcase, no_numbers);
    tcase_add_test(tcase, the_file_changed);
}
