/* The text of a safetensors header, where jansson and the format's official reader differ. */
#ifndef SD_IO_HEADER_TEXT_H
#define SD_IO_HEADER_TEXT_H

#include "core/context.h"

/* Writes the sign U+2400, which stands for a zero byte, in the place of each \u0000: names are C
 * strings here. */
void sdi_header_show_zeros(char *text, size_t size);
/* Checks names: a tensor or metadata that is there twice is its last, but "__metadata__" itself and
 * the members of a tensor may be there once: SD_ERROR_FORMAT. The text is valid JSON. */
sd_status sdi_header_check_keys(const sd_context *ctx, const char *path, const char *text,
                                size_t size);

#endif
