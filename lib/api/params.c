/* The defaults of each struct that begins with struct_size, for languages that take no macro. */
#include <sd/original.h>
#include <sd/profile.h>

#include <string.h>

/* Copies the defaults that there is room for, and zeros for what a newer header has more. */
static void fill(void *given, size_t struct_size, const void *defaults, size_t known) {
    if (!given || struct_size < sizeof struct_size)
        return;
    memset(given, 0, struct_size);
    memcpy(given, defaults, struct_size < known ? struct_size : known);
    memcpy(given, &struct_size, sizeof struct_size);
}

#define STRUCTS(X)                                                                                 \
    X(sd_context_params, SD_CONTEXT_PARAMS_INIT)                                                   \
    X(sd_adapter_params, SD_ADAPTER_PARAMS_INIT)                                                   \
    X(sd_adapter_info, SD_ADAPTER_INFO_INIT)                                                       \
    X(sd_io, SD_IO_INIT)                                                                           \
    X(sd_adapter_use, SD_ADAPTER_USE_INIT)                                                         \
    X(sd_model_params, SD_MODEL_PARAMS_INIT)                                                       \
    X(sd_model_info, SD_MODEL_INFO_INIT)                                                           \
    X(sd_sampler_params, SD_SAMPLER_PARAMS_INIT)                                                   \
    X(sd_text_params, SD_TEXT_PARAMS_INIT)                                                         \
    X(sd_vae_params, SD_VAE_PARAMS_INIT)                                                           \
    X(sd_mask_params, SD_MASK_PARAMS_INIT)                                                         \
    X(sd_generate_params, SD_GENERATE_PARAMS_INIT)                                                 \
    X(sd_image_load_params, SD_IMAGE_LOAD_PARAMS_INIT)                                             \
    X(sd_image_save_params, SD_IMAGE_SAVE_PARAMS_INIT)                                             \
    X(sd_run_params, SD_RUN_PARAMS_INIT)                                                           \
    X(sd_preview_params, SD_PREVIEW_PARAMS_INIT)                                                   \
    X(sd_original_params, SD_ORIGINAL_PARAMS_INIT)                                                 \
    X(sd_loss_params, SD_LOSS_PARAMS_INIT)                                                         \
    X(sd_loss_info, SD_LOSS_INFO_INIT)                                                             \
    X(sd_estimate_params, SD_ESTIMATE_PARAMS_INIT)                                                 \
    X(sd_memory_info, SD_MEMORY_INFO_INIT)                                                         \
    X(sd_work_info, SD_WORK_INFO_INIT)                                                             \
    X(sd_profile_row, SD_PROFILE_ROW_INIT)                                                         \
    X(sd_device_memory_info, SD_DEVICE_MEMORY_INFO_INIT)

#define X(name, DEFAULTS)                                                                          \
    void name##_init(name *given, size_t struct_size) {                                            \
        const name defaults = DEFAULTS;                                                            \
        fill(given, struct_size, &defaults, sizeof defaults);                                      \
    }
STRUCTS(X)
#undef X
