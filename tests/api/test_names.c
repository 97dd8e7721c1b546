/* The names of samplers in web UIs and in diffusers. */
#include "api.h"

#include <stdio.h>
#include <string.h>

START_TEST(names_stand_for_methods_and_spacings) {
    static const struct {
        const char *name, *method;
        sd_timestep_spacing spacing;
    } rows[] = {
        {"DPM++ 2M Karras", "dpmpp_2m", SD_SPACING_KARRAS},
        {"DPM++ 2M SDE Exponential", "dpmpp_2m_sde", SD_SPACING_EXPONENTIAL},
        {"dpm++ 3m sde", "dpmpp_3m_sde", SD_SPACING_AUTO},
        {"DPM++ 2S a Karras", "dpmpp_2s_a", SD_SPACING_KARRAS},
        {"DPM2 a", "dpm2_a", SD_SPACING_AUTO},
        {"Euler a", "euler_a", SD_SPACING_AUTO},
        {"Euler SGM Uniform", "euler", SD_SPACING_SGM_UNIFORM},
        {"Euler Uniform", "euler", SD_SPACING_NORMAL},
        {"Heun Align Your Steps", "heun", SD_SPACING_AYS},
        {"LMS Automatic", "lms", SD_SPACING_AUTO},
        {"DDIM", "ddim", SD_SPACING_AUTO},
        {"UniPC", "unipc", SD_SPACING_AUTO},
        {"LCM", "lcm", SD_SPACING_AUTO},
        {"k_dpmpp_2s_a_ka", "dpmpp_2s_a", SD_SPACING_KARRAS},
        {"k_lms", "lms", SD_SPACING_AUTO},
        {"dpmpp_2m karras", "dpmpp_2m", SD_SPACING_KARRAS},
        {"dpmpp_sde_gpu sgm_uniform", "dpmpp_sde", SD_SPACING_SGM_UNIFORM},
        {"dpm_2_ancestral/ddim_uniform", "dpm2_a", SD_SPACING_DDIM_UNIFORM},
        {"euler_ancestral simple", "euler_a", SD_SPACING_SIMPLE},
        {"uni_pc kl_optimal", "unipc", SD_SPACING_KL_OPTIMAL},
        {"euler_k", "euler", SD_SPACING_KARRAS},
        {"EulerAncestralDiscreteScheduler", "euler_a", SD_SPACING_AUTO},
        {"DPMSolverMultistepScheduler", "dpmpp_2m", SD_SPACING_AUTO},
        {"DPMSolverSinglestepScheduler Karras", "dpmpp_2s", SD_SPACING_KARRAS},
        {"KDPM2AncestralDiscreteScheduler", "dpm2_a", SD_SPACING_AUTO},
        {"PNDMScheduler", "plms", SD_SPACING_AUTO},
        {"ddim trailing", "ddim", SD_SPACING_TRAILING},
    };
    const char *method;
    sd_timestep_spacing spacing;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        ck_ok(sd_sampler_find(rows[i].name, &method, &spacing));
        ck_assert_msg(!strcmp(method, rows[i].method) && spacing == rows[i].spacing, "%s: %s, %s",
                      rows[i].name, method, sd_sampler_spacing(spacing));
    }
    for (int i = 0; sd_sampler_method(i); i++) {
        ck_ok(sd_sampler_find(sd_sampler_method(i), &method, &spacing));
        ck_assert_str_eq(method, sd_sampler_method(i));
        ck_assert_ptr_nonnull(sd_sampler_label(i));
        ck_ok(sd_sampler_find(sd_sampler_label(i), &method, &spacing));
        ck_assert_str_eq(method, sd_sampler_method(i));
    }
    ck_assert_ptr_null(sd_sampler_label(-1));
    ck_assert_ptr_null(sd_sampler_label(99));
    ck_assert_ptr_null(sd_sampler_spacing(-1));
}
END_TEST

