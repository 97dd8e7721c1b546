/*
 * Prompts as the original's environment cleaned them: basic_clean and whitespace_clean of OpenAI's
 * CLIP, whose first step is ftfy's fix_text (version 6.3; https://ftfy.readthedocs.io). Curly
 * quotes become straight, full-width letters plain, ligatures letters, entities characters; text
 * that was read in a wrong encoding is mended, terminal escapes and control characters go, the rest
 * is NFC.
 */
#ifndef SD_TEXT_CLEAN_H
#define SD_TEXT_CLEAN_H

#include "text/unicode.h"

/*
 * html.unescape(html.unescape(ftfy.fix_text(text))), each run of white space one space and none at
 * the ends. Lower case is the tokenizer's, but for the final sigma that Python's lower() makes and
 * the tokenizer does not. What is not UTF-8 is U+FFFD; surrogates as UTF-8 are read as such.
 * sdi_free *out.
 */
sd_status sdi_text_clean(const sd_context *ctx, const char *text, char **out);

/* Each of n texts cleaned; sdi_texts_free *out, after a failure too. */
sd_status sdi_texts_clean(const sd_context *ctx, const char *const *texts, int n, char ***out);
void sdi_texts_free(const sd_context *ctx, char **texts, int n);

/* --- the steps --- */

/* clean_steps.c. A text that a step reads, and the one that it makes; then they change places. */
typedef struct sd_clean {
    const sd_context *ctx;
    sd_code_points text, made;
    uint8_t *bytes; /* of the text in an encoding */
    size_t n_bytes, byte_capacity;
} sd_clean;

bool sdi_clean_same(const sd_code_points *a, const sd_code_points *b);
sd_status sdi_clean_put(sd_clean *c, int32_t point);
/* The text that was made becomes the text. *changed is set where they differ, else stays. */
void sdi_clean_swap(sd_clean *c, bool *changed);

/* clean_entities.c: ftfy's unescape_html, of names that end with ; alone; Python's html.unescape.
 */
sd_status sdi_clean_unescape_strict(sd_clean *c, bool *changed);
sd_status sdi_clean_unescape(sd_clean *c);

/* clean_encoding.c: ftfy's fix_encoding and fix_c1_controls. */
sd_status sdi_clean_encoding_fix(sd_clean *c, bool *changed);
void sdi_clean_c1_fix(sd_clean *c, bool *changed);

#endif
