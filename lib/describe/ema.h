/* The averaged copy of a UNet's weights that training keeps, which may be loaded in their place. */
#ifndef SD_DESCRIBE_EMA_H
#define SD_DESCRIBE_EMA_H

#include "io/weights.h"

/* As ema_scope() of the original: from now on the UNet's names find the averages. SD_ERROR_MODEL,
 * and nothing is changed: one is not there. */
sd_status sdi_ema_use(sd_context *ctx, sd_weights *w);
bool sdi_ema_is_there(const sd_weights *w); /* of some tensors */
/* Whether it is not there of all; then `name` is that of the first that is missing. */
bool sdi_ema_lacks(const sd_weights *w, char *name, size_t size);
/* Where the UNet is there only as its average, this is found under the UNet's names from now on;
 * returns whether that is so. */
bool sdi_ema_take_alone(sd_weights *w);

#endif
