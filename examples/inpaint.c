/* sd-inpaint: the white part of a mask is painted anew. One picture with its mask, or with --indir
 * all pairs of a folder, as scripts/inpaint.py of the original; on libsd's sd_generate. */
#define _GNU_SOURCE /* glob */

#include "paint.h"

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAM "sd-inpaint"
#define BIG "models/ldm/inpainting_big/"
#define MASK "_mask.png"

typedef struct inpaint {
    paint p;
    const char *init_path, *mask_path, *indir;
    double strength;
    int width, height;
    float mask_blur;
    bool mask_invert, mask_any_pixel, only_masked;
    int mask_padding;
    char kind[256]; /* for the parameters */
    sd_model_info info;
    sd_image *init, *mask;
} inpaint;

static void free_pictures(inpaint *job) {
    sd_image_free(job->init);
    sd_image_free(job->mask);
    job->init = job->mask = NULL;
}

static int load_pictures(inpaint *job, const char *init, const char *mask) {
    sd_context *ctx = job->p.ctx;
    free_pictures(job);
    sd_status status = sd_image_load(ctx, init, NULL, &job->init);
    sd_image_load_params with_alpha = SD_IMAGE_LOAD_PARAMS_INIT;
    with_alpha.keep_alpha = 1;
    if (!status)
        status = sd_image_load(ctx, mask, &with_alpha, &job->mask);
    if (status)
        return cli_fail(PROGRAM, status);
    int width = sd_image_width(job->init), height = sd_image_height(job->init);
    if (sd_image_width(job->mask) == width && sd_image_height(job->mask) == height)
        return 0;
    fprintf(stderr, PROGRAM ": %s is %dx%d; %dx%d was expected, the size of %s\n", mask,
            sd_image_width(job->mask), sd_image_height(job->mask), width, height, init);
    return 1;
}

static sd_status paint_batch(inpaint *job, const paint_round *round, sd_image **images) {
    sd_mask_params masking = SD_MASK_PARAMS_INIT;
    masking.blur = (double)job->mask_blur;
    masking.invert = job->mask_invert;
    masking.any_pixel = job->mask_any_pixel;
    masking.only_masked = job->only_masked;
    masking.padding = job->mask_padding;
    sd_generate_params params = paint_request(&job->p, round);
    params.init = job->init;
    params.mask = job->mask;
    params.masking = &masking;
    params.strength = job->strength;
    return paint_generate(&job->p, round, &params, images);
}

/* The mask in the picture's parameters, by the names that the popular web UIs have where they have
 * one. */
static const char *kind_of(inpaint *job) {
    bool wide = job->info.unet_channels > job->info.latent_channels;
    char blur[48] = "", region[80] = "";
    if (job->mask_blur > 0)
        snprintf(blur, sizeof blur, ", Mask blur: %g", (double)job->mask_blur);
    if (job->only_masked)
        snprintf(region, sizeof region, ", Inpaint area: Only masked, Masked area padding: %d",
                 job->mask_padding);
    snprintf(job->kind, sizeof job->kind, ", Inpainting: %s%s%s%s%s",
             wide ? "by the model" : "masked latents", blur,
             job->mask_invert ? ", Mask mode: Inpaint not masked" : "", region,
             job->mask_any_pixel ? ", Mask squares: any pixel" : "");
    return job->kind;
}

/* --------------------------------------------------------------------------- one picture */

static int run_picture(inpaint *job) {
    paint *p = &job->p;
    int exit_code = load_pictures(job, job->init_path, job->mask_path);
    sd_image **images = calloc((size_t)p->options->n_samples, sizeof *images);
    if (!images) {
        fprintf(stderr, PROGRAM ": out of memory\n");
        return 1;
    }
    for (int i = 0; i < paint_rounds(p) && !exit_code && !cli_interrupted(); i++) {
        paint_round round = paint_round_at(p, i);
        round.sampling.width = job->width;
        round.sampling.height = job->height;
        sd_status status = paint_batch(job, &round, images);
        exit_code = paint_save(p, status, &round, images, kind_of(job));
    }
    if (!exit_code && !cli_interrupted())
        exit_code = paint_save_grid(p);
    free(images);
    return cli_interrupted() ? 130 : exit_code;
}

