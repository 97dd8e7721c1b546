/* Adapters in use, and how strong each is. */
#ifndef SD_MODEL_USES_H
#define SD_MODEL_USES_H

#include "model/adapter.h"

typedef struct sd_use {
    sd_adapter *adapter; /* retained */
    double unet_strength, text_strength;
    char *word; /* of textual inversion; NULL: the file's name */
} sd_use;

/* All that change a model, in the order in which they came. */
typedef struct sd_uses {
    sd_use *at;
    int n;
} sd_uses;

/* Those that a host gives: an adapter is retained, a path is loaded. The uses are to be freed after
 * a failure too, as those of the next two. */
sd_status sdi_uses_load(sd_context *ctx, const sd_adapter_use *const *given, int n, sd_uses *uses);
sd_status sdi_uses_copy(sd_context *ctx, const sd_uses *from, sd_uses *uses);
/* a and behind them b. */
sd_status sdi_uses_join(sd_context *ctx, const sd_uses *a, const sd_uses *b, sd_uses *uses);
void sdi_uses_free(const sd_context *ctx, sd_uses *uses);
/* SD_ERROR_IO where the file of one was written to since it was opened. */
sd_status sdi_uses_check(const sd_uses *uses);

double sdi_use_strength(const sd_use *use, unsigned net);
/* Textual inversion: it changes no weight. */
static inline bool sdi_use_has_words(const sd_use *use) {
    return use->adapter->n_modules == 0;
}
int sdi_uses_count_words(const sd_uses *uses);

#endif
