/* Classes and their parameters in a YAML config of the original: what instantiate_from_config is.
 */
#include "describe/ldm_section.h"

#include <string.h>

typedef sd_ldm_section section;

static json_t *borrow(const json_t *v) {
    return (json_t *)v;
}

void sdi_ldm_open(section *s, const section *parent, const char *where, const json_t *v) {
    const sd_context *ctx = parent->ctx;
    *s = (section){.ctx = ctx, .desc = parent->desc, .file = parent->file, .target = where};
    const char *dot = parent->nothing || parent->target ? "." : " ";
    s->path = sdi_format(ctx, "%s%s%s", parent->path, dot, where);
    s->r = (sd_reader){.ctx = ctx, .path = s->path ? s->path : s->file, .root = borrow(v)};
    if (!s->path)
        s->r.status = SD_ERROR_MEMORY;
    else if (v && !json_is_object(v))
        sdi_reader_wrong(&s->r, where, v, "a mapping");
    if (!v || !json_is_object(v))
        s->r.root = s->nothing = json_object();
    s->r.numbers = json_array();
    if ((!s->r.root || !s->r.numbers) && !s->r.status)
        s->r.status = sdi_fail(ctx, SD_ERROR_MEMORY, "%s: out of memory", s->file);
}

sd_status sdi_ldm_close(section *s) {
    json_decref(s->nothing);
    json_decref(s->r.numbers);
    sdi_free(s->ctx, s->path);
    return s->r.status;
}

static bool is_listed(const char *const *names, const char *key) {
    for (; names && *names; names++)
        if (strcmp(*names, key) == 0)
            return true;
    return false;
}

static bool is_fixed_key(const sd_fixed *fixed, size_t n_fixed, const char *key) {
    for (size_t i = 0; i < n_fixed; i++)
        if (strcmp(fixed[i].key, key) == 0)
            return true;
    return false;
}

void sdi_ldm_check(section *s, const char *const *read, const char *const *ignored,
                   const sd_fixed *fixed, size_t n_fixed) {
    const char *key;
    json_t *value;
    if (s->r.status)
        return;
    json_object_foreach(s->r.root, key, value) {
        if (is_listed(read, key) || is_listed(ignored, key) || is_fixed_key(fixed, n_fixed, key))
            continue;
        s->r.status = sdi_fail(s->r.ctx, SD_ERROR_UNSUPPORTED,
                               "%s: \"%s\" is no parameter of %s that libsd knows", s->r.path, key,
                               s->target);
        return;
    }
    sdi_reader_fixed(&s->r, fixed, n_fixed);
}

void sdi_ldm_ignore_others(section *s, const char *const *read, const sd_fixed *fixed,
                           size_t n_fixed) {
    static const char *const trained[] = {"dropout", "ignored_kwargs", NULL};
    const char *key;
    json_t *value;
    if (s->r.status)
        return;
    json_object_foreach(s->r.root, key, value) if (!is_listed(read, key) &&
                                                   !is_listed(trained, key) &&
                                                   !is_fixed_key(fixed, n_fixed, key))
        sdi_log(s->r.ctx, SD_LOG_LEVEL_WARN, "%s: \"%s\" is passed over, as the original does",
                s->r.path, key);
    sdi_reader_fixed(&s->r, fixed, n_fixed);
}

void sdi_ldm_need(section *s, const char *key) {
    if (!s->r.status && !sdi_reader_get(&s->r, key) && !s->r.status)
        s->r.status = sdi_fail(s->r.ctx, SD_ERROR_FORMAT, "%s: \"%s\" of %s is missing", s->r.path,
                               key, s->target);
}

int sdi_ldm_word(section *s, const char *key, const char *fallback, const char *const *names, int n,
                 const char *expected) {
    const char *word = sdi_reader_string(&s->r, key, fallback);
    for (int i = 0; i < n; i++)
        if (strcmp(names[i], word) == 0)
            return i;
    sdi_reader_unsupported(&s->r, key, sdi_reader_get(&s->r, key), expected);
    return 0;
}

/* ------------------------------------------------------------------------- targets */

/* Classes of the original and its forks that people have configs of. */
static const struct {
    const char *target, *what;
} foreign[] = {
    {"ldm.models.diffusion.ddpm_edit.LatentDiffusion", "instruct-pix2pix"},
    {"ldm.models.diffusion.ddpm.LatentDepth2ImageDiffusion", "depth to image"},
    {"ldm.models.diffusion.ddpm.LatentUpscaleDiffusion", "the x4 upscaler"},
    {"ldm.models.diffusion.ddpm.LatentUpscaleFinetuneDiffusion", "an upscaler"},
    {"ldm.models.diffusion.ddpm.ImageEmbeddingConditionedLatentDiffusion", "unCLIP"},
    {"cldm.cldm.ControlLDM", "ControlNet"},
    {"cldm.cldm.ControlledUnetModel", "ControlNet"},
    {"sgm.models.diffusion.SampleDiffusionEngine", "Stable Video Diffusion"},
    {"ldm.modules.encoders.modules.BERTEmbedder", "the BERT encoder of latent diffusion"},
    {"ldm.modules.encoders.modules.FrozenT5Embedder", "a T5 text encoder"},
};

static const char *foreign_class(const char *target) {
    for (size_t i = 0; i < SD_COUNT(foreign); i++)
        if (strcmp(foreign[i].target, target) == 0)
            return foreign[i].what;
    return NULL;
}

sd_status sdi_ldm_instantiate(const section *parent, const char *key, const json_t *v,
                              const sd_ldm_class *rows, size_t n_rows) {
    const json_t *target = json_object_get(v, "target");
    section s;
    sdi_ldm_open(&s, parent, key, json_object_get(v, "params"));
    if (!s.r.status && !json_is_string(target))
        s.r.status =
            sdi_fail(s.r.ctx, SD_ERROR_FORMAT, "%s: \"target\" is %s; a string was expected",
                     s.r.path, sdi_json_type_name(target));
    const sd_ldm_class *row = NULL;
    for (size_t i = 0; !s.r.status && i < n_rows; i++)
        if (strcmp(json_string_value(target), rows[i].target) == 0)
            row = &rows[i];
    if (!s.r.status && !row) {
        const char *what = foreign_class(json_string_value(target));
        s.r.status = sdi_fail(s.r.ctx, SD_ERROR_UNSUPPORTED,
                              "%s: the target \"%.120s\" is none that libsd knows%s%s%s", s.r.path,
                              json_string_value(target), what ? " (" : "", what ? what : "",
                              what ? ", which is not supported)" : "");
    }
    if (row) {
        s.target = row->target;
        row->read(&s);
    }
    return sdi_ldm_close(&s);
}

void sdi_ldm_instantiate_key(section *s, const char *key, const sd_ldm_class *rows, size_t n_rows) {
    sdi_ldm_need(s, key);
    if (!s->r.status)
        sdi_ldm_keep(s, sdi_ldm_instantiate(s, key, sdi_reader_get(&s->r, key), rows, n_rows));
}

void sdi_ldm_keep(section *s, sd_status status) {
    if (!s->r.status)
        s->r.status = status;
}