/* ------------------------------------------------------------------------------- --indir */

/* The original takes a picture as it is; here it is cut down to what the model takes. */
static int side(int given, int own, int multiple) {
    return given ? given : own < multiple ? multiple : own / multiple * multiple;
}

/* The path of a mask's picture, or of its result below `outdir`; the caller's to free. */
static char *path_of(const char *outdir, const char *mask) {
    const char *slash = strrchr(mask, '/'), *name = outdir && slash ? slash + 1 : mask;
    size_t room = strlen(name) + (outdir ? strlen(outdir) + 1 : 0) + sizeof ".png";
    char *path = malloc(room);
    if (path)
        snprintf(path, room, "%s%s%.*s.png", outdir ? outdir : "", outdir ? "/" : "",
                 (int)(strlen(name) - strlen(MASK)), name);
    return path;
}

static int run_pair(inpaint *job, int index, const char *init, const char *mask, const char *out) {
    paint *p = &job->p;
    int exit_code = load_pictures(job, init, mask);
    if (exit_code)
        return exit_code;
    sd_image *image = NULL;
    paint_round round = paint_round_at(p, index);
    int multiple = job->info.size_multiple;
    bool own = !job->only_masked; /* else 0 is the model's own */
    round.sampling.width = own ? side(job->width, sd_image_width(job->init), multiple) : job->width;
    round.sampling.height =
        own ? side(job->height, sd_image_height(job->init), multiple) : job->height;
    sd_status status = paint_batch(job, &round, &image);
    return paint_save_as(p, status, &round, &image, kind_of(job), out);
}

static int run_masks(inpaint *job, const glob_t *masks) {
    int exit_code = 0;
    for (size_t i = 0; i < masks->gl_pathc && !exit_code && !cli_interrupted(); i++) {
        const char *mask = masks->gl_pathv[i];
        char *init = path_of(NULL, mask), *out = path_of(job->p.options->outdir, mask);
        if (init && out) {
            exit_code = run_pair(job, (int)i, init, mask, out);
        } else {
            fprintf(stderr, PROGRAM ": out of memory\n");
            exit_code = 1;
        }
        free(init);
        free(out);
    }
    return cli_interrupted() ? 130 : exit_code;
}

/* sorted(glob.glob(os.path.join(indir, "*_mask.png"))) */
static int find_masks(const char *indir, glob_t *masks) {
    size_t room = strlen(indir) + sizeof "/*" MASK;
    char *pattern = malloc(room);
    if (!pattern) {
        fprintf(stderr, PROGRAM ": out of memory\n");
        return 1;
    }
    snprintf(pattern, room, "%s/*" MASK, indir);
    int failed = glob(pattern, 0, NULL, masks);
    free(pattern);
    if (!failed)
        return 0;
    fprintf(stderr, PROGRAM ": --indir %s: there is no *" MASK "\n", indir);
    return 1;
}

static int run_folder(inpaint *job) {
    glob_t masks;
    int exit_code = find_masks(job->indir, &masks);
    if (exit_code)
        return exit_code;
    exit_code = run_masks(job, &masks);
    globfree(&masks);
    return exit_code;
}

/* ----------------------------------------------------------------------------------- main */

static int begin_and_run(inpaint *job, const paint_options *o) {
    int exit_code = paint_begin(&job->p, PROGRAM, o);
    if (exit_code)
        return exit_code;
    sd_status status = sd_model_get_info(job->p.model, &job->info);
    if (status)
        return cli_fail(PROGRAM, status);
    return job->indir ? run_folder(job) : run_picture(job);
}

