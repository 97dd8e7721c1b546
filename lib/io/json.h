/* JSON by jansson, with libsd's statuses and sentences. */
#ifndef SD_IO_JSON_H
#define SD_IO_JSON_H

#include "core/context.h"
#include "core/json.h"

/* Parses an object; `name` (a path) begins the sentence of a failure. Duplicate keys are refused.
 * json_decref what comes out. */
sd_status sdi_json_parse(const sd_context *ctx, const char *name, const void *bytes, size_t size,
                         json_t **out);

/* sdi_json_parse where a key may be there more than once: its last value counts. */
sd_status sdi_json_parse_last(const sd_context *ctx, const char *name, const void *bytes,
                              size_t size, json_t **out);

/* A whole file of at most 64 MiB. Python's json writes NaN, Infinity and -Infinity, which are no
 * JSON: they come out as strings. */
sd_status sdi_json_read(const sd_context *ctx, const char *path, json_t **out);

/* "a string", "an integer", ... for sentences; NULL is "nothing". */
const char *sdi_json_type_name(const json_t *value);

#endif
