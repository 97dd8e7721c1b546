/* The life of a description, and what it has before anything was read. */
#include "describe/description.h"

#include <string.h>

sd_scheduler_config sdi_scheduler_default(void) {
    return (sd_scheduler_config){.method = "ddim",
                                 .steps = 50,
                                 .guidance = 7.5,
                                 .spacing = SD_SPACING_UNIFORM,
                                 .order = 2,
                                 .lower_order_final = true,
                                 .original_inference_steps = 50,
                                 .timestep_scaling = 10.0};
}

sd_scheduler_config sdi_scheduler_xl(bool inpainting) {
    sd_scheduler_config c = sdi_scheduler_default();
    c.method = "euler";
    c.guidance = SD_XL_GUIDANCE(inpainting);
    c.folder = true;
    c.spacing = SD_SPACING_LEADING;
    c.steps_offset = 1;
    return c;
}

sd_schedule_config sdi_schedule_default(void) {
    return (sd_schedule_config){.beta_schedule = SD_BETA_SCALED_LINEAR,
                                .beta_start = 0.00085,
                                .beta_end = 0.012,
                                .train_timesteps = 1000,
                                .prediction = SD_PREDICT_EPSILON};
}

int sdi_unet_in_block(const sd_unet_config *c, int level) {
    int n = 1;
    for (int i = 0; i < level; i++)
        n += c->res_blocks[i] + 1;
    return n;
}

int sdi_unet_out_block(const sd_unet_config *c, int level) {
    int n = 0;
    for (int i = c->n_levels - 1; i > level; i--)
        n += c->res_blocks[i] + 1;
    return n;
}

void sdi_unet_set_depth(sd_unet_config *c, bool up, int level, int block, int depth) {
    int at = block + (up ? sdi_unet_out_block(c, level) : sdi_unet_in_block(c, level));
    if (at < SD_MAX_UNET_BLOCKS)
        *(up ? &c->depth_out[at] : &c->depth_in[at]) = depth;
}

void sdi_unet_set_depths(sd_unet_config *c, int level, int depth) {
    for (int up = 0; up < 2; up++)
        for (int i = 0; i < c->res_blocks[level] + up; i++)
            sdi_unet_set_depth(c, up, level, i, depth);
}

static bool any(const int *depths, int first, int n) {
    for (int i = first; i < first + n && i < SD_MAX_UNET_BLOCKS; i++)
        if (depths[i] > 0)
            return true;
    return false;
}

bool sdi_unet_has_attention(const sd_unet_config *c, int level) {
    int n = c->res_blocks[level];
    return any(c->depth_in, sdi_unet_in_block(c, level), n) ||
           any(c->depth_out, sdi_unet_out_block(c, level), n + 1) ||
           (level == c->n_levels - 1 && c->depth_mid > 0);
}

sd_status sdi_description_new(const sd_context *ctx, char *path, sd_description **out) {
    sd_description *d = sdi_zalloc(ctx, sizeof *d);
    *out = d;
    if (!d) {
        sdi_free(ctx, path);
        return SD_ERROR_MEMORY;
    }
    d->path = path;
    d->scheduler = sdi_scheduler_default();
    return SD_OK;
}

/* A schedule's table is the description's own. */
static sd_status copy_betas(const sd_context *ctx, sd_schedule_config *c, const double *betas) {
    size_t n = (size_t)c->train_timesteps;
    c->trained_betas = betas ? sdi_alloc_array(ctx, n, sizeof *betas) : NULL;
    if (!betas || !c->trained_betas)
        return betas ? SD_ERROR_MEMORY : SD_OK;
    memcpy(c->trained_betas, betas, n * sizeof *betas);
    return SD_OK;
}

sd_status sdi_description_copy(const sd_context *ctx, const sd_description *from, const char *path,
                               sd_description **out) {
    char *own = sdi_strdup(ctx, path);
    *out = NULL;
    sd_status status = own ? sdi_description_new(ctx, own, out) : SD_ERROR_MEMORY;
    if (status)
        return status;
    sd_description *d = *out;
    *d = *from;
    d->path = own;
    status = copy_betas(ctx, &d->schedule, from->schedule.trained_betas);
    if (status) {
        sdi_description_free(ctx, d);
        *out = NULL;
    }
    return status;
}

void sdi_description_free(const sd_context *ctx, sd_description *d) {
    if (!d)
        return;
    sdi_free(ctx, d->schedule.trained_betas);
    sdi_free(ctx, d->path);
    sdi_free(ctx, d);
}

double sdi_description_scale(const sd_description *d) {
    return d->texts == SD_TEXTS_FIRST ? 0.18215 : SD_XL_SCALE;
}

void sdi_description_predicts(sd_description *d, sd_prediction prediction) {
    bool large = prediction == SD_PREDICT_V && d->unet.linear_projection;
    d->schedule.prediction = prediction;
    if (d->unet.sample_size == 0) /* 1024 pixels (SDXL), 768, or 512 */
        d->unet.sample_size = d->texts != SD_TEXTS_FIRST ? 128 : large ? 96 : 64;
}