/* The original's model and its weights; a result has its picture's name. */
static int set_folder(const inpaint *job, paint_options *o) {
    if (job->init_path || job->mask_path || o->from_file || o->n_samples != 1 || o->n_iter != 1) {
        fprintf(stderr, PROGRAM ": --indir makes a picture of each pair; --init-img, --mask-img, "
                                "--from-file, --n_samples and --n_iter do not go with it\n");
        return 2;
    }
    if (!o->ckpt) {
        o->ckpt = BIG "last.ckpt";
        o->config = o->config ? o->config : BIG "config.yaml";
    }
    o->ema_where_given = true;
    o->own_names = true;
    return 0;
}

static int check(const inpaint *job, paint_options *o) {
    if (job->indir)
        return set_folder(job, o);
    if (job->init_path && job->mask_path)
        return 0;
    fprintf(stderr, PROGRAM ": --%s is missing: a PNG or JPEG file\n",
            job->init_path ? "mask-img" : "init-img");
    return 2;
}

int main(int argc, char **argv) {
    paint_options o = {
        .prompt = "",
        .outdir = "outputs/inpaint-samples",
        .n_iter = 1,
        .n_samples = 1,
        .script_scale = 7.5f,
        PAINT_COMMON_DEFAULTS,
    };
    inpaint job = {.strength = 1.0, .mask_padding = 32, .info = SD_MODEL_INFO_INIT};
    cli_option rows[PAINT_N_OPTIONS + 12] = {
        [PAINT_N_OPTIONS] = {"init-img", CLI_TEXT, &job.init_path, "the picture"},
        {"mask-img", CLI_TEXT, &job.mask_path,
         "of its size: white is painted anew, black kept, grey blends; or in its alpha channel"},
        {"indir", CLI_TEXT, &job.indir,
         "instead: a folder of pairs NAME.png and NAME_mask.png; each result is OUTDIR/NAME.png. "
         "Without --ckpt, " BIG "last.ckpt and config.yaml; averaged weights where it has them, "
         "unless --no_ema"},
        {"strength", CLI_DOUBLE, &job.strength,
         "how much to change what is white, 0 to 1; at 1 nothing of it is seen"},
        {"W", CLI_INT, &job.width,
         "width; 0: the picture's, cut down to a multiple of 64 (--indir: of what the model "
         "takes)"},
        {"H", CLI_INT, &job.height, "height; 0: as the width"},
        {"steps", CLI_INT, &o.ddim_steps, "the original inpaint.py's name for --ddim_steps"},
        {"mask_blur", CLI_FLOAT, &job.mask_blur, "sigma of a blur of the mask, in pixels"},
        {"mask_invert", CLI_FLAG, &job.mask_invert, "black is painted anew, white kept"},
        {"mask_any_pixel", CLI_FLAG, &job.mask_any_pixel,
         "thin strokes: a latent is painted where any of its 8x8 pixels is white, not the first"},
        {"only_masked", CLI_FLAG, &job.only_masked,
         "the masked part is painted at W x H (0: the model's) and put back; the result has the "
         "picture's size"},
        {"mask_padding", CLI_INT, &job.mask_padding,
         "with --only_masked: pixels around the part that are seen too"},
    };
    paint_option_rows(&o, rows);
    const cli_program program = {
        PROGRAM,
        "Paints a part of a picture anew. Inpainting models (9 channels with a prompt, or the\n"
        "original's inpainting_big) see the mask; any other model of text to image does it too, "
        "by\n"
        "latents that are kept outside of the mask. The result is the given picture there.\n"
        "There is no safety checker and no invisible watermark: results are neither checked nor "
        "marked.",
        NULL, rows, PAINT_N_OPTIONS + 12};
    int exit_code;
    if (cli_parse(&program, argc, argv, &exit_code) < 0)
        return exit_code;
    exit_code = check(&job, &o);
    if (exit_code)
        return exit_code;
    exit_code = begin_and_run(&job, &o);
    free_pictures(&job);
    paint_end(&job.p);
    return exit_code;
}
