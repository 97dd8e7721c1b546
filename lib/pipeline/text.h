/* Prompts and classes to conditioning. */
#ifndef SD_PIPELINE_TEXT_H
#define SD_PIPELINE_TEXT_H

#include "core/cond.h"
#include "pipeline/stage.h"

/* Of one call, and that one call's programs have. */
#define SD_MAX_TEXTS 4096

sd_status sdi_stage_encode_tokens(const sd_model *model, const int32_t *const *ids, int n,
                                  const sd_text_params *params, sd_cond **out);
/* The last `n_negative` are negative prompts, of which a refiner is told another score. */
sd_status sdi_stage_encode_text(const sd_model *model, const char *const *texts, int n,
                                int n_negative, const sd_text_params *params, sd_cond **out);
sd_status sdi_stage_encode_class(const sd_model *model, const int32_t *classes, int n,
                                 sd_cond **out);

/* Whether a step evaluates for an unconditional half too. Without a condition there is nothing to
 * be guided to, and a UNet that is told the scale guides itself. */
bool sdi_is_guided(const sd_model *model, const sd_sampler_params *p);
/* The texts of a run. */
typedef struct sd_prompts {
    const char *prompt;         /* NULL is "" */
    const char *const *prompts; /* one for each of the batch in place of it; or NULL */
    const char *negative;       /* NULL is "", or what the model has for none */
    int64_t tokens;             /* of conditioning that is there already */
} sd_prompts;

/* Conditioning on the prompts and on the negative one; `cond` is NULL where that is there already,
 * `uncond` too, and where nothing is guided. */
sd_status sdi_encode_prompts(const sd_model *model, const sd_prompts *prompts,
                             const sd_text_params *text, int batch, sd_cond **cond,
                             sd_cond **uncond);

/* Prompts of one turn: 16 at most. */
sd_status sdi_text_estimate(const sd_model *model, int n, sd_cost *cost);

#endif
