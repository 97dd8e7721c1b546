/* The table of parts, and the life of one. */
#include "model/part.h"

#include "backend/device.h"
#include "model/weight.h"

#include <stdio.h>
#include <string.h>

const sd_part_type *const sdi_part_types[SD_N_PARTS] = {
    [SD_PART_TEXT] = &sdi_text_part,     [SD_PART_TEXT_2] = &sdi_text_2_part,
    [SD_PART_CLASSES] = &sdi_class_part, [SD_PART_UNET] = &sdi_unet_part,
    [SD_PART_VAE] = &sdi_vae_part,       [SD_PART_TINY] = &sdi_tiny_part,
};

void sdi_part_copy_config(const sd_part_type *type, sd_description *to,
                          const sd_description *from) {
    memcpy(sdi_part_config(type, to), sdi_part_config(type, from), type->config_size);
}

int sdi_part_find(const char *name) {
    int kind = 0;
    while (kind < SD_N_PARTS && strcmp(sdi_part_types[kind]->name, name) != 0)
        kind++;
    return kind < SD_N_PARTS ? kind : -1;
}

sd_status sdi_part_unknown(const sd_context *ctx, const char *call, const char *name) {
    char names[160] = "";
    for (int i = 0; i < SD_N_PARTS; i++) {
        size_t used = strlen(names);
        snprintf(names + used, sizeof names - used, "%s\"%s\"", used ? ", " : "",
                 sdi_part_types[i]->name);
    }
    return sdi_fail(ctx, SD_ERROR_ARGUMENT, "%s: no part is called \"%.60s\"; there are %s", call,
                    name, names);
}

sd_part *sdi_part_retain(sd_part *part) {
    if (part)
        atomic_fetch_add_explicit(&part->refs, 1, memory_order_relaxed);
    return part;
}

void sdi_part_release(sd_part *part) {
    if (!part || atomic_fetch_sub_explicit(&part->refs, 1, memory_order_acq_rel) > 1)
        return;
    sd_context *ctx = part->ctx;
    sdi_programs_free(&part->programs);
    sdi_origin_release(part->origin);
    for (size_t i = 0; i < part->weights.n; i++)
        sdi_weight_release(part->weights.items[i]);
    for (size_t i = 0; i < part->blocks.n; i++)
        sdi_free(ctx, part->blocks.items[i]);
    sdi_free(ctx, part->weights.items);
    sdi_free(ctx, part->blocks.items);
    sdi_free(ctx, part);
}

int64_t sdi_part_parameters(const sd_part *part) {
    int64_t n = 0;
    for (size_t i = 0; part && i < part->weights.n; i++)
        n += sdi_weight_count(part->weights.items[i]);
    return n;
}

int64_t sdi_part_bytes(const sd_part *part) {
    int64_t n = 0;
    for (size_t i = 0; part && i < part->weights.n; i++) {
        const sd_weight *w = part->weights.items[i];
        n += (int64_t)part->ctx->device->api->weight_size(w->dev);
    }
    return n;
}
