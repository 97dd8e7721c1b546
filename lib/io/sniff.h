/* Names for files that are not what they should be. */
#ifndef SD_IO_SNIFF_H
#define SD_IO_SNIFF_H

#include "core/context.h"

/* First bytes of a file that are enough to tell. */
#define SD_SNIFF_SIZE 512

/* Records a sentence that says what `bytes` look like, e.g. a pickle or a web page: the status is
 * SD_ERROR_UNSUPPORTED for weights in another format and SD_ERROR_FORMAT for what is no weights at
 * all. SD_OK (and no sentence) when nothing is recognised. `expected`: "a safetensors file". */
sd_status sdi_sniff(const sd_context *ctx, const char *path, const uint8_t *bytes, size_t size,
                    const char *expected);

/* "a HEIC image", of pictures and documents other than PNG and JPEG; NULL: none that is known. */
const char *sdi_sniff_image(const uint8_t *bytes, size_t size);

#endif
