/* Prompts and classes to conditioning. */
#include "pipeline/text.h"
#include "core/expect.h"
#include "pipeline/stage.h"
#include "pipeline/unet.h"
#include "sampler/sampler.h"
#include "text/clean.h"
#include "text/program.h"
#include "text/rows.h"

#include <string.h>

/* Longer lists are encoded in turns, so that the memory does not depend on their length. */
#define MAX_TURN 16

enum { IDS, EMBEDDINGS, POOLED };

static const sd_text_config *config_of(const sd_stage *s) {
    return sdi_part_config(sdi_part_types[s->type->part], s->model->desc);
}

static void hold_text(sd_stage *s) {
    const sd_text_config *c = config_of(s);
    s->io[IDS] = sdi_exec_tensor_typed(s->e, SDB_I32, s->n, c->tokens, 1, 1);
    s->io[EMBEDDINGS] = sdi_exec_tensor_typed(s->e, SDB_F32, s->n, c->tokens, 1, c->width);
    s->io[POOLED] = sdi_no_tensor();
    if (c->projection > 0)
        s->io[POOLED] = sdi_exec_tensor_typed(s->e, SDB_F32, s->n, c->tokens, 1, c->projection);
}

/* `options`: the last layers, which are left out. */
static void encode(sd_stage *s) {
    const sd_text_model *m = (const sd_text_model *)s->model->parts[s->type->part];
    sdi_text_model_forward(s->e, m, s->io[EMBEDDINGS], s->io[POOLED], s->io[IDS], s->options);
}

static const sd_stage_type text_stage = {SD_PART_TEXT, hold_text, encode, NULL},
                           text_2_stage = {SD_PART_TEXT_2, hold_text, encode, NULL};

static const sd_stage_type *stage_of(const sd_encoder *encoder) {
    return encoder->part == SD_PART_TEXT_2 ? &text_2_stage : &text_stage;
}

/* What an encoder makes of rows of ids. */
typedef struct encoded {
    sd_tensor *hidden; /* [n, tokens, width] */
    sd_tensor *pooled; /* [n, projection]; NULL: it makes none */
} encoded;

static void encoded_free(encoded *all, int n) {
    for (int i = 0; i < n; i++) {
        sdi_tensor_free(all[i].hidden);
        sdi_tensor_free(all[i].pooled);
    }
}

/* The place of the end token: the first one, or, where there is no tokenizer to ask, that of the
 * largest id of the vocabulary's own, as OpenCLIP takes it. */
static int end_of(const sd_encoder *encoder, const int32_t *ids) {
    const sd_tokenizer *t = encoder->tokenizer;
    int tokens = encoder->config->tokens, largest = 0;
    for (int i = 0; i < tokens; i++) {
        if (t && ids[i] == sdi_tokenizer_end(t))
            return i;
        if (ids[i] < encoder->config->vocab_size && ids[i] > ids[largest])
            largest = i;
    }
    return largest;
}

/* The rows of the end tokens of what the stage made of each token. */
static void get_pooled(sd_stage *s, const sd_encoder *encoder, const int32_t *ids, float *pooled) {
    size_t tokens = (size_t)encoder->config->tokens, width = (size_t)encoder->config->projection;
    for (int i = 0; i < s->n; i++, ids += tokens) {
        sdb_tensor row = sdi_view_batch(s->io[POOLED], i, 1);
        sdb_tensor all = sdi_view_shape(row, (int)tokens, 1, 1);
        sdi_exec_download(s->e, pooled + (size_t)i * width,
                          sdi_view_batch(all, end_of(encoder, ids), 1));
    }
}

/* Rows of ids to rows first .. of what they are encoded to. */
static sd_status encode_turn(sd_stage *s, const sd_encoder *encoder, const int32_t *ids, int first,
                             encoded *out) {
    const sd_text_config *c = encoder->config;
    sd_status status = sdi_stage_begin(s);
    if (status)
        return status;
    sdi_exec_upload(s->e, s->io[IDS], ids);
    sdi_stage_compute(s);
    sdi_exec_download(s->e, out->hidden->data + (size_t)first * (size_t)(c->tokens * c->width),
                      s->io[EMBEDDINGS]);
    if (out->pooled)
        get_pooled(s, encoder, ids, out->pooled->data + (size_t)first * (size_t)c->projection);
    return sdi_stage_end(s);
}

