/*
 * Idle executors of a model, handed to one call or one sampler at a time. An executor's arena grows
 * to what its users needed and is used again by the next one, so that the text encoder, the UNet
 * and the VAE of a run share one. Thread-safe.
 */
#ifndef SD_PIPELINE_STAGE_H
#define SD_PIPELINE_STAGE_H

#include "backend/region.h"
#include "pipeline/model.h"

sd_status sd_execs_new(sd_context *ctx, struct sd_exec_cache **out);
void sd_execs_free(struct sd_exec_cache *cache);
sd_status sd_execs_take(sd_model *model, sd_exec **out);
void sd_execs_give(sd_model *model, sd_exec *e); /* NULL is fine */

/* Work of one call, key->fn with `job`: measured, unless the executor knows this stage, and run. */
sd_status sd_execs_run(sd_model *model, const sd_stage_key *key, void *job);
/* Only measured: memory of arena and scratch, and arithmetic (2 for each multiply-add). */
typedef struct sd_cost {
    uint64_t bytes;
    double flops;
} sd_cost;
sd_status sd_execs_estimate(sd_model *model, sd_exec_fn fn, void *job, sd_cost *cost);

#endif
