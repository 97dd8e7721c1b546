/* The life of a description. */
#include "describe/description.h"

#include "describe/config.h"

sd_status sd_description_new(const sd_context *ctx, char *path, sd_description **out) {
    sd_description *d = sd_zalloc(ctx, sizeof *d);
    *out = d;
    if (!d) {
        sd_free(ctx, path);
        return SD_ERROR_MEMORY;
    }
    d->path = path;
    d->scheduler = sd_scheduler_default();
    return SD_OK;
}

void sd_description_free(const sd_context *ctx, sd_description *d) {
    if (!d)
        return;
    sd_free(ctx, d->schedule.trained_betas);
    sd_free(ctx, d->path);
    sd_free(ctx, d);
}
