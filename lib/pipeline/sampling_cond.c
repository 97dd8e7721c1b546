/* What the network is conditioned on in each evaluation of a run: programs of sd_cond. */
#include "pipeline/sampling.h"
#include "pipeline/sampling_internal.h"

#include <math.h>

/* -------------------------------------------------------------------------------- beginning */

/* Without an unconditional half what is combined has to make a whole by itself. */
static sd_status check_sum(const sd_sampler *s, const sd_cond *cond) {
    const sd_cond_program *p = cond->program;
    for (int entry = 0; p && !s->guided && entry < p->n; entry++)
        for (int row = 0; row < p->rows; row++) {
            double sum = 0.0;
            for (int term = 0; term < p->terms; term++)
                sum += sdi_cond_pick(cond, entry, term, row).weight;
            if (fabs(sum - 1.0) > 1e-6)
                return sdi_fail(s->model->ctx, SD_ERROR_ARGUMENT,
                                "the weights of what cond combines add up to %g; 1 was expected, "
                                "since this run has no unconditional half: guidance scales other "
                                "than 1 have one, of models that are not told the scale",
                                sum);
        }
    return SD_OK;
}

/* All that a step evaluates is one batch, and so has the same tokens. */
static sd_status check_uncond(const sd_sampler *s, const sd_run_params *given) {
    const sd_context *ctx = s->model->ctx;
    if (!given->uncond)
        return sdi_fail(ctx, SD_ERROR_ARGUMENT, "uncond is NULL; the guidance scale %g needs it",
                        s->params.guidance_scale);
    if (sdi_cond_is_mixed(given->uncond))
        return sdi_fail(ctx, SD_ERROR_ARGUMENT,
                        "uncond is a combination; one conditioning was expected, which may change "
                        "in the course of the run");
    return sdi_unet_check_cond(s->model, given->uncond, "uncond", s->n, true,
                               sdi_cond_context(given->cond)->dims[1]);
}

sd_status sdi_sampler_check_conds(const sd_sampler *s, const sd_run_params *given) {
    if (sdi_model_context_tokens(s->model) == 0)
        return given->cond
                   ? sdi_fail(s->model->ctx, SD_ERROR_ARGUMENT,
                              "cond is given; the model is unconditional, NULL was expected")
                   : SD_OK;
    sd_status status = sdi_unet_check_cond(s->model, given->cond, "cond", s->n, true, -1);
    if (!status)
        status = check_sum(s, given->cond);
    return status || !s->guided ? status : check_uncond(s, given);
}

void sdi_sampler_keep_conds(sd_sampler *s, const sd_cond *cond, const sd_cond *uncond) {
    sdi_handle_retain(cond);
    sdi_handle_retain(uncond);
    sdi_handle_release(s->cond);
    sdi_handle_release(s->uncond);
    s->cond = cond;
    s->uncond = uncond;
    s->evaluations = 0;
    s->entry = s->unentry = -1;
}

/* ------------------------------------------------------------------------------ an evaluation */

/* A term of cond, or uncond, as what pictures first .. first + n - 1 of the network see. */
static void put_term(sd_sampler *s, int first, const sd_cond *cond, int entry, int term,
                     double score) {
    for (int i = 0; i < s->n; i++)
        sdi_unet_put_cond(&s->unet, first + i, cond, sdi_cond_pick(cond, entry, term, i).row,
                          score);
}

/* Weights w of predictions e: the conditional half is e_u + sum w (e - e_u). */
static void put_mixing(sd_sampler *s) {
    float numbers[1 + SD_COND_MAX_TERMS];
    for (int i = 0; i < s->n && sdi_cond_is_mixed(s->cond); i++) {
        double sum = 0.0;
        for (int term = 0; term < s->terms; term++) {
            double weight = sdi_cond_pick(s->cond, s->entry, term, i).weight;
            numbers[s->guided + term] = (float)weight;
            sum += weight;
        }
        if (s->guided)
            numbers[0] = (float)(1.0 - sum);
        sdi_exec_upload(s->e, sdi_view_batch(s->mixing, i, 1), numbers);
    }
}

/* Keys and values are made anew where something changes: less than 1/200 of a step's arithmetic. */
void sdi_sampler_look(sd_sampler *s) {
    int all = sdi_method_evaluations(s->run.method, s->params.steps);
    double share = (double)s->evaluations++ / all;
    if (s->unet.tokens == 0)
        return;
    int entry = sdi_cond_entry(s->cond, share);
    int unentry = s->guided ? sdi_cond_entry(s->uncond, share) : 0;
    if (entry == s->entry && unentry == s->unentry)
        return;
    s->entry = entry;
    s->unentry = unentry;
    if (s->guided)
        put_term(s, 0, s->uncond, unentry, 0, SD_NEGATIVE_SCORE);
    for (int term = 0; term < s->terms; term++)
        put_term(s, (s->guided + term) * s->n, s->cond, entry, term, SD_AESTHETIC_SCORE);
    put_mixing(s);
    sdi_stage_compute_apart(&s->unet);
}

/* Composable diffusion, the conjunction of Liu et al. 2022: what is combined becomes the
 * conditional half e_c = e_u + sum w (e - e_u), and guidance then is as ever, e_u + s (e_c - e_u).
 */
void sdi_sampler_mix(sd_sampler *s) {
    int n_terms = sdi_sampler_parts(s);
    sdb_tensor terms[1 + SD_COND_MAX_TERMS];
    if (!s->cond || !sdi_cond_is_mixed(s->cond))
        return;
    for (int i = 0; i < s->n; i++) {
        for (int k = 0; k < n_terms; k++)
            terms[k] = sdi_view_batch(s->unet.io[SD_UNET_Y], k * s->n + i, 1);
        sdi_op_sum(s->e, terms[s->guided], n_terms, terms, sdi_view_batch(s->mixing, i, 1));
    }
}
