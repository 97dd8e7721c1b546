/* sd.h, original.h and profile.h in C++17 and C++20: first in a file, with what the ABI pins. */
#include <sd/profile.h>
#include <sd/sd.h>

#include <sd/original.h>

#include <cstdint>
#include <type_traits>

static_assert(std::is_same<sd_status, std::int32_t>::value, "any number may be a status");
static_assert(SD_ERROR_INTERNAL == 10, "status numbers are pinned");

/* C++20 takes the macros; any C++ the functions. */
#if __cplusplus >= 202002L
#define FILLED(name, Type, INIT) Type name = INIT
#else
#define FILLED(name, Type, INIT)                                                                   \
    Type name;                                                                                     \
    Type##_init(&name, sizeof name)
#endif

int main() {
    FILLED(context, sd_context_params, SD_CONTEXT_PARAMS_INIT);
    FILLED(model, sd_model_params, SD_MODEL_PARAMS_INIT);
    FILLED(sampler, sd_sampler_params, SD_SAMPLER_PARAMS_INIT);
    FILLED(generate, sd_generate_params, SD_GENERATE_PARAMS_INIT);
    FILLED(mask, sd_mask_params, SD_MASK_PARAMS_INIT);
    FILLED(info, sd_model_info, SD_MODEL_INFO_INIT);
    FILLED(loss, sd_loss_params, SD_LOSS_PARAMS_INIT);
    FILLED(memory, sd_memory_info, SD_MEMORY_INFO_INIT);
    bool sized = context.struct_size == sizeof context && model.struct_size == sizeof model &&
                 sampler.struct_size == sizeof sampler && info.struct_size == sizeof info &&
                 loss.struct_size == sizeof loss && memory.struct_size == sizeof memory;
    bool filled = context.log_level == SD_LOG_LEVEL_WARN && sampler.batch == 1 &&
                  sampler.seed == 42 && generate.strength <= SD_AUTO && mask.padding == 32 &&
                  model.vocab == nullptr;
    return sized && filled && sd_library_version_string()[0] != '\0' ? 0 : 1;
}
