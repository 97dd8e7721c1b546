/*
 * The zip archive that torch.save writes: NAME/data.pkl, NAME/data/KEY for each storage, and short
 * files. libzip reads the directory; what is stored as it is is read from its place in the file.
 */
#ifndef SD_IO_TORCH_ARCHIVE_H
#define SD_IO_TORCH_ARCHIVE_H

#include "io/weights_internal.h"

typedef struct sd_archive sd_archive;

/* `w`, its input of `file` and the budget must outlive the archive. */
sd_status sdi_archive_open(sd_weights *w, int file, sd_budget *budget, sd_archive **out);
void sdi_archive_close(sd_archive *a);

/* "NAME/" + name, of at most max_size bytes; `found` false: no such file. */
sd_status sdi_archive_find(sd_archive *a, const char *name, size_t max_size, sd_window *out);
/* A file of the archive in memory of `w`, always. *data NULL: no such file. */
sd_status sdi_archive_get(sd_archive *a, const char *name, size_t max_size, const uint8_t **data,
                          size_t *size);

#endif
