/*
 * The averaged copy of a UNet's weights that training keeps: "model_ema." and the UNet's names
 * without their dots, as LitEma of ldm/modules/ema.py makes them of "diffusion_model.X", or what
 * other programs made of these. Many files have the UNet twice, some only as its average.
 */
#include "io/weights_internal.h"

#include <stdio.h>
#include <string.h>

#define UNET_PREFIX "model.diffusion_model."
#define NAME_SIZE 1024

struct sd_ema_naming {
    const char *prefix;
    bool dots;          /* the names keep theirs */
    const char *begins; /* some name begins so where a file has this naming */
};

static const sd_ema_naming namings[] = {
    {"model_ema.diffusion_model.", true, "model_ema.diffusion_model."},
    {"model_ema.diffusion_model", false, "model_ema.diffusion_model"},
    {"model_ema.", true, "model_ema.input_blocks."},
    {"model_ema.", false, "model_ema.input_blocks"},
};

static bool is_unet_name(const char *name) {
    return strncmp(name, UNET_PREFIX, strlen(UNET_PREFIX)) == 0;
}

/* The name under which a UNet's tensor is averaged; NULL: it is too long for any. */
static const char *spell(const sd_ema_naming *naming, const char *name, char text[NAME_SIZE]) {
    int n = snprintf(text, NAME_SIZE, "%s%s", naming->prefix, name + strlen(UNET_PREFIX));
    if (n < 0 || n >= NAME_SIZE)
        return NULL;
    char *to = text + strlen(naming->prefix);
    for (const char *from = to; *from && !naming->dots; from++)
        if (*from != '.')
            *to++ = *from;
    if (!naming->dots)
        *to = 0;
    return text;
}

const char *sd_ema_alias(const sd_weights *w, const char *name, char *text, size_t size) {
    bool wanted = w->ema_alone && is_unet_name(name) && size >= NAME_SIZE;
    const char *alias = wanted ? spell(w->ema_alone, name, text) : NULL;
    return alias ? alias : name;
}

static const sd_ema_naming *find_naming(const sd_weights *w) {
    for (size_t i = 0; i < SD_COUNT(namings); i++)
        if (sd_weights_has_prefix(w, namings[i].begins))
            return &namings[i];
    return NULL;
}

bool sd_weights_take_ema_alone(sd_weights *w) {
    if (!sd_weights_has_prefix(w, UNET_PREFIX))
        w->ema_alone = find_naming(w);
    return w->ema_alone != NULL;
}

bool sd_weights_has_ema(const sd_weights *w) {
    return find_naming(w) != NULL;
}

/* The average of a UNet's tensor; NULL, and its name: it is not there. */
static const sd_entry *find_average(const sd_weights *w, const sd_ema_naming *naming,
                                    const char *unet_name, char text[NAME_SIZE]) {
    const char *name = spell(naming, unet_name, text);
    if (!name)
        snprintf(text, NAME_SIZE, "%.200s...", unet_name);
    return name ? sd_weights_find(w, name) : NULL;
}

bool sd_weights_lacks_average(const sd_weights *w, char *name, size_t size) {
    const sd_ema_naming *naming = find_naming(w);
    char text[NAME_SIZE];
    for (size_t i = 0; naming && i < w->n_entries; i++)
        if (is_unet_name(w->entries[i].name) &&
            !find_average(w, naming, w->entries[i].name, text)) {
            snprintf(name, size, "%s", text);
            return true;
        }
    return false;
}

sd_status sd_weights_use_ema(sd_weights *w) {
    const sd_ema_naming *naming = find_naming(w);
    char text[NAME_SIZE], missing[256];
    if (w->ema_alone)
        return SD_OK;
    if (!naming)
        return sd_fail(w->ctx, SD_ERROR_MODEL,
                       "%s: the averaged weights were asked for (use_ema), but no tensor is named "
                       "'model_ema...'",
                       w->path);
    if (sd_weights_lacks_average(w, missing, sizeof missing))
        return sd_fail(w->ctx, SD_ERROR_MODEL,
                       "%s: the averaged weights were asked for (use_ema), but tensor '%.200s' is "
                       "missing",
                       w->path, missing);
    for (size_t i = 0; i < w->n_entries; i++) {
        sd_entry *entry = &w->entries[i];
        const char *kept = entry->name;
        if (!is_unet_name(kept))
            continue;
        *entry = *find_average(w, naming, kept, text);
        entry->name = kept;
    }
    return SD_OK;
}
