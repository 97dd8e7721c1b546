/* A stage from its program to its end. */
#include "pipeline/stage.h"

#include "core/expect.h"
#include "pipeline/execs.h"

enum { COMPUTE, APART }; /* segments of its program */

static void build(sd_stage *s, sd_program *p) {
    sdi_exec_build(s->e, p);
    s->type->hold(s);
    for (int i = 0; i < SD_STAGE_IO; i++)
        sdi_program_hold(p, s->io[i]);
    if (s->type->compute)
        s->type->compute(s);
    sdi_program_end_segment(p);
    if (s->type->apart)
        s->type->apart(s);
    sdi_program_end_segment(p);
    sdi_exec_build(s->e, NULL);
}

static sd_status new_program(sd_stage *s, sd_program **out) {
    sd_exec *e = s->e;
    sd_status status = sdi_program_new(e->ctx, out);
    if (!status) {
        build(s, *out);
        status = e->status ? e->status : sdi_program_plan(*out, (sd_stats_maker){e->api, e->dev});
    }
    if (status)
        sdi_program_release(*out);
    return status;
}

/* Retained for the caller. */
static sd_status find_program(sd_stage *s, sd_program **out) {
    sd_programs *all = &s->model->parts[s->type->part]->programs;
    sd_program_key key = {s->type, s->n, s->h, s->w, s->tokens, s->options};
    *out = sdi_programs_find(all, &key);
    if (*out)
        return SD_OK;
    sd_status status = new_program(s, out);
    if (!status)
        *out = sdi_programs_add(all, &key, *out);
    return status;
}

static void take_io(sd_stage *s) {
    for (int i = 0; i < SD_STAGE_IO; i++)
        s->io[i] = sdi_exec_io(s->e, i);
}

/* The program is for `use`: sdi_exec_use or sdi_exec_plan. */
static sd_status prepare(sd_stage *s, void (*use)(sd_exec *e, sd_program *p)) {
    sd_program *p;
    s->e->act = s->model->parts[s->type->part]->act;
    sdi_exec_begin(s->e);
    sd_status status = find_program(s, &p);
    if (status) {
        sdi_exec_fail(s->e, status);
        return status;
    }
    use(s->e, p);
    sdi_program_release(p);
    if (!s->e->status)
        take_io(s);
    return s->e->status;
}

sd_status sdi_stage_begin(sd_stage *s) {
    sd_status status = sdi_execs_take(s->model->execs, &s->e);
    if (status)
        return status;
    return prepare(s, sdi_exec_use) ? sdi_stage_end(s) : SD_OK;
}

sd_status sdi_stage_plan(sd_stage *s) {
    return prepare(s, sdi_exec_plan);
}

sd_status sdi_stage_commit(sd_stage *s) {
    if (!sdi_exec_commit(s->e))
        take_io(s);
    return s->e->status;
}

void sdi_stage_compute(sd_stage *s) {
    sdi_exec_run(s->e, COMPUTE);
}

void sdi_stage_compute_apart(sd_stage *s) {
    sdi_exec_run(s->e, APART);
}

sd_tensor *sdi_stage_tensor(sd_stage *s, int n_dims, const int64_t *dims) {
    sd_tensor *t = NULL;
    if (!s->e->status)
        sdi_exec_fail(s->e, sdi_tensor_new_raw(s->model->ctx, n_dims, dims, &t));
    return t;
}

sd_status sdi_stage_end(sd_stage *s) {
    sd_status status = s->e->status;
    sdi_execs_give(s->model->execs, s->e);
    s->e = NULL;
    return status;
}

sd_status sdi_stage_estimate(sd_stage *s, sd_cost *cost) {
    sd_status status = sdi_exec_new(s->model->ctx, s->model->act, &s->e);
    if (status)
        return status;
    if (!sdi_stage_plan(s)) {
        sdi_stage_compute(s);
        sdi_stage_compute_apart(s);
        cost->flops = s->e->flops;
        cost->bytes = sdi_exec_abandon(s->e);
    }
    status = s->e->status;
    sdi_exec_free(s->e);
    return status;
}

/* ------------------------------------------------------------------------------ its numbers */

sd_status sdi_fail_computed(const sd_model *model, const char *stage, const sd_tensor *t,
                            int64_t at) {
    char text[160];
    const char *advice =
        model->act == SDB_F32
            ? "the weights may be damaged, or what is given too large"
            : "the 16 bits of its numbers may not suffice; SD_PRECISION_FULL (--precision full) "
              "has 32";
    return sdi_fail(model->ctx, SD_ERROR_MODEL, "%s: what %s computed is not finite (%s): %s",
                    model->desc->path, stage, sdi_element_text(text, sizeof text, t, at), advice);
}

sd_status sdi_check_computed(const sd_model *model, const char *stage, const sd_tensor *t) {
    int64_t at = sdi_find_not_finite(t->data, t->n_elements);
    return at < 0 ? SD_OK : sdi_fail_computed(model, stage, t, at);
}
