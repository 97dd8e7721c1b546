/* The models of the YAML configs, their fixtures and their samplers. */
#include "ldm.h"

#include "../support/params.h"

#include <stdlib.h>
#include <string.h>

const ldm_case ldm_cases[N_CASES] = {
    {"celeba", SD_CONDITIONING_NONE, 0, 3, 3, 4, 0, true, false, "epsilon"},
    {"churches", SD_CONDITIONING_NONE, 0, 4, 4, 8, 0, false, false, "epsilon", 2},
    {"cin", SD_CONDITIONING_CLASS, 10, 4, 4, 2, 1, true, false, "epsilon"},
    {"inpaint", SD_CONDITIONING_TEXT, 0, 9, 4, 2, 77, false, true, "epsilon"},
    {"kl", SD_CONDITIONING_NONE, 0, 0, 4, 8, 0, false, false, NULL},
    {"masked", SD_CONDITIONING_NONE, 0, 7, 3, 4, 0, true, false, "epsilon", 2},
    {"options", SD_CONDITIONING_NONE, 0, 3, 3, 4, 0, false, false, "sample", 1},
    {"pixels", SD_CONDITIONING_TEXT, 0, 3, 3, 1, 77, false, false, "epsilon"},
    {"sd2", SD_CONDITIONING_TEXT, 0, 4, 4, 2, 77, false, true, "v"},
};

char ldm_folder[] = "/tmp/sd-ldm-XXXXXX";

const char *checkpoint_path(const char *name, char path[PATH_SIZE]) {
    snprintf(path, PATH_SIZE, "%s/%s.safetensors", ldm_folder, name);
    return path;
}

const char *data_path(const char *name, const char *ending, char path[PATH_SIZE]) {
    snprintf(path, PATH_SIZE, "%s/ldm/%s%s", getenv("SD_GOLDEN_DATA"), name, ending);
    return path;
}

bool write_checkpoint(const char *name) {
    char list[PATH_SIZE], path[PATH_SIZE];
    return listed_write(data_path(name, ".tsv", list), checkpoint_path(name, path));
}

static void print_log(void *user, sd_log_level level, const char *message) {
    (void)user, (void)level;
    if (!strstr(message, "vocab"))
        printf("%s\n", message);
}

bool subject_open(subject *s, const ldm_case *c, const char *backend, bool with_config) {
    sd_context_params cp = SD_CONTEXT_PARAMS_INIT;
    sd_model_params mp = SD_MODEL_PARAMS_INIT;
    char path[PATH_SIZE], config[PATH_SIZE];
    cp.backend = golden_backend(backend);
    if (!cp.backend)
        return false;
    cp.n_threads = golden_threads(2);
    cp.log = print_log;
    s->c = c;
    snprintf(s->label, sizeof s->label, "%s%s", backend, with_config ? "" : ", no config");
    if (sd_context_new(&cp, &s->g.ctx) == SD_ERROR_BACKEND)
        return false;
    mp.strict = 1;
    mp.precision = SD_PRECISION_FULL;
    if (with_config)
        mp.config = data_path(c->name, ".yaml", config);
    must(sd_model_load(s->g.ctx, checkpoint_path(c->name, path), &mp, &s->g.model));
    return true;
}

const char *fixture(const subject *s, const char *what, char name[64]) {
    snprintf(name, 64, "ldm/%s-%s", s->c->name, what);
    return name;
}

sd_tensor *fixture_tensor(const subject *s, const char *what, int64_t first, int64_t n) {
    char name[64];
    return golden_tensor(&s->g, fixture(s, what, name), first, n);
}

void check_fixture(const subject *s, const char *what, sd_tensor *got, double limit) {
    char name[64];
    golden_check(s->label, fixture(s, what, name), got, limit);
}

sd_cond *fixture_cond(const subject *s, int64_t first, int64_t n) {
    sd_tensor *context = fixture_tensor(s, "context", first, n);
    sd_cond *cond = cond_of(s->g.ctx, context);
    ck_assert_ptr_nonnull(cond);
    sd_tensor_free(context);
    return cond;
}

scene scene_open(const subject *s, const sd_sampler_params *params) {
    bool any = s->c->tokens > 0, wide = s->c->unet_channels > s->c->latent_channels;
    sd_sampler_params p = *params;
    scene v = {.cond = any ? fixture_cond(s, 1, 1) : NULL,
               .uncond = any ? fixture_cond(s, 0, 1) : NULL,
               .noise = fixture_tensor(s, "noise", 0, 0),
               .concat = wide ? fixture_tensor(s, "concat", 0, 0) : NULL};
    p.guidance_scale = SCALE;
    p.width = p.height = 8 * s->c->downscale;
    must(sd_sampler_new(s->g.model, &p, &v.sampler));
    return v;
}

void scene_close(scene *v) {
    sd_sampler_free(v->sampler);
    sd_cond_free(v->cond);
    sd_cond_free(v->uncond);
    sd_tensor_free(v->noise);
    sd_tensor_free(v->concat);
}

sd_run_params run_from(const scene *v, const sd_tensor *init, const sd_tensor *noise) {
    return with_concat(v->concat, run_of(v->cond, v->uncond, init, noise));
}
