/*
 * Programs: their passes one by one on small ones, and the networks' own, placed in many ways,
 * which must give the same bits wherever their buffers lie.
 */
#include "../support/params.h"
#include "backend/cache.h"
#include "backend/run.h"
#include "pipeline/sampling_internal.h"
#include "pipeline/unet.h"

#include "../tools/suite.h"

#include <stdlib.h>
#include <string.h>

static sd_context *ctx;
static sd_model *model;
static sd_exec *e;
static sd_program *p;

static void set_up(void) {
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    params.backend = "cpu";
    params.n_threads = 2;
    ck_assert_int_eq(sd_context_new(&params, &ctx), SD_OK);
    ck_assert_int_eq(sdi_exec_new(ctx, SDB_F32, &e), SD_OK);
    ck_assert_int_eq(sdi_program_new(ctx, &p), SD_OK);
    sdi_exec_build(e, p);
}

static void tear_down(void) {
    sdi_program_release(p);
    sdi_exec_free(e);
    sd_context_free(ctx);
}

static void set_up_model(void) {
    set_up();
    ck_assert_int_eq(sd_model_load(ctx, getenv("SD_TEST_TINY_FOLDER"), NULL, &model), SD_OK);
}

static void tear_down_model(void) {
    sd_model_free(model);
    tear_down();
}

/* ------------------------------------------------------------------------------- small programs */

static sdb_tensor new_tensor(int c) {
    return sdi_exec_tensor(e, 1, 2, 2, c);
}

static sdb_tensor held(int c) {
    sdb_tensor t = new_tensor(c);
    sdi_program_hold(p, t);
    return t;
}

static sdb_tensor silu(sdb_tensor x) {
    sdb_tensor y = new_tensor(x.c);
    sdi_op_activation(e, (sdb_activation){x, y, SDB_ACT_SILU});
    return y;
}

static sdb_tensor sum(sdb_tensor a, sdb_tensor b) {
    sdb_tensor y = new_tensor(a.c), terms[] = {a, b};
    sdi_op_sum(e, y, 2, terms, sdi_no_tensor());
    return y;
}

static void plan(void) {
    ck_assert_int_eq(e->status, SD_OK);
    sdi_program_end_segment(p);
    ck_assert_int_eq(sdi_program_plan(p, (sd_stats_maker){e->api, e->dev}), SD_OK);
}

static void check_refused(const char *sentence) {
    sdi_program_end_segment(p);
    ck_assert_int_eq(sdi_program_check(p), SD_ERROR_INTERNAL);
    ck_assert_msg(strstr(sd_last_error(), sentence) != NULL, "%s", sd_last_error());
}

START_TEST(what_is_read_must_be_written) {
    sdb_tensor x = new_tensor(4);
    sdi_op_copy(e, sdi_view_channels(x, 0, 3), held(3));
    silu(sdi_view_channels(x, 0, 3));
    ck_assert_int_eq(sdi_program_check(p), SD_OK);
    silu(x);
    check_refused("reads what was not written");
}
END_TEST

START_TEST(ranges_are_written_once) {
    sdb_tensor x = new_tensor(4), from = held(3);
    sdi_op_copy(e, sdi_view_channels(x, 0, 3), from);
    sdi_op_copy(e, sdi_view_channels(x, 3, 1), sdi_view_channels(from, 0, 1));
    ck_assert_int_eq(sdi_program_check(p), SD_OK);
    sdi_op_copy(e, sdi_view_channels(x, 2, 2), sdi_view_channels(from, 0, 2));
    check_refused("writes what was written before");
}
END_TEST

START_TEST(segments_share_what_is_held) {
    sdb_tensor first = held(4), second = silu(first), kept = held(4);
    sdi_op_copy(e, kept, first);
    sdi_program_end_segment(p);
    silu(kept);
    ck_assert_int_eq(sdi_program_check(p), SD_OK);
    silu(second);
    check_refused("nobody holds");
}
END_TEST

START_TEST(results_take_what_is_read_for_the_last_time) {
    sdb_tensor in = held(4), x = silu(in), y = silu(x);
    silu(sum(y, x)); /* into x's memory; y itself cannot take it, x is read later */
    plan();
    const sdb_activation *second = &p->ops[1].activation, *last = &p->ops[3].activation;
    const sdb_combine *both = &p->ops[2].combine;
    ck_assert_ptr_ne(p->ops[0].activation.y.data, p->io[0].data); /* which is held */
    ck_assert_ptr_ne(second->y.data, second->x.data);
    ck_assert(both->y.data == both->x[0].data || both->y.data == both->x[1].data);
    ck_assert_ptr_eq(last->y.data, last->x.data);
}
END_TEST

