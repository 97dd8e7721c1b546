/* Shared by source.c and source_part.c. */
#ifndef SD_MODEL_SOURCE_INTERNAL_H
#define SD_MODEL_SOURCE_INTERNAL_H

#include "model/source.h"

/* Another file, to be closed with the source. */
sd_status sdi_source_open_file(sd_source *s, const char *path, sd_weights **out);
static inline sd_naming *sdi_part_names(const sd_part_type *type, sd_description *d) {
    return sdi_part_config(type, d);
}

/* The place that a file has a part's tensors in, of those of some layouts (bits); NULL: none. */
const sd_place *sdi_source_find_place(const sd_part_type *type, const sd_weights *w,
                                      unsigned layouts);
#define SD_ANY_LAYOUT (~0u)

/* Takes a part from the file or folder `path`, its description too. `known`: the source describes
 * the part that it takes the place of; `sized`: as a YAML config has it, which goes for its own. */
sd_status sdi_source_take_part(sd_source *s, sd_part_kind kind, const char *path, bool known,
                               bool sized);
/* A file's own part is not looked at: it is none too many. */
void sdi_source_pass_over(const sd_part_type *type, sd_weights *w);

#endif
