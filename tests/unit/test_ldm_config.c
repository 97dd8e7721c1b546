/* YAML, and the configs of the original repositories. What the networks compute is in tests/golden.
 */
#include "describe/config.h"
#include "io/yaml.h"
#include "model/build.h"

#include "../tools/fixture.h"
#include "../tools/suite.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --------------------------------------------------------------------------------------- YAML */

static void check_yaml(const char *text, const char *json) {
    json_t *got, *want = json_loads(json, JSON_DECODE_ANY, NULL);
    ck_assert_ptr_nonnull(want);
    ck_assert_msg(sdi_yaml_parse(ctx, "a.yaml", text, strlen(text), &got) == SD_OK, "%s",
                  sdi_error_get());
    char *shown = json_dumps(got, 0);
    ck_assert_msg(json_equal(got, want), "%s gave %s", text, shown);
    free(shown);
    json_decref(got);
    json_decref(want);
}

START_TEST(scalars) {
    check_yaml("{a: 1, b: -2.5, c: 1.e-6, d: .5, e: 1e3, f: +7, g: 2.0e-06}",
               "{\"a\": 1, \"b\": -2.5, \"c\": 1.0e-6, \"d\": 0.5, \"e\": 1.0e3, \"f\": 7, "
               "\"g\": 2.0e-6}");
    check_yaml("{a: True, b: no, c: Off, d: null, e: ~, f: , g: 'true', h: \"1\"}",
               "{\"a\": true, \"b\": false, \"c\": false, \"d\": null, \"e\": null, \"f\": null, "
               "\"g\": \"true\", \"h\": \"1\"}");
    check_yaml("a: val/loss\nb:\n- 1\n- 2 # comment\nc: [ ]\nd: 010\ne: 1.2.3\nf:\n-\n",
               "{\"a\": \"val/loss\", \"b\": [1, 2], \"c\": [], \"d\": 8, \"e\": \"1.2.3\", "
               "\"f\": [null]}");
    check_yaml("a: 10000000000000\nb: 99999999999999999999\n",
               "{\"a\": 10000000000000, \"b\": \"99999999999999999999\"}");
}
END_TEST

/* As OmegaConf.load has them (tests/tools/make_yaml_fixture.py). */
START_TEST(omegaconf_scalars) {
    char path[FILES_PATH];
    size_t n;
    json_t *want, *got;
    snprintf(path, sizeof path, "%s/omegaconf.yaml", SD_TEST_DATA);
    ck_assert_msg(sdi_yaml_read(ctx, path, &got) == SD_OK, "%s", sdi_error_get());
    snprintf(path, sizeof path, "%s/omegaconf.json", SD_TEST_DATA);
    uint8_t *bytes = files_read(path, &n);
    want = json_loadb((const char *)bytes, n, 0, NULL);
    free(bytes);
    ck_assert_ptr_nonnull(want);
    const char *key;
    json_t *value;
    json_object_foreach(want, key, value) {
        char *shown = json_dumps(json_object_get(got, key), JSON_ENCODE_ANY);
        ck_assert_msg(json_equal(json_object_get(got, key), value), "%s is %s", key, shown);
        free(shown);
    }
    printf("%zu values are OmegaConf's\n", json_object_size(want));
    ck_assert_uint_eq(json_object_size(got), json_object_size(want));
    json_decref(got);
    json_decref(want);
}
END_TEST

/* A reference that cannot be resolved stays as it stands. */
START_TEST(unresolved) {
    check_yaml(
        "a: ${b}\nb: ${a}\nc: ${c}\nd: ${none}\ne: ${oc.env:HOME}\nf: ${\ng: x${d}\nh: ${....d}\n"
        "i: ${.}\nj: ${}\nk: \\${d}\n",
        "{\"a\": \"${b}\", \"b\": \"${a}\", \"c\": \"${c}\", \"d\": \"${none}\", \"e\": "
        "\"${oc.env:HOME}\", \"f\": \"${\", \"g\": \"x${d}\", \"h\": \"${....d}\", \"i\": "
        "\"${.}\", \"j\": \"${}\", \"k\": \"\\\\${d}\"}");
}
END_TEST

