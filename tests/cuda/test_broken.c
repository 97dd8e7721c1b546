/* Errors that CUDA does not recover from: the card's context is broken, reset, or a parent's. */
#include "../support/params.h"
#include "card.h"

#include <sys/wait.h>
#include <unistd.h>

/* --------------------------------------------------------------------------- breaking a card */

static const struct kernel {
    const char *text, *word;
} kernels[] = {
    {".version 7.0\n.target sm_80\n.address_size 64\n"
     ".visible .entry kernel() {\n.reg .b64 %a;\n.reg .b32 %b;\n"
     "mov.u64 %a, 16;\nmov.u32 %b, 1;\nst.global.u32 [%a], %b;\nret;\n}\n",
     "illegal memory access"},
    {".version 7.0\n.target sm_80\n.address_size 64\n"
     ".visible .entry kernel() {\ntrap;\nret;\n}\n",
     "launch failure"},
};

/* The host's own code goes wrong on the card; it has seen that itself where it `waits`. */
static void break_card(const driver *d, cu_handle context, int kind, bool waits) {
    cu_handle module, function, popped;
    ck_assert_int_eq(d->push(context), 0);
    ck_assert_int_eq(d->module_load(&module, kernels[kind].text), 0);
    ck_assert_int_eq(d->module_function(&function, module, "kernel"), 0);
    ck_assert_int_eq(d->launch(function, 1, 1, 1, 1, 1, 1, 0, NULL, NULL, NULL), 0);
    if (waits)
        ck_assert_int_ne(d->synchronize(), 0);
    d->pop(&popped);
}

/* ------------------------------------------------------------------------------- what follows */

/* Every kind of call that computes, each refused. The handles are of before. */
static void expect_refusals(scene *s, const char *word) {
    sd_tensor *out;
    sd_sampler *sampler;
    sd_model *model;
    sd_cond *cond;
    sd_image *image;
    const char *text = "a lake", *path = getenv("SD_TEST_TINY_FOLDER");
    sd_sampler_params p = SD_SAMPLER_PARAMS_INIT;
    p.width = p.height = 64;
    sd_generate_params paint = SD_GENERATE_PARAMS_INIT;
    paint.sampling = &p;
    sd_memory_info estimate = {sizeof estimate, 0, 0, 0, 0, 0, 0};
#define REFUSED(call) expect_failure(#call, call, SD_ERROR_BACKEND, word)
    REFUSED(sd_sampler_step(s->sampler));
    REFUSED(sd_sample(s->sampler, RUN(s->cond, s->uncond, NULL, NULL), &out));
    ck_assert_ptr_null(out);
    REFUSED(sd_sampler_begin(s->sampler, RUN(s->cond, s->uncond, NULL, NULL)));
    REFUSED(sd_sampler_new(s->model, &p, &sampler));
    REFUSED(sd_encode_text(s->model, &text, 1, NULL, &cond));
    REFUSED(sd_vae_decode(s->model, s->latent, NULL, &out));
    REFUSED(sd_vae_encode(s->model, s->pixels, NULL, &out));
    REFUSED(sd_generate(s->model, &paint, &image, 1));
    REFUSED(sd_memory_estimate(s->model, ESTIMATE(&p), &estimate));
    REFUSED(sd_model_load(s->ctx, path, NULL, &model));
#undef REFUSED
}

/* Two contexts on the card, and one on the CPU. */
typedef struct stage_set {
    driver d;
    cu_handle primary;
    scene first, second, cpu;
} stage_set;

/* All stages done, and in the middle of another run. */
static void set_going(scene *s) {
    scene_all(s);
    must(sd_sampler_begin(s->sampler, RUN(s->cond, s->uncond, NULL, NULL)), "begin");
    must(sd_sampler_step(s->sampler), "step");
}

static void set_up(stage_set *t) {
    *t = (stage_set){.d = card_driver()};
    t->primary = card_primary(&t->d, 0);
    must(card_open("cpu", &t->cpu.ctx), "cpu");
    must(card_open("cuda", &t->first.ctx), "cuda");
    must(card_open("cuda:0", &t->second.ctx), "cuda:0");
    scene_all(&t->cpu);
    set_going(&t->first);
    set_going(&t->second);
}

/* The CPU goes on, also as "auto"; all handles can be given back; nothing has been made current. */
static void wind_up(stage_set *t, bool cuda_is_gone) {
    sd_context *ctx;
    cu_handle current = &ctx;
    if (cuda_is_gone) {
        expect_failure("cuda, again", card_open("cuda", &ctx), SD_ERROR_BACKEND, "");
        ck_assert_int_gt((int)strlen(sd_last_error()), 10);
    } else {
        must(card_open("cuda", &ctx), "cuda, again");
        scene again = {.ctx = ctx};
        scene_all(&again);
        scene_same(&again, &t->first);
        scene_clear(&again);
        sd_context_free(ctx);
    }
    must(card_open("auto", &ctx), "auto");
    ck_assert(!cuda_is_gone || strstr(card_log, "computing on the CPU, since: "));
    scene anew = {.ctx = ctx};
    scene_all(&anew);
    if (cuda_is_gone)
        scene_same(&anew, &t->cpu);
    scene_clear(&anew);
    sd_context_free(ctx);
    scene_clear(&t->first);
    sd_context_free(t->first.ctx);
    sd_context_free(t->second.ctx); /* before what was made from it */
    scene_clear(&t->second);
    scene *cpu = &t->cpu;
    for (int i = 0; i < N_STAGES; i++)
        must(scene_stage(cpu, i), stage_names[i]);
    scene_clear(cpu);
    sd_context_free(cpu->ctx);
    t->d.get_current(&current);
    ck_assert_ptr_null(current);
}

