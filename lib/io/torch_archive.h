/*
 * The zip archive that torch.save writes: NAME/data.pkl, NAME/data/KEY for each storage, and short
 * files. libzip reads the directory; what is stored as it is is read from its place in the file.
 */
#ifndef SD_IO_TORCH_ARCHIVE_H
#define SD_IO_TORCH_ARCHIVE_H

#include "io/weights_internal.h"

typedef struct sd_archive sd_archive;

/* A file of the archive: a window of the input, or unpacked into memory of `w` where `data` is not
 * NULL. */
typedef struct sd_window {
    bool found;
    uint64_t offset;
    const uint8_t *data;
    size_t size;
} sd_window;

/* `w` and its input of `file` must outlive the archive. */
sd_status sd_archive_open(sd_weights *w, int file, sd_archive **out);
void sd_archive_close(sd_archive *a);

/* "NAME/" + name, of at most max_size bytes; `found` false: no such file. */
sd_status sd_archive_find(sd_archive *a, const char *name, size_t max_size, sd_window *out);
/* The same in memory of `w`, always. *data NULL: no such file. */
sd_status sd_archive_get(sd_archive *a, const char *name, size_t max_size, const uint8_t **data,
                         size_t *size);

/* Memory of `w` for data that the input does not have as it is needed. All of it together is
 * limited by the size of the file. `what` is for the sentence. */
sd_status sd_archive_block(sd_archive *a, uint64_t size, const char *what, uint8_t **block);
/* Counts memory of the caller's own among them. */
sd_status sd_archive_charge(sd_archive *a, uint64_t size, const char *what);

#endif
