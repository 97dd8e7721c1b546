/* The tensors that an SD 1.5-size model asks for: how many, their names and their shapes. */
#include "core/context_new.h"
#include "core/tensor.h"
#include "model/build.h"
#include "model/names.h"

#include "../tools/suite.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_NAMES 4096

static const sd_description sd15 = {
    .path = (char *)"sd15",
    .text = {.names = {.prefix = "cond_stage_model.transformer.text_model."},
             .vocab_size = 49408,
             .width = 768,
             .layers = 12,
             .heads = 12,
             .mlp_width = 3072,
             .tokens = 77,
             .eps = 1e-5f},
    .unet = {.names = {.prefix = "model.diffusion_model."},
             .in_channels = 4,
             .out_channels = 4,
             .model_channels = 320,
             .n_levels = 4,
             .channels = {320, 640, 1280, 1280},
             .res_blocks = {2, 2, 2, 2},
             .depth_in = {0, 1, 1, 0, 1, 1, 0, 1, 1},
             .depth_mid = 1,
             .depth_out = {0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1},
             .mid_blocks = 2,
             .heads = {8, 8, 8, 8},
             .context_dim = 768,
             .norm_groups = 32,
             .norm_eps = 1e-5f},
    .vae = {.names = {.prefix = "first_stage_model."},
            .in_channels = 3,
            .out_channels = 3,
            .n_levels = 4,
            .channels = {128, 256, 512, 512},
            .res_blocks = 2,
            .latent_channels = 4,
            .norm_groups = 32,
            .mid_attention = true,
            .quant_conv = true,
            .post_quant_conv = true},
};

/* SDXL's base and refiner. */
#define SDXL_TEXT_2(place)                                                                         \
    {                                                                                              \
        .names = {SD_LAYOUT_OPEN_CLIP, place}, .vocab_size = 49408, .width = 1280, .layers = 32,   \
        .heads = 20, .mlp_width = 5120, .tokens = 77, .eps = 1e-5f, .projection = 1280             \
    }
#define SDXL_UNET                                                                                  \
    .names = {.prefix = "model.diffusion_model."}, .in_channels = 4, .out_channels = 4,            \
    .size_dim = 256, .norm_groups = 32, .norm_eps = 1e-5f, .linear_projection = true,              \
    .mid_blocks = 2
static const sd_description sdxl = {
    .path = (char *)"sdxl",
    .texts = SD_TEXTS_BOTH,
    .text = {.names = {.prefix = "conditioner.embedders.0.transformer.text_model."},
             .vocab_size = 49408,
             .width = 768,
             .layers = 12,
             .heads = 12,
             .mlp_width = 3072,
             .tokens = 77,
             .eps = 1e-5f},
    .text_2 = SDXL_TEXT_2("conditioner.embedders.1.model."),
    .unet = {SDXL_UNET, .model_channels = 320, .n_levels = 3, .channels = {320, 640, 1280},
             .res_blocks = {2, 2, 2}, .depth_in = {0, 0, 0, 0, 2, 2, 0, 10, 10}, .depth_mid = 10,
             .depth_out = {10, 10, 10, 2, 2, 2, 0, 0, 0}, .heads = {5, 10, 20}, .context_dim = 2048,
             .label_dim = 2816, .n_sizes = 6},
    .vae = {.kind = SD_FIRST_STAGE_IDENTITY},
};
static const sd_description refiner = {
    .path = (char *)"refiner",
    .texts = SD_TEXTS_SECOND,
    .text_2 = SDXL_TEXT_2("conditioner.embedders.0.model."),
    .unet = {SDXL_UNET, .model_channels = 384, .n_levels = 4, .channels = {384, 768, 1536, 1536},
             .res_blocks = {2, 2, 2, 2}, .depth_in = {0, 0, 0, 0, 4, 4, 0, 4, 4}, .depth_mid = 4,
             .depth_out = {0, 0, 0, 4, 4, 4, 4, 4, 4}, .heads = {6, 12, 24, 24},
             .context_dim = 1280, .label_dim = 2560, .n_sizes = 5},
    .vae = {.kind = SD_FIRST_STAGE_IDENTITY},
};

