/* Numbers that must fit each other, however they were found. */
#include "describe/config.h"

static sd_status check_groups(const sd_context *ctx, const char *path, const char *network,
                              int n_levels, const int *channels, int groups) {
    for (int i = 0; i < n_levels; i++)
        if (groups < 1 || channels[i] % groups != 0)
            return sdi_fail(ctx, SD_ERROR_MODEL,
                            "%s: the %s has %d channels at level %d (block_out_channels), which "
                            "its %d groups (norm_num_groups) do not divide",
                            path, network, channels[i], i, groups);
    return SD_OK;
}

sd_status sdi_check_unet(const sd_context *ctx, const char *path, const sd_unet_config *c) {
    sd_status status = check_groups(ctx, path, "UNet", c->n_levels, c->channels, c->norm_groups);
    for (int i = 0; i < c->n_levels && !status; i++) {
        bool divides = c->heads[i] >= 1 && c->channels[i] % c->heads[i] == 0;
        if (!divides && sdi_unet_has_attention(c, i))
            status = sdi_fail(ctx, SD_ERROR_MODEL,
                              "%s: the UNet has %d channels at level %d, which its %d attention "
                              "heads (attention_head_dim; sd.unet_heads) do not divide",
                              path, c->channels[i], i, c->heads[i]);
    }
    return status;
}

sd_status sdi_check_vae(const sd_context *ctx, const char *path, const sd_vae_config *c) {
    return check_groups(ctx, path, "VAE", c->n_levels, c->channels, c->norm_groups);
}

sd_status sdi_check_text(const sd_context *ctx, const char *path, const sd_text_config *c) {
    if (c->heads < 1 || c->width % c->heads != 0)
        return sdi_fail(ctx, SD_ERROR_MODEL,
                        "%s: the text encoder is %d wide (hidden_size), which its %d heads "
                        "(num_attention_heads; sd.text_heads) do not divide",
                        path, c->width, c->heads);
    return SD_OK;
}

sd_status sdi_check_tiny(const sd_context *ctx, const char *path, const sd_description *d) {
    const sd_vae_config *tiny = &d->tiny, *vae = &d->vae;
    if (tiny->latent_channels != vae->latent_channels || tiny->n_levels != vae->n_levels)
        return sdi_fail(ctx, SD_ERROR_MODEL,
                        "%s: it is for latents of %d channels and 1/%d of a picture's sides; those "
                        "of %s have %d and 1/%d",
                        path, tiny->latent_channels, 1 << (tiny->n_levels - 1), d->path,
                        vae->latent_channels, 1 << (vae->n_levels - 1));
    if (tiny->in_channels != 3 || tiny->out_channels != 3)
        return sdi_fail(ctx, SD_ERROR_UNSUPPORTED,
                        "%s: it takes %d and gives %d channels; libsd knows only 3", path,
                        tiny->in_channels, tiny->out_channels);
    return SD_OK;
}

void sdi_join_description(sd_description *d) {
    sdi_complete_latent_rgb(&d->vae);
    sd_unet_config *unet = &d->unet;
    bool two = d->texts != SD_TEXTS_FIRST;
    d->text.penultimate = d->text_2.penultimate = two;
    if (two && unet->label_dim > 0 && unet->size_dim > 0)
        unet->n_sizes = (unet->label_dim - d->text_2.projection) / unet->size_dim;
}

