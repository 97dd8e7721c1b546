/* The names that sampling methods and spacings have in the web UIs and in diffusers: the one table
 * of docs/samplers.md, of labels and of sd_sampler_find. */
#ifndef SD_SAMPLER_NAMES_H
#define SD_SAMPLER_NAMES_H

#include "core/context.h"

/* What the web UIs call the i-th method of the registry; NULL after the last. */
const char *sdi_method_label(int i);

/* The method and the spacing that a name stands for; SD_SPACING_AUTO where it says none.
 * SD_ERROR_ARGUMENT with what is near it where it stands for nothing. */
sd_status sdi_sampler_find(const sd_context *ctx, const char *name, const char **method,
                           sd_timestep_spacing *spacing);

#endif