static void check_refused(const char *text, size_t size, sd_status status, const char *part) {
    json_t *got;
    ck_assert_msg(sdi_yaml_parse(ctx, "a.yaml", text, size, &got) == status, "%.60s: %s", text,
                  sdi_error_get());
    ck_assert_ptr_null(got);
    ck_assert_msg(strstr(sdi_error_get(), part), "'%s' is not in: %s", part, sdi_error_get());
}

START_TEST(refused_yaml) {
    static const struct {
        const char *text;
        sd_status status;
        const char *part;
    } rows[] = {
        {"", SD_ERROR_FORMAT, "empty"},
        {"- 1\n", SD_ERROR_FORMAT, "mapping"},
        {"a: 1\na: 2\n", SD_ERROR_FORMAT, "line 2: a key is there twice"},
        {"a: *x\n", SD_ERROR_FORMAT, "line 1: an alias without an anchor"},
        {"a: &x {b: *x}\n", SD_ERROR_FORMAT, "within its own value"},
        {"a: {<<: 1}\n", SD_ERROR_FORMAT, "merges a mapping"},
        {"a: {<<: [{b: 1}, 2]}\n", SD_ERROR_FORMAT, "merges a mapping"},
        {"a: {<<: []}\n", SD_ERROR_FORMAT, "merges a mapping"},
        {"a: !!python/object:os.system x\n", SD_ERROR_UNSUPPORTED, "tags"},
        {"a: !!set {x}\n", SD_ERROR_UNSUPPORTED, "tags"},
        {"a: !!int x\n", SD_ERROR_FORMAT, "what its tag says"},
        {"a: &a [1,2,3,4,5,6,7,8]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c "
         "[*b,*b,*b,*b,*b,*b,*b,*b]\n"
         "d: &d [*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e]\n",
         SD_ERROR_FORMAT, "65536"},
        {"a: [1,2,3,4,5,6,7,8,9]\nb: ['${a}','${a}','${a}','${a}','${a}','${a}','${a}','${a}']\n"
         "c: ['${b}','${b}','${b}','${b}','${b}','${b}','${b}','${b}','${b}','${b}','${b}']\n"
         "d: ['${c}','${c}','${c}','${c}','${c}','${c}','${c}','${c}','${c}','${c}','${c}']\n"
         "e: ['${d}','${d}','${d}','${d}','${d}','${d}','${d}','${d}','${d}','${d}','${d}']\n",
         SD_ERROR_FORMAT, "65536"},
        {"? [1, 2]\n: 3\n", SD_ERROR_UNSUPPORTED, "no scalar"},
        {"a: 1\n---\nb: 2\n", SD_ERROR_FORMAT, "more than one document"},
        {"a: [1, 2\n", SD_ERROR_FORMAT, "not valid YAML"},
        {"a: \xff\n", SD_ERROR_FORMAT, "not valid YAML"},
    };
    for (size_t i = 0; i < SD_COUNT(rows); i++)
        check_refused(rows[i].text, strlen(rows[i].text), rows[i].status, rows[i].part);
    char deep[200] = "a: ";
    memset(deep + 3, '[', 100);
    check_refused(deep, 103, SD_ERROR_FORMAT, "32 deep");
    char *wide = malloc(300000);
    ck_assert_ptr_nonnull(wide);
    memcpy(wide, "a: [", 4);
    for (int i = 4; i < 300000; i += 2)
        memcpy(wide + i, "1,", 2);
    check_refused(wide, 300000, SD_ERROR_FORMAT, "65536");
    free(wide);
}
END_TEST

/* ------------------------------------------------------------------------------------ configs */