static sd_status encode_turns(const sd_model *model, const sd_encoder *encoder, const int32_t *ids,
                              int n, int skip, encoded *out) {
    sd_status status = SD_OK;
    for (int i = 0; i < n && !status; i += MAX_TURN) {
        int turn = n - i < MAX_TURN ? n - i : MAX_TURN;
        sd_stage s = {.type = stage_of(encoder), .model = model, .n = turn, .options = skip};
        status = sdi_check_interrupt(model->ctx);
        if (!status)
            status =
                encode_turn(&s, encoder, ids + (size_t)i * (size_t)encoder->config->tokens, i, out);
    }
    return status;
}

/* [n, tokens] ids, each of which has a row. The last layers are left out where that is wanted. What
 * was made is the caller's, also after a failure. */
static sd_status encode_rows(const sd_model *model, const sd_encoder *encoder, const int32_t *ids,
                             int n, const sd_text_params *params, encoded *out) {
    const sd_text_config *c = encoder->config;
    const int64_t dims[] = {n, c->tokens, c->width}, pooled_dims[] = {n, c->projection};
    int skip = params->clip_skip > 1 ? params->clip_skip - 1 : 0;
    *out = (encoded){NULL, NULL};
    sd_status status = sdi_tensor_new_raw(model->ctx, 3, dims, &out->hidden);
    if (!status && c->projection > 0)
        status = sdi_tensor_new_raw(model->ctx, 2, pooled_dims, &out->pooled);
    if (!status)
        status = encode_turns(model, encoder, ids, n, skip, out);
    if (!status)
        status = sdi_check_computed(model, "the text encoder", out->hidden);
    return status || !out->pooled ? status
                                  : sdi_check_computed(model, "the text encoder", out->pooled);
}

/* The text encoder's own, and those of the words that it learned besides. */
static int count_ids(const sd_encoder *encoder) {
    return encoder->config->vocab_size + (encoder->words ? encoder->words->n_rows : 0);
}

/* The first that is none of them; -1: all are. */
static int64_t find_odd_id(const sd_encoder *encoder, const int32_t *ids, int n_rows) {
    int64_t n = (int64_t)n_rows * encoder->config->tokens, i = 0;
    while (i < n && ids[i] >= 0 && ids[i] < count_ids(encoder))
        i++;
    return i < n ? i : -1;
}

/* ------------------------------------------------------------------------------- conditioning */

/* What the encoders made of the same tokens side by side, [n, tokens, all widths]. */
static sd_status join_hidden(const sd_model *model, const encoded *all, sd_tensor **out) {
    const int64_t *first = all[0].hidden->dims;
    const int64_t dims[] = {first[0], first[1], sdi_model_context_width(model)};
    int64_t at = 0;
    sd_status status = sdi_tensor_new_raw(model->ctx, 3, dims, out);
    for (int i = 0; i < model->n_encoders && !status; i++) {
        int64_t width = all[i].hidden->dims[2];
        for (int64_t k = 0; k < dims[0] * dims[1]; k++)
            memcpy((*out)->data + k * dims[2] + at, all[i].hidden->data + k * width,
                   (size_t)width * sizeof(float));
        at += width;
    }
    return status;
}

/* Of each text the first chunk's vector; NULL where no encoder makes one. */
static sd_status take_pooled(const sd_model *model, const encoded *all, int64_t n,
                             sd_tensor **out) {
    const sd_tensor *pooled = NULL;
    for (int i = 0; i < model->n_encoders; i++)
        pooled = all[i].pooled ? all[i].pooled : pooled;
    *out = NULL;
    if (!pooled)
        return SD_OK;
    int64_t width = pooled->dims[1], each = pooled->dims[0] / n * width;
    sd_status status = sdi_tensor_new_raw(model->ctx, 2, (const int64_t[]){n, width}, out);
    for (int64_t i = 0; i < n && !status; i++)
        memcpy((*out)->data + i * width, pooled->data + i * each, (size_t)width * sizeof(float));
    return status;
}