START_TEST(what_is_near_is_named) {
    char longest[300];
    const char *method;
    sd_timestep_spacing spacing;
    ck_status(sd_sampler_find("DPM++ 2N Karras", &method, &spacing), SD_ERROR_ARGUMENT,
              "near it are \"DPM++ 2M\" (dpmpp_2m)");
    ck_assert_ptr_null(method);
    ck_status(sd_sampler_find("Eular a", &method, &spacing), SD_ERROR_ARGUMENT, "\"Euler a\"");
    ck_status(sd_sampler_find("DPM++ 2M Carras", &method, &spacing), SD_ERROR_ARGUMENT,
              "\"DPM++ 2M\"");
    ck_status(sd_sampler_find("", &method, &spacing), SD_ERROR_ARGUMENT, "near it are");
    ck_status(sd_sampler_find("DPM fast", &method, &spacing), SD_ERROR_ARGUMENT, "near it are");
    memset(longest, 'e', sizeof longest);
    longest[sizeof longest - 1] = 0;
    ck_status(sd_sampler_find(longest, &method, &spacing), SD_ERROR_ARGUMENT, "near it are");
    ck_status(sd_sampler_find(NULL, &method, &spacing), SD_ERROR_ARGUMENT, "name is NULL");
    ck_status(sd_sampler_find("ddim", NULL, &spacing), SD_ERROR_ARGUMENT, "method is NULL");
    ck_status(sd_sampler_find("ddim", &method, NULL), SD_ERROR_ARGUMENT, "spacing is NULL");
}
END_TEST

/* A sampler takes the same names; a spacing of its own goes before that of the name. */
START_TEST(samplers_take_names) {
    sd_context *ctx = open_context(1);
    sd_model *model = open_model(ctx);
    sd_sampler_params p = small_run();
    sd_sampler *s[2];
    p.method = "DPM++ 2M Karras";
    ck_ok(sd_sampler_new(model, &p, &s[0]));
    p.method = "dpmpp_2m";
    p.spacing = SD_SPACING_KARRAS;
    ck_ok(sd_sampler_new(model, &p, &s[1]));
    for (int i = 0; i < p.steps; i++)
        ck_assert_double_eq(sd_sampler_timestep(s[0], i), sd_sampler_timestep(s[1], i));
    sd_sampler_free(s[0]);
    sd_sampler_free(s[1]);
    p.method = "DPM++ 2M Karras";
    p.spacing = SD_SPACING_SIMPLE;
    ck_ok(sd_sampler_new(model, &p, &s[0]));
    ck_assert_double_eq(sd_sampler_timestep(s[0], p.steps - 1), 999);
    ck_assert_double_eq(sd_sampler_timestep(s[0], p.steps - 2), 999 - 1000 / p.steps);
    sd_sampler_free(s[0]);
    sd_model_free(model);
    sd_context_free(ctx);
}
END_TEST

/* docs/samplers.md has each method and each spacing. */
START_TEST(names_are_in_the_documentation) {
    static char text[65536];
    char name[64];
    FILE *f = fopen(getenv("SD_TEST_SAMPLERS_MD"), "rb");
    ck_assert_ptr_nonnull(f);
    text[fread(text, 1, sizeof text - 1, f)] = 0;
    fclose(f);
    for (int i = 0; sd_sampler_method(i); i++) {
        snprintf(name, sizeof name, "`%s`", sd_sampler_method(i));
        ck_assert_msg(strstr(text, name) != NULL, "docs/samplers.md lacks %s", name);
    }
    for (int i = 1; sd_sampler_spacing(i); i++) {
        snprintf(name, sizeof name, "`%s`", sd_sampler_spacing(i));
        ck_assert_msg(strstr(text, name) != NULL, "docs/samplers.md lacks %s", name);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("names");
    TCase *tests = tcase_create("names");
    tcase_add_test(tests, names_stand_for_methods_and_spacings);
    tcase_add_test(tests, what_is_near_is_named);
    tcase_add_test(tests, samplers_take_names);
    tcase_add_test(tests, names_are_in_the_documentation);
    suite_add_tcase(suite, tests);
    return run_suite(suite);
}