START_TEST(the_host_breaks_the_card) {
    stage_set t;
    set_up(&t);
    int kind = _i % 2;
    break_card(&t.d, t.primary, kind, _i < 2);
    const char *text = "a lake";
    sd_cond *out = NULL;
    expect_failure("first", sd_encode_text(t.first.model, &text, 1, NULL, &out), SD_ERROR_BACKEND,
                   kernels[kind].word);
    ck_assert_ptr_null(out);
    expect_refusals(&t.first, kernels[kind].word);
    expect_refusals(&t.second, kernels[kind].word);
    wind_up(&t, true);
}
END_TEST

/* All of libsd's memory and handles go with the context. Opened again, it works. */
START_TEST(the_host_resets_the_card) {
    stage_set t;
    cu_device device;
    set_up(&t);
    ck_assert_int_eq(t.d.device_get(&device, 0), 0);
    ck_assert_int_eq(t.d.primary_reset(device), 0);
    if (_i) /* and makes its context anew */
        t.primary = card_primary(&t.d, 0);
    expect_refusals(&t.first, "reset");
    expect_refusals(&t.second, "reset");
    wind_up(&t, false);
}
END_TEST

/* ------------------------------------------------------------------------------------- forking */

/* CUDA serves one process: a child has the CPU, and says why. */
static void child(scene *s) {
    const char *text = "a lake";
    sd_cond *out = NULL;
    sd_context *ctx;
    alarm(60);
    expect_failure("the parent's model", sd_encode_text(s->model, &text, 1, NULL, &out),
                   SD_ERROR_BACKEND, "forked");
    expect_failure("cuda, in a child", card_open("cuda", &ctx), SD_ERROR_BACKEND, "children");
    must(card_open("auto", &ctx), "auto");
    ck_assert_ptr_nonnull(strstr(card_log, "computing on the CPU, since: "));
    scene on_cpu = {.ctx = ctx};
    scene_all(&on_cpu);
    scene_clear(&on_cpu);
    sd_context_free(ctx);
    _exit(0);
}

START_TEST(a_child_has_no_card) {
    sd_context *ctx;
    int status = -1;
    must(card_open("cuda", &ctx), "cuda");
    scene s = {.ctx = ctx}, after = s;
    scene_all(&s);
    pid_t pid = fork();
    if (pid == 0)
        child(&s);
    ck_assert_int_eq(waitpid(pid, &status, 0), pid);
    ck_assert_msg(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the child ended with %d", status);
    scene_all(&after);
    scene_same(&s, &after);
    scene_clear(&s);
    scene_clear(&after);
    sd_context_free(ctx);
}
END_TEST

/* CUDA's words of such an error are that the process must end; whether that holds for the cards
 * that had no part in it is the driver's affair (580: it does). They compute, or say why not. */
START_TEST(one_of_two_cards_breaks) {
    driver d = card_driver();
    cu_handle broken = card_primary(&d, 1);
    scene s[2] = {{0}}, cpu = {0};
    sd_cond *out = NULL;
    const char *text = "a lake", *word = kernels[0].word;
    must(card_open("cuda:0", &s[0].ctx), "cuda:0");
    must(card_open("cuda:1", &s[1].ctx), "cuda:1");
    must(card_open("cpu", &cpu.ctx), "cpu");
    set_going(&s[0]);
    set_going(&s[1]);
    break_card(&d, broken, 0, false);
    expect_refusals(&s[1], word);
    if (sd_encode_text(s[0].model, &text, 1, NULL, &out)) {
        expect_refusals(&s[0], word);
    } else {
        scene after = {.ctx = s[0].ctx};
        scene_all(&after);
        scene_same(&s[0], &after);
        scene_clear(&after);
    }
    sd_cond_free(out);
    scene_all(&cpu);
    scene *const all[] = {&s[0], &s[1], &cpu};
    for (int i = 0; i < 3; i++) {
        scene_clear(all[i]);
        sd_context_free(all[i]->ctx);
    }
}
END_TEST

int main(void) {
    const card_test tests[] = {
        {the_host_breaks_the_card, 1, 4},
        {the_host_resets_the_card, 1, 2},
        {a_child_has_no_card, 1, 0},
        {one_of_two_cards_breaks, 2, 0},
    };
    return card_main("cuda-broken", tests, sizeof tests / sizeof tests[0]);
}
