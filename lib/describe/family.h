/* Telling a file of tensors that is no checkpoint of ours by its kind. */
#ifndef SD_DESCRIBE_FAMILY_H
#define SD_DESCRIBE_FAMILY_H

#include "io/weights.h"

/* SD_ERROR_UNSUPPORTED, with a sentence, for what is no Stable Diffusion checkpoint; for a file
 * without tensors SD_ERROR_MODEL. */
sd_status sdi_family_check(const sd_context *ctx, const char *path, const sd_weights *w);

/* By the UNet's input channels: what a model beside a latent of c channels is painted with. */
const char *sdi_family_of_channels(int in_channels, int c);

#endif
