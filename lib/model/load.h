/*
 * The numbers of one weight, from its tensors' files to the device, and what is known while the
 * parts of a model are being built.
 */
#ifndef SD_MODEL_LOAD_H
#define SD_MODEL_LOAD_H

#include "core/call.h"
#include "model/feed.h"
#include "model/source.h"
#include "model/weight.h"

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
    sdb_type compute; /* type of the activations, unless a part's are wider */
    int done, total;  /* tensors, for progress */
    sd_progress_fn progress;
    void *progress_user;
    const sd_word_rows *words[SD_N_PARTS]; /* embeddings that follow a text encoder's vocabulary, */
    int n_words;                           /* for each as many, set after sdi_build_init */
    sd_uses uses, added;                   /* what changes weights, and what of it the model whose
                                              weights are shared does not have */
    bool words_added;
    sd_part *const *shared; /* [SD_N_PARTS], that model's; NULL: there is none such */
    sd_feeds feeds;         /* of the tensors so far */
    void *scratch;          /* lent to the device with each weight */
} sd_build;

/* The tensor that was opened last. */
typedef struct sd_opened {
    sd_path path; /* of depth 0: none */
    sdb_weight_part weight, bias;
} sd_opened;

typedef struct sd_builder {
    sd_build *build;
    sd_part *part;       /* what is being built, */
    sd_part_kind kind;   /* of that kind, */
    unsigned net;        /* which adapters know by that bit */
    const sd_part *base; /* whose weights it shares where it may; or NULL */
    sd_weights *weights; /* that it is in, */
    sd_naming names;     /* and under which names */
    sd_status status;    /* sticky */
    int spelling;        /* the one that the last tensor was found under */
    sd_opened opened;
} sd_builder;

/* Records the first failure with its sentence. */
void sdi_builder_fail(sd_builder *b, sd_status status, const char *format, ...) SD_PRINTF(3, 4);

/* Whether what is added changes any of its numbers, or brings words for it. */
bool sdi_weight_is_touched(const sd_build *build, unsigned net, const sd_weight *w);
/* Fills w->dev; the builder has the first failure. */
void sdi_weight_load(sd_builder *b, sd_weight *w);

#endif
