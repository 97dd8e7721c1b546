/* Building networks from files with one thing wrong: the sentence names tensor and shapes. */
#include "backend/device.h"
#include "core/context_new.h"
#include "core/tensor.h"
#include "model/build.h"
#include "model/weight.h"

#include "../tools/suite.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const sd_description tiny = {
    .path = (char *)"tiny",
    .text = {.names = {SD_LAYOUT_DIFFUSERS, "text."},
             .vocab_size = 8,
             .width = 4,
             .layers = 1,
             .heads = 2,
             .mlp_width = 8,
             .tokens = 5,
             .eps = 1e-5f},
    .unet = {.names = {SD_LAYOUT_DIFFUSERS, "unet."},
             .in_channels = 4,
             .out_channels = 4,
             .model_channels = 4,
             .n_levels = 2,
             .channels = {4, 8},
             .res_blocks = {1, 1},
             .depth_in = {0, 1},
             .depth_mid = 1,
             .depth_out = {0, 0, 1, 1},
             .mid_blocks = 2,
             .heads = {2, 2},
             .context_dim = 4,
             .norm_groups = 2,
             .norm_eps = 1e-5f},
    .vae = {.names = {SD_LAYOUT_DIFFUSERS, "vae."},
            .in_channels = 3,
            .out_channels = 3,
            .n_levels = 2,
            .channels = {4, 8},
            .res_blocks = 1,
            .latent_channels = 4,
            .norm_groups = 2,
            .mid_attention = true,
            .quant_conv = true,
            .post_quant_conv = true},
};

/* The difference from the right file. */
typedef struct fault {
    const char *tensor;  /* the one that is concerned */
    const char *rename;  /* its name in the file; "" leaves it out */
    const char *shape;   /* its shape, of as many elements */
    const char *type;    /* "F64" ... */
    const char *swap[2]; /* replaces a part of every name */
    const char *extra;   /* one more tensor of this name */
} fault;

typedef struct writer {
    const fault *fault;
    char header[1 << 17];
    size_t used;
    int64_t offset;
} writer;

static void replace(char *name, size_t size, const char *from, const char *to) {
    char *at = strstr(name, from);
    if (at) {
        char rest[256];
        snprintf(rest, sizeof rest, "%s", at + strlen(from));
        snprintf(at, size - (size_t)(at - name), "%s%s", to, rest);
    }
}

static void write_row(writer *w, const char *name, const char *type, const char *shape,
                      int64_t size) {
    w->used +=
        (size_t)snprintf(w->header + w->used, sizeof w->header - w->used,
                         "%s\"%s\":{\"dtype\":\"%s\",\"shape\":%s,\"data_offsets\":[%lld,%lld]}",
                         w->used ? "," : "{", name, type, shape, (long long)w->offset,
                         (long long)(w->offset + size));
    ck_assert_uint_lt(w->used, sizeof w->header);
    w->offset += size;
}

static void write_tensor(void *user, const char *asked, int n_dims, const int64_t *dims) {
    writer *w = user;
    const fault *f = w->fault;
    char name[256], shape[128];
    int64_t elements = 1;
    for (int i = 0; i < n_dims; i++)
        elements *= dims[i];
    snprintf(name, sizeof name, "%s", asked);
    sdi_shape_text(shape, sizeof shape, n_dims, dims);
    if (f->swap[0])
        replace(name, sizeof name, f->swap[0], f->swap[1]);
    const char *type = "F32";
    if (f->tensor && strcmp(asked, f->tensor) == 0) {
        if (f->rename && !*f->rename)
            return;
        if (f->rename)
            snprintf(name, sizeof name, "%s", f->rename);
        if (f->shape)
            snprintf(shape, sizeof shape, "%s", f->shape);
        if (f->type)
            type = f->type;
    }
    write_row(w, name, type, shape, elements * (strcmp(type, "F64") == 0 ? 8 : 4));
}

