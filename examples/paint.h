/* What sd-txt2img and sd-img2img share: their common flags, loading, and saving of pictures. */
#ifndef SD_EXAMPLES_PAINT_H
#define SD_EXAMPLES_PAINT_H

#include "cli.h"

/* Flags of the original scripts/txt2img.py and img2img.py, then ours. */
typedef struct paint_options {
    const char *prompt, *negative, *outdir, *ckpt, *precision;
    int ddim_steps, n_iter, n_samples;
    float ddim_eta, scale;
    uint64_t seed;
    int threads;
    const char *backend, *vocab, *rng, *sampler, *spacing, *config;
    bool plms;
    bool weighted;
    int clip_skip;
} paint_options;

#define PAINT_N_OPTIONS 21

/* Rows for these flags, to be followed by the program's own. */
void paint_option_rows(paint_options *o, cli_option rows[PAINT_N_OPTIONS]);

typedef struct paint {
    const char *program;
    const paint_options *options;
    sd_context *ctx;
    sd_model *model;
    cli_progress progress;
    char samples[4096]; /* OUTDIR/samples */
    int next;           /* number of the next picture */
} paint;

/* Opens the context, loads the model, makes the output folder. Non-zero: the exit code, after the
 * reason was printed. */
int paint_begin(paint *p, const char *program, const paint_options *options);
void paint_end(paint *p);

/* The common flags as sampling parameters of iteration `iteration`; seeds go on from one iteration
 * to the next. Progress shows on p's bar. */
sd_sampler_params paint_sampling(paint *p, int iteration);

/* Writes the pictures of an iteration as samples/%05d.png with their generation parameters, prints
 * each path, and frees them. `extra` is appended to the parameters ("" or ", Key: value"). */
int paint_save(paint *p, const sd_sampler_params *sampling, sd_image **images, const char *extra);

#endif
