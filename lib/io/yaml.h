/*
 * YAML by libyaml, as a tree of jansson's values, so that configurations of both kinds are read
 * with io/reader.h. One document, with anchors, merge keys and "${...}" resolved as PyYAML and
 * OmegaConf do; of tags YAML's own. Scalars are YAML 1.1's, and 1e-6 is a number as OmegaConf has
 * it.
 */
#ifndef SD_IO_YAML_H
#define SD_IO_YAML_H

#include "io/json.h"

/* Parses a mapping; `name` (a path) begins the sentence of a failure, which has the line.
 * json_decref what comes out. */
sd_status sdi_yaml_parse(const sd_context *ctx, const char *name, const void *bytes, size_t size,
                         json_t **out);

/* The number that a text is, 1_000, 0x1F and 1e-6 among them; NULL: none. */
json_t *sdi_yaml_number(const char *text);

/* A whole file of at most 1 MiB. */
sd_status sdi_yaml_read(const sd_context *ctx, const char *path, json_t **out);

#endif
