/*
 * What prompts of the popular web UIs have and nothing here acts on: found, so that the log can
 * name it. That is <lora:name:0.8>, a network to load; and where the weighted syntax is off, what
 * text/prompt.h and text/program.h read: (word:1.2), [from:to:0.5], [a|b], AND and BREAK.
 */
#ifndef SD_TEXT_ODD_WORDS_H
#define SD_TEXT_ODD_WORDS_H

#include "core/context.h"

typedef enum sd_odd_kind { SD_ODD_NETWORK, SD_ODD_WEIGHTED, SD_ODD_KINDS } sd_odd_kind;

/* Zero it to begin. */
typedef struct sd_odd_words {
    char shown[SD_ODD_KINDS][240]; /* in quotes, with commas between */
    int more[SD_ODD_KINDS];        /* that had no room */
} sd_odd_words;

void sdi_odd_words_find(sd_odd_words *odd, const char *text, bool weighted);
/* One line of the log, where there were any. */
void sdi_odd_words_log(const sd_odd_words *odd, const sd_context *ctx);

#endif
