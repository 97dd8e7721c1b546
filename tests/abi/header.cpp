/* sd.h, original.h and profile.h in C++17: first in a file, with what the ABI pins. */
#include <sd/profile.h>
#include <sd/sd.h>

#include <sd/original.h>

#include <cstdint>
#include <type_traits>

static_assert(std::is_same<sd_status, std::int32_t>::value, "any number may be a status");
static_assert(SD_ERROR_INTERNAL == 10, "status numbers are pinned");

int main() {
    sd_context_params context = SD_CONTEXT_PARAMS_INIT;
    sd_model_params model = SD_MODEL_PARAMS_INIT;
    sd_sampler_params sampler = SD_SAMPLER_PARAMS_INIT;
    sd_generate_params generate = SD_GENERATE_PARAMS_INIT;
    sd_mask_params mask = SD_MASK_PARAMS_INIT;
    sd_vae_params vae = SD_VAE_PARAMS_INIT;
    sd_model_info info = SD_MODEL_INFO_INIT;
    sd_memory_info memory = SD_MEMORY_INFO_INIT;
    return context.struct_size && model.struct_size && sampler.spacing == SD_SPACING_AUTO &&
                   generate.struct_size && mask.struct_size && vae.struct_size &&
                   info.struct_size && memory.struct_size && sd_library_version_string()[0] != '\0'
               ? 0
               : 1;
}
