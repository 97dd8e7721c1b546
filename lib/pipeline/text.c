/* Prompts and classes to conditioning. */
#include "pipeline/text.h"
#include "core/expect.h"
#include "pipeline/stage.h"
#include "text/rows.h"

/* Longer lists are encoded in turns, so that the memory does not depend on their length. */
#define MAX_TURN 16

enum { IDS, EMBEDDINGS };

static const sd_text_config *config_of(const sd_stage *s) {
    return sdi_part_config(sdi_part_types[s->type->part], s->model->desc);
}

static void hold_text(sd_stage *s) {
    const sd_text_config *config = config_of(s);
    s->io[IDS] = sdi_exec_tensor_typed(s->e, SDB_I32, s->n, config->tokens, 1, 1);
    s->io[EMBEDDINGS] =
        sdi_exec_tensor_typed(s->e, SDB_F32, s->n, config->tokens, 1, config->width);
}

/* `options`: the last layers, which are left out. */
static void encode(sd_stage *s) {
    const sd_text_model *m = (const sd_text_model *)s->model->parts[s->type->part];
    sdi_text_model_forward(s->e, m, s->io[EMBEDDINGS], s->io[IDS], s->options);
}

static const sd_stage_type text_stage = {SD_PART_TEXT, hold_text, encode, NULL};

/* Rows of ids to rows of embeddings. */
static sd_status run(sd_stage *s, const int32_t *ids, float *embeddings) {
    sd_status status = sdi_stage_begin(s);
    if (status)
        return status;
    sdi_exec_upload(s->e, s->io[IDS], ids);
    sdi_stage_compute(s);
    sdi_exec_download(s->e, embeddings, s->io[EMBEDDINGS]);
    return sdi_stage_end(s);
}

static sd_status encode_turns(const sd_model *model, const sd_encoder *encoder, const int32_t *ids,
                              int n, int skip, float *out) {
    size_t tokens = (size_t)encoder->config->tokens;
    size_t row = tokens * (size_t)encoder->config->width;
    sd_status status = SD_OK;
    for (int i = 0; i < n && !status; i += MAX_TURN) {
        int turn = n - i < MAX_TURN ? n - i : MAX_TURN;
        sd_stage s = {.type = &text_stage, .model = model, .n = turn, .options = skip};
        status = sdi_check_interrupt(model->ctx);
        if (!status)
            status = run(&s, ids + (size_t)i * tokens, out + (size_t)i * row);
    }
    return status;
}

/* [n, tokens] ids, each of which has a row. The last layers are left out where that is wanted. */
static sd_status encode_rows(const sd_model *model, const sd_encoder *encoder, const int32_t *ids,
                             int n, const sd_text_params *params, sd_tensor **out) {
    const int64_t dims[] = {n, encoder->config->tokens, encoder->config->width};
    int skip = params->clip_skip > 1 ? params->clip_skip - 1 : 0;
    sd_tensor *embeddings;
    *out = NULL;
    sd_status status = sdi_tensor_new_raw(model->ctx, 3, dims, &embeddings);
    if (status)
        return status;
    status = encode_turns(model, encoder, ids, n, skip, embeddings->data);
    if (!status)
        status = sdi_check_computed(model, "the text encoder", embeddings);
    return sdi_tensor_give(status, embeddings, out);
}

/* The text encoder's own, and those of the words that it learned besides. */
static int count_ids(const sd_encoder *encoder) {
    return encoder->config->vocab_size + encoder->words.n_rows;
}

/* The first that is none of them; -1: all are. */
static int64_t find_odd_id(const sd_encoder *encoder, const int32_t *ids, int n_rows) {
    int64_t n = (int64_t)n_rows * encoder->config->tokens, i = 0;
    while (i < n && ids[i] >= 0 && ids[i] < count_ids(encoder))
        i++;
    return i < n ? i : -1;
}

sd_status sdi_stage_encode_tokens(const sd_model *model, const int32_t *const *ids, int n,
                                  const sd_text_params *params, sd_cond **out) {
    sd_tensor *embeddings;
    *out = NULL;
    for (int i = 0; i < model->n_encoders; i++) {
        int64_t odd = find_odd_id(&model->encoders[i], ids[i], n);
        if (odd >= 0)
            return sdi_fail(model->ctx, SD_ERROR_ARGUMENT,
                            "sd_encode_tokens: ids[%d][%lld] is %d; 0 to %d was expected", i,
                            (long long)odd, (int)ids[i][odd], count_ids(&model->encoders[i]) - 1);
    }
    sd_status status = encode_rows(model, &model->encoders[0], ids[0], n, params, &embeddings);
    return status ? status : sdi_cond_take(embeddings, out);
}

