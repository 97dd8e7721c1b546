/* jansson's parser for files of others. */
#ifndef SD_CORE_JSON_H
#define SD_CORE_JSON_H

#include <jansson.h>

/* json_loadb, but that numbers have a point under every locale (jansson looks at the first byte of
 * what the locale has), and that values nested deeper than any file of ours needs are refused,
 * since jansson goes down the caller's stack with them. `error` may be NULL. */
json_t *sdi_json_load(const void *bytes, size_t size, size_t flags, json_error_t *error);

/* For the moment before a fork: jansson's seed is made, by this thread or the one that is at it. A
 * child would wait for ever for a thread that it does not have. */
void sdi_json_settle(void);

#endif
