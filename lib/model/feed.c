/* Decoded rows for a device, and the look for numbers that are none. */
#include "model/feed.h"

#include "model/arithmetic.h"

#include <stdio.h>
#include <string.h>

/* ------------------------------------------------------------------------- reading */

/*
 * Whether some number is NaN or infinity, which have the largest exponent: the largest magnitude
 * tells. It is found without a branch and in many lanes, so that it costs a tenth of reading.
 */
#define LANES 64

static bool has_broken_16(const uint16_t *x, size_t n, int infinity) {
    int16_t most[LANES] = {0}, all = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (size_t j = 0; j < LANES; j++) {
            int16_t magnitude = (int16_t)(x[i + j] & 0x7fff);
            most[j] = magnitude > most[j] ? magnitude : most[j];
        }
    }
    for (; i < n; i++) {
        int16_t magnitude = (int16_t)(x[i] & 0x7fff);
        all = magnitude > all ? magnitude : all;
    }
    for (size_t j = 0; j < LANES; j++)
        all = most[j] > all ? most[j] : all;
    return all >= infinity;
}

static bool has_broken_32(const uint32_t *x, size_t n) {
    int32_t most[LANES] = {0}, all = 0;
    size_t i = 0;
    for (; i + LANES <= n; i += LANES) {
        for (size_t j = 0; j < LANES; j++) {
            int32_t magnitude = (int32_t)(x[i + j] & 0x7fffffff);
            most[j] = magnitude > most[j] ? magnitude : most[j];
        }
    }
    for (; i < n; i++) {
        int32_t magnitude = (int32_t)(x[i] & 0x7fffffff);
        all = magnitude > all ? magnitude : all;
    }
    for (size_t j = 0; j < LANES; j++)
        all = most[j] > all ? most[j] : all;
    return all >= 0x7f800000;
}

/* x is aligned to its elements, as a backend's buffer is. */
static bool has_broken(sdb_type type, const void *x, size_t n) {
    return type == SDB_F32   ? has_broken_32(x, n)
           : type == SDB_F16 ? has_broken_16(x, n, 0x7c00)
                             : has_broken_16(x, n, 0x7f80);
}

/* sdb_weight_part.read */
static sd_status read_part(void *user, size_t first, size_t n, void *dst) {
    sd_feed *s = user;
    sd_status status = sdi_decoder_read(&s->decoder, first, n, dst);
    int none = SD_OK;
    if (!status && s->change)
        sdi_change_apply(s->change, first, n, dst);
    if (status)
        atomic_compare_exchange_strong(&s->status, &none, (int)status);
    else if (has_broken(s->type, dst, n))
        atomic_store_explicit(&s->broken, true, memory_order_relaxed);
    return status;
}

/* ------------------------------------------------------------------------- parts */

sd_status sdi_feed_open(sd_feeds *feeds, const sd_weights *weights, const sd_entry *entry, int rows,
                        sdb_weight_part *out) {
    sd_feed *s = sdi_zalloc(feeds->ctx, sizeof *s);
    if (!s)
        return SD_ERROR_MEMORY;
    atomic_init(&s->status, SD_OK);
    atomic_init(&s->broken, false);
    s->next = feeds->last;
    feeds->last = s;
    sd_status status = sdi_decoder_open(feeds->ctx, weights, entry, rows, &s->decoder);
    s->type = sdi_decoded_type(s->decoder.type);
    *out = (sdb_weight_part){.type = s->type, .rows = rows, .read = read_part, .source = s};
    return status;
}

void sdi_feed_change(sd_feeds *feeds, sd_change *change, sdb_weight_part *part) {
    sd_feed *s = feeds->last;
    if (!change)
        return;
    s->change = change;
    s->type = part->type = change->to;
    if (s->transposed)
        sdi_change_apply(change, 0, sdi_change_count(change), s->transposed);
}

void sdi_feeds_drop_changes(sd_feeds *feeds) {
    for (sd_feed *s = feeds->last; s; s = s->next) {
        sdi_change_free(s->change);
        s->change = NULL;
    }
}

sdb_weight_part sdi_feed_rows(sdb_weight_part whole, int first, int n, int row_size) {
    sdb_weight_part part = whole;
    part.rows = n;
    part.first += (size_t)first * (size_t)row_size;
    return part;
}