/* ------------------------------------------------------------------------------------ prompts */

/* Says once of each word that no prompt of a call has it; a call without prompts says nothing. */
static void tell_unused(const sd_model *model, const sd_encoder *encoder, const sd_rows *rows) {
    for (int i = 0; i < encoder->words.n && !rows->empty; i++) {
        sd_word *word = &encoder->words.at[i];
        if (!(rows->words >> i & 1) && !atomic_exchange(&word->told, true))
            sdi_log(
                model->ctx, SD_LOG_LEVEL_WARN,
                "%s: the prompt does not have the word \"%s\", so that this embedding is not used",
                word->path, word->name);
    }
}

/* A prompt's chunks lie side by side. */
static sd_status encode_prompts(const sd_model *model, const sd_encoder *encoder,
                                const sd_rows *rows, const sd_text_params *params,
                                sd_tensor **out) {
    int n = rows->n * rows->longest;
    int64_t odd = find_odd_id(encoder, rows->ids, n);
    sd_tensor *embeddings;
    *out = NULL;
    if (odd >= 0)
        return sdi_fail(model->ctx, SD_ERROR_MODEL,
                        "token id %d is none of the text encoder's 0 to %d", (int)rows->ids[odd],
                        count_ids(encoder) - 1);
    sd_status status = encode_rows(model, encoder, rows->ids, n, params, &embeddings);
    if (status)
        return status;
    sdi_rows_weigh(rows, embeddings->data, encoder->config->width);
    embeddings->dims[0] = rows->n;
    embeddings->dims[1] *= rows->longest;
    status = sdi_expect_finite(embeddings, "the prompt's embedding times its weights");
    return sdi_tensor_give(status, embeddings, out);
}

sd_status sdi_stage_encode_text(const sd_model *model, const char *const *texts, int n,
                                const sd_text_params *params, sd_cond **out) {
    const sd_encoder *encoder = &model->encoders[0];
    const sd_row_params how = {.tokenizer = encoder->tokenizer,
                               .words = &encoder->words,
                               .pad = encoder->pad,
                               .tokens = encoder->config->tokens,
                               .clean = params->clean != 0,
                               .weighted = params->weighted != 0};
    sd_tensor *embeddings;
    sd_rows rows;
    *out = NULL;
    if (!encoder->tokenizer)
        return sdi_fail(model->ctx, SD_ERROR_IO, "%s", model->vocab_error);
    sd_status status = sdi_rows_make(&rows, model->ctx, &how, texts, n);
    if (!status) {
        tell_unused(model, encoder, &rows);
        status = encode_prompts(model, encoder, &rows, params, &embeddings);
    }
    sdi_rows_free(&rows, model->ctx);
    return status ? status : sdi_cond_take(embeddings, out);
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
    sd_stage s = {.type = &class_stage, .model = model, .n = n};
    status = run(&s, classes, embeddings->data);
    if (!status)
        status = sdi_check_computed(model, "the class embedder", embeddings);
    status = sdi_tensor_give(status, embeddings, &embeddings);
    return status ? status : sdi_cond_take(embeddings, out);
}

/* The encoders go one after the other, on one executor. */
sd_status sdi_text_estimate(const sd_model *model, int n, sd_cost *cost) {
    sd_status status = SD_OK;
    *cost = (sd_cost){0};
    for (int i = 0; i < model->n_encoders && !status; i++) {
        sd_stage s = {.type = &text_stage, .model = model, .n = n};
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

sd_status sdi_encode_prompts(const sd_model *model, const char *prompt, const char *const *prompts,
                             const char *negative, const sd_text_params *text,
                             const sd_sampler_params *sampling, sd_cond **cond, sd_cond **uncond) {
    int n = !cond ? 0 : prompts ? sampling->batch : 1, total = uncond ? n + 1 : n;
    sd_cond *all;
    bool any = false;
    const char **texts = gather(model->ctx, prompt, prompts, n, negative);
    if (!texts)
        return SD_ERROR_MEMORY;
    sd_status status = total > 0 ? check_texts(model, texts, n, &any) : SD_OK;
    if (!status && any)
        status = sdi_stage_encode_text(model, texts, total, text, &all);
    sdi_free(model->ctx, texts);
    return status || !any ? status : part(all, n, cond, uncond);
}
