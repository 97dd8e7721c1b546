/* Several contexts, cards and threads in one process, and the host's own CUDA beside them. */
#include "card.h"

#include <sd/profile.h>

#include <pthread.h>

/* ----------------------------------------------------------------- the host's current context */

typedef struct watch {
    const driver *d;
    cu_handle expected; /* current, in this thread */
    hog *hog;           /* NULL: the card's memory is left alone */
} watch;

static void unchanged(const watch *w, const char *after) {
    cu_handle current = NULL;
    ck_assert_int_eq(w->d->get_current(&current), 0);
    ck_assert_msg(current == w->expected, "after %s another context is current", after);
}

static void too_large(const watch *w, scene *s) {
    sd_sampler_params p = SD_SAMPLER_PARAMS_INIT;
    sd_sampler *sampler;
    p.width = p.height = 2048;
    hog_take(w->hog, (size_t)4 << 20);
    unchanged(w, "the host's own calls");
    expect_failure("a large sampler", sd_sampler_new(s->model, &p, &sampler), SD_ERROR_MEMORY,
                   "out of");
    unchanged(w, "a failed sampler");
    hog_end(w->hog);
}

/* Calls that fail: for memory, a missing file, a missing device, at the wrong time. */
static void failing_calls(const watch *w, scene *s) {
    sd_model *model;
    sd_context *ctx;
    if (w->hog)
        too_large(w, s);
    ck_assert_int_ne(sd_model_load(s->ctx, "/nonexistent", NULL, &model), SD_OK);
    unchanged(w, "a failed load");
    ck_assert_int_eq(sd_sampler_step(s->sampler), SD_ERROR_STATE);
    unchanged(w, "a failed step");
    ck_assert_int_eq(card_open("cuda:1000", &ctx), SD_ERROR_BACKEND);
    unchanged(w, "a failed opening");
}

static void every_call(const watch *w) {
    sd_device_memory_info memory = SD_DEVICE_MEMORY_INFO_INIT;
    scene s = {0};
    must(card_open("cuda", &s.ctx), "cuda");
    unchanged(w, "opening");
    for (int i = 0; i < N_STAGES; i++) {
        must(scene_stage(&s, i), stage_names[i]);
        unchanged(w, stage_names[i]);
    }
    must(sd_context_device_memory(s.ctx, &memory), "memory");
    failing_calls(w, &s);
    scene_clear(&s);
    unchanged(w, "freeing");
    sd_context_free(s.ctx);
    unchanged(w, "closing");
}

static void *in_a_thread(void *arg) {
    every_call(arg);
    return NULL;
}

/* 0: the host has no CUDA at all; 1: a context of its own is current; 2: the primary one is, which
 * libsd uses too. A second thread has nothing current. */
START_TEST(the_current_context_is_left_alone) {
    driver d = card_driver();
    hog h = {.driver = &d, .context = card_primary(&d, 0)};
    watch w = {.d = &d, .hog = &h}, none = {.d = &d};
    cu_device device;
    pthread_t thread;
    ck_assert_int_eq(d.device_get(&device, 0), 0);
    if (_i == 1)
        ck_assert_int_eq(d.context_new(&w.expected, 0, device), 0);
    if (_i == 2)
        w.expected = h.context;
    ck_assert_int_eq(d.set_current(w.expected), 0);
    every_call(&w);
    ck_assert_int_eq(pthread_create(&thread, NULL, in_a_thread, &none), 0);
    pthread_join(thread, NULL);
    unchanged(&w, "a thread");
}
END_TEST

/* ------------------------------------------------------------------------- the host's graphs */

/* The host records a graph of its own, in the strictest mode, while libsd opens, loads, computes
 * and frees: in this thread, or in another. */
START_TEST(the_hosts_recording_goes_on) {
    driver d = card_driver();
    watch w = {.d = &d, .expected = card_primary(&d, 0)}, none = {.d = &d};
    cu_handle stream, graph = NULL;
    cu_deviceptr memory;
    pthread_t thread;
    int mode = _i / 2;
    ck_assert_int_eq(d.set_current(w.expected), 0);
    ck_assert_int_eq(d.alloc(&memory, 4096), 0);
    ck_assert_int_eq(d.stream_new(&stream, 1), 0);
    ck_assert_int_eq(d.capture_begin(stream, mode), 0);
    ck_assert_int_eq(d.memset8(memory, 0, 4096, stream), 0);
    if (_i % 2) {
        ck_assert_int_eq(pthread_create(&thread, NULL, in_a_thread, &none), 0);
        pthread_join(thread, NULL);
    } else {
        every_call(&w);
    }
    ck_assert_int_eq(d.memset8(memory, 1, 4096, stream), 0);
    ck_assert_int_eq(d.capture_end(stream, &graph), 0);
    ck_assert_ptr_nonnull(graph);
}
END_TEST

/* ------------------------------------------------------------------------ threads and contexts */

