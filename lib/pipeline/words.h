/* Textual inversion: files of embeddings that were learned for a word. */
#ifndef SD_PIPELINE_WORDS_H
#define SD_PIPELINE_WORDS_H

#include "model/build.h"
#include "pipeline/model.h"

/*
 * Fills the words of a text encoder, which has none yet, with those that the uses have, and gives
 * their rows, allocated; NULL: there are none. The model has a description, and a tokenizer where a
 * vocabulary was found. The rows are to be freed after a failure, too.
 */
sd_status sdi_words_open(sd_model *model, int encoder, const sd_uses *uses, sd_word_rows **rows);
/* SD_ERROR_UNSUPPORTED or _IO, where the model cannot take the words that the uses have. */
sd_status sdi_words_check(const sd_model *model, const sd_uses *uses);

#endif
