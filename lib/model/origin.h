/*
 * Where the weights of a part came from: the file, and the adapters that changed them. A part is
 * made anew from it, with more adapters, after its file was closed.
 */
#ifndef SD_MODEL_ORIGIN_H
#define SD_MODEL_ORIGIN_H

#include "core/files.h"
#include "io/weights.h"
#include "model/uses.h"

typedef struct sd_origin {
    atomic_int refs;
    sd_context *ctx; /* which lives longer */
    char *path;
    sd_host_files *files; /* that it is one of; NULL: the file system's */
    uint64_t stamp;       /* sdi_weights_stamp */
    bool averaged;        /* the UNet's names find the averages */
    sd_uses uses;
} sd_origin;

/* That of files which are open, and of the uses, which are retained. */
sd_status sdi_origin_new(sd_context *ctx, const sd_weights *w, const sd_uses *uses,
                         sd_origin **out);
/* The same files with other uses. */
sd_status sdi_origin_with(const sd_origin *from, const sd_uses *uses, sd_origin **out);
/* An origin is counted, and may be NULL here. The last release frees. */
sd_origin *sdi_origin_retain(sd_origin *o);
void sdi_origin_release(sd_origin *o);

/* SD_ERROR_IO, with a sentence, where the file is another one by now. */
sd_status sdi_origin_open(const sd_origin *o, sd_weights **out);

#endif
