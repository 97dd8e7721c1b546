/* The numbers of one weight, from its tensors' files to the device. */
#ifndef SD_MODEL_LOAD_H
#define SD_MODEL_LOAD_H

#include "model/builder.h"

/* Fills w->dev; the builder has the first failure. */
void sd_weight_load(sd_builder *b, sd_weight *w);

#endif
