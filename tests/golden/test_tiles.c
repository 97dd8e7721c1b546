/* The VAE tile by tile: against diffusers, against itself without tiles, its seams and its memory.
 */
#include "../support/image.h"
#include "../support/params.h"
#include "golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIMIT 1e-5

static sd_vae_params tiles(int tile, int overlap) {
    return *TILES(tile, overlap);
}

static sd_tensor *randn(const golden *g, uint64_t seed, int n, int h, int w) {
    const int64_t dims[] = {n, 4, h, w};
    sd_tensor *t;
    must(sd_randn(g->ctx, SD_RNG_CPU, seed, 4, dims, &t));
    return t;
}

START_TEST(as_diffusers) {
    const golden_setup *setup = &golden_setups[_i];
    const sd_vae_params p = tiles(4, 1);
    golden g;
    sd_tensor *out;
    if (!golden_open(setup, &g))
        return;
    sd_tensor *latent = golden_tensor(&g, "tiles-latent", 0, 0);
    sd_tensor *pixels = golden_tensor(&g, "tiles-decoded", 0, 0);
    sd_tensor *noise = golden_tensor(&g, "tiles-noise", 0, 0);
    must(sd_vae_decode(g.model, latent, &p, &out));
    golden_check(setup->name, "tiles-decoded", out, LIMIT);
    must(sd_vae_encode(g.model, pixels, &p, &out));
    golden_check(setup->name, "tiles-mean", out, LIMIT);
    must(sd_vae_encode(g.model, pixels, VAE(.noise = noise, .tile = p.tile, .overlap = p.overlap),
                       &out));
    golden_check(setup->name, "tiles-sample", out, LIMIT);
    sd_tensor_free(latent);
    sd_tensor_free(pixels);
    sd_tensor_free(noise);
    golden_close(&g);
}
END_TEST

static void same(sd_tensor *a, sd_tensor *b) {
    ck_assert_int_eq(sd_tensor_n_elements(a), sd_tensor_n_elements(b));
    ck_assert_mem_eq(sd_tensor_data(a), sd_tensor_data(b),
                     (size_t)sd_tensor_n_elements(a) * sizeof(float));
    sd_tensor_free(a);
    sd_tensor_free(b);
}

/* One tile gives the numbers of the plain call, for a batch and where it is larger than the picture
 * on one side only too. */
START_TEST(one_tile_is_the_plain_call) {
    golden g;
    sd_tensor *plain, *tiled, *rows[2];
    sd_vae_params p = tiles(16, 4);
    ck_assert(golden_open(&golden_setups[1], &g));
    sd_tensor *latent = golden_tensor(&g, "vae-latent", 0, 0);
    sd_tensor *pixels = golden_tensor(&g, "vae-pixels", 0, 0);
    sd_tensor *noise = golden_tensor(&g, "vae-noise", 0, 0);
    must(sd_vae_decode(g.model, latent, NULL, &plain));
    must(sd_vae_decode(g.model, latent, &p, &tiled));
    same(plain, tiled);
    must(sd_vae_encode(g.model, pixels, NOISE(noise), &plain));
    must(sd_vae_encode(g.model, pixels, VAE(.noise = noise, .tile = p.tile, .overlap = p.overlap),
                       &tiled));
    same(plain, tiled);
    sd_tensor_free(latent);

    /* a batch in tiles is its pictures one by one */
    p = tiles(6, 2);
    latent = golden_tensor(&g, "vae-latent", 0, 0);
    must(sd_vae_decode(g.model, latent, &p, &tiled));
    size_t half = (size_t)sd_tensor_n_elements(tiled) / 2;
    for (int i = 0; i < 2; i++) {
        sd_tensor *one = golden_tensor(&g, "vae-latent", i, 1);
        must(sd_vae_decode(g.model, one, &p, &rows[i]));
        ck_assert_mem_eq(sd_tensor_data(rows[i]), sd_tensor_data(tiled) + (size_t)i * half,
                         half * sizeof(float));
        sd_tensor_free(rows[i]);
        sd_tensor_free(one);
    }
    sd_tensor_free(tiled);
    sd_tensor_free(latent);
    sd_tensor_free(pixels);
    sd_tensor_free(noise);
    golden_close(&g);
}
END_TEST

