/* Parts of the YAML reader. */
#ifndef SD_IO_YAML_INTERNAL_H
#define SD_IO_YAML_INTERNAL_H

#include "core/context.h"

#include <jansson.h>

/* yaml_scalar.c: the value of a plain scalar. NULL: no memory. */
json_t *sdi_yaml_plain(const char *text);
/* yaml_refs.c: OmegaConf's "${a.b}", in place. SD_ERROR_FORMAT: the tree would grow too large. */
sd_status sdi_yaml_resolve(const sd_context *ctx, const char *name, json_t *root);
size_t sdi_yaml_count(const json_t *value); /* values in it, with itself */

#define SD_YAML_MAX_NODES 65536
#define SD_YAML_MAX_DEPTH 32

#endif
