/*
 * Textual inversion (Gal et al. 2022): embeddings that were learned for a word. The web UIs write
 * them as "emb_params" (.safetensors) or below "string_to_param" (.pt), diffusers as one tensor of
 * the placeholder's name; the word is the file's name, or one that the host gives.
 */
#include "model/parts.h"
#include "pipeline/stage.h"

#include <string.h>

/* The one tensor that has the embeddings, or NULL. */
static const sd_entry *find_entry(const sd_weights *w) {
    const sd_entry *entry = sd_weights_find(w, "emb_params");
    return entry || sd_weights_count(w) != 1 ? entry : sd_weights_at(w, 0);
}

static sd_status read_rows(const sd_model *model, const char *path, sd_word_rows *word) {
    const sd_context *ctx = model->ctx;
    const sd_weights *w = word->weights;
    const sd_text_config *text = &model->source->text;
    const sd_entry *entry = find_entry(w);
    char shape[128];
    if (!entry)
        return sd_fail(ctx, SD_ERROR_MODEL,
                       "%s: %zu tensors and no \"emb_params\"; the embeddings of one word were "
                       "expected",
                       path, sd_weights_count(w));
    sd_status status = sd_part_check_type(ctx, w, entry);
    if (status)
        return status;
    int64_t rows = entry->n_dims == 2 ? entry->dims[0] : 1;
    if (entry->n_dims < 1 || entry->n_dims > 2 || entry->dims[entry->n_dims - 1] != text->width ||
        rows < 1 || rows > text->tokens - 2)
        return sd_fail(ctx, SD_ERROR_MODEL,
                       "%s: tensor '%s' has shape %s; [%d] or [1 to %d, %d] was expected", path,
                       entry->name, sd_shape_text(shape, sizeof shape, entry->n_dims, entry->dims),
                       text->width, text->tokens - 2, text->width);
    word->entry = entry;
    word->rows = (int)rows;
    return SD_OK;
}

/* The file's name without folder and extension. */
static char *name_of(const sd_context *ctx, const char *path) {
    const char *slash = strrchr(path, '/'), *base = slash ? slash + 1 : path;
    const char *dot = strrchr(base, '.');
    return sd_strndup(ctx, base, dot && dot > base ? (size_t)(dot - base) : strlen(base));
}

/* The ids of `given`, or of the file's name. */
static sd_status read_name(const sd_model *model, const char *path, const char *given,
                           sd_word *word) {
    const sd_context *ctx = model->ctx;
    char *name = given ? sd_strndup(ctx, given, strlen(given)) : name_of(ctx, path);
    if (!name)
        return SD_ERROR_MEMORY;
    sd_chunks chunks;
    int n;
    sd_status status = sd_prompt_chunks(model->tokenizer, NULL, name, false,
                                        model->source->text.tokens, 0, &chunks, &n);
    if (!status && (n <= 2 || n > chunks.tokens))
        status = sd_fail(ctx, SD_ERROR_ARGUMENT,
                         "%s: \"%s\" has %d tokens; a word of 1 to %d was expected", path, name,
                         n - 2, chunks.tokens - 2);
    if (!status) {
        word->n_ids = n - 2;
        word->ids = sd_alloc_array(ctx, (size_t)word->n_ids, sizeof *word->ids);
        if (word->ids)
            memcpy(word->ids, chunks.ids + 1, (size_t)word->n_ids * sizeof *word->ids);
        else
            status = SD_ERROR_MEMORY;
    }
    sd_chunks_free(ctx, &chunks);
    sd_free(ctx, name);
    return status;
}

static sd_status check_new(const sd_model *model, const char *path, const sd_word *word) {
    for (const sd_word *other = model->words.at; other < word; other++)
        if (other->n_ids == word->n_ids &&
            !memcmp(other->ids, word->ids, (size_t)word->n_ids * sizeof *word->ids))
            return sd_fail(model->ctx, SD_ERROR_ARGUMENT,
                           "%s: another file has embeddings for the same word", path);
    return SD_OK;
}

static sd_status open_word(sd_model *model, const char *path, const char *name,
                           sd_word_files *files) {
    sd_words *words = &model->words;
    sd_word *word = &words->at[words->n];
    sd_word_rows *rows = &files->rows[files->n];
    sd_status status = sd_weights_open(model->ctx, path, &rows->weights);
    if (status)
        return status;
    files->n++;
    words->n++;
    status = read_rows(model, path, rows);
    if (!status)
        status = read_name(model, path, name, word);
    if (!status)
        status = check_new(model, path, word);
    word->first = model->source->text.vocab_size + words->n_rows;
    word->n_rows = rows->rows;
    words->n_rows += rows->rows;
    return status;
}

sd_status sd_words_open(sd_model *model, const char *const *paths, const char *const *names, int n,
                        sd_word_files *files) {
    if (n > SD_MAX_WORDS)
        return sd_fail(model->ctx, SD_ERROR_UNSUPPORTED,
                       "%d embeddings were given; a model takes at most %d", n, SD_MAX_WORDS);
    if (model->source->conditioning != SD_CONDITIONING_TEXT || model->source->first_stage_only)
        return sd_fail(model->ctx, SD_ERROR_UNSUPPORTED,
                       "%s: %s has no text encoder that could take embeddings", paths[0],
                       model->source->path);
    if (!model->tokenizer)
        return sd_fail(model->ctx, SD_ERROR_IO, "%s: the word cannot be read: %s", paths[0],
                       model->vocab_error ? model->vocab_error : "the model has no tokenizer");
    model->words.at = sd_alloc_array(model->ctx, (size_t)n, sizeof *model->words.at);
    sd_status status = model->words.at ? SD_OK : SD_ERROR_MEMORY;
    for (int i = 0; i < n && !status; i++)
        status = open_word(model, paths[i], names ? names[i] : NULL, files);
    return status;
}

void sd_words_close(sd_word_files *files) {
    for (int i = 0; i < files->n; i++)
        sd_weights_close(files->rows[i].weights);
    files->n = 0;
}

void sd_words_free(const sd_context *ctx, sd_words *words) {
    for (int i = 0; i < words->n; i++)
        sd_free(ctx, words->at[i].ids);
    sd_free(ctx, words->at);
    *words = (sd_words){0};
}