/* Mean step from column x - 1 to x, over the columns where a tile begins or its fading ends, and
 * over all others; the ratio of the two. */
static double seam_ratio(sd_tensor *t, int step, int overlap, int tile) {
    const int64_t *dims = sd_tensor_dims(t);
    int64_t rows = dims[0] * dims[1] * dims[2], w = dims[3];
    const float *data = sd_tensor_data(t);
    double sum[2] = {0, 0}, n[2] = {0, 0};
    for (int64_t x = 1; x < w; x++) {
        int64_t within = x % step;
        bool seam = x >= step && x + (tile - step) <= w && (within == 0 || within == overlap);
        for (int64_t y = 0; y < rows; y++) {
            sum[seam] += fabs((double)data[y * w + x] - (double)data[y * w + x - 1]);
            n[seam]++;
        }
    }
    return sum[1] / n[1] / (sum[0] / n[0]);
}

/* A smooth latent, as of a picture with little detail, where a seam would show. */
static sd_tensor *smooth(const golden *g, int h, int w) {
    sd_tensor *t = randn(g, 5, 1, h, w);
    float *data = sd_tensor_data_mut(t);
    for (int c = 0; c < 4; c++)
        for (int y = 0; y < h; y++)
            for (int x = 0; x < w; x++)
                data[(c * h + y) * w + x] = sinf(0.2f * (float)(x + c) + 0.13f * (float)(y * c));
    return t;
}

START_TEST(seams_do_not_show) {
    enum { H = 16, W = 64, TILE = 16, OVERLAP = 4, SCALE = 8 };
    golden g;
    sd_tensor *plain, *faded, *cut;
    sd_vae_params p = tiles(TILE, OVERLAP), no_overlap = tiles(TILE, 0);
    ck_assert(golden_open(&golden_setups[1], &g));
    sd_tensor *latent = smooth(&g, H, W);
    must(sd_vae_decode(g.model, latent, NULL, &plain));
    must(sd_vae_decode(g.model, latent, &p, &faded));
    must(sd_vae_decode(g.model, latent, &no_overlap, &cut));
    size_t n = (size_t)sd_tensor_n_elements(plain);
    printf("tiled and plain: relative %.2e, largest difference %.2e\n",
           relative_error(sd_tensor_data(faded), sd_tensor_data(plain), n),
           largest_difference(sd_tensor_data(faded), sd_tensor_data(plain), n));
    int step = (TILE - OVERLAP) * SCALE, side = TILE * SCALE;
    double of_plain = seam_ratio(plain, step, OVERLAP * SCALE, side);
    double of_faded = seam_ratio(faded, step, OVERLAP * SCALE, side);
    double of_cut = seam_ratio(cut, side, 0, side);
    printf("steps at seams to steps elsewhere: plain %.3f, tiled %.3f, without overlap %.3f\n",
           of_plain, of_faded, of_cut);
    ck_assert_double_le(of_faded, 1.2 * of_plain);
    ck_assert_double_ge(of_cut, 1.5); /* what the test is there to see */
    sd_tensor_free(plain);
    sd_tensor_free(faded);
    sd_tensor_free(cut);
    sd_tensor_free(latent);
    golden_close(&g);
}
END_TEST

typedef struct meter {
    size_t live, peak;
} meter;

static void *metered_alloc(void *user, size_t size, size_t alignment) {
    meter *m = user;
    void *p = NULL;
    if (posix_memalign(&p, alignment < sizeof(void *) ? sizeof(void *) : alignment, size))
        return NULL;
    m->live += size;
    m->peak = m->live > m->peak ? m->live : m->peak;
    return p;
}

static void metered_free(void *user, void *ptr, size_t size) {
    ((meter *)user)->live -= ptr ? size : 0;
    free(ptr);
}

/* Bytes beyond the model, the latent and the pixels while [1, 4, h, 16] is decoded; a new model for
 * each, as the executor keeps what it took. *estimated (or NULL) gets what it was to be. */
