/* Building all parts of a model, and listing what they are made of. */
#include "model/build.h"

#include "model/names.h"

static void count_one(void *user, const char *name, int n_dims, const int64_t *dims) {
    (void)name, (void)n_dims, (void)dims;
    ++*(int *)user;
}

sd_status sdi_build_init(sd_build *b, sd_context *ctx, const sd_source *source, sdb_type compute,
                         const sd_model_params *params) {
    *b = (sd_build){.ctx = ctx, .source = source, .compute = compute, .feeds = {.ctx = ctx}};
    b->interrupt = sdi_interrupt_now(ctx);
    if (params) {
        b->progress = params->progress;
        b->progress_user = params->progress_user;
    }
    sd_status status = sdi_build_list(ctx, source, count_one, &b->total);
    if (status)
        sdi_build_free(b);
    return status;
}

void sdi_build_free(sd_build *b) {
    sdi_feeds_close(&b->feeds);
    sdi_free(b->ctx, b->scratch);
    b->scratch = NULL;
}

void sdi_build_unexpected(const sd_build *b, void (*fn)(void *user, const char *name), void *user) {
    for (int i = 0; i < b->source->n_files; i++) {
        const sd_weights *w = b->source->files[i];
        for (size_t j = 0; j < sdi_weights_count(w); j++) {
            const sd_entry *entry = sdi_weights_at(w, j);
            if (!entry->taken && !sdi_name_is_harmless(entry->name))
                fn(user, entry->name);
        }
    }
}

/* The type of a part's activations. */
static sdb_type activations_of(const sd_build *b, const sd_part_type *type, const void *config) {
    bool narrow = b->compute == SDB_F16 && type->overflows && type->overflows(config);
    if (narrow)
        sdi_log(b->ctx, SD_LOG_LEVEL_INFO,
                "%s: the %s computes in bfloat16, since float16 overflows in it",
                b->source->desc->path, type->what);
    return narrow ? SDB_BF16 : b->compute;
}

/* The network is freed with the part, also where it was not built to its end. */
sd_status sdi_build_part(sd_build *b, sd_part_kind kind, sd_part **out) {
    const sd_part_type *type = sdi_part_types[kind];
    const void *config = sdi_part_config(type, b->source->desc);
    sd_part *part = sdi_zalloc(b->ctx, type->size);
    *out = part;
    if (!part)
        return SD_ERROR_MEMORY;
    atomic_init(&part->refs, 1);
    part->ctx = b->ctx;
    part->act = activations_of(b, type, config);
    sd_status status = sdi_programs_init(&part->programs, b->ctx);
    if (status)
        return status;
    sd_builder builder = {.build = b,
                          .part = part,
                          .kind = kind,
                          .net = type->net,
                          .base = b->shared ? b->shared[kind] : NULL,
                          .weights = b->source->weights[kind],
                          .names = *(const sd_naming *)config};
    type->build(&builder, part, config);
    return builder.status;
}

/* Parts of one file have one. */
static sd_status note_origin(const sd_build *b, sd_part *const parts[SD_N_PARTS], int kind) {
    const sd_source *s = b->source;
    for (int i = 0; i < kind; i++)
        if (parts[i] && s->weights[i] == s->weights[kind]) {
            parts[kind]->origin = sdi_origin_retain(parts[i]->origin);
            return SD_OK;
        }
    return sdi_origin_new(b->ctx, s->weights[kind], &b->uses, &parts[kind]->origin);
}

sd_status sdi_build_parts(sd_build *b, sd_part *parts[SD_N_PARTS]) {
    sd_status status = SD_OK;
    for (int i = 0; i < SD_N_PARTS; i++) {
        parts[i] = NULL;
        if (status || !sdi_part_types[i]->wanted(b->source->desc))
            continue;
        status = sdi_build_part(b, (sd_part_kind)i, &parts[i]);
        if (!status && !b->listing)
            status = note_origin(b, parts, i);
    }
    return status;
}

typedef struct listing {
    const sd_naming *names;
    sd_build_list_fn fn;
    void *user;
} listing;

static void list_tensor(const listing *l, const sd_wanted *want) {
    char name[SD_MAX_NAME];
    sdi_path_name(name, want->path, l->names->layout, 0, l->names->prefix, want->suffix);
    l->fn(l->user, name, want->n_dims, want->dims);
}

/* Rows of one tensor that are not together follow each other. */
static void list_part(const listing *l, const sd_part *part) {
    sd_path last = sdi_path_top();
    for (size_t i = 0; i < part->weights.n; i++) {
        const sd_weight *w = part->weights.items[i];
        for (int k = 0; k < w->n_params; k++) {
            const sd_param *p = &w->params[k];
            if (sdi_path_equal(&p->path, &last))
                continue;
            sd_wanted want = sdi_weight_wants(w, p, l->names->layout);
            sd_wanted bias = sdi_weight_wants_bias(p, l->names->layout);
            list_tensor(l, &want);
            if (p->bias)
                list_tensor(l, &bias);
            last = p->path;
        }
    }
}

sd_status sdi_build_listed(sd_context *ctx, const sd_source *source, sd_part *parts[SD_N_PARTS]) {
    sd_build b = {.ctx = ctx, .source = source, .listing = true};
    return sdi_build_parts(&b, parts);
}

sd_status sdi_build_list(sd_context *ctx, const sd_source *source, sd_build_list_fn fn,
                         void *user) {
    sd_part *parts[SD_N_PARTS];
    sd_status status = sdi_build_listed(ctx, source, parts);
    for (int i = 0; i < SD_N_PARTS; i++) {
        listing l = {sdi_part_config(sdi_part_types[i], source->desc), fn, user};
        if (parts[i] && !status)
            list_part(&l, parts[i]);
        sdi_part_release(parts[i]);
    }
    return status;
}