static void transpose(const uint8_t *from, size_t rows, size_t columns, size_t size, uint8_t *to) {
    for (size_t i = 0; i < rows; i++)
        for (size_t j = 0; j < columns; j++)
            memcpy(to + (j * rows + i) * size, from + (i * columns + j) * size, size);
}

sd_status sdi_feed_transpose(sd_feeds *feeds, int columns, sdb_weight_part *part) {
    size_t size = sdb_type_size(part->type), rows = (size_t)part->rows, n = rows * (size_t)columns;
    sd_feed *feed = feeds->last;
    uint8_t *as_read = sdi_alloc(feeds->ctx, n * size);
    feed->transposed = sdi_alloc(feeds->ctx, n * size);
    sd_status status = as_read && feed->transposed ? SD_OK : SD_ERROR_MEMORY;
    if (!status)
        status = sdb_part_read(part, 0, n, as_read);
    if (!status) {
        transpose(as_read, rows, (size_t)columns, size, feed->transposed);
        *part = (sdb_weight_part){
            .data = feed->transposed, .type = part->type, .rows = columns, .source = feed};
    } else if (status != SD_ERROR_MEMORY) {
        status = sdi_feed_fail(feeds, status);
    }
    sdi_free(feeds->ctx, as_read);
    return status;
}

sd_status sdi_feed_fail(const sd_feeds *feeds, sd_status status) {
    for (const sd_feed *s = feeds->last; s; s = s->next)
        if (atomic_load(&s->status) != SD_OK)
            return sdi_weights_fail(s->decoder.weights, s->decoder.entry,
                                    (sd_status)atomic_load(&s->status));
    return status;
}

void sdi_feeds_close(sd_feeds *feeds) {
    sdi_feeds_drop_changes(feeds);
    while (feeds->last) {
        sd_feed *s = feeds->last;
        feeds->last = s->next;
        sdi_decoder_close(feeds->ctx, &s->decoder);
        sdi_free(feeds->ctx, s->transposed);
        sdi_free(feeds->ctx, s);
    }
}

/* ------------------------------------------------------------------------- broken numbers */

#define NAMED 3

typedef struct broken_file {
    const char *path;
    int n;
    const char *names[NAMED]; /* of the tensors that were opened first */
} broken_file;

/* All broken tensors of the same file as `s`. */
static broken_file collect(sd_feed *s) {
    broken_file file = {.path = sdi_weights_path(s->decoder.weights, s->decoder.entry)};
    for (sd_feed *t = s; t; t = t->next) {
        if (t->told || !atomic_load(&t->broken) || t->decoder.weights != s->decoder.weights ||
            t->decoder.entry->file != s->decoder.entry->file)
            continue;
        t->told = true;
        file.n++;
        for (int i = NAMED - 1; i > 0; i--)
            file.names[i] = file.names[i - 1];
        file.names[0] = t->decoder.entry->name;
    }
    return file;
}

static void list_names(char *text, size_t size, const broken_file *file) {
    size_t n = 0;
    text[0] = 0;
    for (int i = 0; i < NAMED && file->names[i] && n < size; i++)
        n += (size_t)snprintf(text + n, size - n, "%s'%.150s'", i ? ", " : "", file->names[i]);
    if (file->n > NAMED && n < size)
        snprintf(text + n, size - n, ", ...");
}

sd_status sdi_feeds_check_numbers(const sd_feeds *feeds, bool strict) {
    char names[NAMED * 160];
    for (sd_feed *s = feeds->last; s; s = s->next) {
        if (s->told || !atomic_load(&s->broken))
            continue;
        broken_file file = collect(s);
        list_names(names, sizeof names, &file);
        if (strict)
            return sdi_fail(
                feeds->ctx, SD_ERROR_MODEL,
                "%s: NaN or infinity in %d of its tensors: %s (a merge or training that "
                "went wrong?)",
                file.path, file.n, names);
        sdi_log(feeds->ctx, SD_LOG_LEVEL_WARN,
                "%s: NaN or infinity in %d of its tensors: %s (a merge or training that went "
                "wrong?): pictures will be damaged",
                file.path, file.n, names);
    }
    return SD_OK;
}
