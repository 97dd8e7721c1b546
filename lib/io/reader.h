/*
 * Values of a configuration object, with ranges. After the first failure the rest return their
 * defaults, and the caller looks at `status` once at the end. A value of null is an absent one.
 */
#ifndef SD_IO_READER_H
#define SD_IO_READER_H

#include "io/json.h"

typedef struct sd_reader {
    const sd_context *ctx;
    const char *path; /* begins every sentence */
    json_t *root;     /* an object */
    sd_status status;
    json_t *numbers; /* those of texts that are taken for numbers (YAML's quoted ones); NULL: none
                        is */
} sd_reader;

/* Opens a JSON file; sdi_reader_close also after a failure. */
sd_reader sdi_reader_open(const sd_context *ctx, const char *path);
void sdi_reader_close(sd_reader *r);

/* NULL: absent, null, or failed before. */
const json_t *sdi_reader_get(sd_reader *r, const char *key);

int sdi_reader_int(sd_reader *r, const char *key, int fallback, int min, int max);
double sdi_reader_number(sd_reader *r, const char *key, double fallback, double min, double max);
bool sdi_reader_bool(sd_reader *r, const char *key, bool fallback);
const char *sdi_reader_string(sd_reader *r, const char *key, const char *fallback);
/* A list of 1 to max_n integers; returns how many. Absent: `fallback`, which has *n entries. */
int sdi_reader_list(sd_reader *r, const char *key, const int *fallback, int n, int *out, int max_n,
                    int min, int max);
/* One integer for all, or a list of n. */
void sdi_reader_levels(sd_reader *r, const char *key, int fallback, int n, int *out, int min,
                       int max);
/* An integer within the value of `key`. */
int sdi_reader_item(sd_reader *r, const char *key, const json_t *item, int min, int max);
/* One integer, or a list of integers that are all the same; others are unsupported. */
int sdi_reader_same(sd_reader *r, const char *key, int fallback, int min, int max);

/* Keys that may have one value only, because nothing else is implemented. */
typedef enum sd_fixed_kind {
    SD_FIXED_UNSET,
    SD_FIXED_FALSE,
    SD_FIXED_TRUE,
    SD_FIXED_NUMBER,
    SD_FIXED_TEXT
} sd_fixed_kind;

typedef struct sd_fixed {
    const char *key;
    sd_fixed_kind kind;
    int number;
    const char *text;
} sd_fixed;

void sdi_reader_fixed(sd_reader *r, const sd_fixed *rows, size_t n);

/* Each fails unless it failed before. */
void sdi_reader_unsupported(sd_reader *r, const char *key, const json_t *found,
                            const char *expected);
void sdi_reader_wrong(sd_reader *r, const char *key, const json_t *found, const char *expected);

#endif
