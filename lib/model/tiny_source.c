/* The small autoencoder beside a model's own: its files, in the forms that they come in. */
#include "core/files.h"
#include "core/os.h"
#include "describe/config.h"
#include "model/source.h"

#include <string.h>

/* The original's files are of one half each, and named alike: taesd_encoder, taesd_decoder. */
static const char *const halves[] = {"encoder", "decoder"};
static const char *const prefixes[] = {"encoder.", "decoder."};
#define HALF_LENGTH 7

/* The other half's path; *out NULL: the name says nothing of halves. */
static sd_status other_half(const sd_context *ctx, const char *path, bool decoder, char **out) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    const char *word = strstr(name, halves[decoder]);
    *out = NULL;
    if (!word)
        return SD_OK;
    *out = sdi_strdup(ctx, path);
    if (!*out)
        return SD_ERROR_MEMORY;
    memcpy(*out + (word - path), halves[!decoder], HALF_LENGTH);
    return SD_OK;
}

/* `path` is a decoder or an encoder alone. */
static sd_status open_half(sd_context *ctx, const char *path, bool decoder, sd_weights **out) {
    char *other;
    sd_status status = other_half(ctx, path, decoder, &other);
    bool both = !status && other && sdi_is_file(other);
    const char *paths[] = {decoder ? other : path, decoder ? path : other};
    int first = both ? 0 : decoder;
    if (!status && !both && !decoder)
        status = sdi_fail(ctx, SD_ERROR_MODEL,
                          "%s: this is the encoder of a small autoencoder; its decoder was "
                          "expected (taesd_decoder, beside which the encoder may lie)",
                          path);
    if (!status)
        status = sdi_weights_open_several(ctx, paths + first, prefixes + first, both ? 2 : 1, out);
    sdi_free(ctx, other);
    return status;
}

/* A file of both halves, or of one, whose names have nothing before the layer's number then. */
static sd_status open_halves(sd_context *ctx, const char *path, sd_weights **out) {
    sd_status status = sdi_weights_open(ctx, path, out);
    if (status)
        return status;
    bool encoder = sdi_weights_find(*out, "0.weight"), decoder = sdi_weights_find(*out, "1.weight");
    if (!encoder && !decoder)
        return SD_OK;
    sdi_weights_close(*out);
    *out = NULL;
    return open_half(ctx, path, !encoder, out);
}

static sd_status describe(sd_source *s, const char *path, const sd_weights *w, const char *config) {
    const sd_checkpoint from = {s->ctx, path, w, false};
    sd_description *d = s->desc;
    d->tiny.names = sdi_find_names(&sdi_tiny_part, w, ~0u);
    if (!sdi_weights_has_prefix(w, "taesd_decoder.") && !sdi_weights_has_prefix(w, prefixes[true]))
        return sdi_fail(s->ctx, SD_ERROR_MODEL,
                        "%s: no small autoencoder (TAESD, AutoencoderTiny): no tensor is named "
                        "'decoder...'; taesd_decoder, or a file of encoder and decoder, was "
                        "expected",
                        path);
    sd_status status =
        config ? sdi_config_tiny(s->ctx, config, &d->tiny) : sdi_infer_tiny(&from, &d->tiny);
    return status ? status : sdi_check_tiny(s->ctx, path, d);
}

static sd_status add_file(sd_source *s, const char *path, const char *config) {
    sd_weights *w;
    sd_status status = open_halves(s->ctx, path, &w);
    if (status)
        return status;
    status = describe(s, path, w, config);
    if (status) {
        sdi_weights_close(w);
        return status;
    }
    sdi_source_keep(s, w);
    s->weights[SD_PART_TINY] = w;
    return SD_OK;
}

/* As save_pretrained writes it; without its config.json by the shapes. */
static sd_status add_folder(sd_source *s, const char *folder) {
    char *config = sdi_path_join(s->ctx, folder, "config.json"), *path = NULL;
    sd_status status =
        config ? sdi_folder_weights(s->ctx, folder, &sdi_tiny_part.stems, &path) : SD_ERROR_MEMORY;
    if (!status && !path)
        status = sdi_folder_has_none(s->ctx, folder, &sdi_tiny_part.stems);
    if (!status)
        status = add_file(s, path, sdi_is_file(config) ? config : NULL);
    sdi_free(s->ctx, path);
    sdi_free(s->ctx, config);
    return status;
}

/* That of the source's folder. */
static sd_status add_own(sd_source *s) {
    char *folder = sdi_path_join(s->ctx, s->desc->path, sdi_tiny_part.folder);
    sd_status status = folder ? SD_OK : SD_ERROR_MEMORY;
    if (!status && sdi_is_directory(folder))
        status = add_folder(s, folder);
    sdi_free(s->ctx, folder);
    return status;
}

sd_status sdi_source_add_tiny(sd_source *s, const char *path) {
    if (!path)
        return sdi_is_directory(s->desc->path) ? add_own(s) : SD_OK;
    return sdi_is_directory(path) ? add_folder(s, path) : add_file(s, path, NULL);
}