/* What a model is told of a picture: the last `n_negative` rows are negative prompts'. 0 is the
 * run's size. */
static sd_status make_sizes(const sd_model *model, const sd_text_params *p, int64_t n,
                            int64_t n_negative, sd_tensor **out) {
    int width = model->desc->unet.n_sizes;
    const int numbers[] = {p->original_height, p->original_width, p->crop_top,
                           p->crop_left,       p->target_height,  p->target_width};
    *out = NULL;
    if (width == 0)
        return SD_OK;
    sd_status status = sdi_tensor_new_raw(model->ctx, 2, (const int64_t[]){n, width}, out);
    for (int64_t i = 0; i < n && !status; i++) {
        float *row = (*out)->data + i * width;
        for (int k = 0; k < width; k++)
            row[k] = (float)numbers[k];
        if (width == SD_SIZES_REFINER)
            row[width - 1] =
                (float)(i < n - n_negative ? p->aesthetic_score : p->negative_aesthetic_score);
    }
    return status;
}

/* Conditioning of n texts, of what the encoders made of their chunks. */
static sd_status make_cond(const sd_model *model, const encoded *all, int64_t n_negative,
                           const sd_text_params *params, sd_cond **out) {
    sd_tensor *made[SD_COND_N_PARTS] = {NULL};
    sd_status status = join_hidden(model, all, &made[SD_COND_CONTEXT]);
    int64_t n = status ? 0 : made[SD_COND_CONTEXT]->dims[0];
    if (!status)
        status = take_pooled(model, all, n, &made[SD_COND_POOLED]);
    if (!status)
        status = make_sizes(model, params, n, n_negative, &made[SD_COND_SIZES]);
    if (!status)
        return sdi_cond_take(made, out);
    for (int i = 0; i < SD_COND_N_PARTS; i++)
        sdi_tensor_free(made[i]);
    return status;
}

sd_status sdi_stage_encode_tokens(const sd_model *model, const int32_t *const *ids, int n,
                                  const sd_text_params *params, sd_cond **out) {
    encoded all[SD_MAX_ENCODERS] = {{NULL, NULL}};
    sd_status status = SD_OK;
    *out = NULL;
    for (int i = 0; i < model->n_encoders; i++) {
        int64_t odd = find_odd_id(&model->encoders[i], ids[i], n);
        if (odd >= 0)
            return sdi_fail(model->ctx, SD_ERROR_ARGUMENT,
                            "sd_encode_tokens: ids[%d][%lld] is %d; 0 to %d was expected", i,
                            (long long)odd, (int)ids[i][odd], count_ids(&model->encoders[i]) - 1);
    }
    for (int i = 0; i < model->n_encoders && !status; i++)
        status = encode_rows(model, &model->encoders[i], ids[i], n, params, &all[i]);
    if (!status)
        status = make_cond(model, all, 0, params, out);
    encoded_free(all, model->n_encoders);
    return status;
}

/* ------------------------------------------------------------------------------------ prompts */

/* Says once of each word that no prompt of a call has it; a call without prompts says nothing. */
static void tell_unused(const sd_model *model, const sd_encoder *encoder, const sd_rows *rows) {
    int n = encoder->words ? encoder->words->n : 0;
    for (int i = 0; i < n && !rows->empty; i++) {
        sd_word *word = &encoder->words->at[i];
        if (!sdi_rows_have(rows, i) && !atomic_exchange(&word->told, true))
            sdi_log(
                model->ctx, SD_LOG_LEVEL_WARN,
                "%s: the prompt does not have the word \"%s\", so that this embedding is not used",
                word->path, word->name);
    }
}

