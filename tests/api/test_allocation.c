/* Every allocation of a whole run fails once: each time a status, nothing leaked, nothing crashed.
 */
#include "../support/image.h"
#include "../support/params.h"
#include "api.h"

typedef struct meter {
    long count;   /* allocations so far */
    long fail_at; /* this one fails; 0: none */
    long live;    /* blocks not given back */
} meter;

static void *metered_alloc(void *user, size_t size, size_t alignment) {
    meter *m = user;
    if (++m->count == m->fail_at)
        return NULL;
    void *p = NULL;
    if (posix_memalign(&p, alignment < sizeof(void *) ? sizeof(void *) : alignment, size))
        return NULL;
    memset(p, 0xa5, size < 4096 ? size : 4096); /* what nobody wrote shows */
    m->live++;
    return p;
}

static void metered_free(void *user, void *ptr, size_t size) {
    (void)size;
    ((meter *)user)->live--;
    free(ptr);
}

/* The VAE in tiles, both ways, and the training objective. */
static sd_status other_stages(sd_context *ctx, sd_model *model) {
    const int64_t dims[] = {1, 4, 8, 16};
    const int32_t timestep = 500;
    const char *text = "a lake";
    sd_loss_info loss = SD_LOSS_INFO_INIT;
    sd_cond *cond = NULL;
    sd_tensor *z, *pixels = NULL, *latent = NULL, *samples = NULL;
    sd_status status = sd_randn(ctx, SD_RNG_CPU, 1, 4, dims, &z);
    if (!status)
        status = sd_vae_decode(model, z, TILES(8, 2), &pixels);
    if (!status)
        status = sd_vae_encode(model, pixels, VAE(.noise = z, .tile = 8), &latent);
    if (!status)
        status = sd_encode_text(model, &text, 1, NULL, &cond);
    if (!status)
        status = sd_training_loss(model, latent, z, &timestep, cond, NULL, &loss, &samples);
    ck_assert(!status == (samples != NULL));
    sd_tensor_free(z);
    sd_tensor_free(pixels);
    sd_tensor_free(latent);
    sd_cond_free(cond);
    sd_tensor_free(samples);
    return status;
}

static int32_t leave_score(void *user, const sd_score_info *score) {
    (void)user, (void)score;
    return 0;
}

static sd_status open_metered(meter *m, sd_context **ctx) {
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    params.backend = "cpu";
    params.n_threads = 1; /* so that one thread counts */
    params.allocate = metered_alloc;
    params.deallocate = metered_free;
    params.alloc_user = m;
    return sd_context_new(&params, ctx);
}

/* Context, model, and a picture from a picture: every stage there is. */
static sd_status whole_run(meter *m) {
    sd_context *ctx;
    sd_model *model = NULL;
    sd_image *init = NULL, *result = NULL;
    sd_status status = open_metered(m, &ctx);
    if (status)
        return status;
    status = sd_model_load(ctx, tiny_folder(), NULL, &model);
    if (!status)
        status = new_image(ctx, 70, 64, 3, NULL, &init);
    if (!status) {
        sd_sampler_params sampling = small_run();
        sampling.steps = 2;
        sampling.eta = 1;
        sd_original_params original = SD_ORIGINAL_PARAMS_INIT;
        sampling.original = &original;
        original.log_every_t = 1;
        original.score_corrector = leave_score;
        sd_generate_params img = SD_GENERATE_PARAMS_INIT;
        img.prompt = "a lake";
        img.init = init;
        img.sampling = &sampling;
        status = sd_generate(model, &img, &result, 1);
    }
    if (!status)
        status = other_stages(ctx, model);
    if (status)
        ck_assert_str_ne(sd_last_error(), "");
    sd_image_free(result);
    sd_image_free(init);
    sd_model_free(model);
    sd_context_free(ctx);
    return status;
}

START_TEST(every_allocation_may_fail) {
    meter all = {0};
    ck_assert_int_eq(whole_run(&all), SD_OK);
    ck_assert_int_eq(all.live, 0);
    /* all of the first and last, and a prime stride between, to stay within seconds */
    long stride = all.count > 400 ? all.count / 200 | 1 : 1, tried = 0;
    for (long n = 1; n <= all.count; n += n < 40 || n > all.count - 40 ? 1 : stride) {
        meter m = {.fail_at = n};
        sd_status status = whole_run(&m);
        ck_assert_msg(status == SD_ERROR_MEMORY, "allocation %ld of %ld: %s", n, all.count,
                      sd_status_string(status));
        ck_assert_msg(m.live == 0, "allocation %ld of %ld: %ld blocks leaked", n, all.count,
                      m.live);
        tried++;
    }
    printf("%ld allocations in a run, %ld of them made to fail\n", all.count, tried);
}
END_TEST

/* A step of inpainting after the model was loaded, with `before` allocations. */
static sd_status inpaint_run(meter *m, const char *folder, bool part, long *before) {
    sd_context *ctx;
    sd_model *model = NULL;
    sd_image *picture = NULL, *result = NULL;
    sd_sampler_params sampling = small_run();
    sd_generate_params p = SD_GENERATE_PARAMS_INIT;
    sampling.steps = 2;
    p.strength = 0.5;
    const char *const prompts[] = {"a lake"};
    p.prompts = prompts;
    p.sampling = &sampling;
    p.masking = MASKING(.only_masked = part, .blur = part);
    sd_status status = open_metered(m, &ctx);
    if (status)
        return status;
    status = sd_model_load(ctx, folder, NULL, &model);
    *before = m->count;
    if (!status)
        status = new_image(ctx, 64, 64, 3, NULL, &picture);
    p.init = p.mask = picture;
    if (!status)
        status = sd_generate(model, &p, &result, 1);
    if (status)
        ck_assert_str_ne(sd_last_error(), "");
    sd_image_free(result);
    sd_image_free(picture);
    sd_model_free(model);
    sd_context_free(ctx);
    return status;
}

START_TEST(inpainting_may_fail) {
    const char *folder = getenv(_i == 1 ? "SD_TEST_INPAINT_FOLDER" : "SD_TEST_TINY_FOLDER");
    meter all = {0};
    long before, tried = 0;
    ck_assert_int_eq(inpaint_run(&all, folder, _i == 2, &before), SD_OK);
    ck_assert_int_eq(all.live, 0);
    long last = all.count, first = before + 1;
    for (long n = first; n <= last; n++, tried++) {
        meter m = {.fail_at = n};
        sd_status status = inpaint_run(&m, folder, _i == 2, &before);
        ck_assert_msg(status == SD_ERROR_MEMORY, "allocation %ld of %ld: %s", n, last,
                      sd_status_string(status));
        ck_assert_msg(m.live == 0, "allocation %ld of %ld: %ld blocks leaked", n, last, m.live);
    }
    printf("%ld allocations of inpainting made to fail\n", tried);
}
END_TEST

int main(void) {
    TCase *tests = tcase_create("allocation");
    tcase_set_timeout(tests, 0);
    tcase_add_test(tests, every_allocation_may_fail);
    tcase_add_loop_test(tests, inpainting_may_fail, 0, 3);
    Suite *suite = suite_create("allocation");
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
