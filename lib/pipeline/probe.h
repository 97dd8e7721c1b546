/* What the UNet predicts, asked of itself. */
#ifndef SD_PIPELINE_PROBE_H
#define SD_PIPELINE_PROBE_H

#include "pipeline/model.h"

/* Where no file tells. The UNet is there. */
sd_status sd_probe_prediction(sd_model *model);

#endif
