/*
 * Tensors of a checkpoint as the parts that a device takes. A device reads them piece by piece, on
 * its threads and where it repacks them, so that no tensor is ever in memory twice: see
 * sdb_weight_part.read. They are decoded on the way, and numbers that are none are noticed while
 * they are in the cache.
 */
#ifndef SD_MODEL_FEED_H
#define SD_MODEL_FEED_H

#include "backend/backend.h"
#include "model/change.h"

typedef struct sd_feed {
    sd_decoder decoder;
    sd_change *change;    /* owned; NULL: nothing changes it */
    sdb_type type;        /* that the device gets */
    atomic_int status;    /* of the first read that failed */
    atomic_bool broken;   /* NaN or infinity was seen */
    bool told;            /* and is in the log */
    void *transposed;     /* what sdi_feed_transpose made; or NULL */
    struct sd_feed *next; /* opened before this */
} sd_feed;

typedef struct sd_feeds {
    sd_context *ctx;
    sd_feed *last;
} sd_feeds;

/* `rows` rows of the entry, whose type was checked, until the feeds are closed. */
sd_status sdi_feed_open(sd_feeds *feeds, const sd_weights *weights, const sd_entry *entry, int rows,
                        sdb_weight_part *out);
/* The part of the feed that was opened last, as adapters change it: `change` is taken over. */
void sdi_feed_change(sd_feeds *feeds, sd_change *change, sdb_weight_part *part);
/* Nothing will be read any more: what the changes take is freed. */
void sdi_feeds_drop_changes(sd_feeds *feeds);
/* Rows first .. first + n - 1 of a part with row_size elements a row. */
sdb_weight_part sdi_feed_rows(sdb_weight_part whole, int first, int n, int row_size);
/* A part [rows, columns] that was opened last becomes [columns, rows], in memory until the feeds
 * are closed: of what is small. */
sd_status sdi_feed_transpose(sd_feeds *feeds, int columns, sdb_weight_part *part);
/* The sentence of a weight that could not be prepared: that of the read that failed, where one did;
 * else what the device has said stands. */
sd_status sdi_feed_fail(const sd_feeds *feeds, sd_status status);
/* Tells in the log, once for each file, which tensors have NaN or infinity among what was read;
 * `strict`: that is SD_ERROR_MODEL. */
sd_status sdi_feeds_check_numbers(const sd_feeds *feeds, bool strict);
void sdi_feeds_close(sd_feeds *feeds);

#endif
