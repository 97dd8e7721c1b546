/*
 * The averaged copy of a UNet's weights that training keeps: "model_ema." and the UNet's names
 * without their dots, as LitEma of ldm/modules/ema.py makes them of "diffusion_model.X", or what
 * other programs made of these. Many files have the UNet twice, some only as its average.
 */
#include "describe/ema.h"

#include <stdio.h>
#include <string.h>

#define UNET_PREFIX "model.diffusion_model."

typedef struct ema_naming {
    const char *prefix;
    bool dots;          /* the names keep theirs */
    const char *begins; /* some name begins so where a file has this naming */
} ema_naming;

static const ema_naming namings[] = {
    {"model_ema.diffusion_model.", true, "model_ema.diffusion_model."},
    {"model_ema.diffusion_model", false, "model_ema.diffusion_model"},
    {"model_ema.", true, "model_ema.input_blocks."},
    {"model_ema.", false, "model_ema.input_blocks"},
};

static bool is_unet_name(const char *name) {
    return strncmp(name, UNET_PREFIX, strlen(UNET_PREFIX)) == 0;
}

/* The name under which a UNet's tensor is averaged; NULL: it is too long for any. */
static const char *spell(const ema_naming *naming, const char *name, char *text, size_t size) {
    int n = snprintf(text, size, "%s%s", naming->prefix, name + strlen(UNET_PREFIX));
    if (n < 0 || (size_t)n >= size)
        return NULL;
    char *to = text + strlen(naming->prefix);
    for (const char *from = to; *from && !naming->dots; from++)
        if (*from != '.')
            *to++ = *from;
    if (!naming->dots)
        *to = 0;
    return text;
}

/* sd_alias_fn of a naming. */
static const char *alias(const void *user, const char *name, char *text, size_t size) {
    return is_unet_name(name) ? spell(user, name, text, size) : NULL;
}

static const ema_naming *find_naming(const sd_weights *w) {
    for (size_t i = 0; i < SD_COUNT(namings); i++)
        if (sdi_weights_has_prefix(w, namings[i].begins))
            return &namings[i];
    return NULL;
}

bool sdi_ema_take_alone(sd_weights *w) {
    const ema_naming *naming = sdi_weights_has_prefix(w, UNET_PREFIX) ? NULL : find_naming(w);
    if (naming)
        sdi_weights_redirect(w, alias, naming);
    return sdi_weights_is_redirected(w);
}

bool sdi_ema_is_there(const sd_weights *w) {
    return find_naming(w) != NULL;
}

bool sdi_ema_lacks(const sd_weights *w, char *missing, size_t size) {
    const ema_naming *naming = find_naming(w);
    char text[SD_ALIAS_SIZE];
    for (size_t i = 0; naming && i < sdi_weights_count(w); i++) {
        const char *name = sdi_weights_at(w, i)->name;
        if (!is_unet_name(name))
            continue;
        const char *average = spell(naming, name, text, sizeof text);
        if (average && sdi_weights_find(w, average))
            continue;
        snprintf(missing, size, "%.200s%s", average ? average : name, average ? "" : "...");
        return true;
    }
    return false;
}

sd_status sdi_ema_use(sd_context *ctx, sd_weights *w) {
    const ema_naming *naming = find_naming(w);
    const char *path = sdi_weights_path(w, NULL);
    char missing[256];
    if (sdi_weights_is_redirected(w))
        return SD_OK;
    if (!naming)
        return sdi_fail(ctx, SD_ERROR_MODEL,
                        "%s: the averaged weights were asked for (use_ema), but no tensor is named "
                        "'model_ema...'",
                        path);
    if (sdi_ema_lacks(w, missing, sizeof missing))
        return sdi_fail(ctx, SD_ERROR_MODEL,
                        "%s: the averaged weights were asked for (use_ema), but tensor '%.200s' is "
                        "missing",
                        path, missing);
    sdi_weights_redirect(w, alias, naming);
    return SD_OK;
}