static size_t working_set(int h, const sd_vae_params *p, uint64_t *estimated) {
    meter m = {0, 0};
    sd_context_params cp = SD_CONTEXT_PARAMS_INIT;
    golden g;
    sd_tensor *pixels;
    cp.backend = "cpu";
    cp.n_threads = 1; /* so that one thread counts */
    cp.allocate = metered_alloc;
    cp.deallocate = metered_free;
    cp.alloc_user = &m;
    golden_must(sd_context_new(&cp, &g.ctx), "sd_context_new");
    must(sd_model_load(g.ctx, getenv("SD_TINY_FILE"), NULL, &g.model));
    sd_tensor *latent = randn(&g, 6, 1, h, 16);
    if (estimated) {
        sd_sampler_params run = SD_SAMPLER_PARAMS_INIT;
        sd_memory_info memory = SD_MEMORY_INFO_INIT;
        run.width = 128;
        run.height = 8 * (h + 7) / 64 * 64; /* as the UNet wants it; a tile is as large */
        must(sd_memory_estimate(g.model, TILED(&run, p), &memory));
        *estimated = memory.decode;
    }
    size_t before = m.live;
    m.peak = 0;
    must(sd_vae_decode(g.model, latent, p, &pixels));
    size_t size = (size_t)sd_tensor_n_elements(pixels) * sizeof(float);
    sd_tensor_free(pixels);
    sd_tensor_free(latent);
    golden_close(&g);
    return m.peak - before - size;
}

START_TEST(memory_is_that_of_a_tile) {
    const sd_vae_params p = tiles(16, 4);
    size_t one = working_set(16, NULL, NULL), two = working_set(28, &p, NULL),
           six = working_set(76, &p, NULL);
    size_t whole = working_set(76, NULL, NULL);
    printf("working set in kB: one tile %zu, 2 tiles %zu, 6 tiles %zu, 6 tiles' size whole %zu\n",
           one / 1024, two / 1024, six / 1024, whole / 1024);
    ck_assert_int_eq(two, six);
    ck_assert_double_le((double)six, 1.5 * (double)one); /* strips, and the tile itself */
    ck_assert_double_ge((double)whole, 2.0 * (double)six);
}
END_TEST

/* sd_memory_estimate knows what the test above measures. */
START_TEST(memory_is_estimated) {
    enum { SIDE = 16, LONG = 76, PIXELS = 3 * 128 * 128 * (int)sizeof(float) };
    const sd_vae_params p = tiles(SIDE, 4);
    sd_sampler_params run = SD_SAMPLER_PARAMS_INIT;
    sd_memory_info one = SD_MEMORY_INFO_INIT, six = SD_MEMORY_INFO_INIT,
                   whole = SD_MEMORY_INFO_INIT;
    golden g;
    ck_assert(golden_open(&golden_setups[1], &g));
    run.width = run.height = 8 * SIDE;
    must(sd_memory_estimate(g.model, ESTIMATE(&run), &one));
    run.height = 8 * (LONG + 4); /* the UNet wants a multiple of 64 */
    must(sd_memory_estimate(g.model, ESTIMATE(&run), &whole));
    must(sd_memory_estimate(g.model, TILED(&run, &p), &six));
    uint64_t estimated;
    size_t measured = working_set(LONG, &p, &estimated);
    printf("decoding 6 tiles in kB: estimated %llu, measured %zu; encoding %llu, whole %llu\n",
           (unsigned long long)estimated / 1024, measured / 1024,
           (unsigned long long)six.encode / 1024, (unsigned long long)whole.encode / 1024);
    ck_assert_uint_eq(six.decode, one.decode);
    ck_assert_uint_ge(measured, estimated);
    ck_assert_uint_le(measured, estimated + 4 * PIXELS); /* the host's: strips, and the tile */
    ck_assert_uint_le(six.encode, one.encode);
    ck_assert_uint_eq(six.unet, whole.unet);
    ck_assert_uint_gt(whole.decode, 2 * six.decode);
    ck_assert_uint_gt(whole.encode, 2 * six.encode);
    ck_assert_uint_gt(whole.peak, six.peak);

    must(sd_memory_estimate(g.model, TILED(&run, TILES(64, 16)), &six));
    ck_assert_uint_lt(six.decode, whole.decode);
    const sd_vae_params bad = tiles(4, 4);
    ck_assert_int_eq(sd_memory_estimate(g.model, TILED(&run, &bad), &six), SD_ERROR_ARGUMENT);
    golden_close(&g);
}
END_TEST

