/* The memory that a run takes, and where its time goes: profile.h. */
#include "backend/profile.h"

#include "api/check.h"
#include "backend/device.h"
#include "core/cond.h"
#include "pipeline/estimate.h"

/* The run that is asked about, with defaults filled in. */
typedef struct question {
    sd_sampler_params sampling;
    sd_original_params original;
    sd_vae_params vae;
    int tokens, terms;
} question;

static sd_status read_question(const sd_model *model, const sd_estimate_params *params,
                               question *q) {
    const sd_context *ctx = model->ctx;
    sd_estimate_params p = SD_ESTIMATE_PARAMS_INIT;
    sd_status status;
    if ((status = sdi_read_params(ctx, "sd_estimate_params", &p, sizeof p, params)) ||
        (status = sdi_read_sampling(model, p.sampling, &q->sampling, &q->original)) ||
        (status = sdi_read_vae(ctx, p.vae, false, &q->vae)))
        return status;
    SD_REQUIRE(ctx, p.combined >= 0 && p.combined <= SD_COND_MAX_TERMS,
               "sd_estimate_params.combined is %d; 0 to %d was expected", (int)p.combined,
               SD_COND_MAX_TERMS);
    q->terms = p.combined > 0 ? p.combined : 1;
    SD_REQUIRE(ctx, p.text_tokens >= 0 && p.text_tokens <= SD_COND_MAX_TOKENS,
               "sd_estimate_params.text_tokens is %d; 0 to %d was expected", (int)p.text_tokens,
               SD_COND_MAX_TOKENS);
    bool text = model->desc->conditioning == SD_CONDITIONING_TEXT && p.text_tokens > 0;
    q->tokens = text ? p.text_tokens : sdi_model_context_tokens(model);
    sdi_fill_default_sides(model, &q->sampling);
    return SD_OK;
}

SD_PUBLIC(sd_memory_estimate, (model, params, memory), (model), const sd_model *model,
          const sd_estimate_params *params, sd_memory_info *memory) {
    SD_REQUIRE_PTR(NULL, model);
    SD_REQUIRE_PTR(model->ctx, memory);
    sd_memory_info full = SD_MEMORY_INFO_INIT;
    question q;
    sd_status status = read_question(model, params, &q);
    if (!status)
        status = sdi_pipeline_memory(model, &q.sampling, q.tokens, q.terms, &q.vae, &full);
    return status ? status
                  : sdi_write_struct(model->ctx, "sd_memory_info", memory, &full, sizeof full);
}

SD_PUBLIC(sd_work_estimate, (model, params, work), (model), const sd_model *model,
          const sd_estimate_params *params, sd_work_info *work) {
    SD_REQUIRE_PTR(NULL, model);
    SD_REQUIRE_PTR(model->ctx, work);
    sd_work_info full = SD_WORK_INFO_INIT;
    question q;
    sd_status status = read_question(model, params, &q);
    if (!status)
        status = sdi_pipeline_work(model, &q.sampling, q.tokens, q.terms, &full);
    return status ? status : sdi_write_struct(model->ctx, "sd_work_info", work, &full, sizeof full);
}

SD_PUBLIC(sd_profile_begin, (ctx), (ctx), sd_context *ctx) {
    SD_REQUIRE_PTR(NULL, ctx);
    return sdi_profiler_begin(ctx);
}

SD_PUBLIC(sd_profile_end, (ctx), (ctx), sd_context *ctx) {
    SD_REQUIRE_PTR(NULL, ctx);
    return sdi_profiler_end(ctx);
}

SD_PUBLIC(sd_profile_get, (ctx, index, row), (ctx), sd_context *ctx, int32_t index,
          sd_profile_row *row) {
    SD_REQUIRE_PTR(NULL, ctx);
    SD_REQUIRE_PTR(ctx, row);
    sd_profile_row full = SD_PROFILE_ROW_INIT;
    SD_REQUIRE(ctx, index >= 0 && sdi_profiler_row(ctx, index, &full),
               "sd_profile_get: the profile has no row %d", index);
    return sdi_write_struct(ctx, "sd_profile_row", row, &full, sizeof full);
}

SD_PUBLIC(sd_context_device_memory, (ctx, memory), (ctx), sd_context *ctx,
          sd_device_memory_info *memory) {
    SD_REQUIRE_PTR(NULL, ctx);
    SD_REQUIRE_PTR(ctx, memory);
    const struct sd_device_slot *slot = ctx->device;
    sd_device_memory_info full = SD_DEVICE_MEMORY_INFO_INIT;
    full.total = slot->info.memory_total;
    if (slot->api->memory_used)
        slot->api->memory_used(slot->dev, &full.used, &full.peak);
    return sdi_write_struct(ctx, "sd_device_memory_info", memory, &full, sizeof full);
}