static void write_file(sd_context *ctx, const char *path, const fault *f) {
    static writer w;
    const sd_source source = {.desc = (sd_description *)&tiny};
    w = (writer){.fault = f};
    ck_assert_int_eq(sdi_build_list(ctx, &source, write_tensor, &w), SD_OK);
    if (f->extra)
        write_row(&w, f->extra, "F32", "[1]", 4);
    w.header[w.used++] = '}';
    while (w.used % 8)
        w.header[w.used++] = ' ';
    FILE *file = fopen(path, "wb");
    uint8_t length[8];
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)(w.used >> (8 * i));
    fwrite(length, 1, 8, file);
    fwrite(w.header, 1, w.used, file);
    for (int64_t i = 0; i < w.offset; i++)
        fputc(0, file);
    fclose(file);
}

static void note_unexpected(void *user, const char *name) {
    char *names = user;
    strcat(strcat(names, name), ";");
}

typedef struct outcome {
    sd_status status;
    char sentence[512];
    char unexpected[512];
    int done, total;
    int64_t parameters;
} outcome;

static void (*look)(sd_part *const parts[SD_N_PARTS], int n_tensors); /* at what was built */
static sd_progress_fn progress;
static void *progress_user;

static outcome build(const fault *f) {
    char path[] = "/tmp/sd-test-build-XXXXXX";
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    sd_model_params model_params = SD_MODEL_PARAMS_INIT;
    sd_context *ctx;
    sd_source source = {.desc = (sd_description *)&tiny};
    outcome result = {0};
    sd_build b;

    params.backend = "reference";
    ck_assert_int_eq(sd_context_new(&params, &ctx), SD_OK);
    close(mkstemp(path));
    write_file(ctx, path, f);
    ck_assert_msg(sdi_weights_open(ctx, path, &source.files[0]) == SD_OK, "%s", sd_last_error());
    source.n_files = 1;
    for (int i = 0; i < SD_N_PARTS; i++)
        source.weights[i] = source.files[0];
    model_params.progress = progress;
    model_params.progress_user = progress_user;
    ck_assert_int_eq(sdi_build_init(&b, ctx, &source, SDB_F32, &model_params), SD_OK);

    sd_part *parts[SD_N_PARTS];
    result.status = sdi_build_parts(&b, parts);
    if (result.status)
        snprintf(result.sentence, sizeof result.sentence, "%s", sd_last_error());
    else
        sdi_build_unexpected(&b, note_unexpected, result.unexpected);
    if (look && !result.status)
        look(parts, b.done);
    result.done = b.done;
    result.total = b.total;
    for (int i = 0; i < SD_N_PARTS; i++) {
        result.parameters += sdi_part_parameters(parts[i]);
        sdi_part_release(parts[i]);
    }
    sdi_build_free(&b);
    sdi_weights_close(source.files[0]);
    sd_context_free(ctx);
    unlink(path);
    return result;
}

static void expect_error(const fault *f, sd_status status, const char *part) {
    outcome o = build(f);
    printf("%s\n", o.sentence);
    ck_assert_int_eq(o.status, status);
    ck_assert_msg(strstr(o.sentence, part) != NULL, "\"%s\" is not in \"%s\"", part, o.sentence);
}

START_TEST(whole_file) {
    outcome o = build(&(fault){0});
    ck_assert_msg(o.status == SD_OK, "%s", o.sentence);
    ck_assert_int_eq(o.done, o.total);
    ck_assert_int_gt(o.total, 200);
    ck_assert_int_gt(o.parameters, 0);
    ck_assert_str_eq(o.unexpected, "");
}
END_TEST

/* The tensor that row `row` of a weight comes from, and which of its rows that is. */
static const char *tensor_of(const sd_weight *w, int row, const sd_naming *names, int *at) {
    static char name[SD_MAX_NAME];
    const sd_param *p = w->params;
    for (; row >= p->rows; p++)
        row -= p->rows;
    *at = p->first + row;
    sd_wanted want = sdi_weight_wants(w, p, names->layout);
    return sdi_path_name(name, want.path, names->layout, 0, names->prefix, want.suffix);
}

