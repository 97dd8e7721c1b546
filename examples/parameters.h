/* Values of the generation parameters that pictures carry, as the popular web UIs write and read
 * them.
 */
#ifndef SD_EXAMPLES_PARAMETERS_H
#define SD_EXAMPLES_PARAMETERS_H

#include <sd/sd.h>

/* A value as it is, or as a JSON string where it has a comma, a colon or a line's end, which would
 * end it or begin another. NULL: no memory. Caller frees. */
char *parameters_quote(const char *value);

/* What the web UIs call a sampling method. */
const char *parameters_sampler(const char *method);

/* ", Variation seed: 7, Variation seed strength: 0.3, ENSD: 31337" of picture `index` of a batch,
 * as far as these are used. */
void parameters_noise(const sd_sampler_params *sampling, int index, char *out, size_t size);

/* The name of a model, quoted: its file's without the extension, or its folder's. Caller frees. */
char *parameters_model(const char *path);

#endif
