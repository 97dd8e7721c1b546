/* sd-txt2img: a prompt becomes PNG files. scripts/txt2img.py of the original, on libsd. */
#include "paint.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROGRAM "sd-txt2img"

static int run(paint *p, int width, int height) {
    const paint_options *o = p->options;
    sd_image **images = calloc((size_t)o->n_samples, sizeof *images);
    if (!images) {
        fprintf(stderr, PROGRAM ": out of memory\n");
        return 1;
    }
    int exit_code = 0;
    for (int i = 0; i < paint_rounds(p) && !exit_code && !cli_interrupted(); i++) {
        paint_round round = paint_round_at(p, i);
        round.sampling.width = width;
        round.sampling.height = height;
        sd_generate_params params = paint_request(p, &round);
        sd_status status = paint_generate(p, &round, &params, images);
        exit_code = paint_save(p, status, &round, images, "");
    }
    if (!exit_code && !cli_interrupted())
        exit_code = paint_save_grid(p);
    free(images);
    return cli_interrupted() ? 130 : exit_code;
}

int main(int argc, char **argv) {
    paint_options o = {
        .prompt = "a painting of a virus monster playing guitar",
        .outdir = "outputs/txt2img-samples",
        .n_iter = 2,
        .n_samples = 3,
        .script_scale = 7.5f,
        PAINT_COMMON_DEFAULTS,
    };
    int width = 0, height = 0;
    bool laion400m = false;
    cli_option rows[PAINT_N_OPTIONS + 6] = {
        [PAINT_N_OPTIONS] = {"W", CLI_INT, &width, "width in pixels; 0 is the model's"},
        {"H", CLI_INT, &height, "height in pixels; 0 is the model's"},
        {"refiner", CLI_TEXT, &o.refiner,
         "a model that paints the last steps, as SDXL's refiner: a file or folder as of --ckpt"},
        {"refiner_start", CLI_DOUBLE, &o.refiner_start,
         "share of the train timesteps that is done when --refiner begins; 0 is 0.8"},
        {"original_seeds", CLI_FLAG, &o.original_seeds,
         "all pictures from one stream of --seed, as the original on a GPU if --rng is cuda; "
         "without, picture i has seed + i"},
        {"laion400m", CLI_FLAG, &laion400m,
         "the original's --config, --ckpt and --outdir of its LAION 400M model"},
    };
    paint_option_rows(&o, rows);
    const cli_program program = {
        PROGRAM, "Paints pictures from a prompt with Stable Diffusion.\n" PAINT_ABSENT, NULL, rows,
        PAINT_N_OPTIONS + 6};
    int exit_code;
    if (cli_parse(&program, argc, argv, &exit_code) < 0)
        return exit_code;
    if (laion400m) {
        o.config = "configs/latent-diffusion/txt2img-1p4B-eval.yaml";
        o.ckpt = "models/ldm/text2img-large/model.ckpt";
        o.outdir = "outputs/txt2img-samples-laion400m";
    }
    paint p;
    exit_code = paint_begin(&p, PROGRAM, &o);
    if (!exit_code)
        exit_code = run(&p, width, height);
    paint_end(&p);
    return exit_code;
}