static void look_at_weights(sd_part *const parts[SD_N_PARTS], int n_tensors) {
    int n = 0, at, stacked = 0;
    for (int i = 0; i < SD_N_PARTS; i++) {
        for (size_t k = 0; parts[i] && k < parts[i]->weights.n; k++) {
            const sd_weight *w = parts[i]->weights.items[k];
            ck_assert_ptr_nonnull(w->dev);
            for (int p = 0; p < w->n_params; p++)
                n += 1 + w->params[p].bias;
            if (i != SD_PART_TEXT || w->n_params != 3)
                continue;
            stacked++; /* q, k and v, 4 wide each */
            ck_assert_str_eq(tensor_of(w, 5, &tiny.text.names, &at),
                             "text.encoder.layers.0.self_attn.k_proj.weight");
            ck_assert_int_eq(at, 1);
            ck_assert_int_eq(sdi_weight_count(w), 3 * (4 * 4 + 4));
        }
    }
    ck_assert_int_eq(stacked, 1);
    ck_assert_int_eq(n, n_tensors);
}

/* A holder of a part or a weight keeps it. */
static void share_parts(sd_part *const parts[SD_N_PARTS], int n_tensors) {
    (void)n_tensors;
    sd_part *unet = sdi_part_retain(parts[SD_PART_UNET]);
    int64_t n = sdi_part_parameters(unet), bytes = sdi_part_bytes(unet);
    sd_weight *first = sdi_weight_retain(unet->weights.items[0]);
    sdi_weight_release(first);
    sdi_part_release(unet);
    ck_assert(n > 0 && bytes > 0);
    ck_assert(sdi_part_parameters(parts[SD_PART_UNET]) == n && first->dev);
    ck_assert_int_eq(sdi_part_bytes(unet), bytes);
}

START_TEST(weights_know_their_tensors) {
    look = look_at_weights;
    ck_assert_int_eq(build(&(fault){0}).status, SD_OK);
    look = share_parts;
    ck_assert_int_eq(build(&(fault){0}).status, SD_OK);
    look = NULL;
}
END_TEST

START_TEST(missing_tensor) {
    expect_error(&(fault){"unet.mid_block.resnets.1.conv2.weight", .rename = ""}, SD_ERROR_MODEL,
                 "tensor 'unet.mid_block.resnets.1.conv2.weight' is missing (expected shape "
                 "[8, 8, 3, 3])");
    expect_error(&(fault){"text.final_layer_norm.bias", .rename = "text.final_layer_norm.bios"},
                 SD_ERROR_MODEL,
                 "tensor 'text.final_layer_norm.bias' is missing (expected shape [4])");
}
END_TEST

START_TEST(misshaped_tensor) {
    expect_error(&(fault){"vae.decoder.conv_in.weight", .shape = "[4, 8, 3, 3]"}, SD_ERROR_MODEL,
                 "tensor 'vae.decoder.conv_in.weight' has shape [4, 8, 3, 3], expected "
                 "[8, 4, 3, 3]");
    expect_error(&(fault){"vae.decoder.conv_in.weight", .shape = "[8, 36]"}, SD_ERROR_MODEL,
                 "has shape [8, 36], expected [8, 4, 3, 3]");
    expect_error(&(fault){"unet.time_embedding.linear_1.weight", .shape = "[4, 16]"},
                 SD_ERROR_MODEL, "has shape [4, 16], expected [16, 4]");
}
END_TEST

START_TEST(same_matrix_in_another_shape) {
    static const fault faults[] = {
        {"vae.quant_conv.weight", .shape = "[8, 8]"},
        {"vae.decoder.mid_block.attentions.0.to_q.weight", .shape = "[8, 8, 1, 1]"},
    };
    for (size_t i = 0; i < SD_COUNT(faults); i++) {
        outcome o = build(&faults[i]);
        ck_assert_msg(o.status == SD_OK, "%s", o.sentence);
    }
}
END_TEST

START_TEST(types_that_are_not_weights) {
    expect_error(&(fault){"unet.conv_in.weight", .type = "I32"}, SD_ERROR_UNSUPPORTED,
                 "tensor 'unet.conv_in.weight' is of type I32; weights must be F64, F32, F16, "
                 "BF16, F8_E4M3 or F8_E5M2");
}
END_TEST