/* A prompt's chunks lie side by side. */
static sd_status encode_prompts(const sd_model *model, const sd_encoder *encoder,
                                const sd_rows *rows, const sd_text_params *params, encoded *out) {
    int n = rows->n * rows->longest;
    int64_t odd = find_odd_id(encoder, rows->ids, n);
    if (odd >= 0)
        return sdi_fail(model->ctx, SD_ERROR_MODEL,
                        "token id %d is none of the text encoder's 0 to %d", (int)rows->ids[odd],
                        count_ids(encoder) - 1);
    sd_status status = encode_rows(model, encoder, rows->ids, n, params, out);
    if (status)
        return status;
    sdi_rows_weigh(rows, out->hidden->data, encoder->config->width);
    out->hidden->dims[0] = rows->n;
    out->hidden->dims[1] *= rows->longest;
    return sdi_expect_finite(out->hidden, "the prompt's embedding times its weights");
}

/* The texts as rows of each encoder's ids, as many chunks of each. */
static sd_status make_rows(const sd_model *model, const char *const *texts, int n,
                           const sd_text_params *params, sd_rows rows[SD_MAX_ENCODERS]) {
    sd_status status = SD_OK;
    int longest = 0;
    for (int i = 0; i < model->n_encoders && !status; i++) {
        const sd_encoder *encoder = &model->encoders[i];
        const sd_row_params how = {.tokenizer = encoder->tokenizer,
                                   .words = encoder->words,
                                   .pad = encoder->pad,
                                   .tokens = encoder->config->tokens,
                                   .weighted = params->weighted != 0,
                                   .quiet = i > 0};
        status = sdi_rows_split(&rows[i], model->ctx, &how, texts, n);
        longest = rows[i].longest > longest ? rows[i].longest : longest;
    }
    for (int i = 0; i < model->n_encoders && !status; i++)
        status = sdi_rows_join(&rows[i], model->ctx, longest);
    if (!status)
        tell_unused(model, &model->encoders[0], &rows[0]);
    return status;
}

/* Texts as they are to be read, a row of conditioning for each. */
static sd_status encode_each(const sd_model *model, const char *const *texts, int n, int n_negative,
                             const sd_text_params *params, sd_cond **out) {
    encoded all[SD_MAX_ENCODERS] = {{NULL, NULL}};
    sd_rows rows[SD_MAX_ENCODERS] = {{0}};
    sd_status status = make_rows(model, texts, n, params, rows);
    for (int i = 0; i < model->n_encoders && !status; i++)
        status = encode_prompts(model, &model->encoders[i], &rows[i], params, &all[i]);
    if (!status)
        status = make_cond(model, all, n_negative, params, out);
    encoded_free(all, model->n_encoders);
    for (int i = 0; i < model->n_encoders; i++)
        sdi_rows_free(&rows[i], model->ctx);
    return status;
}

/* What the programs of texts pick from is encoded together, and so has the same tokens. */
static sd_status encode_programs(const sd_model *model, sd_text_rows *rows,
                                 const sd_text_params *params, sd_cond **out) {
    sd_cond *stock = NULL;
    if (rows->n > SD_MAX_TEXTS)
        return sdi_fail(model->ctx, SD_ERROR_ARGUMENT,
                        "the prompts are %d different texts in the course of a run; at most %d "
                        "were expected",
                        rows->n, SD_MAX_TEXTS);
    sd_status status = encode_each(model, (const char *const *)rows->texts, rows->n,
                                   rows->n_negative, params, &stock);
    if (!status)
        status = sdi_cond_take_program(stock, rows->program, out);
    if (stock)
        rows->program = NULL; /* taken */
    sdi_cond_free(stock);
    return status;
}

/* Of the run that the texts are for. */
static int count_evaluations(const sd_model *model, const sd_text_params *params) {
    const sd_scheduler_config *c = &model->desc->scheduler;
    int steps = c->steps < model->schedule.n ? c->steps : model->schedule.n;
    return params->steps > 0 ? params->steps
                             : sdi_method_evaluations(sdi_method_find(c->method), steps);
}

