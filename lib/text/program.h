/*
 * Programs in prompts, as AUTOMATIC1111's web UI reads them (its prompt_parser.py): words that
 * change between the evaluations of a run, and prompts that are combined.
 *
 *   [from:to:0.5]   from, until half of the steps are done; then to
 *   [to:0.5]        nothing, then to             a number without a point counts steps: 12
 *   [from::0.5]     from, then nothing           [ and ], ( and ) nest
 *   [a|b|c]         in turns, one step each      \( \[ \: \|  are characters
 *   a AND b :0.7    a, and b with a weight: composable diffusion
 *
 * Where brackets do not match they are text, as there, and a | outside of such brackets makes text
 * of the whole prompt.
 */
#ifndef SD_TEXT_PROGRAM_H
#define SD_TEXT_PROGRAM_H

#include "core/cond.h"

/* --- program.c --- */
/* `text` is the prompt up to step `end`, counted from 1. */
typedef struct sd_text_change {
    int end;
    char *text;
} sd_text_change;

/* The last one's end is the number of steps. */
typedef struct sd_text_changes {
    sd_text_change *at;
    size_t n, capacity;
} sd_text_changes;

/* get_learned_conditioning_prompt_schedules of one prompt. */
sd_status sdi_text_changes(const sd_context *ctx, const char *text, int steps,
                           sd_text_changes *out);
void sdi_text_changes_free(const sd_context *ctx, sd_text_changes *changes);

/* A prompt's part between ANDs, without the white space at its end and the number. */
typedef struct sd_text_term {
    const char *text;
    size_t n;
    double weight;
} sd_text_term;

/* The part that begins at *rest, which becomes where the next begins; NULL after the last. */
sd_text_term sdi_text_next_term(const char **rest);

/* --- program_rows.c --- */
/* What is to be encoded for texts, and the program that picks from it. */
typedef struct sd_text_rows {
    char **texts;             /* each once; those of negative texts last */
    int n, n_negative;        /* how many, and of negative texts */
    sd_cond_program *program; /* NULL: there is none, and `texts` is NULL too */
} sd_text_rows;

/* The last `n_negative` of the texts are negative prompts, in which AND is a word. `steps` as
 * sd_text_params has them. To be freed after a failure, too. */
sd_status sdi_text_rows(sd_context *ctx, const char *const *texts, int n, int n_negative, int steps,
                        sd_text_rows *out);
void sdi_text_rows_free(sd_context *ctx, sd_text_rows *rows);

#endif
