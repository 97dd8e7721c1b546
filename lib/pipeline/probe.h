/* Asking a UNet itself what it predicts. */
#ifndef SD_PIPELINE_PROBE_H
#define SD_PIPELINE_PROBE_H

#include "pipeline/model.h"

/* For a description that does not know it, when the UNet is there. */
sd_status sdi_probe_prediction(const sd_model *model, sd_prediction *found);

#endif
