/*
 * The files that a call reads: those of the file system, or, where the host gave an sd_io, its own,
 * all of them then. Only input.h and what this declares open files for reading, and all of it asks
 * the call that is being made.
 */
#ifndef SD_CORE_FILES_H
#define SD_CORE_FILES_H

#include "core/context.h"

/* A host's files, released with the last that may still read them. */
typedef struct sd_host_files {
    atomic_int refs;
    const sd_context *ctx; /* which lives longer */
    sd_io io;
} sd_host_files;

/* Takes the host's over, and releases them where it fails. */
sd_status sdi_host_files_new(const sd_context *ctx, const sd_io *io, sd_host_files **out);
/* Counted, and NULL is fine. */
sd_host_files *sdi_host_files_retain(sd_host_files *files);
void sdi_host_files_release(sd_host_files *files);
/* What the current call reads from now on (NULL: the file system), and what it read so far. The
 * caller has a reference for as long. */
sd_host_files *sdi_host_files_enter(sd_host_files *files);
sd_host_files *sdi_host_files_now(void);

bool sdi_is_file(const char *path);
bool sdi_is_directory(const char *path);
/* The names in a folder, sorted by their bytes, without "." and ".."; none where it is no folder.
 * Also after a failure sdi_free_names. */
sd_status sdi_list_names(const sd_context *ctx, const char *dir, char ***names, size_t *n);
/* Whole file, with a 0 byte after its end that *size does not count. More than max_size bytes is
 * SD_ERROR_FORMAT. Free with sdi_free. */
sd_status sdi_read_file(const sd_context *ctx, const char *path, size_t max_size, uint8_t **data,
                        size_t *size);

#endif
