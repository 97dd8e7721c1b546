/* What an adapter is: kinds and ranks by its tensors, and the metadata that training programs
 * write. */
#include "model/adapter_info.h"

#include "io/json.h"
#include "model/delta.h"

#include <math.h>
#include <string.h>

/* Of each the first that is there: ModelSpec's, kohya's scripts', PEFT's config. */
static const char *const titles[] = {"modelspec.title", "ss_output_name", NULL};
static const char *const bases[] = {"ss_sd_model_name", "base_model_name_or_path",
                                    "modelspec.architecture", "ss_base_model_version", NULL};
static const char *const triggers[] = {"modelspec.trigger_phrase", "trigger_words", "trigger_word",
                                       "instance_prompt", NULL};

static const char *said(const sd_adapter *a, const char *const *keys) {
    for (; *keys; keys++) {
        const char *text = sdi_weights_metadata(a->weights, *keys);
        if (!text)
            text = json_string_value(json_object_get(a->config.root, *keys));
        if (text && *text)
            return text;
    }
    return NULL;
}

/* Kinds as they are told, by which of them an adapter has: bit by bit, LoRA, LoHa, LoKr, full
 * differences; and with DoRA. */
static const char *kind_name(const char *first, bool several, bool dora) {
    static const struct {
        const char *kind, *with_dora;
    } rows[] = {{"LoRA", "LoRA + DoRA"},
                {"LoHa", "LoHa + DoRA"},
                {"LoKr", "LoKr + DoRA"},
                {"full difference", "full difference + DoRA"}};
    if (several)
        return dora ? "several kinds + DoRA" : "several kinds";
    for (size_t i = 0; i < SD_COUNT(rows); i++)
        if (strcmp(rows[i].kind, first) == 0)
            return dora ? rows[i].with_dora : rows[i].kind;
    return first;
}

/* Norms and biases go along with whatever else there is. */
static const char *kind_of(const sd_adapter *a) {
    const char *first = NULL;
    bool several = false, dora = false;
    for (int i = 0; i < a->n_modules; i++) {
        const sd_adapter_module *m = &a->modules[i];
        const sd_delta_kind *kind = m->tensors[SD_W_NORM] ? NULL : sdi_delta_kind(m, false);
        several = several || (kind && first && kind->name != first);
        first = kind ? kind->name : first;
        dora = dora || m->tensors[SD_DORA_SCALE] || m->tensors[SD_MAGNITUDE];
    }
    return kind_name(first ? first : "full difference", several, dora);
}

static void count_module(const sd_adapter *a, const sd_adapter_module *m, sd_adapter_info *info) {
    int rank = sdi_delta_rank(m);
    double alpha = isnan(m->alpha) ? sdi_adapter_config_alpha(&a->config, m) : m->alpha;
    bool first = info->max_rank == 0 && rank > 0;
    info->n_unet += (m->nets & SD_NET_UNET) != 0;
    info->n_text += m->nets == SD_NET_TEXT;
    info->n_text_2 += m->nets == SD_NET_TEXT_2;
    if (first && !isnan(alpha))
        info->alpha = alpha;
    if (first || (rank && rank < info->min_rank))
        info->min_rank = rank;
    info->max_rank = rank > info->max_rank ? rank : info->max_rank;
}

static void tell_words(const sd_adapter *a, sd_adapter_info *info) {
    const sd_entry *e = sdi_weights_find(a->weights, "emb_params");
    if (!e)
        e = sdi_weights_at(a->weights, 0);
    int64_t width = e && e->n_dims > 0 ? e->dims[e->n_dims - 1] : 0;
    info->kind = "textual inversion";
    info->family = sdi_weights_find(a->weights, "clip_g") ? sdi_family_of_context(2048)
                                                          : sdi_family_of_context((int)width);
    info->n_tokens = (int32_t)(e && e->n_dims > 1 ? e->dims[0] : 1);
    info->token_width = (int32_t)width;
}

void sdi_adapter_info(const sd_adapter *a, sd_adapter_info *info) {
    *info = (sd_adapter_info){.kind = kind_of(a),
                              .family = a->family,
                              .title = said(a, titles),
                              .base_model = said(a, bases),
                              .trigger_words = said(a, triggers),
                              .n_unknown = a->n_unknown};
    for (int i = 0; i < a->n_modules; i++)
        count_module(a, &a->modules[i], info);
    if (a->n_modules == 0) {
        info->n_unknown = 0;
        tell_words(a, info);
    }
}
