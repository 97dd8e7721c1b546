/*
 * Idle executors of a model and of those that are derived from it, handed to one stage at a time.
 * An executor's arena grows to what its users needed and is used again by the next one, so that the
 * text encoder, the UNet and the VAE of a run share one. Thread-safe.
 */
#ifndef SD_PIPELINE_EXECS_H
#define SD_PIPELINE_EXECS_H

#include "backend/exec.h"

typedef struct sd_exec_cache sd_exec_cache;

/* For activations of that type. The context is the owner's to retain. */
sd_status sdi_execs_new(sd_context *ctx, sdb_type act, sd_exec_cache **out);
/* Counted, and NULL is fine. The last release frees. */
sd_exec_cache *sdi_execs_retain(sd_exec_cache *cache);
void sdi_execs_release(sd_exec_cache *cache);
sd_status sdi_execs_take(sd_exec_cache *cache, sd_exec **out);
void sdi_execs_give(sd_exec_cache *cache, sd_exec *e); /* NULL is fine */

#endif
