/*
 * diffusers folders, painted with default parameters as diffusers' pipelines paint them by the
 * folder's scheduler (tests/tools/make_folder_golden.py).
 */
#include "golden.h"
#include "listed.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_CASES 128
#define FEW_GUIDANCE 2.0f

typedef struct folder_case {
    char name[64], kind[8];
    int few; /* steps of its second row */
    double limit;
} folder_case;

static folder_case cases[MAX_CASES];
static int n_cases;
static char data[PATH_SIZE], root[] = "/tmp/sd-folders-XXXXXX";
static const char *const kinds[] = {"sd", "lcm", "own", "layers", "pruned", "hollow"};
#define N_KINDS (sizeof(kinds) / sizeof(kinds[0]))

static const struct {
    const char *fixture, *file; /* KIND-fixture */
} parts[] = {{"model_index.json", "model_index.json"},
             {"text_encoder.json", "text_encoder/config.json"},
             {"unet.json", "unet/config.json"},
             {"vae.json", "vae/config.json"},
             {"text_encoder.tsv", "text_encoder/model.safetensors"},
             {"unet.tsv", "unet/diffusion_pytorch_model.safetensors"},
             {"vae.tsv", "vae/diffusion_pytorch_model.safetensors"}};
#define N_PARTS (sizeof(parts) / sizeof(parts[0]))
#define SCHEDULER "scheduler/scheduler_config.json"

/* ROOT/KIND/FILE, or ROOT/KIND. Needs no Check around it. */
static const char *place(const char *kind, const char *file) {
    static char path[PATH_SIZE];
    snprintf(path, sizeof path, "%s/%s%s%s", root, kind, *file ? "/" : "", file);
    return path;
}

static bool write_part(const char *kind, const char *fixture, const char *file) {
    char name[128], from[PATH_SIZE];
    snprintf(name, sizeof name, "%s-%s", kind, fixture);
    bool list = strstr(fixture, ".tsv") != NULL;
    return join_path(from, data, name) &&
           (list ? listed_write(from, place(kind, file)) : symlink(from, place(kind, file)) == 0);
}

static bool write_folders(void) {
    static const char *const below[] = {"", "text_encoder", "unet", "vae", "scheduler"};
    bool ok = mkdtemp(root) != NULL;
    for (size_t k = 0; ok && k < N_KINDS; k++) {
        for (size_t i = 0; ok && i < 5; i++)
            ok = make_folder(place(kinds[k], below[i]));
        for (size_t i = 0; ok && i < N_PARTS; i++)
            ok = write_part(kinds[k], parts[i].fixture, parts[i].file);
    }
    return ok;
}

static void remove_folders(void) {
    static const char *const below[] = {"text_encoder", "unet", "vae", "scheduler", ""};
    for (size_t k = 0; k < N_KINDS; k++) {
        for (size_t i = 0; i < N_PARTS; i++)
            unlink(place(kinds[k], parts[i].file));
        unlink(place(kinds[k], SCHEDULER));
        for (size_t i = 0; i < 5; i++)
            rmdir(place(kinds[k], below[i]));
    }
    rmdir(root);
}

static bool read_cases(void) {
    char path[PATH_SIZE];
    if (!getenv("SD_GOLDEN_DATA") || !join_path(data, getenv("SD_GOLDEN_DATA"), "folders") ||
        !join_path(path, data, "cases.tsv"))
        return false;
    FILE *f = fopen(path, "rb");
    while (f && n_cases < MAX_CASES &&
           fscanf(f, "%63s %7s %d %lf", cases[n_cases].name, cases[n_cases].kind,
                  &cases[n_cases].few, &cases[n_cases].limit) == 4)
        n_cases++;
    if (f)
        fclose(f);
    return n_cases > 0;
}

static int n_warnings;
static char warning[1024];

static void keep_warning(void *user, sd_log_level level, const char *message) {
    (void)user;
    if (level > SD_LOG_LEVEL_WARN || strstr(message, "vocabulary"))
        return;
    n_warnings++;
    snprintf(warning, sizeof warning, "%s", message);
}

static void open_folder(golden *g, const char *path) {
    sd_context_params cp = SD_CONTEXT_PARAMS_INIT;
    sd_model_params mp = SD_MODEL_PARAMS_INIT;
    cp.backend = golden_backend("cpu");
    ck_assert_ptr_nonnull(cp.backend);
    cp.n_threads = golden_threads(2);
    cp.log = keep_warning;
    n_warnings = 0;
    must(sd_context_new(&cp, &g->ctx));
    mp.strict = 1;
    mp.precision = SD_PRECISION_FULL;
    must(sd_model_load(g->ctx, path, &mp, &g->model));
}