typedef struct painter {
    const char *backend; /* NULL: s.ctx is open */
    scene s;
    int rounds;
} painter;

static void *paint(void *arg) {
    painter *p = arg;
    scene first = {0};
    if (p->backend)
        must(card_open(p->backend, &p->s.ctx), p->backend);
    for (int i = 0; i < p->rounds; i++) {
        first = p->s;
        if (i > 0)
            p->s = (scene){.ctx = first.ctx, .size = first.size};
        scene_all(&p->s);
        if (i > 0) {
            scene_same(&first, &p->s);
            scene_clear(&first);
        }
    }
    return NULL;
}

static void paint_at_once(painter *p, int n) {
    pthread_t threads[16];
    for (int i = 0; i < n; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, paint, &p[i]), 0);
    for (int i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    for (int i = 1; i < n; i++)
        scene_same(&p[0].s, &p[i].s);
    for (int i = 0; i < n; i++) {
        sd_context *ctx = p[i].s.ctx;
        scene_clear(&p[i].s);
        sd_context_free(ctx);
    }
}

START_TEST(contexts_on_one_card) {
    painter p[4];
    for (int i = 0; i < 4; i++)
        p[i] = (painter){.backend = "cuda", .rounds = 3, .s = {.size = 128}};
    paint_at_once(p, 4);
}
END_TEST

START_TEST(contexts_on_two_cards) {
    painter p[6];
    for (int i = 0; i < 6; i++)
        p[i] = (painter){.backend = i % 2 ? "cuda:1" : "cuda:0", .rounds = 3, .s = {.size = 128}};
    paint_at_once(p, 6);
}
END_TEST

/* One thread, two cards by turns; each context's memory is its own card's. */
START_TEST(two_cards_by_turns) {
    driver d = card_driver();
    watch w = {.d = &d};
    scene s[2] = {{.size = 128}, {.size = 128}};
    for (int i = 0; i < 2; i++) {
        must(card_open(i ? "cuda:1" : "cuda:0", &s[i].ctx), "cuda");
        printf("%s\n", sd_context_device(s[i].ctx));
    }
    ck_assert_str_ne(sd_context_device(s[0].ctx), sd_context_device(s[1].ctx));
    for (int stage = 0; stage < N_STAGES; stage++)
        for (int i = 0; i < 2; i++) {
            must(scene_stage(&s[i], stage), stage_names[stage]);
            unchanged(&w, stage_names[stage]);
        }
    scene_same(&s[0], &s[1]);
    sd_device_memory_info before[2] = {SD_DEVICE_MEMORY_INFO_INIT, SD_DEVICE_MEMORY_INFO_INIT},
                          after = before[0];
    for (int i = 0; i < 2; i++)
        must(sd_context_device_memory(s[i].ctx, &before[i]), "memory");
    ck_assert_int_eq((int64_t)before[0].used, (int64_t)before[1].used);
    sd_context_free(s[0].ctx);
    scene_clear(&s[0]);
    must(sd_context_device_memory(s[1].ctx, &after), "memory");
    ck_assert_int_eq((int64_t)after.used, (int64_t)before[1].used);
    scene_clear(&s[1]);
    sd_context_free(s[1].ctx);
    unchanged(&w, "closing");
}
END_TEST

static void *sample(void *arg) {
    scene *s = arg;
    for (int i = STAGE_TEXT; i < N_STAGES; i++)
        must(scene_stage(s, i), stage_names[i]);
    return NULL;
}

/* Threads on one model, each with a sampler; a third loads and frees models meanwhile. */
START_TEST(threads_on_one_model) {
    sd_context *ctx;
    pthread_t threads[4];
    painter loading = {.rounds = 4, .s = {.size = 128}};
    must(card_open("cuda", &ctx), "cuda");
    scene alone = {.ctx = ctx, .size = 128}, s[3];
    scene_all(&alone);
    for (int i = 0; i < 3; i++) {
        s[i] = (scene){.ctx = ctx, .size = 128, .model = alone.model};
        ck_assert_int_eq(pthread_create(&threads[i], NULL, sample, &s[i]), 0);
    }
    loading.s.ctx = ctx;
    ck_assert_int_eq(pthread_create(&threads[3], NULL, paint, &loading), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    scene_same(&alone, &loading.s);
    for (int i = 0; i < 3; i++) {
        scene_same(&alone, &s[i]);
        s[i].model = NULL; /* alone's */
        scene_clear(&s[i]);
    }
    scene_clear(&loading.s);
    scene_clear(&alone);
    sd_context_free(ctx);
}
END_TEST

int main(void) {
    const card_test tests[] = {
        {the_current_context_is_left_alone, 1, 3},
        {the_hosts_recording_goes_on, 1, 6},
        {contexts_on_one_card, 1, 0},
        {threads_on_one_model, 1, 0},
        {contexts_on_two_cards, 2, 0},
        {two_cards_by_turns, 2, 0},
    };
    return card_main("cuda-contexts", tests, sizeof tests / sizeof tests[0]);
}
