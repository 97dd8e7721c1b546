/* Textual inversion: files of embeddings that were learned for a word. */
#ifndef SD_PIPELINE_WORDS_H
#define SD_PIPELINE_WORDS_H

#include "model/build.h"
#include "pipeline/model.h"

#define SD_MAX_WORDS 63 /* a bit for each: sd_chunks.words */

typedef struct sd_word_files {
    sd_weights *weights[SD_MAX_WORDS];
    sd_word_rows rows[SD_MAX_ENCODERS][SD_MAX_WORDS]; /* of each for each text encoder */
    int n;
} sd_word_files;

/* Fills the encoders' words; the model has a description, and a tokenizer where a vocabulary was
 * found. The uses are whole, and SD_MAX_WORDS at most. */
sd_status sdi_words_open(sd_model *model, const sd_adapter_use *const *uses, int n,
                         sd_word_files *files);
void sdi_words_close(sd_word_files *files);

#endif