typedef struct names {
    int n;
    int64_t parameters;
    char *rows[MAX_NAMES]; /* "name<tab>1,2,3" */
} names;

static void add_row(names *all, const char *name, int n_dims, const int64_t *dims) {
    char row[512];
    int used = snprintf(row, sizeof row, "%s", name);
    int64_t elements = 1;
    for (int i = 0; i < n_dims; i++) {
        used += snprintf(row + used, sizeof row - (size_t)used, "%c%lld", i ? ',' : '\t',
                         (long long)dims[i]);
        elements *= dims[i];
    }
    ck_assert_int_lt(all->n, MAX_NAMES);
    all->rows[all->n++] = strdup(row);
    all->parameters += elements;
}

static void collect(void *user, const char *name, int n_dims, const int64_t *dims) {
    add_row(user, name, n_dims, dims);
}

static int by_text(const void *a, const void *b) {
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void list(names *all, const sd_description *desc) {
    const sd_source source = {.desc = (sd_description *)desc};
    const sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    sd_context *ctx;
    *all = (names){0};
    ck_assert_int_eq(sdi_context_new(&params, &ctx), SD_OK);
    ck_assert_int_eq(sdi_build_list(ctx, &source, collect, all), SD_OK);
    sdi_context_release(ctx);
    qsort(all->rows, (size_t)all->n, sizeof *all->rows, by_text);
    for (int i = 1; i < all->n; i++)
        ck_assert_msg(strcmp(all->rows[i - 1], all->rows[i]) != 0, "%s is asked for twice",
                      all->rows[i]);
}

static void clear(names *all) {
    for (int i = 0; i < all->n; i++)
        free(all->rows[i]);
}

static int count_prefix(const names *all, const char *prefix) {
    int n = 0;
    for (int i = 0; i < all->n; i++)
        n += strncmp(all->rows[i], prefix, strlen(prefix)) == 0;
    return n;
}

static bool has(const names *all, const char *row) {
    return bsearch(&row, all->rows, (size_t)all->n, sizeof *all->rows, by_text) != NULL;
}

START_TEST(counts_of_the_original) {
    names all;
    list(&all, &sd15);
    printf("%d tensors, %lld parameters\n", all.n, (long long)all.parameters);
    ck_assert_int_eq(count_prefix(&all, "model.diffusion_model."), 686);
    ck_assert_int_eq(count_prefix(&all, "first_stage_model."), 248);
    ck_assert_int_eq(count_prefix(&all, "cond_stage_model."), 196);
    /* UNet, autoencoder, text: as published */
    ck_assert_int_eq(all.parameters, 859520964LL + 83653863LL + 123060480LL);
    clear(&all);
}
END_TEST

/* As published: the UNets of 2.57 and 2.26 G parameters, and the text encoders. */
START_TEST(counts_of_sdxl) {
    names all;
    list(&all, &sdxl);
    ck_assert_int_eq(count_prefix(&all, "model.diffusion_model."), 1680);
    ck_assert(has(&all, "model.diffusion_model.label_emb.0.0.weight\t1280,2816"));
    ck_assert(has(&all, "conditioner.embedders.1.model.text_projection\t1280,1280"));
    ck_assert_int_eq(all.parameters, 2567463684LL + 123060480LL + 694659840LL);
    clear(&all);
    list(&all, &refiner);
    ck_assert_int_eq(count_prefix(&all, "model.diffusion_model."), 1220);
    ck_assert_int_eq(all.parameters, 2259526660LL + 694659840LL);
    clear(&all);
}
END_TEST

START_TEST(names_of_the_original) {
    static const char *const rows[] = {
        "model.diffusion_model.time_embed.0.weight\t1280,320",
        "model.diffusion_model.input_blocks.0.0.weight\t320,4,3,3",
        "model.diffusion_model.input_blocks.4.0.skip_connection.weight\t640,320,1,1",
        "model.diffusion_model.input_blocks.9.0.op.bias\t1280",
        "model.diffusion_model.input_blocks.11.0.emb_layers.1.weight\t1280,1280",
        "model.diffusion_model.middle_block.1.transformer_blocks.0.attn2.to_k.weight\t1280,768",
        "model.diffusion_model.output_blocks.2.1.conv.weight\t1280,1280,3,3",
        "model.diffusion_model.output_blocks.5.2.conv.weight\t1280,1280,3,3",
        "model.diffusion_model.output_blocks.8.0.in_layers.2.weight\t640,960,3,3",
        "model.diffusion_model.output_blocks.11.1.transformer_blocks.0.ff.net.0.proj.bias\t2560",
        "model.diffusion_model.out.2.weight\t4,320,3,3",
        "first_stage_model.encoder.down.2.downsample.conv.weight\t512,512,3,3",
        "first_stage_model.decoder.up.3.block.2.conv1.weight\t512,512,3,3",
        "first_stage_model.decoder.up.1.upsample.conv.weight\t256,256,3,3",
        "first_stage_model.decoder.up.0.block.0.nin_shortcut.weight\t128,256,1,1",
        "first_stage_model.decoder.mid.attn_1.q.weight\t512,512,1,1",
        "first_stage_model.quant_conv.weight\t8,8,1,1",
        "cond_stage_model.transformer.text_model.encoder.layers.11.mlp.fc1.weight\t3072,768",
    };
    names all;
    list(&all, &sd15);
    for (size_t i = 0; i < SD_COUNT(rows); i++)
        ck_assert_msg(has(&all, rows[i]), "%s is not asked for", rows[i]);
    clear(&all);
}
END_TEST

START_TEST(names_of_diffusers) {
    static const char *const rows[] = {
        "time_embedding.linear_1.weight\t1280,320",
        "conv_in.weight\t320,4,3,3",
        "down_blocks.1.resnets.0.conv_shortcut.weight\t640,320,1,1",
        "down_blocks.2.downsamplers.0.conv.bias\t1280",
        "down_blocks.3.resnets.1.time_emb_proj.weight\t1280,1280",
        "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight\t1280,768",
        "up_blocks.0.upsamplers.0.conv.weight\t1280,1280,3,3",
        "up_blocks.1.upsamplers.0.conv.weight\t1280,1280,3,3",
        "up_blocks.2.resnets.2.conv1.weight\t640,960,3,3",
        "up_blocks.3.attentions.2.transformer_blocks.0.ff.net.0.proj.weight\t2560,320",
        "conv_out.weight\t4,320,3,3",
        "vae.encoder.down_blocks.2.downsamplers.0.conv.weight\t512,512,3,3",
        "vae.decoder.up_blocks.0.resnets.2.conv1.weight\t512,512,3,3",
        "vae.decoder.up_blocks.2.upsamplers.0.conv.weight\t256,256,3,3",
        "vae.decoder.up_blocks.3.resnets.0.conv_shortcut.weight\t128,256,1,1",
        "vae.decoder.mid_block.attentions.0.to_q.weight\t512,512",
        "vae.quant_conv.weight\t8,8,1,1",
        "text_model.encoder.layers.11.mlp.fc1.weight\t3072,768",
    };
    sd_description folder = sd15;
    folder.text.names = (sd_naming){SD_LAYOUT_DIFFUSERS, "text_model."};
    folder.unet.names = (sd_naming){SD_LAYOUT_DIFFUSERS, ""};
    /* "" in a folder, where each network has its own file */
    folder.vae.names = (sd_naming){SD_LAYOUT_DIFFUSERS, "vae."};
    names all;
    list(&all, &folder);
    ck_assert_int_eq(all.n, 686 + 248 + 196);
    for (size_t i = 0; i < SD_COUNT(rows); i++)
        ck_assert_msg(has(&all, rows[i]), "%s is not asked for", rows[i]);
    for (int i = 0; i < all.n; i++)
        ck_assert_msg(!strstr(all.rows[i], "-1"), "%s", all.rows[i]);
    clear(&all);
}
END_TEST

/* Every tensor of the released v1-5-pruned-emaonly.safetensors is consumed or harmless. */
START_TEST(manifest_of_sd15) {
    const char *shared = getenv("SD_TEST_SHARED");
    if (!shared) {
        printf("manifest_of_sd15: skipped, SD_TEST_SHARED is not set\n");
        return;
    }
    char path[1024], line[1024], row[1024];
    snprintf(path, sizeof path, "%s/reference/sd15-manifest.tsv", shared);
    FILE *f = fopen(path, "r");
    ck_assert_msg(f != NULL, "cannot open %s", path);
    names all;
    list(&all, &sd15);
    int n_rows = 0, n_consumed = 0;
    while (fgets(line, sizeof line, f)) {
        char name[512], type[16], shape[128];
        ck_assert_int_eq(sscanf(line, "%511s %15s %127s", name, type, shape), 3);
        if (strcmp(name, "name") == 0)
            continue;
        snprintf(row, sizeof row, "%s\t%s", name, shape);
        n_rows++;
        n_consumed += has(&all, row);
        ck_assert_msg(has(&all, row) || sdi_name_is_harmless(name), "%s is not consumed", row);
    }
    fclose(f);
    printf("manifest: %d of %d tensors consumed, %d asked for\n", n_consumed, n_rows, all.n);
    ck_assert_int_eq(n_rows, 1131);
    ck_assert_int_eq(n_consumed, all.n);
    clear(&all);
}
END_TEST

START_TEST(former_names_of_diffusers) {
    static const struct {
        sd_key key;
        const char *name;
    } rows[] = {
        {SD_KEY_VAE_ATTENTION_NORM, "encoder.mid_block.attentions.0.group_norm.bias"},
        {SD_KEY_VAE_ATTENTION_Q, "encoder.mid_block.attentions.0.query.bias"},
        {SD_KEY_VAE_ATTENTION_K, "encoder.mid_block.attentions.0.key.bias"},
        {SD_KEY_VAE_ATTENTION_V, "encoder.mid_block.attentions.0.value.bias"},
        {SD_KEY_VAE_ATTENTION_OUT, "encoder.mid_block.attentions.0.proj_attn.bias"},
    };
    sd_path path = sdi_path_child(sdi_path_top(), SD_KEY_VAE_ENCODER);
    path = sdi_path_child(path, SD_KEY_VAE_MID_ATTENTION);
    for (size_t i = 0; i < SD_COUNT(rows); i++) {
        char name[SD_MAX_NAME];
        sd_path leaf = sdi_path_child(path, rows[i].key);
        ck_assert_str_eq(sdi_path_name(name, &leaf, SD_LAYOUT_DIFFUSERS, 1, "", ".bias"),
                         rows[i].name);
    }
}
END_TEST

START_TEST(harmless_names) {
    ck_assert(sdi_name_is_harmless("text_model.embeddings.position_ids"));
    ck_assert(sdi_name_is_harmless("model_ema.decay"));
    ck_assert(sdi_name_is_harmless("betas"));
    ck_assert(!sdi_name_is_harmless("betas2"));
    ck_assert(!sdi_name_is_harmless("my_model_ema.decay"));
    ck_assert(!sdi_name_is_harmless("model.diffusion_model.extra.weight"));
}
END_TEST

int main(void) {
    Suite *suite = suite_create("names");
    TCase *tc = tcase_create("names");
    tcase_add_test(tc, counts_of_the_original);
    tcase_add_test(tc, counts_of_sdxl);
    tcase_add_test(tc, names_of_the_original);
    tcase_add_test(tc, names_of_diffusers);
    tcase_add_test(tc, manifest_of_sd15);
    tcase_add_test(tc, former_names_of_diffusers);
    tcase_add_test(tc, harmless_names);
    suite_add_tcase(suite, tc);
    return suite_run(suite, CK_FORK_GETENV);
}
