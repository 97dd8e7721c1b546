/* Prompts to embeddings: rows of the text encoder's length, encoded and then weighted. */
#include "pipeline/text.h"
#include "core/expect.h"
#include "pipeline/stage.h"
#include "text/clean.h"
#include "text/odd_words.h"
#include "text/prompt.h"

#include <math.h>
#include <string.h>

/* Longer lists are encoded in turns, so that the memory does not depend on their length. */
#define MAX_TURN 16

enum { IDS, EMBEDDINGS };

static void hold_text(sd_stage *s) {
    const sd_text_config *config = &s->model->desc->text;
    s->io[IDS] = sd_exec_tensor_typed(s->e, SDB_I32, s->n, config->tokens, 1, 1);
    s->io[EMBEDDINGS] = sd_exec_tensor_typed(s->e, SDB_F32, s->n, config->tokens, 1, config->width);
}

/* `options`: the last layers, which are left out. */
static void encode(sd_stage *s) {
    sd_text_model_forward(s->e, sd_model_text(s->model), s->io[EMBEDDINGS], s->io[IDS], s->options);
}

static const sd_stage_type text_stage = {SD_PART_TEXT, hold_text, encode, NULL};

/* Rows of ids to rows of embeddings. */
static sd_status run(sd_stage *s, const int32_t *ids, float *embeddings) {
    sd_status status = sd_stage_begin(s);
    if (status)
        return status;
    sd_exec_upload(s->e, s->io[IDS], ids);
    sd_stage_compute(s);
    sd_exec_download(s->e, embeddings, s->io[EMBEDDINGS]);
    return sd_stage_end(s);
}

static sd_status encode_turns(sd_model *model, const int32_t *ids, int n, int skip, float *out) {
    size_t tokens = (size_t)model->desc->text.tokens;
    size_t row = tokens * (size_t)model->desc->text.width;
    sd_status status = SD_OK;
    for (int i = 0; i < n && !status; i += MAX_TURN) {
        int turn = n - i < MAX_TURN ? n - i : MAX_TURN;
        sd_stage s = {.type = &text_stage, .model = model, .n = turn, .options = skip};
        status = sd_check_interrupt(model->ctx);
        if (!status)
            status = run(&s, ids + (size_t)i * tokens, out + (size_t)i * row);
    }
    return status;
}

static sd_status encode_rows(sd_model *model, const int32_t *ids, int n, int skip,
                             sd_tensor **out) {
    const sd_text_config *config = &model->desc->text;
    int64_t dims[] = {n, config->tokens, config->width};
    *out = NULL;
    int n_ids = config->vocab_size + model->words.n_rows;
    for (int64_t i = 0; i < (int64_t)n * config->tokens; i++)
        if (ids[i] < 0 || ids[i] >= n_ids)
            return sd_fail(model->ctx, SD_ERROR_MODEL,
                           "token id %d is none of the text encoder's 0 to %d", (int)ids[i],
                           n_ids - 1);
    sd_tensor *embeddings;
    sd_status status = sd_tensor_create_raw(model->ctx, 3, dims, &embeddings);
    if (status)
        return status;
    status = encode_turns(model, ids, n, skip, embeddings->data);
    if (!status)
        status = sd_check_computed(model, "the text encoder", embeddings);
    return sd_tensor_give(status, embeddings, out);
}

/* Layers that are left out at the end. */
static int skipped_layers(const sd_text_params *params) {
    return params->clip_skip > 1 ? params->clip_skip - 1 : 0;
}

sd_status sd_stage_encode_tokens(sd_model *model, const int32_t *ids, int n,
                                 const sd_text_params *params, sd_cond **out) {
    sd_tensor *embeddings;
    *out = NULL;
    sd_status status = encode_rows(model, ids, n, skipped_layers(params), &embeddings);
    return status ? status : sd_cond_take(embeddings, out);
}

/* ------------------------------------------------------------------------------------ prompts */

/* The chunks of some texts, then those of the empty prompt, which fill up the shorter ones. */
typedef struct text_rows {
    const char *const *texts;
    char **cleaned;    /* [n], what `texts` is then; or NULL */
    sd_chunks *chunks; /* [n + 1] */
    int n, longest;
    int32_t *ids; /* [n, longest, tokens] */
} text_rows;

static sd_status clean_texts(sd_model *model, text_rows *rows) {
    sd_status status = SD_OK;
    rows->cleaned = sd_alloc_array(model->ctx, (size_t)rows->n, sizeof *rows->cleaned);
    if (!rows->cleaned)
        return SD_ERROR_MEMORY;
    for (int i = 0; i < rows->n && !status; i++)
        status = sd_text_clean(model->ctx, rows->texts[i], &rows->cleaned[i]);
    rows->texts = (const char *const *)rows->cleaned;
    return status;
}

