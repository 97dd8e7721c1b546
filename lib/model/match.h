/* Whether adapters are for a model, before any weight of it is read. */
#ifndef SD_MODEL_MATCH_H
#define SD_MODEL_MATCH_H

#include "model/change.h"
#include "model/part.h"

/*
 * SD_ERROR_MODEL, with a sentence, for an adapter of another family and for one that changes
 * nothing of these parts, which may be listed alone. Modules that fit nothing are named in the log
 * and counted; adapters that bring words have none.
 */
sd_status sdi_match_uses(sd_context *ctx, const sd_description *desc, sd_part *const *parts,
                         const sd_uses *uses, int *n_unmatched);

#endif
