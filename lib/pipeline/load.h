/* Loading a checkpoint, and listing what is in one. */
#ifndef SD_PIPELINE_LOAD_H
#define SD_PIPELINE_LOAD_H

#include "pipeline/model.h"

sd_status sdi_model_load(sd_context *ctx, const char *path, const sd_model_params *params,
                         sd_model **out);
/* sd_checkpoint_list */
sd_status sdi_pipeline_list(sd_context *ctx, const char *path, sd_checkpoint_fn fn, void *user);

#endif
