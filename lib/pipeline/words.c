/*
 * Textual inversion (Gal et al. 2022): embeddings that were learned for a word. The web UIs write
 * them as "emb_params" (.safetensors) or below "string_to_param" (.pt), diffusers as one tensor of
 * the placeholder's name; those for SDXL have "clip_l" and "clip_g", one for each text encoder. The
 * word is the file's name, or one that the host gives.
 */
#include "pipeline/words.h"
#include "io/decode.h"

/* The one tensor that has the embeddings, or NULL. */
static const sd_entry *find_entry(const sd_weights *w) {
    const sd_entry *entry = sdi_weights_find(w, "emb_params");
    return entry || sdi_weights_count(w) != 1 ? entry : sdi_weights_at(w, 0);
}

/* Embeddings of another text encoder, by their names or their width. */
static sd_status refuse_family(const sd_model *model, const char *path, const sd_weights *w,
                               const sd_entry *entry) {
    static const struct {
        int64_t width;
        const char *family;
    } families[] = {{768, "Stable Diffusion 1.x"},
                    {1024, "Stable Diffusion 2.x"},
                    {1280, "the second text encoder of Stable Diffusion XL"}};
    const sd_context *ctx = model->ctx;
    int width = model->encoders[0].config->width;
    if (sdi_weights_find(w, "clip_g") || sdi_weights_find(w, "clip_l"))
        return sdi_fail(
            ctx, SD_ERROR_UNSUPPORTED,
            "%s: an SDXL embedding (clip_l, clip_g); %s is %s with one text encoder, %d "
            "wide: use an embedding that was made for it",
            path, model->desc->path, model->desc->family, width);
    int64_t found = entry && entry->n_dims > 0 ? entry->dims[entry->n_dims - 1] : width;
    for (size_t i = 0; i < SD_COUNT(families) && found != width; i++)
        if (found == families[i].width)
            return sdi_fail(
                ctx, SD_ERROR_MODEL,
                "%s: tensor '%s' is %d wide, as embeddings for %s are; %s (%s) takes %d: "
                "use an embedding that was made for it",
                path, entry->name, (int)found, families[i].family, model->desc->path,
                model->desc->family, width);
    if (!entry)
        return sdi_fail(ctx, SD_ERROR_MODEL,
                        "%s: %zu tensors and no \"emb_params\"; the embeddings of one word were "
                        "expected",
                        path, sdi_weights_count(w));
    return SD_OK;
}

/* The embeddings are rows of that encoder's width. */
static sd_status check_rows(const sd_model *model, const char *path, const sd_encoder *encoder,
                            sd_word_rows *word) {
    const sd_context *ctx = model->ctx;
    const sd_text_config *text = encoder->config;
    const sd_entry *entry = word->entry;
    char shape[128];
    sd_status status = sdi_decoder_check(ctx, word->weights, entry);
    if (status)
        return status;
    int64_t rows = entry->n_dims == 2 ? entry->dims[0] : 1;
    if (entry->n_dims < 1 || entry->n_dims > 2 || entry->dims[entry->n_dims - 1] != text->width ||
        rows < 1 || rows > text->tokens - 2)
        return sdi_fail(
            ctx, SD_ERROR_MODEL, "%s: tensor '%s' has shape %s; [%d] or [1 to %d, %d] was expected",
            path, entry->name, sdi_shape_text(shape, sizeof shape, entry->n_dims, entry->dims),
            text->width, text->tokens - 2, text->width);
    word->rows = (int)rows;
    return SD_OK;
}

/* A file for SDXL has a tensor for each encoder. */
static sd_status find_own(const sd_model *model, const char *path, sd_part_kind part,
                          sd_word_rows *word) {
    const char *name = part == SD_PART_TEXT_2 ? "clip_g" : "clip_l";
    word->entry = sdi_weights_find(word->weights, name);
    if (word->entry)
        return SD_OK;
    return sdi_fail(model->ctx, SD_ERROR_MODEL,
                    "%s: there is no tensor '%s'; %s is %s, whose embeddings have clip_l and "
                    "clip_g: use one that was made for it",
                    path, name, model->desc->path, model->desc->family);
}

static sd_status read_rows(const sd_model *model, const char *path, int i, sd_word_rows *word) {
    const sd_encoder *encoder = &model->encoders[i];
    sd_status status;
    if (model->desc->texts != SD_TEXTS_FIRST) {
        status = find_own(model, path, encoder->part, word);
    } else {
        word->entry = find_entry(word->weights);
        status = refuse_family(model, path, word->weights, word->entry);
    }
    return status ? status : check_rows(model, path, encoder, word);
}

/* Where one encoder has other rows than the first, a prompt would have other tokens for each. */
static sd_status check_alike(const sd_model *model, const char *path, int i, int at,
                             const sd_word_rows *rows) {
    int first = i ? model->encoders[0].words->at[at].n_rows : rows->rows;
    if (first == rows->rows)
        return SD_OK;
    return sdi_fail(
        model->ctx, SD_ERROR_MODEL,
        "%s: tensor '%s' has %d rows, and that of the first text encoder has %d; as many "
        "were expected",
        path, rows->entry->name, rows->rows, first);
}

/* A word as one encoder knows it. */
static sd_status add_word(sd_model *model, int i, const sd_use *use, sd_word_rows *rows) {
    sd_encoder *encoder = &model->encoders[i];
    const sd_text_config *config = encoder->config;
    const char *path = use->adapter->path;
    sd_words *words = encoder->words;
    rows->weights = use->adapter->weights;
    sd_status status;
    if ((status = read_rows(model, path, i, rows)) ||
        (status = check_alike(model, path, i, words->n, rows)) ||
        (status = sdi_words_add(words, encoder->tokenizer, path, use->word, config->tokens)))
        return status;
    sd_word *word = &words->at[words->n - 1];
    word->first = config->vocab_size + words->n_rows;
    word->n_rows = rows->rows;
    words->n_rows += rows->rows;
    return SD_OK;
}

sd_status sdi_words_check(const sd_model *model, const sd_uses *uses) {
    int i = 0;
    while (i < uses->n && !sdi_use_has_words(&uses->at[i]))
        i++;
    if (i == uses->n)
        return SD_OK;
    const char *path = uses->at[i].adapter->path;
    if (model->n_encoders == 0)
        return sdi_fail(model->ctx, SD_ERROR_UNSUPPORTED,
                        "%s: %s has no text encoder that could take embeddings", path,
                        model->desc->path);
    if (!sdi_model_has_vocabulary(model))
        return sdi_fail(model->ctx, SD_ERROR_IO, "%s: the word cannot be read: %s", path,
                        model->vocab_error);
    return SD_OK;
}

sd_status sdi_words_open(sd_model *model, int encoder, const sd_uses *uses, sd_word_rows **rows) {
    sd_encoder *e = &model->encoders[encoder];
    int n = sdi_uses_count_words(uses), at = 0;
    *rows = NULL;
    if (n == 0)
        return SD_OK;
    e->words = sdi_words_new(model->ctx, n);
    *rows = sdi_alloc_array(model->ctx, (size_t)n, sizeof **rows);
    sd_status status = e->words && *rows ? SD_OK : SD_ERROR_MEMORY;
    for (int i = 0; i < uses->n && !status; i++)
        if (sdi_use_has_words(&uses->at[i]))
            status = add_word(model, encoder, &uses->at[i], &(*rows)[at++]);
    return status;
}