START_TEST(former_spelling) {
    static const fault faults[] = {
        {.swap = {"mid_block.attentions.0.to_q", "mid_block.attentions.0.query"}},
        {.swap = {"mid_block.attentions.0.to_k", "mid_block.attentions.0.key"}},
        {.swap = {"mid_block.attentions.0.to_v", "mid_block.attentions.0.value"}},
        {.swap = {"mid_block.attentions.0.to_out.0", "mid_block.attentions.0.proj_attn"}},
    };
    for (size_t i = 0; i < SD_COUNT(faults); i++) {
        outcome o = build(&faults[i]);
        ck_assert_msg(o.status == SD_OK, "%s", o.sentence);
        ck_assert_str_eq(o.unexpected, "");
    }
}
END_TEST

START_TEST(unexpected_tensor) {
    outcome o = build(&(fault){.extra = "unet.conv_in.scale"});
    ck_assert_int_eq(o.status, SD_OK);
    ck_assert_str_eq(o.unexpected, "unet.conv_in.scale;");
    o = build(&(fault){.extra = "text.embeddings.position_ids"});
    ck_assert_str_eq(o.unexpected, "");
}
END_TEST

static int32_t stop_at(void *user, const sd_progress *at) {
    ck_assert_int_le(at->step, at->total);
    return at->step == *(int *)user;
}

START_TEST(cancelled_by_progress) {
    int at = 100;
    progress = stop_at;
    progress_user = &at;
    outcome o = build(&(fault){0});
    progress = NULL;
    ck_assert_int_eq(o.status, SD_ERROR_CANCELLED);
    ck_assert_int_eq(o.done, 100);
}
END_TEST

static void ignore(void *user, const char *name, int n_dims, const int64_t *dims) {
    (void)user, (void)name, (void)n_dims, (void)dims;
}

static void expect_refused(const sd_description *desc, const char *part) {
    const sd_source source = {.desc = (sd_description *)desc};
    const sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    sd_context *ctx;
    ck_assert_int_eq(sdi_context_new(&params, &ctx), SD_OK);
    ck_assert_int_eq(sdi_build_list(ctx, &source, ignore, NULL), SD_ERROR_MODEL);
    printf("%s\n", sd_last_error());
    ck_assert_msg(strstr(sd_last_error(), part) != NULL, "%s", sd_last_error());
    sdi_context_release(ctx);
}

START_TEST(impossible_sizes) {
    sd_description s = tiny;
    s.unet.norm_groups = 3;
    expect_refused(&s, "4 channels cannot be divided into 3 normalisation groups");
    s = tiny;
    s.unet.heads[1] = 0;
    expect_refused(&s, "8 channels cannot be divided into 0 attention heads");
    s = tiny;
    s.unet.res_blocks[1] = 1000000000;
    expect_refused(&s, "ResBlocks a level is 1000000000");
    s = tiny;
    s.vae.n_levels = 0;
    expect_refused(&s, "the autoencoder's number of levels is 0; it must be in 1 .. 8");
    s = tiny;
    s.vae.channels[1] = -8;
    expect_refused(&s, "the autoencoder's number of channels is -8");
    s = tiny;
    s.text.layers = -1;
    expect_refused(&s, "the text encoder's number of layers is -1");
}
END_TEST

int main(void) {
    Suite *suite = suite_create("build");
    TCase *tc = tcase_create("build");
    tcase_add_test(tc, whole_file);
    tcase_add_test(tc, weights_know_their_tensors);
    tcase_add_test(tc, missing_tensor);
    tcase_add_test(tc, misshaped_tensor);
    tcase_add_test(tc, same_matrix_in_another_shape);
    tcase_add_test(tc, types_that_are_not_weights);
    tcase_add_test(tc, former_spelling);
    tcase_add_test(tc, unexpected_tensor);
    tcase_add_test(tc, cancelled_by_progress);
    tcase_add_test(tc, impossible_sizes);
    suite_add_tcase(suite, tc);
    return suite_run(suite, CK_FORK_GETENV);
}