/* In place of an operand that is read twice, the second reading would see the result. */
START_TEST(operands_that_are_read_twice_give_no_memory) {
    sdb_tensor x = silu(held(4));
    sum(x, x);
    plan();
    ck_assert_ptr_ne(p->ops[1].combine.y.data, p->ops[1].combine.x[0].data);
}
END_TEST

START_TEST(halves_are_computed_in_their_place) {
    sdb_tensor in = held(4), a = silu(in), b = silu(a);
    silu(sdi_concat(e, a, b));
    plan();
    ck_assert_int_eq(p->n_ops, 3);
    const sdb_activation *op = &p->ops[2].activation;
    ck_assert_ptr_eq(p->ops[0].activation.y.data, op->x.data);
    ck_assert_ptr_eq(p->ops[1].activation.y.data, (char *)op->x.data + 4 * sizeof(float));
    ck_assert_int_eq(p->ops[1].activation.y.ld, 8);
    ck_assert_int_eq(p->ops[1].activation.x.ld, 8);
}
END_TEST

/* A half that is held, or is in another concatenation already, is copied; nested ones are not. */
START_TEST(other_halves_are_copied) {
    sdb_tensor in = held(2), a = silu(in), inner = sdi_concat(e, a, in);
    silu(sdi_concat(e, inner, a));
    plan();
    ck_assert_int_eq(p->n_ops, 4);
    const sdb_tensor x = p->ops[3].activation.x;
    ck_assert_ptr_eq(p->ops[0].activation.y.data, x.data);
    ck_assert_int_eq(p->ops[1].kind, SDB_OP_combine);
    ck_assert_ptr_eq(p->ops[1].combine.x[0].data, p->io[0].data);
    ck_assert_ptr_eq(p->ops[1].combine.y.data, (char *)x.data + 2 * sizeof(float));
    ck_assert_ptr_eq(p->ops[2].combine.x[0].data, x.data);
    ck_assert_ptr_eq(p->ops[2].combine.y.data, (char *)x.data + 4 * sizeof(float));
    ck_assert_int_eq(p->ends[0], 4);
}
END_TEST

static int two_parts(const sdb_device *dev, sdb_type type, int h, int w) {
    (void)dev;
    return type == SDB_F32 && h * w > 0 ? 2 : 0;
}

static sdb_tensor product(sdb_tensor x) {
    sdb_tensor y = new_tensor(4);
    sdi_op_linear(e, (sdb_linear){.x = x, .y = y});
    return y;
}

static void normalise(sdb_tensor x) {
    sdi_op_group_norm(e, (sdb_group_norm){.x = x, .y = new_tensor(x.c), .groups = 1});
}

/* A product makes statistics where a group norm can use them: of all that it reads. */
START_TEST(norms_get_the_statistics_of_their_makers) {
    sdb_backend api = *e->api;
    api.stats_parts = two_parts;
    sdb_tensor in = held(4), kept = held(4), a = product(in), b = product(a);
    sdi_op_linear(e, (sdb_linear){.x = b, .y = kept});
    normalise(b);
    normalise(sdi_concat(e, a, b));
    normalise(silu(b));              /* no product */
    normalise(sdi_concat(e, b, in)); /* copies */
    sdi_program_end_segment(p);
    normalise(kept); /* made in another segment */
    sdi_program_end_segment(p);
    ck_assert_int_eq(sdi_program_concat(p), SD_OK);
    ck_assert_int_eq(sdi_program_stats(p, (sd_stats_maker){&api, e->dev}), SD_OK);
    int norms = 0;
    for (int i = 0; i < p->n_ops; i++) {
        const sdb_group_norm *norm = &p->ops[i].group_norm;
        if (p->ops[i].kind != SDB_OP_group_norm)
            continue;
        int expected = norms == 0 ? 1 : norms == 1 ? 2 : 0;
        for (int k = 0; k < 2; k++)
            ck_assert_int_eq(norm->stats[k].h, k < expected ? 2 : 0);
        norms++;
    }
    ck_assert_int_eq(norms, 5);
    ck_assert_int_eq(p->ops[0].linear.stats.w, 2);
    ck_assert_int_eq(p->ops[1].linear.stats.buffer, p->ops[3].group_norm.stats[0].buffer);
    ck_assert_int_eq(p->ops[2].linear.stats.c, 0);
}
END_TEST

