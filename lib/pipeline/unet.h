/* The UNet: as a stage, for samplers, and one evaluation of it. */
#ifndef SD_PIPELINE_UNET_H
#define SD_PIPELINE_UNET_H

#include "core/cond.h"
#include "pipeline/stage.h"

/* The stage's tensors, all of SDB_F32 but the keys and values. `options` of the stage: the UNet is
 * told the guidance scale. What is computed apart are the keys and values of the context. */
enum {
    SD_UNET_X,       /* [n, h, w, in_channels] */
    SD_UNET_T,       /* [n, 1, 1, 1] */
    SD_UNET_SCALE,   /* [n, 1, 1, guidance_dim], or none */
    SD_UNET_CONTEXT, /* [n, tokens, 1, context_dim], or none where `tokens` is 0 */
    SD_UNET_KV,      /* or none */
    SD_UNET_Y        /* [n, h, w, out_channels] */
};
extern const sd_stage_type sdi_unet_stage;

/* `cond` may be NULL where the UNet looks at none. */
sd_status sdi_stage_unet(const sd_model *model, const sd_tensor *x, const double *timesteps,
                         const sd_cond *cond, sd_tensor **out);
/* Whatever comes out: for a model whose weights are not known to be right. */
sd_status sdi_unet_evaluate(const sd_model *model, const sd_tensor *x, const double *timesteps,
                            const sd_cond *cond, sd_tensor **out);

#endif
