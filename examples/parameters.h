/* Values of the generation parameters that pictures carry, as the popular web UIs write and read
 * them.
 */
#ifndef SD_EXAMPLES_PARAMETERS_H
#define SD_EXAMPLES_PARAMETERS_H

/* A value as it is, or as a JSON string where it has a comma, a colon or a line's end, which would
 * end it or begin another. NULL: no memory. Caller frees. */
char *parameters_quote(const char *value);

/* The name of a model, quoted: its file's without the extension, or its folder's. Caller frees. */
char *parameters_model(const char *path);

#endif
