/* The modules of adapters against the weights of a model's parts. */
#include "model/match.h"

#include "model/weight.h"

/* One adapter, and which of its modules some weight has asked for. */
typedef struct matching {
    sd_context *ctx;
    const sd_description *desc;
    const sd_adapter *adapter;
    bool *found; /* [n_modules] */
    int n_found;
} matching;

static void match_param(matching *m, unsigned net, const sd_param *p) {
    sd_module_rows modules[3];
    int n = sdi_path_modules(&p->path, p->of, modules);
    for (int i = 0; i < n; i++) {
        const sd_adapter_module *module = sdi_adapter_find_path(m->adapter, net, &modules[i].path);
        bool changes =
            module && (sdi_delta_kind(module, false) || (p->bias && sdi_delta_kind(module, true)));
        bool *found = changes ? &m->found[module - m->adapter->modules] : NULL;
        if (found && !*found)
            m->n_found++;
        if (found)
            *found = true;
    }
}

static void match_part(matching *m, unsigned net, const sd_part *part) {
    for (size_t i = 0; part && i < part->weights.n; i++) {
        const sd_weight *w = part->weights.items[i];
        for (int k = 0; k < w->n_params; k++)
            match_param(m, net, &w->params[k]);
    }
}

/* A context of another width, or a second text encoder that the model does not have. */
static sd_status check_family(const matching *m, sd_part *const *parts) {
    const sd_adapter *a = m->adapter;
    const sd_description *d = m->desc;
    unsigned nets = 0, asked = 0;
    for (int i = 0; i < SD_N_PARTS; i++)
        nets |= parts[i] ? sdi_part_types[i]->net : 0;
    for (int i = 0; i < a->n_modules; i++)
        asked |= a->modules[i].nets == SD_NET_TEXT_2 ? SD_NET_TEXT_2 : 0;
    int width = d->unet.context_dim;
    bool other = nets & SD_NET_UNET && a->context_width && a->context_width != width;
    if (!other && !(asked & ~nets))
        return SD_OK;
    if (!other)
        return sdi_fail(m->ctx, SD_ERROR_MODEL,
                        "%s: an adapter for Stable Diffusion XL, with modules of a second text "
                        "encoder; %s is %s: use an adapter that was made for it",
                        a->path, d->path, d->family);
    return sdi_fail(m->ctx, SD_ERROR_MODEL,
                    "%s: an adapter for %s, whose contexts are %d wide; %s is %s, with %d: use an "
                    "adapter that was made for it",
                    a->path, a->family ? a->family : "another model", a->context_width, d->path,
                    d->family, width);
}

static sd_status tell_unmatched(const matching *m, int *n_unmatched) {
    const sd_adapter *a = m->adapter;
    if (m->n_found == 0)
        return sdi_fail(m->ctx, SD_ERROR_MODEL,
                        "%s: none of its %d modules ('%s', ...) is in %s, which is %s%s%s: use an "
                        "adapter that was made for it",
                        a->path, a->n_modules, a->modules[0].key, m->desc->path, m->desc->family,
                        a->family ? "; this looks like an adapter for " : "",
                        a->family ? a->family : "");
    for (int i = 0; i < a->n_modules; i++) {
        if (m->found[i])
            continue;
        ++*n_unmatched;
        sdi_log(m->ctx, SD_LOG_LEVEL_WARN, "%s: its module '%s' fits nothing in %s", a->path,
                a->modules[i].key, m->desc->path);
    }
    return SD_OK;
}

static sd_status match(matching *m, sd_part *const *parts, int *n_unmatched) {
    sd_status status = check_family(m, parts);
    if (status)
        return status;
    m->found = sdi_alloc_array(m->ctx, (size_t)m->adapter->n_modules, sizeof *m->found);
    if (!m->found)
        return SD_ERROR_MEMORY;
    for (int i = 0; i < SD_N_PARTS; i++)
        if (sdi_part_types[i]->net)
            match_part(m, sdi_part_types[i]->net, parts[i]);
    status = tell_unmatched(m, n_unmatched);
    sdi_free(m->ctx, m->found);
    return status;
}

sd_status sdi_match_uses(sd_context *ctx, const sd_description *desc, sd_part *const *parts,
                         const sd_uses *uses, int *n_unmatched) {
    sd_status status = SD_OK;
    *n_unmatched = 0;
    for (int i = 0; i < uses->n && !status; i++) {
        matching m = {.ctx = ctx, .desc = desc, .adapter = uses->at[i].adapter};
        if (m.adapter->n_modules)
            status = match(&m, parts, n_unmatched);
    }
    return status;
}