sd_status sdi_stage_encode_text(const sd_model *model, const char *const *texts, int n,
                                int n_negative, const sd_text_params *params, sd_cond **out) {
    sd_context *ctx = model->ctx;
    char **cleaned = NULL;
    sd_text_rows rows = {0};
    *out = NULL;
    if (!sdi_model_has_vocabulary(model))
        return sdi_fail(ctx, SD_ERROR_IO, "%s", model->vocab_error);
    sd_status status = params->clean ? sdi_texts_clean(ctx, texts, n, &cleaned) : SD_OK;
    if (cleaned)
        texts = (const char *const *)cleaned;
    if (!status && params->weighted)
        status = sdi_text_rows(ctx, texts, n, n_negative, count_evaluations(model, params), &rows);
    if (!status)
        status = rows.program ? encode_programs(model, &rows, params, out)
                              : encode_each(model, texts, n, n_negative, params, out);
    sdi_text_rows_free(ctx, &rows);
    sdi_texts_free(ctx, cleaned, n);
    return status;
}

/* -------------------------------------------------------------------------------- classes */

static void hold_classes(sd_stage *s) {
    s->io[IDS] = sdi_exec_tensor_typed(s->e, SDB_I32, s->n, 1, 1, 1);
    s->io[EMBEDDINGS] =
        sdi_exec_tensor_typed(s->e, SDB_F32, s->n, 1, 1, s->model->desc->unet.context_dim);
}

static void encode_classes(sd_stage *s) {
    sdi_class_model_forward(s->e, sdi_model_classes(s->model), s->io[EMBEDDINGS], s->io[IDS]);
}

static const sd_stage_type class_stage = {SD_PART_CLASSES, hold_classes, encode_classes, NULL};

static sd_status look_up(const sd_model *model, const int32_t *classes, int n, float *embeddings) {
    sd_stage s = {.type = &class_stage, .model = model, .n = n};
    sd_status status = sdi_stage_begin(&s);
    if (status)
        return status;
    sdi_exec_upload(s.e, s.io[IDS], classes);
    sdi_stage_compute(&s);
    sdi_exec_download(s.e, embeddings, s.io[EMBEDDINGS]);
    return sdi_stage_end(&s);
}

sd_status sdi_stage_encode_class(const sd_model *model, const int32_t *classes, int n,
                                 sd_cond **out) {
    const sd_description *desc = model->desc;
    int64_t dims[] = {n, 1, desc->unet.context_dim};
    *out = NULL;
    sd_status status = sdi_need_conditioning(model, "sd_encode_class", SD_CONDITIONING_CLASS);
    if (status)
        return status;
    for (int i = 0; i < n; i++)
        if (classes[i] < 0 || classes[i] >= desc->classes.n)
            return sdi_fail(model->ctx, SD_ERROR_ARGUMENT,
                            "sd_encode_class: classes[%d] is %d; 0 to %d was expected", i,
                            (int)classes[i], desc->classes.n - 1);
    sd_tensor *embeddings;
    status = sdi_tensor_new_raw(model->ctx, 3, dims, &embeddings);
    if (status)
        return status;
    status = look_up(model, classes, n, embeddings->data);
    if (!status)
        status = sdi_check_computed(model, "the class embedder", embeddings);
    status = sdi_tensor_give(status, embeddings, &embeddings);
    sd_tensor *const made[SD_COND_N_PARTS] = {embeddings};
    return status ? status : sdi_cond_take(made, out);
}

/* The encoders go one after the other, on one executor. */
sd_status sdi_text_estimate(const sd_model *model, int n, sd_cost *cost) {
    sd_status status = SD_OK;
    *cost = (sd_cost){0};
    for (int i = 0; i < model->n_encoders && !status; i++) {
        sd_stage s = {.type = stage_of(&model->encoders[i]), .model = model, .n = n};
        sd_cost one = {0};
        status = sdi_stage_estimate(&s, &one);
        cost->flops += one.flops;
        if (one.bytes > cost->bytes)
            cost->bytes = one.bytes;
    }
    return status;
}

bool sdi_is_guided(const sd_model *model, const sd_sampler_params *p) {
    return p->guidance_scale != 1.0 && sdi_model_context_tokens(model) > 0 &&
           sdi_unet_guidance_dim(sdi_model_unet(model)) == 0;
}