static sd_program *new_program(void) {
    sd_program *program;
    ck_assert_int_eq(sdi_program_new(ctx, &program), SD_OK);
    return program;
}

START_TEST(the_cache_keeps_the_first_and_the_last_used) {
    sd_programs all;
    sd_program_key key = {.builder = &all};
    ck_assert_int_eq(sdi_programs_init(&all, ctx), SD_OK);
    ck_assert_ptr_null(sdi_programs_find(&all, &key));
    sd_program *first = sdi_programs_add(&all, &key, new_program());
    sd_program *second = sdi_programs_add(&all, &key, new_program()); /* of another thread */
    ck_assert_ptr_eq(first, second);
    sdi_program_release(second);
    for (int i = 1; i <= SD_MAX_CACHED; i++) {
        sd_program *found = sdi_programs_find(&all, &(sd_program_key){.builder = &all});
        ck_assert_ptr_eq(found, first);
        sdi_program_release(found);
        key.n = i;
        sdi_program_release(sdi_programs_add(&all, &key, new_program()));
    }
    ck_assert_ptr_null(sdi_programs_find(&all, &(sd_program_key){.builder = &all, .n = 1}));
    sdi_program_release(first);
    sdi_programs_free(&all);
}
END_TEST

/* ----------------------------------------------------------------------------------- networks */

static sdb_tensor hold_typed(sdb_type type, int n, int h, int w, int c) {
    sdb_tensor t = sdi_exec_tensor_typed(e, type, n, h, w, c);
    sdi_program_hold(p, t);
    return t;
}

static void build_unet(int h, int w) {
    const sd_unet_config *c = &model->desc->unet;
    sdb_tensor x = hold_typed(SDB_F32, 2, h, w, c->in_channels),
               t = hold_typed(SDB_F32, 2, 1, 1, 1);
    sdb_tensor context = hold_typed(SDB_F32, 2, 7, 1, c->context_dim);
    sdb_tensor kv = hold_typed(SDB_F32, 2, 7, 1, sdi_unet_kv_width(sdi_model_unet(model)));
    sdb_tensor y = hold_typed(SDB_F32, 2, h, w, c->out_channels);
    sdi_unet_kv(e, sdi_model_unet(model), kv, context);
    sdi_program_end_segment(p);
    sdi_unet_forward(e, sdi_model_unet(model), y, x, t, kv, sdi_no_tensor(), sdi_no_tensor());
    sdi_program_end_segment(p);
}

static void build_decoder(int h, int w) {
    const sd_vae_config *c = &model->desc->vae;
    sdb_tensor z = hold_typed(SDB_F32, 1, h, w, c->latent_channels);
    sdb_tensor y = hold_typed(SDB_F32, 1, 8 * h, 8 * w, c->out_channels);
    sdi_vae_decoder_forward(e, sdi_model_vae(model), y, z, false);
    sdi_program_end_segment(p);
}

static void build_encoder(int h, int w) {
    sdb_tensor x = hold_typed(SDB_F32, 1, 8 * h, 8 * w, model->desc->vae.in_channels);
    sdb_tensor y = hold_typed(SDB_F32, 1, h, w, sdi_vae_moments(sdi_model_vae(model)));
    sdi_vae_encoder_forward(e, sdi_model_vae(model), y, x);
    sdi_program_end_segment(p);
}

static void build_text(int h, int w) {
    (void)h, (void)w;
    const sd_text_config *c = &model->desc->text;
    sdb_tensor ids = hold_typed(SDB_I32, 2, c->tokens, 1, 1);
    sdb_tensor y = hold_typed(SDB_F32, 2, c->tokens, 1, c->width);
    const sd_text_model *text = (const sd_text_model *)model->parts[SD_PART_TEXT];
    sdi_text_model_forward(e, text, y, sdi_no_tensor(), ids, 0);
    sdi_program_end_segment(p);
}

/* The last of io is the result. */
static void (*const networks[])(int h, int w) = {build_unet, build_decoder, build_encoder,
                                                 build_text};
#define N_NETWORKS ((int)(sizeof networks / sizeof *networks))

/* Anew, up to `alias`: what lives when is known. */
static void build(int network, int h, int w) {
    sdi_program_release(p);
    ck_assert_int_eq(sdi_program_new(ctx, &p), SD_OK);
    sdi_exec_build(e, p);
    networks[network](h, w);
    sdi_exec_build(e, NULL);
    ck_assert_int_eq(e->status, SD_OK);
    ck_assert_msg(sdi_program_check(p) == SD_OK, "%s", sd_last_error());
    ck_assert_int_eq(sdi_program_concat(p), SD_OK);
    ck_assert_int_eq(sdi_program_stats(p, (sd_stats_maker){e->api, e->dev}), SD_OK);
    sdi_program_alias(p);
}

