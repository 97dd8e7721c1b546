/*
 * Building the parts of a model from its source: which tensors there are to be, and the networks
 * with their weights on the device.
 */
#ifndef SD_MODEL_BUILD_H
#define SD_MODEL_BUILD_H

#include "backend/backend.h"
#include "core/call.h"
#include "model/part.h"
#include "model/source.h"

typedef void (*sd_build_list_fn)(void *user, const char *name, int n_dims, const int64_t *dims);

/* Embeddings that were learned for a word. */
typedef struct sd_word_rows {
    sd_weights *weights;
    const sd_entry *entry; /* [rows, width], of a type that weights may have */
    int rows;
} sd_word_rows;

/* The building of one model. */
typedef struct sd_build {
    sd_context *ctx;
    const sd_source *source;
    sd_interrupt interrupt;
    bool listing;     /* weights are noted, and none is loaded */
    sdb_type compute; /* type of the activations */
    int done, total;  /* tensors, for progress */
    sd_load_progress_fn progress;
    void *progress_user;
    const sd_word_rows *words; /* embeddings that follow the vocabulary's, set after */
    int n_words;               /* sd_build_init */
    struct sd_feed *feeds;     /* of the tensors so far: feed.h */
    void *scratch;             /* lent to the device with each weight */
} sd_build;

sd_status sd_build_init(sd_build *b, sd_context *ctx, const sd_source *source, sdb_type compute,
                        const sd_model_params *params);
void sd_build_free(sd_build *b);
/* All parts that the description has; the others are NULL. After a failure too the caller releases
 * them. */
sd_status sd_build_parts(sd_build *b, sd_part *parts[SD_N_PARTS]);
/* Calls fn for each tensor of the files that no network took and that is not on the list of
 * harmless extras (position_ids and the like). */
void sd_build_unexpected(const sd_build *b, void (*fn)(void *user, const char *name), void *user);

/* Calls fn for each tensor that the networks of the source's description take, without looking at
 * its files: names in the usual spelling of the layout, shapes as that layout stores them. */
sd_status sd_build_list(sd_context *ctx, const sd_source *source, sd_build_list_fn fn, void *user);

#endif