/* In one call: what the stages give, and with each noise of a batch what it gives alone. */
START_TEST(pictures_in_tiles) {
    enum { W = 128, H = 64, BYTES = 3 * W * H };
    const sd_vae_params p = tiles(8, 2);
    golden g;
    sd_image *init, *batch[2], *alone, *plain[2];
    sd_sampler_params run = SD_SAMPLER_PARAMS_INIT;
    sd_generate_params m = SD_GENERATE_PARAMS_INIT;
    ck_assert(golden_open(&golden_setups[1], &g));
    must(new_image(g.ctx, W, H, 3, NULL, &init));
    for (int i = 0; i < BYTES; i++)
        sd_image_pixels_mut(init)[i] = (uint8_t)(i * 31 % 251);
    run.steps = 2;
    run.batch = 2;
    m.strength = 0.5;
    m.prompt = "a lake";
    m.init = init;
    m.sampling = &run;
    must(sd_generate(g.model, &m, plain, 2));
    m.vae = &p;
    must(sd_generate(g.model, &m, batch, 2));
    ck_assert(memcmp(sd_image_pixels(plain[0]), sd_image_pixels(batch[0]), BYTES) != 0);
    run.batch = 1;
    for (int i = 0; i < 2; i++) {
        run.seed = 42 + (uint64_t)i;
        must(sd_generate(g.model, &m, &alone, 1));
        int largest = 0;
        for (int j = 0; j < BYTES; j++) {
            int d = sd_image_pixels(alone)[j] - sd_image_pixels(batch[i])[j];
            largest = d > largest ? d : -d > largest ? -d : largest;
        }
        printf("picture %d of a batch in tiles, and alone: largest difference %d\n", i, largest);
        ck_assert_int_le(largest, 1);
        sd_image_free(alone);
        sd_image_free(batch[i]);
        sd_image_free(plain[i]);
    }
    const sd_vae_params bad = tiles(-1, 0);
    m.vae = &bad;
    ck_assert_int_eq(sd_generate(g.model, &m, &alone, 1), SD_ERROR_ARGUMENT);
    ck_assert_ptr_null(alone);
    sd_image_free(init);
    golden_close(&g);
}
END_TEST

START_TEST(bad_arguments_are_named) {
    static const struct {
        int tile, overlap;
        const char *word;
    } bad[] = {{-4, 0, "tile is -4"},
               {8, 8, "overlap is 8"},
               {0, 4, "overlap is 4"},
               {1 << 20, 4, "tile is 1048576"}};
    golden g;
    sd_tensor *out;
    ck_assert(golden_open(&golden_setups[1], &g));
    sd_tensor *latent = randn(&g, 7, 1, 4, 12);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        sd_vae_params p = tiles(bad[i].tile, bad[i].overlap);
        ck_assert_int_eq(sd_vae_decode(g.model, latent, &p, &out), SD_ERROR_ARGUMENT);
        ck_assert_msg(strstr(sd_last_error(), bad[i].word) != NULL, "%s", sd_last_error());
        ck_assert_ptr_null(out);
    }
    /* not pixels; and noise of another shape */
    ck_assert_int_eq(sd_vae_encode(g.model, latent, NULL, &out), SD_ERROR_ARGUMENT);
    sd_vae_params p = tiles(4, 1);
    sd_tensor *pixels;
    must(sd_vae_decode(g.model, latent, &p, &pixels));
    ck_assert_int_eq(
        sd_vae_encode(g.model, pixels, VAE(.noise = pixels, .tile = 4, .overlap = 1), &out),
        SD_ERROR_ARGUMENT);
    ck_assert_msg(strstr(sd_last_error(), "noise is") != NULL, "%s", sd_last_error());
    sd_tensor_free(pixels);
    sd_tensor_free(latent);
    golden_close(&g);
}
END_TEST

int main(void) {
    const golden_test tests[] = {
        {as_diffusers, 0, n_golden_setups}, {one_tile_is_the_plain_call, 0, 1},
        {seams_do_not_show, 0, 1},          {memory_is_that_of_a_tile, 0, 1},
        {memory_is_estimated, 0, 1},        {pictures_in_tiles, 0, 1},
        {bad_arguments_are_named, 0, 1}};
    return golden_main("tiles", tests, sizeof(tests) / sizeof(tests[0]));
}
