/* Parts of a model from files and folders of their own. */
#include "../tools/files.h"
#include "api.h"

#include <jansson.h>

static sd_context *ctx;
static char vocab[1024], dir[FILES_PATH];                   /* for the files that the tests write */
static const char *one, *one_folder, *other, *other_folder; /* the same numbers in two layouts */

static void setup(void) {
    ctx = open_context(2);
    files_make_temp(dir);
    one = tiny_file();
    one_folder = tiny_folder();
    snprintf(vocab, sizeof vocab, "%s/tokenizer", one_folder);
    other = getenv("SD_TEST_OTHER_FILE");
    other_folder = getenv("SD_TEST_OTHER_FOLDER");
}

static void teardown(void) {
    sd_context_free(ctx);
    files_remove_tree(dir);
}

/* ------------------------------------------------------------------------- writing files */

/* Tensors of a file whose names begin so, or do not; they get another beginning. */
typedef struct selection {
    const char *path, *prefix, *renamed; /* renamed NULL: all but those, as they are */
} selection;

typedef struct piece {
    char name[256];
    json_t *info;
    const char *data;
    size_t size;
} piece;

static int pick(const selection *s, const char *bytes, piece *pieces) {
    uint64_t header;
    int n = 0;
    memcpy(&header, bytes, 8);
    json_t *root = json_loadb(bytes + 8, (size_t)header, 0, NULL), *info;
    const char *name;
    json_object_foreach(root, name, info) {
        size_t length = strlen(s->prefix);
        bool begins = strncmp(name, s->prefix, length) == 0;
        const json_t *range = json_object_get(info, "data_offsets");
        if (!range || begins != (s->renamed != NULL))
            continue;
        piece *p = &pieces[n++];
        long long from = json_integer_value(json_array_get(range, 0));
        snprintf(p->name, sizeof p->name, "%s%s", s->renamed ? s->renamed : "",
                 s->renamed ? name + length : name);
        p->data = bytes + 8 + header + from;
        p->size = (size_t)(json_integer_value(json_array_get(range, 1)) - from);
        p->info = json_deep_copy(info);
    }
    json_decref(root);
    return n;
}

static void write_pieces(const char *path, piece *pieces, int n) {
    json_t *root = json_object();
    uint64_t at = 0;
    for (int i = 0; i < n; i++) {
        json_object_set_new(pieces[i].info, "data_offsets",
                            json_pack("[I, I]", (json_int_t)at, (json_int_t)(at + pieces[i].size)));
        json_object_set_new(root, pieces[i].name, pieces[i].info);
        at += pieces[i].size;
    }
    char *text = json_dumps(root, JSON_COMPACT);
    uint64_t header = strlen(text);
    FILE *file = fopen(path, "wb");
    ck_assert_ptr_nonnull(file);
    fwrite(&header, 8, 1, file);
    fwrite(text, 1, (size_t)header, file);
    for (int i = 0; i < n; i++)
        fwrite(pieces[i].data, 1, pieces[i].size, file);
    fclose(file);
    free(text);
    json_decref(root);
}

/* A file of what is selected from one or two others; its path. */
static const char *made(const char *name, selection a, selection b) {
    static piece pieces[2048];
    size_t size;
    char *bytes[2] = {(char *)files_read(a.path, &size),
                      b.path ? (char *)files_read(b.path, &size) : NULL};
    const char *path = files_path(dir, name);
    int n = pick(&a, bytes[0], pieces);
    if (b.path)
        n += pick(&b, bytes[1], pieces + n);
    write_pieces(path, pieces, n);
    free(bytes[0]);
    free(bytes[1]);
    return path;
}

#define NOTHING ((selection){NULL, NULL, NULL})
#define VAE_PREFIX "first_stage_model."
#define TEXT_PREFIX "cond_stage_model.transformer."
#define UNET_PREFIX "model.diffusion_model."

static const char *in_folder(const char *folder, const char *name) {
    static char path[8][1024];
    static int at;
    char *text = path[at++ % 8];
    snprintf(text, sizeof path[0], "%s/%s", folder, name);
    return text;
}

/* ------------------------------------------------------------------------- models */

