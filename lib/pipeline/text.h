/* Prompts and classes to embeddings. */
#ifndef SD_PIPELINE_TEXT_H
#define SD_PIPELINE_TEXT_H

#include "pipeline/stage.h"

sd_status sd_stage_encode_tokens(sd_model *model, const int32_t *ids, int n, sd_tensor **out);
sd_status sd_stage_encode_text(sd_model *model, const char *const *texts, int n,
                               const sd_text_params *params, sd_tensor **out);
sd_status sd_stage_encode_class(sd_model *model, const int32_t *classes, int n, sd_tensor **out);

/* Whether a step evaluates for an unconditional half too. Without a condition there is nothing to
 * be guided to, and a UNet that is told the scale guides itself. */
bool sd_is_guided(const sd_model *model, const sd_sampler_params *p);
/* Embeddings of the prompt [1, tokens, width], or of `prompts` [batch, tokens, width] where that is
 * not NULL, and of the negative one [1, tokens, width], and their tokens into `sampling`; *uncond
 * stays NULL where nothing is guided. */
sd_status sd_encode_prompts(sd_model *model, const char *prompt, const char *const *prompts,
                            const char *negative, const sd_text_params *text,
                            sd_sampler_params *sampling, sd_tensor **cond, sd_tensor **uncond);

/* Prompts of one turn: 16 at most. */
sd_status sd_text_estimate(sd_model *model, int n, sd_cost *cost);

#endif