static void paint(const golden *g, const folder_case *c, const sd_sampler_params *p, int row,
                  const npy *want) {
    sd_cond *uncond = golden_cond(g, "folders/embeds", 0, 1);
    sd_cond *cond = golden_cond(g, "folders/embeds", 1, 1);
    sd_tensor *out;
    sd_sampler *sampler;
    char what[96];
    size_t n = want->n / (size_t)want->dims[0];
    must(sd_sampler_new(g->model, p, &sampler));
    must(sd_sample(sampler, RUN(cond, uncond, NULL, NULL), &out));
    ck_assert_int_eq(sd_tensor_n_elements(out), (int64_t)n);
    snprintf(what, sizeof what, "%-36s %s", c->name, row ? "few steps" : "defaults");
    bool ok = check_error(what, sd_tensor_data(out), want->f32 + (size_t)row * n, n, c->limit);
    sd_sampler_free(sampler);
    sd_tensor_free(out);
    sd_cond_free(cond);
    sd_cond_free(uncond);
    ck_assert_msg(ok, "%s: beyond the limit", what);
}

START_TEST(as_diffusers) {
    const folder_case *c = &cases[_i];
    char file[128], from[PATH_SIZE];
    golden g;
    snprintf(file, sizeof file, "folders/%s", c->name);
    npy want = golden_array(file);
    snprintf(file, sizeof file, "%s.json", c->name);
    ck_assert(join_path(from, data, file));
    unlink(place(c->kind, SCHEDULER));
    ck_assert_int_eq(symlink(from, place(c->kind, SCHEDULER)), 0);
    open_folder(&g, place(c->kind, ""));
    sd_sampler_params p = SD_SAMPLER_PARAMS_INIT;
    paint(&g, c, &p, 0, &want);
    p.steps = c->few;
    p.guidance_scale = FEW_GUIDANCE;
    paint(&g, c, &p, 1, &want);
    npy_free(&want);
    golden_close(&g);
}
END_TEST

/* latents_mean and latents_std, and sizes that are not square. */
START_TEST(latent_statistics) {
    golden g;
    sd_tensor *pixels, *latent, *out;
    sd_model_info info = SD_MODEL_INFO_INIT;
    unlink(place("layers", SCHEDULER));
    open_folder(&g, place("layers", ""));
    ck_assert_int_eq(n_warnings, 1);
    ck_assert_msg(strstr(warning, "there is no scheduler/scheduler_config.json") != NULL, "%s",
                  warning);
    must(sd_model_get_info(g.model, &info));
    ck_assert(info.default_height == 32 && info.default_width == 48);
    ck_assert_str_eq(info.default_method, "ddim");
    ck_assert_int_eq(info.default_spacing, SD_SPACING_UNIFORM);
    pixels = golden_tensor(&g, "folders/layers-pixels", 0, 0);
    latent = golden_tensor(&g, "folders/layers-latent", 0, 0);
    must(sd_vae_encode(g.model, pixels, NULL, &out));
    golden_check("encoded", "folders/layers-encoded", out, 1e-5);
    must(sd_vae_decode(g.model, latent, NULL, &out));
    golden_check("decoded", "folders/layers-decoded", out, 1e-5);
    sd_tensor_free(pixels);
    sd_tensor_free(latent);
    golden_close(&g);
}
END_TEST