/* Says once of each word that no prompt of a call has it; a call without prompts says nothing. */
static void tell_unused(sd_model *model, const text_rows *rows) {
    uint64_t used = 0;
    bool any = false;
    for (int i = 0; i < rows->n; i++) {
        used |= rows->chunks[i].words;
        any |= rows->texts[i][0] != '\0';
    }
    for (int i = 0; i < model->words.n && any; i++) {
        uint64_t bit = (uint64_t)1 << i;
        if (!(used & bit) && !(atomic_fetch_or(&model->unused, bit) & bit))
            sd_log(
                model->ctx, SD_LOG_LEVEL_WARN,
                "%s: the prompt does not have the word \"%s\", so that this embedding is not used",
                model->words.at[i].path, model->words.at[i].name);
    }
}

static sd_status split_texts(sd_model *model, bool weighted, text_rows *rows) {
    const sd_text_config *config = &model->desc->text;
    sd_odd_words odd = {0};
    rows->chunks = sd_alloc_array(model->ctx, (size_t)rows->n + 1, sizeof *rows->chunks);
    if (!rows->chunks)
        return SD_ERROR_MEMORY;
    for (int i = 0; i <= rows->n; i++) {
        sd_chunks *chunks = &rows->chunks[i];
        int n_used;
        sd_status status =
            sd_prompt_chunks(model->tokenizer, &model->words, i < rows->n ? rows->texts[i] : "",
                             weighted, config->tokens, model->pad, chunks, &n_used);
        if (status)
            return status;
        if (!weighted && n_used > config->tokens)
            sd_log(model->ctx, SD_LOG_LEVEL_WARN, "the prompt has %d tokens; it was cut to %d",
                   n_used, config->tokens);
        rows->longest = chunks->n > rows->longest ? chunks->n : rows->longest;
        if (i < rows->n)
            sd_odd_words_find(&odd, rows->texts[i], weighted);
    }
    sd_odd_words_log(&odd, model->ctx);
    tell_unused(model, rows);
    return SD_OK;
}

static sd_status join_rows(sd_model *model, text_rows *rows) {
    size_t tokens = (size_t)model->desc->text.tokens;
    rows->ids = sd_alloc_array(model->ctx, (size_t)rows->n * (size_t)rows->longest * tokens,
                               sizeof *rows->ids);
    if (!rows->ids)
        return SD_ERROR_MEMORY;
    int32_t *to = rows->ids;
    for (int i = 0; i < rows->n; i++)
        for (int k = 0; k < rows->longest; k++, to += tokens) {
            const sd_chunks *c = &rows->chunks[i];
            const int32_t *from =
                k < c->n ? c->ids + (size_t)k * tokens : rows->chunks[rows->n].ids;
            memcpy(to, from, tokens * sizeof *to);
        }
    return SD_OK;
}

/* y [tokens, width] times its tokens' weights; then its mean is what it was. */
static void weigh(float *y, const float *weights, int tokens, int width) {
    double before = 0, after = 0;
    for (int i = 0; i < tokens; i++)
        for (int j = 0; j < width; j++) {
            float *v = &y[(size_t)i * (size_t)width + (size_t)j];
            before += (double)*v;
            *v *= weights[i];
            after += (double)*v;
        }
    float ratio = (float)(before / after);
    for (size_t i = 0; i < (size_t)tokens * (size_t)width && isfinite(ratio); i++)
        y[i] *= ratio;
}

static void weigh_rows(const text_rows *rows, sd_tensor *embeddings) {
    int tokens = (int)embeddings->dims[1], width = (int)embeddings->dims[2];
    size_t each = (size_t)tokens * (size_t)width;
    for (int i = 0; i < rows->n; i++) {
        const sd_chunks *c = &rows->chunks[i];
        float *y = embeddings->data + (size_t)i * (size_t)rows->longest * each;
        for (int k = 0; k < c->n && c->weighted; k++)
            weigh(y + (size_t)k * each, c->weights + (size_t)k * (size_t)tokens, tokens, width);
    }
}

static void free_rows(sd_model *model, text_rows *rows) {
    for (int i = 0; i <= rows->n && rows->chunks; i++)
        sd_chunks_free(model->ctx, &rows->chunks[i]);
    for (int i = 0; i < rows->n && rows->cleaned; i++)
        sd_free(model->ctx, rows->cleaned[i]);
    sd_free(model->ctx, rows->cleaned);
    sd_free(model->ctx, rows->chunks);
    sd_free(model->ctx, rows->ids);
}

sd_status sd_stage_encode_text(sd_model *model, const char *const *texts, int n,
                               const sd_text_params *params, sd_cond **out) {
    text_rows rows = {.texts = texts, .n = n};
    sd_tensor *embeddings = NULL;
    *out = NULL;
    if (!model->tokenizer)
        return sd_fail(model->ctx, SD_ERROR_IO, "%s", model->vocab_error);
    sd_status status = params->clean ? clean_texts(model, &rows) : SD_OK;
    if (!status)
        status = split_texts(model, params->weighted != 0, &rows);
    if (!status)
        status = join_rows(model, &rows);
    if (!status)
        status =
            encode_rows(model, rows.ids, n * rows.longest, skipped_layers(params), &embeddings);
    if (!status) { /* a prompt's chunks lie side by side */
        weigh_rows(&rows, embeddings);
        embeddings->dims[0] = n;
        embeddings->dims[1] *= rows.longest;
        status = sd_expect_finite(embeddings, "the prompt's embedding times its weights");
    }
    free_rows(model, &rows);
    if (!status)
        return sd_cond_take(embeddings, out);
    sd_tensor_destroy(embeddings);
    return status;
}