static sd_model_params from(const char *unet, const char *vae, const char *text) {
    sd_model_params p = SD_MODEL_PARAMS_INIT;
    p.vocab = vocab;
    p.unet = unet;
    p.vae = vae;
    p.text_encoder = text;
    p.strict = 1; /* nothing that was not read is one too many */
    return p;
}

static sd_model *load(const char *path, sd_model_params p) {
    sd_model *model;
    ck_ok(sd_model_load(ctx, path, &p, &model));
    return model;
}

/* Both paint the same bits; the first is freed. */
static void check_equal(sd_model *model, const sd_model *expected) {
    sd_tensor *a = painted(model), *b = painted(expected);
    size_t n = (size_t)sd_tensor_n_elements(b);
    ck_assert_uint_eq((size_t)sd_tensor_n_elements(a), n);
    ck_assert(!memcmp(sd_tensor_data(a), sd_tensor_data(b), n * sizeof(float)));
    sd_tensor_free(a);
    sd_tensor_free(b);
    sd_model_free(model);
}

/* By hand: `other`'s tensors of a part in the place of those of `one`. */
static sd_model *by_hand(const char *prefix) {
    const char *path = made("by-hand.safetensors", (selection){one, prefix, NULL},
                            (selection){other, prefix, prefix});
    return load(path, from(NULL, NULL, NULL));
}

START_TEST(a_vae_comes_in_every_form) {
    sd_model *expected = by_hand(VAE_PREFIX), *base = load(one, from(NULL, NULL, NULL));
    const char *weights = in_folder(other_folder, "vae/diffusion_pytorch_model.safetensors");
    const char *forms[] = {
        other,
        other_folder,
        in_folder(other_folder, "vae"),
        weights,
        made("bare.safetensors", (selection){other, VAE_PREFIX, ""}, NOTHING),
        made("prefixed.safetensors", (selection){other, VAE_PREFIX, VAE_PREFIX}, NOTHING),
        made("alone.safetensors", (selection){weights, "", ""}, NOTHING), /* without its config */
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        check_equal(load(one, from(NULL, forms[i], NULL)), expected);
        check_equal(load(one_folder, from(NULL, forms[i], NULL)), expected);
    }
    sd_model *donor = load(other, from(NULL, NULL, NULL)), *combined;
    ck_ok(
        sd_model_combine(base, (const char *[]){"vae"}, (const sd_model *[]){donor}, 1, &combined));
    check_equal(combined, expected);
    sd_model_free(donor);
    sd_model_free(base);
    sd_model_free(expected);
}
END_TEST

START_TEST(a_unet_comes_in_every_form) {
    sd_model *expected = by_hand(UNET_PREFIX);
    const char *weights = in_folder(other_folder, "unet/diffusion_pytorch_model.safetensors");
    const char *forms[] = {
        other,
        other_folder,
        weights,
        made("bare.safetensors", (selection){other, UNET_PREFIX, ""}, NOTHING),
        made("alone.safetensors", (selection){weights, "", ""}, NOTHING),
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        check_equal(load(one, from(forms[i], NULL, NULL)), expected);
        check_equal(load(one_folder, from(forms[i], NULL, NULL)), expected);
    }
    sd_model_free(expected);
}
END_TEST

START_TEST(a_text_encoder_comes_in_every_form) {
    sd_model *expected = by_hand(TEXT_PREFIX);
    const char *weights = in_folder(other_folder, "text_encoder/model.safetensors");
    const char *forms[] = {
        other,
        in_folder(other_folder, "text_encoder"),
        weights,
        made("bare.safetensors", (selection){other, TEXT_PREFIX, ""}, NOTHING),
        made("alone.safetensors", (selection){weights, "", ""}, NOTHING),
    };
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        check_equal(load(one, from(NULL, NULL, forms[i])), expected);
    sd_model_free(expected);
}
END_TEST

