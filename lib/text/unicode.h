/* Unicode as transformers' fast CLIPTokenizer sees it: NFC, lower case, classes of characters. */
#ifndef SD_TEXT_UNICODE_H
#define SD_TEXT_UNICODE_H

#include "core/context.h"

typedef enum sd_char_class {
    SD_CHAR_SPACE,  /* \s */
    SD_CHAR_LETTER, /* \p{L} */
    SD_CHAR_NUMBER, /* \p{N} */
    SD_CHAR_OTHER
} sd_char_class;

/* Code points that grow. Zero it to begin; free `at` with sdi_free. */
typedef struct sd_code_points {
    int32_t *at;
    size_t n, capacity;
} sd_code_points;

sd_char_class sdi_char_classify(int32_t c);

/* Writes 1 to 4 bytes and returns their count. */
int sdi_utf8_put(int32_t c, uint8_t *out);

/* The code point at *position, which moves on: at least by 1. What is not UTF-8 is U+FFFD, one for
 * each maximal subpart (Unicode, table 3-8), as Python's errors="replace". */
int32_t sdi_utf8_get(const uint8_t *s, size_t n, size_t *position);

/* Room for at least `need` elements of `size` bytes; keeps what is there. */
sd_status sdi_text_reserve(const sd_context *ctx, void *array, size_t *capacity, size_t need,
                           size_t size);

/* Replaces `out` with NFC, then lower case, of `n` bytes of UTF-8, read by sdi_utf8_get. */
sd_status sdi_text_normalise(const sd_context *ctx, const uint8_t *text, size_t n,
                             sd_code_points *out);

/* NFC as it is in Unicode itself. */
sd_status sdi_text_nfc(const sd_context *ctx, sd_code_points *text);

#endif
