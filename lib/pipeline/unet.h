/* The UNet: as a stage, for samplers, and one evaluation of it. */
#ifndef SD_PIPELINE_UNET_H
#define SD_PIPELINE_UNET_H

#include "core/cond.h"
#include "pipeline/stage.h"

/* The stage's tensors, all of SDB_F32 but the keys and values. `options` of the stage: the UNet is
 * told the guidance scale. What is computed apart are the keys and values of the context, and the
 * label. */
enum {
    SD_UNET_X,       /* [n, h, w, in_channels] */
    SD_UNET_T,       /* [n, 1, 1, 1] */
    SD_UNET_SCALE,   /* [n, 1, 1, guidance_dim], or none */
    SD_UNET_CONTEXT, /* [n, tokens, 1, context_dim], or none where `tokens` is 0 */
    SD_UNET_KV,      /* or none */
    SD_UNET_POOLED,  /* [n, 1, 1, a text's vector], or none, as the next two */
    SD_UNET_SIZES,   /* [n, 1, 1, n_sizes] */
    SD_UNET_LABEL,   /* what is made of both */
    SD_UNET_Y        /* [n, h, w, out_channels] */
};
extern const sd_stage_type sdi_unet_stage;

/* The width of the vector that the UNet takes of a text; 0: none. */
int sdi_unet_pooled_width(const sd_model *model);
/* Whether `cond` has what the UNet looks at, in `n` rows or, where `one_is_fine`, in one; of
 * `tokens` tokens, or of any number (-1). `what` names it in sentences. */
sd_status sdi_unet_check_cond(const sd_model *model, const sd_cond *cond, const char *what,
                              int64_t n, bool one_is_fine, int64_t tokens);
/* Row `row` of it as what the UNet sees of picture i of the stage. Sizes that are not there, or 0,
 * are the run's; `score` is that of a refiner that is told none. */
void sdi_unet_put_cond(sd_stage *s, int i, const sd_cond *cond, int row, double score);

/* How pictures are liked: what diffusers tells refiners of the wanted one and of the other. */
#define SD_AESTHETIC_SCORE 6.0
#define SD_NEGATIVE_SCORE 2.5

/* `cond` may be NULL where the UNet looks at none. */
sd_status sdi_stage_unet(const sd_model *model, const sd_tensor *x, const double *timesteps,
                         const sd_cond *cond, sd_tensor **out);
/* Whatever comes out: for a model whose weights are not known to be right. */
sd_status sdi_unet_evaluate(const sd_model *model, const sd_tensor *x, const double *timesteps,
                            const sd_cond *cond, sd_tensor **out);

#endif