/* Whatever the checkpoint lacks, and all at once. */
START_TEST(parts_may_be_missing_where_they_are_given) {
    static const char *const prefixes[] = {UNET_PREFIX, VAE_PREFIX, "cond_stage_model."};
    sd_model *expected = load(other, from(NULL, NULL, NULL));
    for (int i = 0; i < 3; i++) {
        const char *pruned =
            made("pruned.safetensors", (selection){other, prefixes[i], NULL}, NOTHING);
        sd_model_params p = from(i == 0 ? other_folder : NULL, i == 1 ? other_folder : NULL,
                                 i == 2 ? other_folder : NULL);
        check_equal(load(pruned, p), expected);
    }
    check_equal(load(one, from(other_folder, other, other_folder)), expected);
    sd_model_free(expected);
}
END_TEST

START_TEST(xl_has_two_text_encoders_and_a_scale) {
    const char *file = getenv("SD_TEST_XL_FILE"), *folder = getenv("SD_TEST_XL_FOLDER");
    sd_model_params p = from(folder, NULL, folder);
    p.vocab = in_folder(folder, "tokenizer");
    sd_model *expected = load(file, p);
    const char *texts[] = {"conditioner.", VAE_PREFIX};
    p.vae = made("bare.safetensors", (selection){file, VAE_PREFIX, ""}, NOTHING);
    p.text_encoder_2 = folder;
    check_equal(load(file, p), expected);
    for (int i = 0; i < 2; i++) {
        const char *pruned = made("pruned.safetensors", (selection){file, texts[i], NULL}, NOTHING);
        p.unet = NULL;
        check_equal(load(pruned, p), expected);
    }
    sd_model_free(expected);
}
END_TEST

START_TEST(what_is_no_such_part_is_named) {
    sd_model *model;
    const char *bare = made("bare.safetensors", (selection){other, VAE_PREFIX, ""}, NOTHING);
    const char *xl = getenv("SD_TEST_XL_FOLDER");
    sd_model_params p = from(bare, NULL, NULL);
    ck_status(sd_model_load(ctx, one, &p, &model), SD_ERROR_MODEL, "no UNet (unet)");
    p = from(NULL, in_folder(other_folder, "unet"), NULL);
    ck_status(sd_model_load(ctx, one, &p, &model), SD_ERROR_MODEL,
              "'first_stage_model.*', 'encoder.down.*'");
    p = from(NULL, "/nonexistent/vae.safetensors", NULL);
    ck_status(sd_model_load(ctx, one, &p, &model), SD_ERROR_IO, "/nonexistent/vae.safetensors");
    p = from(NULL, in_folder(other_folder, "tokenizer"), NULL);
    ck_status(sd_model_load(ctx, one, &p, &model), SD_ERROR_IO, "no weights");
    p = from(NULL, NULL, NULL);
    p.text_encoder_2 = xl;
    ck_status(sd_model_load(ctx, one, &p, &model), SD_ERROR_UNSUPPORTED, "no text as one");
    ck_status(sd_model_load(ctx, one_folder, &p, &model), SD_ERROR_ARGUMENT,
              "takes no second text encoder");
    p = from(in_folder(xl, "unet"), NULL, NULL);
    ck_assert_int_ne(sd_model_load(ctx, one, &p, &model), SD_OK);
    ck_assert_msg(strstr(sd_last_error(), "wide") != NULL, "%s", sd_last_error());
    p = from(NULL, NULL, in_folder(xl, "text_encoder"));
    ck_status(sd_model_load(ctx, one, &p, &model), SD_ERROR_MODEL, "wide");
    ck_assert_ptr_null(model);
    p = from(NULL, NULL, NULL);
    ck_status(sd_model_load(ctx,
                            made("no-vae.safetensors", (selection){one, VAE_PREFIX, NULL}, NOTHING),
                            &p, &model),
              SD_ERROR_MODEL, "--vae");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("part files");
    TCase *tcase = tcase_create("load");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_set_timeout(tcase, 60);
    tcase_add_test(tcase, a_vae_comes_in_every_form);
    tcase_add_test(tcase, a_unet_comes_in_every_form);
    tcase_add_test(tcase, a_text_encoder_comes_in_every_form);
    tcase_add_test(tcase, parts_may_be_missing_where_they_are_given);
    tcase_add_test(tcase, xl_has_two_text_encoders_and_a_scale);
    tcase_add_test(tcase, what_is_no_such_part_is_named);
    suite_add_tcase(suite, tcase);
    return run_suite(suite);
}
