/* Models that adapters change. */
#ifndef SD_PIPELINE_ADAPT_H
#define SD_PIPELINE_ADAPT_H

#include "pipeline/model.h"

/* sd_model_adapt. The uses are whole. */
sd_status sdi_model_adapt(const sd_model *base, const sd_adapter_use *const *uses, int n,
                          sd_model **out);

#endif
