/* Models that are made of the parts of others. */
#ifndef SD_PIPELINE_DERIVE_H
#define SD_PIPELINE_DERIVE_H

#include "pipeline/model.h"

/*
 * A model with each part of from[kind], or of `base` where that is NULL, and with what belongs to
 * the part: a text encoder's vocabulary and words, and what is said of the model as a whole (its
 * schedule, prediction, conditioning, sampler's defaults), which the UNet brings. All of it is
 * shared. The models have one context and one type of activations. Fails where the parts do not
 * fit each other.
 */
sd_status sdi_model_derive(const sd_model *base, const sd_model *const from[SD_N_PARTS],
                           sd_model **out);
/* sd_model_combine */
sd_status sdi_model_combine(const sd_model *base, const char *const *parts,
                            const sd_model *const *from, int n, sd_model **out);

#endif
