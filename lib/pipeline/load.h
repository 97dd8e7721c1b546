/* Loading a checkpoint. */
#ifndef SD_PIPELINE_LOAD_H
#define SD_PIPELINE_LOAD_H

#include "pipeline/model.h"

sd_status sdi_model_load(sd_context *ctx, const char *path, const sd_model_params *params,
                         sd_model **out);

#endif