/* A folder's scheduler and pipeline as a sampler's defaults, and in the log. */
static const struct {
    const char *name, *kind, *scheduler; /* the whole of it */
    const char *method;
    sd_timestep_spacing spacing;
    int steps;
    double guidance;
    const char *log; /* the last warning has it; NULL: there is none */
} told[] = {
    {"LCM-lcm", "lcm", NULL, "lcm", SD_SPACING_LEADING, 4, 8.5, NULL},
    {"EulerDiscrete-turbo", "sd", NULL, "euler", SD_SPACING_TRAILING, 50, 7.5, NULL},
    {"DPMSolverMultistep-sde-karras", "sd", NULL, "dpmpp_2m_sde", SD_SPACING_KARRAS, 50, 7.5, NULL},
    {"UniPCMultistep-exponential", "sd", NULL, "unipc", SD_SPACING_EXPONENTIAL, 50, 7.5, NULL},
    {"KDPM2Discrete-beta", "sd", NULL, "dpm2", SD_SPACING_BETA, 50, 7.5, NULL},
    {"DDIM-clipped", "sd", NULL, "ddim", SD_SPACING_LEADING, 50, 7.5, "\"clip_sample\" as false"},
    {"DDIM-offset-0", "sd", NULL, "ddim", SD_SPACING_LEADING, 50, 7.5, "\"steps_offset\" as 1"},
    {"DPMSolverSDE", "sd", "{\"_class_name\": \"DPMSolverSDEScheduler\"}", "dpmpp_sde",
     SD_SPACING_LINSPACE, 50, 7.5, "DPMSolverSDEScheduler"},
    {"Singlestep", "sd",
     "{\"_class_name\": \"DPMSolverSinglestepScheduler\", \"solver_order\": 3, "
     "\"algorithm_type\": \"sde-dpmsolver++\"}",
     "dpmpp_2s", SD_SPACING_LINSPACE, 50, 7.5, "\"solver_order\", \"algorithm_type\""},
    {"EDM", "sd", "{\"_class_name\": \"EDMEulerScheduler\"}", "euler", SD_SPACING_LINSPACE, 50, 7.5,
     "EDMEulerScheduler"},
    {"SASolver", "sd", "{\"_class_name\": \"SASolverScheduler\"}", "dpmpp_2m_sde",
     SD_SPACING_LINSPACE, 50, 7.5, "SASolverScheduler"},
    {"unknown", "sd", "{\"_class_name\": \"MyScheduler\", \"timestep_spacing\": \"trailing\"}",
     "ddim", SD_SPACING_TRAILING, 50, 7.5, "MyScheduler"},
    {"thresholding", "sd", "{\"_class_name\": \"DDIMScheduler\", \"thresholding\": true}", "ddim",
     SD_SPACING_LEADING, 50, 7.5, "does not follow \"thresholding\""},
    {"many", "sd",
     "{\"_class_name\": \"DPMSolverMultistepScheduler\", \"use_lu_lambdas\": true, "
     "\"solver_order\": 3, \"algorithm_type\": \"dpmsolver\", \"lambda_min_clipped\": -5.1}",
     "dpmpp_2m", SD_SPACING_LINSPACE, 50, 7.5,
     "does not follow \"solver_order\", \"algorithm_type\", \"use_lu_lambdas\", "
     "\"lambda_min_clipped\""},
    {"prk", "sd", "{\"_class_name\": \"PNDMScheduler\"}", "plms", SD_SPACING_LEADING, 50, 7.5,
     "\"skip_prk_steps\""},
    {"infinite", "sd",
     "{\"_class_name\": \"DDIMScheduler\", \"a\": [NaN, Infinity, -Infinity], "
     "\"b\": \"NaN \\\" Infinity\"}",
     "ddim", SD_SPACING_LEADING, 50, 7.5, NULL},
};
#define N_TOLD (sizeof(told) / sizeof(told[0]))

START_TEST(tells) {
    char file[128], from[PATH_SIZE];
    sd_model_info info = SD_MODEL_INFO_INIT;
    golden g;
    unlink(place(told[_i].kind, SCHEDULER));
    snprintf(file, sizeof file, "%s.json", told[_i].name);
    ck_assert(join_path(from, data, file));
    if (told[_i].scheduler) {
        FILE *f = fopen(place(told[_i].kind, SCHEDULER), "wb");
        ck_assert_ptr_nonnull(f);
        ck_assert_int_ge(fputs(told[_i].scheduler, f), 0);
        fclose(f);
    } else {
        ck_assert_int_eq(symlink(from, place(told[_i].kind, SCHEDULER)), 0);
    }
    open_folder(&g, place(told[_i].kind, ""));
    must(sd_model_get_info(g.model, &info));
    ck_assert_str_eq(info.default_method, told[_i].method);
    ck_assert_int_eq(info.default_spacing, told[_i].spacing);
    ck_assert_int_eq(info.default_steps, told[_i].steps);
    ck_assert(info.default_guidance == told[_i].guidance);
    ck_assert_int_eq(info.guidance_embedding, !strcmp(told[_i].kind, "lcm"));
    ck_assert_msg(n_warnings == (told[_i].log != NULL), "%s: %d warnings, the last: %s",
                  told[_i].name, n_warnings, warning);
    ck_assert_msg(!told[_i].log || strstr(warning, told[_i].log), "%s", warning);
    golden_close(&g);
}
END_TEST

/* Guidance 0 leaves the prompt out; a model that is told the scale has no unguided half. */
START_TEST(guidance_zero) {
    sd_sampler_params p = SD_SAMPLER_PARAMS_INIT;
    sd_sampler *sampler;
    golden g;
    unlink(place(kinds[_i], SCHEDULER));
    open_folder(&g, place(kinds[_i], ""));
    n_warnings = 0;
    p.guidance_scale = 0;
    must(sd_sampler_new(g.model, &p, &sampler));
    ck_assert_int_eq(n_warnings, _i == 0);
    ck_assert(_i > 0 || strstr(warning, "the prompt is not used"));
    sd_sampler_free(sampler);
    golden_close(&g);
}
END_TEST

int main(void) {
    bool ok = read_cases() && write_folders();
    if (!ok)
        fprintf(stderr, "the folders in %s could not be made\n", root);
    setvbuf(stdout, NULL, _IOLBF, 0);
    const golden_test tests[] = {{as_diffusers, 0, n_cases},
                                 {latent_statistics, 0, 1},
                                 {tells, 0, (int)N_TOLD},
                                 {guidance_zero, 0, 2}};
    int status = ok ? golden_main("folders", tests, 4) : EXIT_FAILURE;
    remove_folders();
    return status;
}
