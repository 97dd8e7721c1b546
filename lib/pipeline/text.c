#include "pipeline/stage.h"

#include <string.h>

/* Longer lists are encoded in turns, so that the memory does not depend on their length. */
#define MAX_TURN 16

typedef struct text_job {
    const sd_model *model;
    const int32_t *ids;
    float *out;
    int n;
} text_job;

static void encode(sd_exec *e, void *arg) {
    const text_job *job = arg;
    const sd_text_config *config = &job->model->source->text;
    int tokens = config->tokens;
    for (int i = 0; i < job->n; i += MAX_TURN) {
        int n = job->n - i < MAX_TURN ? job->n - i : MAX_TURN;
        size_t mark = sd_exec_mark(e);
        sdb_tensor ids = sd_exec_tensor_typed(e, SDB_I32, n, tokens, 1, 1);
        sdb_tensor y = sd_exec_tensor_typed(e, SDB_F32, n, tokens, 1, config->width);
        if (!e->measuring)
            sd_exec_upload(e, ids, job->ids + (size_t)i * (size_t)tokens);
        sd_text_model_forward(e, job->model->text, y, ids);
        if (!e->measuring)
            sd_exec_download(e, job->out + (size_t)i * (size_t)tokens * (size_t)config->width, y);
        sd_exec_release(e, mark);
    }
}

sd_status sd_stage_encode_tokens(sd_model *model, const int32_t *ids, int n, sd_tensor **out) {
    const sd_text_config *config = &model->source->text;
    int64_t dims[] = {n, config->tokens, config->width};
    *out = NULL;
    for (int64_t i = 0; i < (int64_t)n * config->tokens; i++)
        if (ids[i] < 0 || ids[i] >= config->vocab_size)
            return sd_fail(model->ctx, SD_ERROR_MODEL,
                           "token id %d is none of the text encoder's 0 to %d", (int)ids[i],
                           config->vocab_size - 1);
    sd_tensor *embeddings;
    sd_status status = sd_tensor_create(model->ctx, 3, dims, &embeddings);
    if (status)
        return status;
    text_job job = {.model = model, .ids = ids, .out = embeddings->data, .n = n};
    status = sd_execs_run(model, encode, &job);
    if (status)
        sd_tensor_destroy(embeddings);
    else
        *out = embeddings;
    return status;
}

sd_status sd_stage_encode_text(sd_model *model, const char *const *texts, int n, sd_tensor **out) {
    const sd_text_config *config = &model->source->text;
    *out = NULL;
    if (!model->tokenizer)
        return sd_fail(model->ctx, SD_ERROR_IO, "%s", model->vocab_error);
    int32_t *ids = sd_alloc_array(model->ctx, (size_t)n * (size_t)config->tokens, sizeof *ids);
    if (!ids)
        return SD_ERROR_MEMORY;
    sd_status status = SD_OK;
    for (int i = 0; i < n && !status; i++) {
        int n_used;
        status = sd_tokenizer_encode(model->tokenizer, texts[i], config->pad,
                                     ids + (size_t)i * (size_t)config->tokens, config->tokens,
                                     &n_used);
        if (!status && n_used > config->tokens)
            sd_log(model->ctx, SD_LOG_WARN, "the prompt has %d tokens; it was cut to %d", n_used,
                   config->tokens);
    }
    if (!status)
        status = sd_stage_encode_tokens(model, ids, n, out);
    sd_free(model->ctx, ids);
    return status;
}

sd_status sd_text_estimate(sd_model *model, int n, sd_cost *cost) {
    text_job job = {.model = model, .n = n};
    return sd_execs_estimate(model, encode, &job, cost);
}

/* Row i of embeddings [n, tokens, width] as a tensor of its own. */
static sd_status copy_row(const sd_tensor *embeddings, int i, sd_tensor **out) {
    int64_t dims[] = {1, embeddings->dims[1], embeddings->dims[2]};
    sd_status status = sd_tensor_create(embeddings->ctx, 3, dims, out);
    if (!status)
        memcpy((*out)->data, embeddings->data + i * (*out)->n_elements,
               (size_t)(*out)->n_elements * sizeof(float));
    return status;
}

sd_status sd_encode_prompts(sd_model *model, const char *prompt, const char *negative,
                            float guidance_scale, sd_tensor **cond, sd_tensor **uncond) {
    const char *texts[] = {prompt ? prompt : "", negative ? negative : ""};
    *cond = *uncond = NULL;
    if (guidance_scale == 1.0f)
        return sd_stage_encode_text(model, texts, 1, cond);
    sd_tensor *both;
    sd_status status = sd_stage_encode_text(model, texts, 2, &both);
    if (status)
        return status;
    status = copy_row(both, 0, cond);
    if (!status)
        status = copy_row(both, 1, uncond);
    sd_tensor_destroy(both);
    if (status) {
        sd_tensor_destroy(*cond);
        *cond = NULL;
    }
    return status;
}
