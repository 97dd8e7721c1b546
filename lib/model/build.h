/*
 * Building the parts of a model from its source: which tensors there are to be, and the networks
 * with their weights on the device.
 */
#ifndef SD_MODEL_BUILD_H
#define SD_MODEL_BUILD_H

#include "model/load.h"

typedef void (*sd_build_list_fn)(void *user, const char *name, int n_dims, const int64_t *dims);

sd_status sdi_build_init(sd_build *b, sd_context *ctx, const sd_source *source, sdb_type compute,
                         const sd_model_params *params);
void sdi_build_free(sd_build *b);
/* All parts that the description has; the others are NULL. After a failure too the caller releases
 * them. */
sd_status sdi_build_parts(sd_build *b, sd_part *parts[SD_N_PARTS]);
/* One part, without its origin. After a failure too the caller releases it. */
sd_status sdi_build_part(sd_build *b, sd_part_kind kind, sd_part **out);
/* Calls fn for each tensor of the files that no network took and that is not on the list of
 * harmless extras (position_ids and the like). */
void sdi_build_unexpected(const sd_build *b, void (*fn)(void *user, const char *name), void *user);

/* The parts of a source's description without weights, which tell what they would ask for. Released
 * by the caller, also after a failure. */
sd_status sdi_build_listed(sd_context *ctx, const sd_source *source, sd_part *parts[SD_N_PARTS]);
/* Calls fn for each tensor that the networks of the source's description take, without looking at
 * its files: names in the usual spelling of the layout, shapes as that layout stores them. */
sd_status sdi_build_list(sd_context *ctx, const sd_source *source, sd_build_list_fn fn, void *user);

#endif
