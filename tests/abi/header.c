/* sd.h, original.h and profile.h in C99 and C11: first in a file, with what the ABI pins. */
#include <sd/profile.h>
#include <sd/sd.h>

#include <sd/original.h>

/* The numbers that are part of the ABI; a change here is a break. */
#define IS_32_BIT(type) typedef char type##_is_32_bit[sizeof(type) == 4 ? 1 : -1]
IS_32_BIT(sd_status);
IS_32_BIT(sd_log_level);
IS_32_BIT(sd_precision);
IS_32_BIT(sd_ema);
IS_32_BIT(sd_conditioning);
IS_32_BIT(sd_timestep_spacing);
IS_32_BIT(sd_rng);
IS_32_BIT(sd_loss_type);
typedef char cancelled_is_9[SD_ERROR_CANCELLED == 9 ? 1 : -1];
typedef char internal_is_10[SD_ERROR_INTERNAL == 10 ? 1 : -1];

int main(void) {
    sd_context_params context = SD_CONTEXT_PARAMS_INIT;
    sd_model_params model = SD_MODEL_PARAMS_INIT;
    sd_sampler_params sampler = SD_SAMPLER_PARAMS_INIT;
    sd_generate_params generate = SD_GENERATE_PARAMS_INIT;
    sd_mask_params mask = SD_MASK_PARAMS_INIT;
    sd_vae_params vae = SD_VAE_PARAMS_INIT;
    sd_model_info info = SD_MODEL_INFO_INIT;
    sd_memory_info memory = SD_MEMORY_INFO_INIT;
    int sizes_first = context.struct_size == sizeof context && model.struct_size == sizeof model &&
                      sampler.struct_size == sizeof sampler &&
                      generate.struct_size == sizeof generate && mask.struct_size == sizeof mask &&
                      vae.struct_size == sizeof vae && info.struct_size == sizeof info &&
                      memory.struct_size == sizeof memory;
    return sizes_first && sd_library_version() ==
                              SD_VERSION_MAJOR * 10000 + SD_VERSION_MINOR * 100 + SD_VERSION_PATCH
               ? 0
               : 1;
}