static bool lives(const sd_buffer *b) {
    return b->last >= b->first;
}

static bool is_root(int i) {
    return sdi_buffer_root(p, i) == i && lives(&p->buffers[i]);
}

static bool overlap(const sd_buffer *a, const sd_buffer *b) {
    bool at_once = a->first <= b->last && b->first <= a->last;
    return at_once && a->place < b->place + sdi_buffer_size(b) &&
           b->place < a->place + sdi_buffer_size(a);
}

static void check_apart(void) {
    for (int i = 1; i < p->n_buffers; i++)
        for (int k = i + 1; k < p->n_buffers; k++)
            ck_assert(!is_root(i) || !is_root(k) || !overlap(&p->buffers[i], &p->buffers[k]));
}

/* The least that the arena can do with: all that lives during one operation. */
static size_t most_at_once(void) {
    size_t most = 0;
    for (int at = 0; at < p->n_ops; at++) {
        size_t all = 0;
        for (int i = 1; i < p->n_buffers; i++)
            if (is_root(i) && p->buffers[i].first <= at && p->buffers[i].last >= at)
                all += sdi_buffer_size(&p->buffers[i]);
        most = all > most ? all : most;
    }
    return most;
}

START_TEST(the_arena_is_hardly_larger_than_what_lives_at_once) {
    static const int sizes[][2] = {{8, 8}, {8, 16}, {16, 8}, {24, 16}, {32, 32}, {64, 64}};
    const int *size = sizes[_i / N_NETWORKS];
    build(_i % N_NETWORKS, size[0], size[1]);
    ck_assert_int_eq(sdi_program_place(p), SD_OK);
    check_apart();
    size_t rounded = 256 * (size_t)p->n_buffers; /* at most so much goes to alignment */
    ck_assert_msg((double)p->arena <= 1.05 * (double)most_at_once() + (double)rounded,
                  "%zu bytes, of which %zu live at once", p->arena, most_at_once());
}
END_TEST

/* In any order, each at a random distance behind those that live at the same time. */
static void scatter(uint64_t seed) {
    uint64_t state = seed * 0x9e3779b97f4a7c15u + 1;
    p->arena = 0;
    for (int i = 1; i < p->n_buffers; i++)
        p->buffers[i].place = SIZE_MAX / 2;
    for (int done = 0; done < 2 * p->n_buffers; done++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        int pick = done < p->n_buffers ? (int)(state >> 33) % p->n_buffers : done - p->n_buffers;
        sd_buffer *b = &p->buffers[pick];
        if (pick == 0 || !is_root(pick) || b->place < SIZE_MAX / 2)
            continue;
        b->place = (size_t)(state >> 60) * 256;
        for (int k = 1; k < p->n_buffers; k++)
            if (k != pick && is_root(k) && overlap(b, &p->buffers[k])) {
                b->place =
                    (p->buffers[k].place + sdi_buffer_size(&p->buffers[k]) + 255) / 256 * 256;
                k = 0; /* all once more */
            }
        size_t end = b->place + sdi_buffer_size(b);
        p->arena = end > p->arena ? end : p->arena;
    }
}

/* The result of the program over an arena of NaN, for inputs that depend on nothing. */
static float *result(size_t *size) {
    sdi_exec_use(e, p);
    ck_assert_int_eq(e->status, SD_OK);
    memset(e->arena, 0xff, e->capacity);
    sdb_tensor out = sdi_exec_io(e, p->n_io - 1);
    for (int i = 0; i < p->n_io - 1; i++) {
        sdb_tensor t = sdi_exec_io(e, i);
        for (size_t k = 0; k < sdi_packed_size(t) / 4; k++)
            if (t.type == SDB_I32)
                ((int32_t *)t.data)[k] = (int32_t)(k % 50);
            else
                ((float *)t.data)[k] = (float)((k * 2654435761u) % 1000) / 500.0f - 1.0f;
    }
    for (int i = 0; i < p->n_segments; i++)
        sdi_exec_run(e, i);
    ck_assert_int_eq(e->status, SD_OK);
    *size = sdi_packed_size(out);
    float *copy = malloc(*size);
    memcpy(copy, out.data, *size);
    return copy;
}

