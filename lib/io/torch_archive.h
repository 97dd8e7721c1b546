/*
 * The zip archive that torch.save writes: NAME/data.pkl, NAME/data/KEY for each storage, and short
 * files. libzip reads the directory; what is stored as it is stays in our mapping of the file.
 */
#ifndef SD_IO_TORCH_ARCHIVE_H
#define SD_IO_TORCH_ARCHIVE_H

#include "io/weights_internal.h"

typedef struct sd_archive sd_archive;

/* `w` and its mapping of `file` must outlive the archive. */
sd_status sd_archive_open(sd_weights *w, int file, sd_archive **out);
void sd_archive_close(sd_archive *a);

/* The bytes of "NAME/" + name: in the mapping, or unpacked into memory of `w`. *data NULL: no such
 * file. At most max_size bytes. */
sd_status sd_archive_get(sd_archive *a, const char *name, size_t max_size, const uint8_t **data,
                         size_t *size);

/* Memory of `w` for data that the mapping does not have as it is needed. All of it together is
 * limited by the size of the file. `what` is for the sentence. */
sd_status sd_archive_block(sd_archive *a, uint64_t size, const char *what, uint8_t **block);

#endif