/* The golden test's config with `from` replaced, which must be refused with a sentence. */
static void check_changed(const char *name, const char *from, const char *to, sd_status status,
                          const char *part) {
    char path[FILES_PATH], text[8192], changed[8192];
    snprintf(path, sizeof path, "%s/%s.yaml", getenv("SD_LDM_DATA"), name);
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "no fixture %s", path);
    size_t n = fread(text, 1, sizeof text - 1, f);
    fclose(f);
    text[n] = 0;
    char *at = strstr(text, from);
    ck_assert_msg(at != NULL, "'%s' is not in %s", from, path);
    snprintf(changed, sizeof changed, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
    snprintf(path, sizeof path, "%.200s/changed.yaml", dir);
    ck_assert_int_eq(sdi_write_file(ctx, path, changed, strlen(changed)), SD_OK);
    sd_description changed_desc = {.path = path};
    ck_assert_msg(sdi_ldm_config(ctx, path, &changed_desc) == status, "%s to %s: %s", from, to,
                  sdi_error_get());
    ck_assert_msg(!part || strstr(sdi_error_get(), part), "'%s' is not in: %s", part,
                  sdi_error_get());
}

/* Options that the original's constructors take without another picture are taken. */
START_TEST(accepted_configs) {
    static const struct {
        const char *name, *from, *to;
    } rows[] = {
        {"celeba", "num_res_blocks: 1", "num_res_blocks: \"1\""},
        {"celeba", "timesteps: 1000", "timesteps: 0x3e8"},
        {"celeba", "timesteps: 1000", "timesteps: 1_000\n    ckpt_path: ${oc.env:HOME}/x.ckpt"},
        {"celeba", "timesteps: 1000", "timesteps: '1000'\n    force_null_conditioning: false"},
        {"celeba", "channels: 3", "channels: ${.unet_config.params.in_channels}"},
        {"celeba", "channels: 3",
         "channels: 3\n    personalization_config: {target: x, params: {a: 1}}"},
        {"celeba", "dropout: 0.0", "dropout: 0.0\n          use_something: 1"},
        {"masked", "attn_type: none", "attn_type: vanilla-xformers"},
        {"celeba", "VQModelInterface", "VQModel"},
    };
    for (size_t i = 0; i < SD_COUNT(rows); i++)
        check_changed(rows[i].name, rows[i].from, rows[i].to, SD_OK, NULL);
}
END_TEST

