/*
 * What PEFT's configs say of an adapter: alpha, in whole and for modules, and whether it stands
 * over the rank or its root. They are beside the file (adapter_config.json), or in safetensors'
 * metadata, where diffusers 0.34 and later have them for each network ("unet.lora_alpha").
 */
#include "io/json.h"
#include "model/adapter.h"

#include <math.h>
#include <string.h>

#define IN_METADATA "lora_adapter_metadata"

static sd_status parse_metadata(const sd_context *ctx, const char *path, const sd_weights *w,
                                sd_adapter_config *config) {
    const char *text = sdi_weights_metadata(w, IN_METADATA);
    return text ? sdi_json_parse_last(ctx, path, text, strlen(text), &config->root) : SD_OK;
}

/* A key of the config, or of a network's where it is diffusers'. */
static const json_t *look(const sd_adapter_config *config, unsigned nets, const char *key) {
    static const struct {
        unsigned net;
        const char *prefix;
    } rows[] = {{~0u, ""},
                {SD_NET_UNET, "unet."},
                {SD_NET_TEXT, "text_encoder."},
                {SD_NET_TEXT_2, "text_encoder_2."}};
    char name[64];
    for (size_t i = 0; i < SD_COUNT(rows); i++) {
        sdi_print(name, sizeof name, "%s%s", rows[i].prefix, key);
        const json_t *found = rows[i].net & nets ? json_object_get(config->root, name) : NULL;
        if (found)
            return found;
    }
    return NULL;
}

static double number_or(const json_t *value, double fallback) {
    return json_is_number(value) ? json_number_value(value) : fallback;
}

sd_status sdi_adapter_config_read(const sd_context *ctx, const char *path, const sd_weights *w,
                                  sd_adapter_config *config) {
    *config = (sd_adapter_config){.root = NULL};
    return path ? sdi_json_read(ctx, path, &config->root)
                : parse_metadata(ctx, sdi_weights_path(w, NULL), w, config);
}

void sdi_adapter_config_free(sd_adapter_config *config) {
    json_decref(config->root);
    config->root = NULL;
}

/* PEFT's patterns are ends of modules' names; they may begin with '^' or '.'. */
static bool ends_with_pattern(const char *key, const char *pattern) {
    char flat[SD_MAX_NAME];
    size_t n = 0, length = strlen(key);
    for (const char *p = pattern; *p && n + 1 < sizeof flat; p++)
        if (!strchr("^$\\*", *p) && !(n == 0 && *p == '.'))
            flat[n++] = (char)(*p == '.' ? '_' : *p);
    flat[n] = 0;
    bool whole = length == n || (length > n && key[length - n - 1] == '_');
    return n > 0 && n <= length && whole && strcmp(key + length - n, flat) == 0;
}

double sdi_adapter_config_alpha(const sd_adapter_config *config, const sd_adapter_module *m) {
    const char *pattern;
    json_t *value, *patterns = (json_t *)look(config, m->nets, "alpha_pattern");
    json_object_foreach(patterns, pattern,
                        value) if (ends_with_pattern(m->key, pattern) &&
                                   json_is_number(value)) return json_number_value(value);
    const json_t *alpha = look(config, m->nets, "lora_alpha");
    return number_or(alpha ? alpha : look(config, m->nets, "alpha"), (double)NAN);
}

bool sdi_adapter_config_rank_stabilized(const sd_adapter_config *config,
                                        const sd_adapter_module *m) {
    return json_is_true(look(config, m->nets, "use_rslora"));
}
