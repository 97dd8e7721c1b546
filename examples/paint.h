/* Shared by sd-txt2img, sd-img2img and sd-inpaint: common flags, loading, and saving of pictures.
 */
#ifndef SD_EXAMPLES_PAINT_H
#define SD_EXAMPLES_PAINT_H

#include "lora.h"
#include "preview.h"
#include <sd/original.h>

#include <math.h>

/* Flags of the original scripts/txt2img.py and img2img.py, and ours. */
typedef struct paint_options {
    const char *prompt, *outdir, *ckpt, *precision, *from_file;
    const char *negative; /* NULL: what the model has for none */
    int ddim_steps;       /* 0: the model's */
    int n_iter, n_samples, n_rows, latent_channels, downscale;
    float ddim_eta, scale; /* scale NaN: not given */
    uint64_t seed, subseed;
    float subseed_strength, eta;
    int ensd;
    int threads;
    const char *backend, *vocab, *rng, *config;
    const char *sampler, *spacing; /* NULL: not given */
    bool plms, dpm_solver, fixed_code, skip_grid, skip_save, original_seeds;
    bool weighted, clean, no_clean; /* cleaned unless no_clean, as in the original's environment */
    int clip_skip;
    sd_text_params sizes; /* of the picture, for SDXL: the members that say them */
    const char *refiner;  /* NULL: none */
    double refiner_start;
    bool use_ema, no_ema, tiled, tiny_vae;
    sd_model_params parts; /* their files alone */
    preview preview;
    bool ema_where_given; /* without either: averaged weights where the checkpoint has them */
    bool own_names;       /* pictures go to paint_save_as: no OUTDIR/samples, no grid */
    cli_list embeddings;  /* NAME=FILE, or FILE */
    cli_list loras;       /* FILE[:STRENGTH[:TEXT_STRENGTH]] */
    const char *lora_dir; /* of <lora:NAME:STRENGTH> in prompts, or NULL */
    bool from_picture;    /* the program is img2img: --original_seeds are that script's */
    double strength;      /* of img2img */
    float script_scale; /* the original script's, for models that are used as Stable Diffusion is */
} paint_options;

#define PAINT_N_OPTIONS (53 + CLI_N_PARTS)

/* Defaults that all these programs share, for the options' initialiser. */
#define PAINT_COMMON_DEFAULTS                                                                      \
    .precision = "autocast", .sizes = SD_TEXT_PARAMS_INIT, .scale = NAN, .seed = 42, .eta = 1,     \
    .backend = "auto", .rng = "cpu", .parts = SD_MODEL_PARAMS_INIT,                                \
    .preview = {.method = "auto", .every = 1}

/* For the help texts. */
#define PAINT_ABSENT                                                                               \
    "The flags of the original script have its names and defaults; others are added. Its safety\n" \
    "checker and its invisible watermark are absent: pictures are neither checked nor marked."

/* Rows for these flags, to be followed by the program's own. */
void paint_option_rows(paint_options *o, cli_option rows[PAINT_N_OPTIONS]);

/* Where pictures go: to PREFIX%0*d.png with the first number from `next` on that is free. */
typedef struct paint_place {
    char prefix[CLI_PATH];
    int digits, next;
} paint_place;

typedef struct paint {
    sd_original_params original; /* of the round that is painted now */
    const char *program;
    const paint_options *options;
    const char *ckpt; /* --ckpt, or the original's place */
    sd_context *ctx;
    sd_model *model, *refiner; /* the second may be NULL */
    sd_model *adapted;         /* as the tags of the prompts that were painted last; or NULL */
    lora_list tags;            /* of these */
    cli_progress progress;
    preview preview;
    paint_place samples; /* OUTDIR/samples/ */
    char **lines;        /* of --from-file, or NULL */
    int n_lines;
    const char **prompts; /* the lines, filled up with "" to whole batches */
    int lines_at_once;    /* of a round */
    sd_image **kept;      /* the run's pictures, for the grid */
    int n_kept;
    sd_model_info info;
    sd_text_params text; /* of all calls */
    sd_vae_params vae;
} paint;

/* A call of the library: some pictures of one prompt, or of one each. */
typedef struct paint_round {
    const char *prompt;
    sd_sampler_params sampling;
    const char *const *prompts; /* of its pictures; NULL: `prompt` is for all */
    int n_pictures;             /* that are saved; sampling.batch may be more */
} paint_round;

/* Opens the context, loads the model, makes the output folder. Non-zero: the exit code, after the
 * reason was printed. */
int paint_begin(paint *p, const char *program, const paint_options *options);
void paint_end(paint *p);

/* How many rounds a run has: --n_iter of --n_samples pictures, or of the prompts of --from-file. */
int paint_rounds(const paint *p);

/* Round `index` by the common flags; seeds go on from picture to picture. Progress shows on p's
 * bar. */
paint_round paint_round_at(paint *p, int index);

/* What sd_generate is asked for in a round by the common flags; `p` and `round` stay while it is
 * used. */
sd_generate_params paint_request(const paint *p, const paint_round *round);

/* sd_generate of a round, by the model as the tags of its prompts (--lora-dir) change it. */
sd_status paint_generate(paint *p, const paint_round *round, sd_generate_params *params,
                         sd_image **images);

/* Ends a round whose call gave `status`: says what failed, or writes the pictures as
 * samples/%05d.png with their generation parameters, prints each path, and takes them. No file that
 * is there is written over, whoever made it and when. `extra` is
 * appended to the parameters ("" or ", Key: value"). Returns the exit code. */
int paint_save(paint *p, sd_status status, const paint_round *round, sd_image **images,
               const char *extra);

/* Saves one picture to `wanted`, which ends in .png, or where that is taken to NAME-0001.png
 * beside it and so on. */
int paint_save_as(paint *p, sd_status status, const paint_round *round, sd_image **image,
                  const char *extra, const char *wanted);

/* Writes grid-%04d.png of all that was saved, unless --skip_grid. */
int paint_save_grid(paint *p);

#endif