/* The first `n` rows are the prompts', the one behind them, if any, the negative's. */
static sd_status part(sd_cond *all, int n, sd_cond **cond, sd_cond **uncond) {
    sd_status status = cond ? sdi_cond_cut(all, 0, n, cond) : SD_OK;
    if (!status && uncond)
        status = sdi_cond_cut(all, n, 1, uncond);
    sdi_cond_free(all);
    return status;
}

/* The texts of a run, the negative one last; free with sdi_free. */
static const char **gather(const sd_context *ctx, const char *prompt, const char *const *prompts,
                           int n, const char *negative) {
    const char **texts = sdi_alloc_array(ctx, (size_t)n + 1, sizeof *texts);
    for (int i = 0; texts && i <= n; i++) {
        const char *text = i == n ? negative : prompts ? prompts[i] : prompt;
        texts[i] = text ? text : "";
    }
    return texts;
}

/* Whether there is a text to encode: a negative prompt that nothing looks at is told of. An
 * unconditional model has none, and a prompt for it is a mistake. */
static sd_status check_texts(const sd_model *model, const char *const *texts, int n, bool *any) {
    int words = 0;
    for (int i = 0; i <= n; i++)
        words += *texts[i] != '\0';
    *any = model->desc->conditioning != SD_CONDITIONING_NONE || words > 0;
    if (*any && sdi_unet_guidance_dim(sdi_model_unet(model)) > 0 && *texts[n])
        sdi_log(
            model->ctx, SD_LOG_LEVEL_WARN,
            "the negative prompt has no effect: this UNet is told the guidance scale and has no "
            "unguided half");
    return *any ? sdi_need_conditioning(model, "a prompt", SD_CONDITIONING_TEXT) : SD_OK;
}

/* force_zeros_for_empty_prompt of diffusers: zeros in place of a negative prompt that nobody gave,
 * of as many tokens as the others'. */
static sd_status make_zeros(const sd_model *model, int64_t tokens, const sd_text_params *params,
                            sd_cond **out) {
    sd_tensor *made[SD_COND_N_PARTS] = {NULL};
    const int64_t dims[] = {1, tokens, sdi_model_context_width(model)};
    const int64_t pooled[] = {1, sdi_unet_pooled_width(model)};
    sd_status status = sdi_tensor_new(model->ctx, 3, dims, &made[SD_COND_CONTEXT]);
    if (!status)
        status = sdi_tensor_new(model->ctx, 2, pooled, &made[SD_COND_POOLED]);
    if (!status)
        status = make_sizes(model, params, 1, 1, &made[SD_COND_SIZES]);
    if (!status)
        return sdi_cond_take(made, out);
    for (int i = 0; i < SD_COND_N_PARTS; i++)
        sdi_tensor_free(made[i]);
    return status;
}

/* `n` prompts and, where `uncond` is not NULL, the negative one behind them. */
static sd_status encode_texts(const sd_model *model, const char *const *texts, int n,
                              const sd_text_params *text, sd_cond **cond, sd_cond **uncond) {
    sd_cond *all;
    int negative = uncond != NULL;
    if (n + negative == 0)
        return SD_OK;
    sd_status status = sdi_stage_encode_text(model, texts, n + negative, negative, text, &all);
    return status ? status : part(all, n, cond, uncond);
}

sd_status sdi_encode_prompts(const sd_model *model, const sd_prompts *p, const sd_text_params *text,
                             int batch, sd_cond **cond, sd_cond **uncond) {
    int n = !cond ? 0 : p->prompts ? batch : 1;
    bool any = false, zeros = uncond && !p->negative && model->desc->zeros_for_empty;
    const char **texts = gather(model->ctx, p->prompt, p->prompts, n, p->negative);
    if (!texts)
        return SD_ERROR_MEMORY;
    sd_status status = n > 0 || uncond ? check_texts(model, texts, n, &any) : SD_OK;
    if (!status && any)
        status = encode_texts(model, texts, n, text, cond, zeros ? NULL : uncond);
    sdi_free(model->ctx, texts);
    if (!status && any && zeros)
        status =
            make_zeros(model, cond ? sdi_cond_context(*cond)->dims[1] : p->tokens, text, uncond);
    return status;
}
