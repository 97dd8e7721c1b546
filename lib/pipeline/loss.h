/* The loss of a training step. */
#ifndef SD_PIPELINE_LOSS_H
#define SD_PIPELINE_LOSS_H

#include "core/cond.h"
#include "pipeline/model.h"

/* `concat` and `logvar` of `params` may be NULL, and so may `samples`. */
sd_status sdi_stage_training_loss(const sd_model *model, const sd_tensor *x0,
                                  const sd_tensor *noise, const int32_t *timesteps,
                                  const sd_cond *cond, const sd_loss_params *params,
                                  sd_loss_info *loss, sd_tensor **samples);

#endif
