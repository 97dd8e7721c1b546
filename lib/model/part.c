/* The table of parts, and the life of one. */
#include "model/part.h"

#include "backend/device.h"

const sd_part_type *const sd_part_types[SD_N_PARTS] = {
    [SD_PART_TEXT] = &sd_text_part,
    [SD_PART_CLASSES] = &sd_class_part,
    [SD_PART_UNET] = &sd_unet_part,
    [SD_PART_VAE] = &sd_vae_part,
};

sd_part *sd_part_retain(sd_part *part) {
    if (part)
        atomic_fetch_add_explicit(&part->refs, 1, memory_order_relaxed);
    return part;
}

void sd_part_release(sd_part *part) {
    if (!part || atomic_fetch_sub_explicit(&part->refs, 1, memory_order_acq_rel) > 1)
        return;
    sd_context *ctx = part->ctx;
    for (size_t i = 0; i < part->weights.n; i++)
        ctx->device->api->weight_free(ctx->device->dev, part->weights.items[i]);
    for (size_t i = 0; i < part->blocks.n; i++)
        sd_free(ctx, part->blocks.items[i]);
    sd_free(ctx, part->weights.items);
    sd_free(ctx, part->blocks.items);
    sd_free(ctx, part);
}
