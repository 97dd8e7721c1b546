/* A PNG that shows how far a picture has come, rewritten while it is painted. */
#ifndef SD_EXAMPLES_PREVIEW_H
#define SD_EXAMPLES_PREVIEW_H

#include "cli.h"

typedef struct preview {
    const char *program;
    const char *path;   /* NULL: none */
    const char *method; /* a word of preview_methods */
    int every;          /* steps; the last one is shown in any case */
} preview;

#define PREVIEW_METHODS "auto, vae, matrix, tiny"

/* False with a sentence printed: --preview_method or --preview_every is wrong. */
bool preview_check(const preview *p);
/* In a progress callback. The file appears whole or not at all; where it cannot be made, that is
 * said once, and the picture goes on without. */
void preview_update(preview *p, const sd_progress *progress);

#endif
