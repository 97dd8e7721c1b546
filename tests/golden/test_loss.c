/* The training objective against the original's formulas and diffusers' UNet: make_loss_golden.py.
 */
#include "golden.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIMIT 1e-5 /* of each number */
#define N_PICTURES 4
#define N_TRAIN 1000
#define N_MEANS 5
#define ROW (3 * N_PICTURES + N_MEANS)

static const int32_t timesteps[N_PICTURES] = {0, 1, 500, 999};
static const char *const predictions[] = {"epsilon", "sample", "v_prediction"};

typedef struct loss_inputs {
    sd_tensor *x0, *noise;
    sd_cond *cond;
    float logvar[N_TRAIN];
} loss_inputs;

static void inputs_open(const golden *g, loss_inputs *in) {
    const char *texts[N_PICTURES] = {golden_prompts[1], golden_prompts[1], golden_prompts[1],
                                     golden_prompts[1]};
    in->x0 = golden_tensor(g, "loss-x0", 0, 0);
    in->noise = golden_tensor(g, "loss-noise", 0, 0);
    must(sd_encode_text(g->model, texts, N_PICTURES, NULL, &in->cond));
    for (int t = 0; t < N_TRAIN; t++)
        in->logvar[t] = (float)sin(t / 100.0);
}

static void inputs_free(loss_inputs *in) {
    sd_tensor_free(in->x0);
    sd_tensor_free(in->noise);
    sd_cond_free(in->cond);
}

/* The tiny folder with another prediction_type in its scheduler: links, and one file. */
static void make_folder(char *dir, const char *prediction) {
    static const char *const links[] = {"model_index.json", "unet", "vae", "text_encoder",
                                        "tokenizer"};
    char path[4096], target[4096];
    const char *tiny = getenv("SD_TINY_FOLDER");
    ck_assert_ptr_nonnull(tiny);
    ck_assert_ptr_nonnull(mkdtemp(dir));
    for (size_t i = 0; i < sizeof(links) / sizeof(links[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, links[i]);
        snprintf(target, sizeof(target), "%s/%s", tiny, links[i]);
        ck_assert_int_eq(symlink(target, path), 0);
    }
    snprintf(path, sizeof(path), "%s/scheduler", dir);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    snprintf(path, sizeof(path), "%s/scheduler/scheduler_config.json", dir);
    FILE *f = fopen(path, "w");
    ck_assert_ptr_nonnull(f);
    fprintf(f,
            "{\"_class_name\": \"DDIMScheduler\", \"beta_start\": 0.00085, \"beta_end\": 0.012,"
            " \"beta_schedule\": \"scaled_linear\", \"num_train_timesteps\": %d,"
            " \"steps_offset\": 1, \"prediction_type\": \"%s\"}",
            N_TRAIN, prediction);
    ck_assert_int_eq(fclose(f), 0);
}

static void remove_folder(const char *dir) {
    static const char *const files[] = {
        "model_index.json", "unet",      "vae",
        "text_encoder",     "tokenizer", "scheduler/scheduler_config.json"};
    char path[4096];
    for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, files[i]);
        unlink(path);
    }
    snprintf(path, sizeof(path), "%s/scheduler", dir);
    rmdir(path);
    rmdir(dir);
}

static void check_row(const char *name, const char *prediction, const char *type, const float *got,
                      const float *want) {
    double worst = 0.0;
    for (int i = 0; i < ROW; i++)
        worst = fmax(worst, fabs((double)got[i] / (double)want[i] - 1.0));
    printf("%-20s loss %-12s %s  largest relative error %.2e\n", name, prediction, type, worst);
    ck_assert_double_le(worst, LIMIT);
}

