/*
 * Public structs end with their last member, on machines of 64 and of 32 bits: what lay behind it
 * would be read as the next member that a struct gets, and no program sets it.
 */
#include <sd/original.h>
#include <sd/profile.h>
#include <sd/sd.h>

#define ENDS_WITH(type, last)                                                                      \
    typedef char type##_ends_with_##last                                                           \
        [sizeof(type) == offsetof(type, last) + sizeof(((type *)0)->last) ? 1 : -1]

ENDS_WITH(sd_context_params, log_level);
ENDS_WITH(sd_adapter_use, config);
ENDS_WITH(sd_io, release);
ENDS_WITH(sd_memory_files, reserved);
ENDS_WITH(sd_model_params, io);
ENDS_WITH(sd_model_info, default_preview);
ENDS_WITH(sd_progress, reserved);
ENDS_WITH(sd_checkpoint_tensor, reserved);
ENDS_WITH(sd_sampler_params, seed_resize_height);
ENDS_WITH(sd_text_params, crop_left);
ENDS_WITH(sd_vae_params, tiny);
ENDS_WITH(sd_mask_params, padding);
ENDS_WITH(sd_generate_params, refiner_start);
ENDS_WITH(sd_pixels, reserved);
ENDS_WITH(sd_image_load_params, as_stored);
ENDS_WITH(sd_image_save_params, reserved);
ENDS_WITH(sd_run_params, denoising_end);
ENDS_WITH(sd_preview_params, method);
ENDS_WITH(sd_score_info, width);
ENDS_WITH(sd_original_params, reserved);
ENDS_WITH(sd_loss_params, reserved);
ENDS_WITH(sd_loss_info, logvar);
ENDS_WITH(sd_estimate_params, combined);
ENDS_WITH(sd_memory_info, peak);
ENDS_WITH(sd_work_info, encode);
ENDS_WITH(sd_profile_row, bytes);
ENDS_WITH(sd_device_memory_info, peak);