/* What the UNet is told beside the time. */
static sd_status check_label(const sd_context *ctx, const sd_description *d) {
    const sd_unet_config *unet = &d->unet;
    int text = d->text_2.projection;
    if (unet->label_dim == 0 && d->texts != SD_TEXTS_FIRST)
        return sdi_fail(ctx, SD_ERROR_UNSUPPORTED,
                        "%s: there is a second text encoder, and the UNet takes no text as one "
                        "vector (addition_embed_type, label_emb)",
                        d->path);
    if (unet->label_dim > 0 && d->texts == SD_TEXTS_FIRST)
        return sdi_fail(ctx, SD_ERROR_UNSUPPORTED,
                        "%s: the UNet takes a vector of %d numbers (addition_embed_type, "
                        "label_emb), which libsd makes with Stable Diffusion XL's second text "
                        "encoder alone, and there is none",
                        d->path, unet->label_dim);
    bool fits = unet->label_dim == text + unet->n_sizes * unet->size_dim &&
                (unet->n_sizes == SD_SIZES_BASE || unet->n_sizes == SD_SIZES_REFINER);
    if (unet->label_dim > 0 && !fits)
        return sdi_fail(ctx, SD_ERROR_MODEL,
                        "%s: the UNet takes a vector of %d numbers "
                        "(projection_class_embeddings_input_dim); a text of %d (projection_dim) "
                        "and 6 or 5 times %d (addition_time_embed_dim) were expected",
                        d->path, unet->label_dim, text, unet->size_dim);
    return SD_OK;
}

static sd_status check_texts(const sd_context *ctx, const sd_description *d) {
    int width = (d->texts != SD_TEXTS_SECOND ? d->text.width : 0) +
                (d->texts != SD_TEXTS_FIRST ? d->text_2.width : 0);
    if (d->conditioning == SD_CONDITIONING_TEXT && d->unet.context_dim != width)
        return sdi_fail(ctx, SD_ERROR_MODEL,
                        "%s: the UNet expects a text encoder %d wide (cross_attention_dim), the "
                        "one here is %d wide (hidden_size)",
                        d->path, d->unet.context_dim, width);
    if (d->texts == SD_TEXTS_BOTH && d->text.tokens != d->text_2.tokens)
        return sdi_fail(ctx, SD_ERROR_UNSUPPORTED,
                        "%s: one text encoder takes %d tokens and the other %d; the same number "
                        "was expected",
                        d->path, d->text.tokens, d->text_2.tokens);
    if (d->texts == SD_TEXTS_BOTH && d->text.hidden && d->text.hidden != d->text.layers - 1)
        return sdi_fail(
            ctx, SD_ERROR_UNSUPPORTED,
            "%s: \"layer_idx\" of the first text encoder is %d; %d, which is before the "
            "last of its %d layers, was expected",
            d->path, d->text.hidden, d->text.layers - 1, d->text.layers);
    return check_label(ctx, d);
}

static sd_status check_context(const sd_context *ctx, const sd_description *d) {
    if (d->conditioning == SD_CONDITIONING_CLASS && d->unet.context_dim != d->classes.width)
        return sdi_fail(ctx, SD_ERROR_MODEL,
                        "%s: the UNet expects class embeddings %d wide, those here are %d wide",
                        d->path, d->unet.context_dim, d->classes.width);
    return check_texts(ctx, d);
}

sd_status sdi_check_description(const sd_context *ctx, const sd_description *d) {
    const char *path = d->path;
    int latent = d->vae.latent_channels;
    sd_status status = d->first_stage_only ? SD_OK : check_context(ctx, d);
    if (status)
        return status;
    /* More are conditioned on pictures: a mask and what is around it, a depth map, ... */
    if (!d->first_stage_only && d->unet.in_channels < latent)
        return sdi_fail(ctx, SD_ERROR_UNSUPPORTED,
                        "%s: the UNet takes %d channels; the latent alone has %d", path,
                        d->unet.in_channels, latent);
    if (!d->first_stage_only && d->unet.out_channels != latent)
        return sdi_fail(ctx, SD_ERROR_UNSUPPORTED,
                        "%s: the UNet gives %d channels where the latent has %d (a learned "
                        "variance is not supported)",
                        path, d->unet.out_channels, latent);
    if (d->tiny.n_levels > 0 && (status = sdi_check_tiny(ctx, path, d)))
        return status;
    if (d->vae.in_channels != 3 || d->vae.out_channels != 3)
        return sdi_fail(ctx, SD_ERROR_UNSUPPORTED,
                        "%s: the VAE takes %d and gives %d channels; libsd knows only 3", path,
                        d->vae.in_channels, d->vae.out_channels);
    return SD_OK;
}
