/* sd-img2img: a picture and a prompt become PNG files. scripts/img2img.py of the original (SDEdit,
 * Meng et al. 2021), on libsd. */
#include "paint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAM "sd-img2img"

/* The flags besides the common ones. */
typedef struct repaint {
    int width, height;
    bool diffusers_strength;
} repaint;

static int run(paint *p, const sd_image *init, const repaint *r) {
    const paint_options *o = p->options;
    char extra[96];
    snprintf(extra, sizeof extra, ", Denoising strength: %g%s", o->strength,
             r->diffusers_strength ? ", Strength rule: diffusers" : "");
    sd_image **images = calloc((size_t)o->n_samples, sizeof *images);
    if (!images) {
        fprintf(stderr, PROGRAM ": out of memory\n");
        return 1;
    }
    int exit_code = 0;
    for (int i = 0; i < paint_rounds(p) && !exit_code && !cli_interrupted(); i++) {
        paint_round round = paint_round_at(p, i);
        p->original.original_encode = !r->diffusers_strength;
        round.sampling.width = r->width;
        round.sampling.height = r->height;
        sd_generate_params params = paint_request(p, &round);
        params.init = init;
        params.strength = o->strength;
        sd_status status = paint_generate(p, &round, &params, images);
        exit_code = paint_save(p, status, &round, images, extra);
    }
    if (!exit_code && !cli_interrupted())
        exit_code = paint_save_grid(p);
    free(images);
    return cli_interrupted() ? 130 : exit_code;
}

int main(int argc, char **argv) {
    paint_options o = {
        .prompt = "a painting of a virus monster playing guitar",
        .outdir = "outputs/img2img-samples",
        .n_iter = 1,
        .n_samples = 2,
        .script_scale = 5.0f,
        .from_picture = true,
        .strength = 0.75,
        PAINT_COMMON_DEFAULTS,
    };
    const char *init_path = NULL;
    repaint r = {0, 0, false};
    cli_option rows[PAINT_N_OPTIONS + 6] = {
        [PAINT_N_OPTIONS] = {"init-img", CLI_TEXT, &init_path, "the picture to begin with"},
        {"strength", CLI_DOUBLE, &o.strength, "how much to change it, 0 to 1"},
        {"diffusers_strength", CLI_FLAG, &r.diffusers_strength,
         "noise the picture to the first step that is made, as diffusers does, not to the one "
         "above, as the original does; its low strengths paint coloured blocks"},
        {"W", CLI_INT, &r.width, "width; 0: the picture's, cut down to a multiple of 64"},
        {"H", CLI_INT, &r.height, "height; 0: the picture's, cut down to a multiple of 64"},
        {"original_seeds", CLI_FLAG, &o.original_seeds,
         "all pictures from one stream of --seed, as the original on a GPU if --rng is cuda, but "
         "for the noise of the VAE's posterior, which is small; without, picture i has seed + i"},
    };
    paint_option_rows(&o, rows);
    const cli_program program = {
        PROGRAM, "Repaints a picture after a prompt with Stable Diffusion.\n" PAINT_ABSENT, NULL,
        rows, PAINT_N_OPTIONS + 6};
    int exit_code;
    if (cli_parse(&program, argc, argv, &exit_code) < 0)
        return exit_code;
    if (!init_path) {
        fprintf(stderr, PROGRAM ": --init-img is missing: a PNG or JPEG file\n");
        return 2;
    }
    paint p;
    sd_image *init = NULL;
    exit_code = paint_begin(&p, PROGRAM, &o);
    if (!exit_code) {
        sd_status status = sd_image_load(p.ctx, init_path, NULL, &init);
        exit_code = status ? cli_fail(PROGRAM, status) : run(&p, init, &r);
    }
    sd_image_free(init);
    paint_end(&p);
    return exit_code;
}
