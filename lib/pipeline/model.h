/* struct sd_model: the networks of a checkpoint and what is known of them. load.c makes one. */
#ifndef SD_PIPELINE_MODEL_H
#define SD_PIPELINE_MODEL_H

#include "core/tensor.h"
#include "model/networks.h"
#include "pipeline/execs.h"
#include "sampler/schedule.h"
#include "text/prompt.h"

#define SD_MAX_ENCODERS 2

/* A text encoder, and what it reads texts by. */
typedef struct sd_encoder {
    sd_part_kind part;
    const sd_text_config *config; /* the description's */
    sd_tokenizer *tokenizer;      /* NULL: no vocabulary found, vocab_error says where */
    int32_t pad;                  /* id of the padding token, where there is a tokenizer */
    sd_words *words;              /* textual inversion; NULL: none */
} sd_encoder;

/* What models may share is counted: parts, tokenizers, words, idle executors. All else is the
 * model's own. */
struct sd_model {
    sd_handle handle;           /* samplers use it */
    sd_context *ctx;            /* retained */
    sdb_type act;               /* type of activations */
    const sd_description *desc; /* owned */
    sd_part *parts[SD_N_PARTS]; /* NULL: the description has none of the kind */
    sd_encoder encoders[SD_MAX_ENCODERS];
    int n_encoders; /* 0 where it is not conditioned on text */
    char *vocab_error;
    sd_schedule schedule;
    char **unexpected; /* names in its files; a derived model has none */
    int n_unexpected;
    int n_adapters,
        n_unmatched;      /* that it was made with, and how many modules of them fit nothing */
    sd_exec_cache *execs; /* idle executors for text and VAE calls */
};

/* One with nothing but activations of that type; NULL: no memory. What it has at its last release
 * goes with it. */
sd_model *sdi_model_new(sd_context *ctx, sdb_type act);
/* The noise schedule of the description, which is complete. */
sd_status sdi_model_make_schedule(sd_model *model);

/* The parts by their types; NULL: the model has no such network. */
static inline const sd_class_model *sdi_model_classes(const sd_model *model) {
    return (const sd_class_model *)model->parts[SD_PART_CLASSES];
}
static inline const sd_unet *sdi_model_unet(const sd_model *model) {
    return (const sd_unet *)model->parts[SD_PART_UNET];
}
static inline const sd_vae *sdi_model_vae(const sd_model *model) {
    return (const sd_vae *)model->parts[SD_PART_VAE];
}

/* The number of its encoder that is that part; -1: none is. */
int sdi_model_encoder(const sd_model *model, sd_part_kind part);
/* All networks together; a part that models share counts in each. */
int64_t sdi_model_parameters(const sd_model *model);
int64_t sdi_model_weight_bytes(const sd_model *model);
int sdi_model_downscale(const sd_model *model);     /* pixels per latent: 8 */
int sdi_model_size_multiple(const sd_model *model); /* of a picture's sides: 8 */
void sdi_model_default_size(const sd_model *model, int *width, int *height);
/* A side that nobody named is the model's own. */
void sdi_fill_default_sides(const sd_model *model, sd_sampler_params *p);
/* The spacing of a method that is not told otherwise; the name may be unknown. */
sd_timestep_spacing sdi_model_spacing(const sd_model *model, const char *method);
/* Whether there is a tokenizer for each of its text encoders, which it has. */
bool sdi_model_has_vocabulary(const sd_model *model);
/* Numbers of a context: those of its text encoders side by side, or of a class. */
int sdi_model_context_width(const sd_model *model);
/* Tokens of an embedding: the text encoder's, 1 of a class, 0 where there are none. */
int sdi_model_context_tokens(const sd_model *model);
/* Fails, with a sentence that names `call`, where the model has no such network. */
sd_status sdi_need_unet(const sd_model *model, const char *call);
sd_status sdi_need_conditioning(const sd_model *model, const char *call, sd_conditioning kind);

#endif