/* Each parameterization, l2 and l1, with a logvar of each timestep. */
START_TEST(losses) {
    const golden_setup *setup = &golden_setups[_i];
    npy want = golden_array("loss");
    for (int k = 0; k < 3; k++) {
        char dir[] = "/tmp/sd-loss-XXXXXX";
        golden_setup own = {.name = setup->name,
                            .backend = setup->backend,
                            .n_threads = setup->n_threads,
                            .model = "SD_LOSS_FOLDER"};
        golden g;
        loss_inputs in;
        make_folder(dir, predictions[k]);
        ck_assert_int_eq(setenv("SD_LOSS_FOLDER", dir, 1), 0);
        bool opened = golden_open(&own, &g);
        remove_folder(dir); /* the files stay mapped */
        if (!opened)
            break;
        inputs_open(&g, &in);
        for (int l1 = 0; l1 < 2; l1++) {
            sd_loss_params p = SD_LOSS_PARAMS_INIT;
            sd_loss_info loss = SD_LOSS_INFO_INIT;
            sd_tensor *samples;
            p.type = l1 ? SD_LOSS_L1 : SD_LOSS_L2;
            p.l_simple_weight = 0.75;
            p.original_elbo_weight = 0.125;
            p.logvar = in.logvar;
            must(sd_training_loss(g.model, in.x0, in.noise, timesteps, in.cond, &p, &loss,
                                  &samples));
            ck_assert_int_eq(sd_tensor_n_elements(samples), 3 * N_PICTURES);
            float got[ROW] = {0};
            for (int i = 0; i < 3 * N_PICTURES; i++)
                got[i] = sd_tensor_data(samples)[i];
            const double means[N_MEANS] = {loss.total, loss.simple, loss.gamma, loss.vlb,
                                           loss.logvar};
            for (int i = 0; i < N_MEANS; i++)
                got[3 * N_PICTURES + i] = (float)means[i];
            check_row(setup->name, predictions[k], l1 ? "l1" : "l2", got,
                      want.f32 + ROW * (3 * l1 + k));
            sd_tensor_free(samples);
        }
        inputs_free(&in);
        golden_close(&g);
    }
    npy_free(&want);
}
END_TEST

/* The original's defaults: the mean of loss_simple, and nothing of the rest. */
START_TEST(defaults) {
    golden g;
    loss_inputs in;
    sd_loss_info loss = SD_LOSS_INFO_INIT;
    npy want = golden_array("loss");
    ck_assert(golden_open(&golden_setups[1], &g));
    inputs_open(&g, &in);
    must(sd_training_loss(g.model, in.x0, in.noise, timesteps, in.cond, NULL, &loss, NULL));
    ck_assert_double_eq(loss.total, loss.simple);
    ck_assert_double_eq(loss.gamma, loss.simple);
    ck_assert_double_eq(loss.logvar, 0.0);
    ck_assert_double_le(fabs(loss.simple / (double)want.f32[3 * N_PICTURES + 1] - 1.0), LIMIT);
    inputs_free(&in);
    npy_free(&want);
    golden_close(&g);
}
END_TEST

#define refused(g, word, ...)                                                                      \
    do {                                                                                           \
        ck_assert_int_eq(sd_training_loss(__VA_ARGS__), SD_ERROR_ARGUMENT);                        \
        ck_assert_msg(strstr(sd_last_error(), word) != NULL, "%s", sd_last_error());               \
    } while (0)

START_TEST(bad_arguments_are_named) {
    golden g;
    loss_inputs in;
    sd_loss_info loss = SD_LOSS_INFO_INIT;
    sd_loss_params p = SD_LOSS_PARAMS_INIT;
    sd_tensor *rows;
    const int32_t late[N_PICTURES] = {0, 1, N_TRAIN, 3};
    ck_assert(golden_open(&golden_setups[1], &g));
    inputs_open(&g, &in);
    refused(g, "timesteps[2] is 1000", g.model, in.x0, in.noise, late, in.cond, NULL, &loss, &rows);
    ck_assert_ptr_null(rows);
    refused(g, "noise is", g.model, in.x0, rows, timesteps, in.cond, NULL, &loss, NULL);
    refused(g, "cond is NULL", g.model, in.x0, in.noise, timesteps, NULL, NULL, &loss, NULL);
    refused(g, "loss is NULL", g.model, in.x0, in.noise, timesteps, in.cond, NULL, NULL, NULL);
    p.concat = in.x0;
    refused(g, "sd_loss_params.concat is given", g.model, in.x0, in.noise, timesteps, in.cond, &p,
            &loss, NULL);
    p.concat = NULL;
    p.type = (sd_loss_type)2;
    refused(g, "sd_loss_params.type is 2", g.model, in.x0, in.noise, timesteps, in.cond, &p, &loss,
            NULL);
    inputs_free(&in);
    golden_close(&g);
}
END_TEST

int main(void) {
    const golden_test tests[] = {
        {losses, 0, n_golden_setups}, {defaults, 0, 1}, {bad_arguments_are_named, 0, 1}};
    return golden_main("loss", tests, 3);
}