START_TEST(refused_configs) {
    static const struct {
        const char *name, *from, *to;
        sd_status status;
        const char *part;
    } rows[] = {
        {"celeba", "model:", "modell:", SD_ERROR_FORMAT, "\"model\" is nothing"},
        {"celeba", "openaimodel.UNetModel", "openaimodel.UNet", SD_ERROR_UNSUPPORTED,
         "the target \"ldm.modules.diffusionmodules.openaimodel.UNet\" is none"},
        {"celeba", "num_res_blocks: 1", "num_blocks: 1", SD_ERROR_UNSUPPORTED,
         "\"num_blocks\" is no parameter of "
         "ldm.modules.diffusionmodules.openaimodel.UNetModel"},
        {"celeba", "        num_res_blocks: 1\n", "", SD_ERROR_FORMAT,
         "\"num_res_blocks\" of ldm.modules.diffusionmodules.openaimodel.UNetModel is missing"},
        {"celeba", "timesteps: 1000", "timestep: 1000", SD_ERROR_UNSUPPORTED, "\"timestep\""},
        {"celeba", "num_head_channels: 16", "num_head_channels: 24", SD_ERROR_FORMAT, "24"},
        {"celeba", "num_head_channels: 16", "dropout: 0", SD_ERROR_FORMAT, "num_heads"},
        {"celeba", "n_embed: 64", "n_embed: -1", SD_ERROR_FORMAT, "n_embed"},
        {"celeba", "double_z: false", "double_z: true", SD_ERROR_UNSUPPORTED, "double_z"},
        {"celeba", "channels: 3", "channels: 4", SD_ERROR_MODEL, "\"channels\" is 4"},
        {"celeba", "dropout: 0.0", "tanh_out: true", SD_ERROR_UNSUPPORTED, "tanh_out"},
        {"masked", "attn_type: none", "attn_type: linear", SD_ERROR_UNSUPPORTED, "linear"},
        {"celeba", "num_res_blocks: 1", "num_res_blocks: ${none}", SD_ERROR_FORMAT,
         "\"num_res_blocks\" is \"${none}\"; an integer"},
        {"celeba", "num_res_blocks: 1", "num_res_blocks: one", SD_ERROR_FORMAT, "an integer"},
        {"masked", "concat_mode: true", "concat_mode: false", SD_ERROR_MODEL, "conditioning_key"},
        {"celeba", "__is_unconditional__", "__is_what__", SD_ERROR_UNSUPPORTED, "__is_what__"},
        {"cin", "conditioning_key: crossattn", "conditioning_key: adm", SD_ERROR_UNSUPPORTED,
         "\"adm\""},
        {"cin", "beta_schedule: sqrt_linear", "beta_schedule: squared", SD_ERROR_UNSUPPORTED,
         "\"squared\""},
        {"cin", "ClassEmbedder", "BERTEmbedder", SD_ERROR_UNSUPPORTED, "the BERT encoder of"},
        {"celeba", "ddpm.LatentDiffusion", "ddpm_edit.LatentDiffusion", SD_ERROR_UNSUPPORTED,
         "(instruct-pix2pix, which is not supported)"},
        {"celeba", "timesteps: 1000", "timesteps: 1000\n    force_null_conditioning: true",
         SD_ERROR_UNSUPPORTED, "force_null_conditioning"},
        {"cin", "context_dim: 48", "context_dim: 40", SD_ERROR_MODEL, "\"context_dim\" 40"},
        {"cin", "transformer_depth: 2", "num_classes: 10", SD_ERROR_UNSUPPORTED, "num_classes"},
        {"sd2", "\"penultimate\"", "\"pooled\"", SD_ERROR_UNSUPPORTED, "pooled"},
        {"sd2", "parameterization: \"v\"", "parameterization: w", SD_ERROR_UNSUPPORTED, "\"w\""},
        {"sd2", "scale_factor: 0.18215", "scale_factor: x", SD_ERROR_FORMAT, "scale_factor"},
        {"inpaint", "in_channels: 9", "in_channels: 4", SD_ERROR_MODEL, "conditioning_key"},
    };
    for (size_t i = 0; i < SD_COUNT(rows); i++)
        check_changed(rows[i].name, rows[i].from, rows[i].to, rows[i].status, rows[i].part);
}
END_TEST

/* --------------------------------------------------------------------- the original's files */

typedef struct summary {
    long n;
    int64_t values;
    uint64_t hash; /* sum of FNV-1a of "name dims" */
} summary;

static void add_tensor(void *user, const char *name, int n_dims, const int64_t *dims) {
    summary *s = user;
    char line[512];
    int n = snprintf(line, sizeof line, "%s ", name);
    int64_t size = 1;
    for (int i = 0; i < n_dims; i++) {
        n +=
            snprintf(line + n, sizeof line - (size_t)n, "%s%lld", i ? "," : "", (long long)dims[i]);
        size *= dims[i];
    }
    uint64_t h = 0xcbf29ce484222325U;
    for (int i = 0; i < n; i++)
        h = (h ^ (unsigned char)line[i]) * 0x100000001b3U;
    s->n++;
    s->values += size;
    s->hash += h;
}

/* Numbers of tests/tools/make_ldm_golden.py: the tensors of all networks but a text encoder. */
static void check_original(const char *folder, char *row) {
    char path[FILES_PATH];
    const char *name = strtok(row, "\t");
    long n = atol(strtok(NULL, "\t"));
    long long values = atoll(strtok(NULL, "\t"));
    unsigned long long hash = strtoull(strtok(NULL, "\t\n"), NULL, 16);
    sd_description d = {.path = path};
    sd_source s = {.ctx = ctx, .desc = &d};
    summary got = {0};
    snprintf(path, sizeof path, "%s/configs/%s", folder, name);
    ck_assert_msg(sdi_ldm_config(ctx, path, &d) == SD_OK, "%s", sdi_error_get());
    d.unet.names.prefix = "model.diffusion_model.";
    d.vae.names.prefix = d.first_stage_only ? "" : "first_stage_model.";
    d.classes.names.prefix = "cond_stage_model.";
    if (d.conditioning == SD_CONDITIONING_TEXT)
        d.conditioning = SD_CONDITIONING_NONE; /* its sizes come with the tensors */
    ck_assert_int_eq(sdi_build_list(ctx, &s, add_tensor, &got), SD_OK);
    printf("%-30s %4ld tensors, %lld values, hash %016llx\n", name, got.n, (long long)got.values,
           (unsigned long long)got.hash);
    ck_assert_msg(got.n == n && got.values == values && got.hash == hash,
                  "%s: %ld tensors, %lld values, hash %016llx were expected", name, n, values,
                  hash);
}