START_TEST(the_place_of_a_buffer_changes_no_bit) {
    size_t size, n;
    build(_i, 8, 16);
    ck_assert_int_eq(sdi_program_place(p), SD_OK);
    sdi_program_bind(p);
    float *expected = result(&size);
    ck_assert(expected[0] == expected[0]); /* no NaN */
    for (uint64_t seed = 1; seed <= 8; seed++) {
        build(_i, 8, 16);
        scatter(seed);
        check_apart();
        sdi_program_bind(p);
        float *got = result(&n);
        ck_assert_uint_eq(n, size);
        ck_assert_mem_eq(got, expected, size);
        free(got);
    }
    free(expected);
}
END_TEST

static bool same_operand(const sdb_tensor *a, const sdb_tensor *b) {
    return a->data == b->data && a->type == b->type && a->n == b->n && a->h == b->h &&
           a->w == b->w && a->c == b->c && a->ld == b->ld;
}

START_TEST(building_again_gives_the_same_program) {
    build(_i, 16, 8);
    ck_assert_int_eq(sdi_program_place(p), SD_OK);
    sdi_program_bind(p);
    sd_program *first = p;
    sdi_program_retain(first);
    build(_i, 16, 8);
    ck_assert_int_eq(sdi_program_place(p), SD_OK);
    sdi_program_bind(p);
    ck_assert_int_eq(p->n_ops, first->n_ops);
    ck_assert_uint_eq(p->arena, first->arena);
    for (int i = 0; i < p->n_ops; i++) {
        ck_assert_int_eq(p->ops[i].kind, first->ops[i].kind);
        for (const sd_operand *o = sdi_op_operands(p->ops[i].kind); o->role; o++)
            ck_assert(o->role == SD_ROLE_WEIGHT ||
                      same_operand(sdi_operand_tensor(&p->ops[i], o),
                                   sdi_operand_tensor(&first->ops[i], o)));
    }
    sdi_program_release(first);
}
END_TEST

/* To the byte, for a network alone and with a sampler's own latents. */
START_TEST(the_estimate_is_what_is_allocated) {
    sd_stage stage = {
        .type = &sdi_unet_stage, .model = model, .n = 2, .h = 16, .w = 8, .tokens = 77};
    sd_cost cost;
    ck_assert_int_eq(sdi_stage_estimate(&stage, &cost), SD_OK);
    ck_assert_int_eq(sdi_stage_begin(&stage), SD_OK);
    ck_assert_uint_eq(stage.e->capacity + stage.e->scratch, cost.bytes);
    ck_assert_int_eq(sdi_stage_end(&stage), SD_OK);

    sd_sampler_params params = SD_SAMPLER_PARAMS_INIT;
    params.method = "plms";
    params.width = params.height = 128;
    sd_memory_info memory = SD_MEMORY_INFO_INIT;
    sd_sampler *sampler;
    ck_assert_int_eq(sd_memory_estimate(model, ESTIMATE(&params), &memory), SD_OK);
    ck_assert_int_eq(sd_sampler_new(model, &params, &sampler), SD_OK);
    ck_assert_uint_eq(sampler->e->capacity + sampler->e->scratch, memory.unet);
    sd_sampler_free(sampler);
}
END_TEST

int main(void) {
    TCase *small = tcase_create("small"), *whole = tcase_create("networks");
    tcase_add_checked_fixture(small, set_up, tear_down);
    tcase_add_test(small, what_is_read_must_be_written);
    tcase_add_test(small, ranges_are_written_once);
    tcase_add_test(small, segments_share_what_is_held);
    tcase_add_test(small, results_take_what_is_read_for_the_last_time);
    tcase_add_test(small, operands_that_are_read_twice_give_no_memory);
    tcase_add_test(small, halves_are_computed_in_their_place);
    tcase_add_test(small, other_halves_are_copied);
    tcase_add_test(small, norms_get_the_statistics_of_their_makers);
    tcase_add_test(small, the_cache_keeps_the_first_and_the_last_used);
    tcase_add_checked_fixture(whole, set_up_model, tear_down_model);
    tcase_set_timeout(whole, 60);
    tcase_add_loop_test(whole, the_arena_is_hardly_larger_than_what_lives_at_once, 0,
                        6 * N_NETWORKS);
    tcase_add_loop_test(whole, the_place_of_a_buffer_changes_no_bit, 0, N_NETWORKS);
    tcase_add_loop_test(whole, building_again_gives_the_same_program, 0, N_NETWORKS);
    tcase_add_test(whole, the_estimate_is_what_is_allocated);
    Suite *suite = suite_create("program");
    suite_add_tcase(suite, small);
    suite_add_tcase(suite, whole);
    return suite_run(suite, CK_FORK_GETENV);
}
