/* Adapters in use: loaded or retained, and how strong each is. */
#include "model/uses.h"

static sd_status keep(sd_context *ctx, sd_uses *uses, const sd_use *from) {
    sd_use *use = &uses->at[uses->n++];
    *use = *from;
    sdi_handle_retain(use->adapter);
    use->word = from->word ? sdi_strdup(ctx, from->word) : NULL;
    return from->word && !use->word ? SD_ERROR_MEMORY : SD_OK;
}

/* Textual inversion has no strength, and only it has a word. */
static sd_status check(const sd_context *ctx, const sd_use *use) {
    bool words = sdi_use_has_words(use);
    if (words && (use->unet_strength != 1 || use->text_strength != 1))
        return sdi_fail(ctx, SD_ERROR_UNSUPPORTED,
                        "%s: its strengths are %g and %g; textual inversion knows none, and 1 was "
                        "expected",
                        use->adapter->path, use->unet_strength, use->text_strength);
    if (!words && use->word)
        return sdi_fail(
            ctx, SD_ERROR_ARGUMENT,
            "%s: sd_adapter_use.word is \"%.60s\", but the adapter has no embeddings of a "
            "word",
            use->adapter->path, use->word);
    return SD_OK;
}

static sd_status load_one(sd_context *ctx, sd_uses *uses, const sd_adapter_use *given) {
    sd_use use = {.adapter = (sd_adapter *)given->adapter,
                  .unet_strength = given->unet_strength,
                  .text_strength = given->text_strength,
                  .word = (char *)given->word};
    sd_adapter *loaded = NULL;
    sd_status status = SD_OK;
    if (!use.adapter) {
        status = sdi_adapter_load(ctx, given->path, given->config, &loaded);
        use.adapter = loaded;
    }
    if (!status)
        status = check(ctx, &use);
    if (!status)
        status = keep(ctx, uses, &use);
    sdi_handle_release(loaded);
    return status;
}

/* Empty, with room for n. */
static sd_status reserve(sd_context *ctx, int n, sd_uses *uses) {
    *uses = (sd_uses){.n = 0};
    if (n == 0)
        return SD_OK;
    uses->at = sdi_alloc_array(ctx, (size_t)n, sizeof *uses->at);
    return uses->at ? SD_OK : SD_ERROR_MEMORY;
}

sd_status sdi_uses_load(sd_context *ctx, const sd_adapter_use *const *given, int n, sd_uses *uses) {
    sd_status status = reserve(ctx, n, uses);
    for (int i = 0; i < n && !status; i++)
        status = load_one(ctx, uses, given[i]);
    return status;
}

sd_status sdi_uses_join(sd_context *ctx, const sd_uses *a, const sd_uses *b, sd_uses *uses) {
    sd_status status = reserve(ctx, a->n + b->n, uses);
    for (int i = 0; i < a->n + b->n && !status; i++)
        status = keep(ctx, uses, i < a->n ? &a->at[i] : &b->at[i - a->n]);
    return status;
}

sd_status sdi_uses_copy(sd_context *ctx, const sd_uses *from, sd_uses *uses) {
    const sd_uses none = {.n = 0};
    return sdi_uses_join(ctx, from, &none, uses);
}

void sdi_uses_free(const sd_context *ctx, sd_uses *uses) {
    for (int i = 0; i < uses->n; i++) {
        sdi_handle_release(uses->at[i].adapter);
        sdi_free(ctx, uses->at[i].word);
    }
    sdi_free(ctx, uses->at);
    *uses = (sd_uses){.n = 0};
}

sd_status sdi_uses_check(const sd_uses *uses) {
    sd_status status = SD_OK;
    for (int i = 0; i < uses->n && !status; i++)
        status = sdi_weights_check(uses->at[i].adapter->weights);
    return status;
}

double sdi_use_strength(const sd_use *use, unsigned net) {
    return net == SD_NET_UNET ? use->unet_strength : use->text_strength;
}

int sdi_uses_count_words(const sd_uses *uses) {
    int n = 0;
    for (int i = 0; i < uses->n; i++)
        n += sdi_use_has_words(&uses->at[i]);
    return n;
}