/* -------------------------------------------------------------------------------- classes */

static void hold_classes(sd_stage *s) {
    s->io[IDS] = sd_exec_tensor_typed(s->e, SDB_I32, s->n, 1, 1, 1);
    s->io[EMBEDDINGS] =
        sd_exec_tensor_typed(s->e, SDB_F32, s->n, 1, 1, s->model->desc->unet.context_dim);
}

static void encode_classes(sd_stage *s) {
    sd_class_model_forward(s->e, sd_model_classes(s->model), s->io[EMBEDDINGS], s->io[IDS]);
}

static const sd_stage_type class_stage = {SD_PART_CLASSES, hold_classes, encode_classes, NULL};

sd_status sd_stage_encode_class(sd_model *model, const int32_t *classes, int n, sd_cond **out) {
    const sd_description *desc = model->desc;
    int64_t dims[] = {n, 1, desc->unet.context_dim};
    *out = NULL;
    sd_status status = sd_need_conditioning(model, "sd_encode_class", SD_CONDITIONING_CLASS);
    for (int i = 0; i < n && !status; i++)
        if (classes[i] < 0 || classes[i] >= desc->classes.n)
            status = sd_fail(model->ctx, SD_ERROR_ARGUMENT,
                             "sd_encode_class: classes[%d] is %d; 0 to %d was expected", i,
                             (int)classes[i], desc->classes.n - 1);
    sd_tensor *embeddings;
    if (!status)
        status = sd_tensor_create(model->ctx, 3, dims, &embeddings);
    if (status)
        return status;
    sd_stage s = {.type = &class_stage, .model = model, .n = n};
    status = run(&s, classes, embeddings->data);
    if (!status)
        status = sd_check_computed(model, "the class embedder", embeddings);
    if (!status)
        return sd_cond_take(embeddings, out);
    sd_tensor_destroy(embeddings);
    return status;
}

sd_status sd_text_estimate(sd_model *model, int n, sd_cost *cost) {
    if (!sd_model_text(model)) {
        *cost = (sd_cost){0};
        return SD_OK;
    }
    sd_stage s = {.type = &text_stage, .model = model, .n = n};
    return sd_stage_estimate(&s, cost);
}

bool sd_is_guided(const sd_model *model, const sd_sampler_params *p) {
    return p->guidance_scale != 1.0f && sd_model_context_tokens(model) > 0 &&
           sd_unet_guidance_dim(sd_model_unet(model)) == 0;
}

/* The first `n` rows are the prompts', the one behind them, if any, the negative's. */
static sd_status part(sd_cond *all, int n, bool guided, sd_cond **cond, sd_cond **uncond) {
    sd_status status = sd_cond_cut(all, 0, n, cond);
    if (!status && guided)
        status = sd_cond_cut(all, n, 1, uncond);
    sd_cond_destroy(all);
    if (status) {
        sd_cond_destroy(*cond);
        *cond = NULL;
    }
    return status;
}

/* All texts of a run, the negative one last; free with sd_free. */
static const char **gather(const sd_context *ctx, const char *prompt, const char *const *prompts,
                           int n, const char *negative) {
    const char **texts = sd_alloc_array(ctx, (size_t)n + 1, sizeof *texts);
    for (int i = 0; texts && i <= n; i++) {
        const char *text = i == n ? negative : prompts ? prompts[i] : prompt;
        texts[i] = text ? text : "";
    }
    return texts;
}

sd_status sd_encode_prompts(sd_model *model, const char *prompt, const char *const *prompts,
                            const char *negative, const sd_text_params *text,
                            const sd_sampler_params *sampling, sd_cond **cond, sd_cond **uncond) {
    int n = prompts ? sampling->batch : 1, words = 0;
    bool guided = sd_is_guided(model, sampling);
    sd_cond *all;
    *cond = *uncond = NULL;
    const char **texts = gather(model->ctx, prompt, prompts, n, negative);
    if (!texts)
        return SD_ERROR_MEMORY;
    for (int i = 0; i <= n; i++)
        words += *texts[i] != '\0';
    /* an unconditional model has nothing to encode, and a prompt for it is a mistake */
    bool none = model->desc->conditioning == SD_CONDITIONING_NONE && !words;
    sd_status status = none ? SD_OK : sd_need_conditioning(model, "a prompt", SD_CONDITIONING_TEXT);
    if (!status && !none && sd_unet_guidance_dim(sd_model_unet(model)) > 0 && *texts[n])
        sd_log(model->ctx, SD_LOG_LEVEL_WARN,
               "the negative prompt has no effect: this UNet is told the guidance scale and has no "
               "unguided half");
    if (!status && !none)
        status = sd_stage_encode_text(model, texts, guided ? n + 1 : n, text, &all);
    sd_free(model->ctx, texts);
    if (status || none)
        return status;
    return part(all, n, guided, cond, uncond);
}