START_TEST(originals) {
    const char *folder = getenv("SD_TEST_SHARED");
    char path[FILES_PATH], row[256];
    int n = 0;
    if (!folder) {
        printf("skipped: SD_TEST_SHARED names no folder with the original's configs/\n");
        return;
    }
    snprintf(path, sizeof path, "%s/configs.tsv", getenv("SD_LDM_DATA"));
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "no fixture %s", path);
    for (; fgets(row, sizeof row, f); n++)
        check_original(folder, row);
    fclose(f);
    ck_assert_int_eq(n, 7);
}
END_TEST

/* v1-inference.yaml says what is known of a Stable Diffusion checkpoint without it. */
START_TEST(v1_inference) {
    const char *folder = getenv("SD_TEST_SHARED");
    char path[FILES_PATH];
    sd_description d = {.path = path};
    if (!folder)
        return;
    snprintf(path, sizeof path, "%s/configs/v1-inference.yaml", folder);
    ck_assert_msg(sdi_ldm_config(ctx, path, &d) == SD_OK, "%s", sdi_error_get());
    ck_assert_str_eq(d.family, "Stable Diffusion 1.x");
    const sd_unet_config *u = &d.unet;
    const sd_vae_config *v = &d.vae;
    static const int mult[] = {1, 2, 4, 4};
    for (int i = 0; i < 4; i++) {
        ck_assert_int_eq(u->heads[i], 8);
        ck_assert_int_eq(u->channels[i], 320 * mult[i]);
        ck_assert_int_eq(v->channels[i], 128 * mult[i]);
        ck_assert_int_eq(u->depth_in[sdi_unet_in_block(u, i)], i < 3);
        ck_assert_int_eq(u->depth_out[sdi_unet_out_block(u, i)], i < 3);
    }
    ck_assert(u->n_levels == 4 && u->res_blocks[3] == 2 && u->context_dim == 768);
    ck_assert(u->depth_mid == 1 && u->sample_size == 64 && !u->linear_projection);
    ck_assert(!u->plain_attention && !u->scale_shift_norm && !u->updown_blocks);
    ck_assert(v->n_levels == 4 && v->res_blocks == 2 && v->latent_channels == 4);
    ck_assert(v->kind == SD_FIRST_STAGE_KL && v->z_channels == 4);
    ck_assert_double_eq(v->scaling_factor, 0.18215);
    ck_assert_int_eq(d.schedule.beta_schedule, SD_BETA_SCALED_LINEAR);
    ck_assert_double_eq(d.schedule.beta_start, 0.00085);
    ck_assert_double_eq(d.schedule.beta_end, 0.012);
    ck_assert(d.schedule.train_timesteps == 1000 && d.schedule.prediction == SD_PREDICT_EPSILON);
    ck_assert_int_eq(d.condition_key, SD_CONDITION_CROSSATTN);
}
END_TEST

int main(void) {
    TCase *tc = tcase_create("ldm_config");
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, scalars);
    tcase_add_test(tc, omegaconf_scalars);
    tcase_add_test(tc, unresolved);
    tcase_add_test(tc, refused_yaml);
    tcase_add_test(tc, accepted_configs);
    tcase_add_test(tc, refused_configs);
    tcase_add_test(tc, originals);
    tcase_add_test(tc, v1_inference);
    Suite *suite = suite_create("ldm_config");
    suite_add_tcase(suite, tc);
    return suite_run(suite, CK_FORK_GETENV);
}
