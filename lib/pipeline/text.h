/* Prompts and classes to conditioning. */
#ifndef SD_PIPELINE_TEXT_H
#define SD_PIPELINE_TEXT_H

#include "core/cond.h"
#include "pipeline/stage.h"

sd_status sdi_stage_encode_tokens(const sd_model *model, const int32_t *const *ids, int n,
                                  const sd_text_params *params, sd_cond **out);
sd_status sdi_stage_encode_text(const sd_model *model, const char *const *texts, int n,
                                const sd_text_params *params, sd_cond **out);
sd_status sdi_stage_encode_class(const sd_model *model, const int32_t *classes, int n,
                                 sd_cond **out);

/* Whether a step evaluates for an unconditional half too. Without a condition there is nothing to
 * be guided to, and a UNet that is told the scale guides itself. */
bool sdi_is_guided(const sd_model *model, const sd_sampler_params *p);
/* Conditioning on the prompt, or on each of `prompts` where that is not NULL, and on the negative
 * one; `cond` is NULL where that is there already, `uncond` too, and where nothing is guided. */
sd_status sdi_encode_prompts(const sd_model *model, const char *prompt, const char *const *prompts,
                             const char *negative, const sd_text_params *text,
                             const sd_sampler_params *sampling, sd_cond **cond, sd_cond **uncond);

/* Prompts of one turn: 16 at most. */
sd_status sdi_text_estimate(const sd_model *model, int n, sd_cost *cost);

#endif
