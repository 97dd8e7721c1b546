/* What an adapted model shares, which rows an adapter changes, and the arithmetic of it. */
#include "model/arithmetic.h"
#include "model/weight.h"
#include "pipeline/adapt.h"

#include "../tools/fixture.h"
#include "../tools/suite.h"
#include "core/call.h"
#include "io/dtype.h"
#include "model/change.h"

#include <math.h>
#include <stdlib.h>

#define Q "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q"

static const char *write_zeros(const char *name, const char *const *tensors,
                               const char *const *shapes, int n) {
    const char *path = files_path(dir, name);
    safetensors *s = safetensors_new();
    for (int i = 0; i < n; i++)
        safetensors_add(s, tensors[i], "F32", shapes[i]);
    safetensors_save(s, path);
    safetensors_free(s);
    return path;
}

static sd_model *load_tiny(sd_context *device) {
    sd_model *model;
    ck_assert_msg(sd_model_load(device, getenv("SD_TEST_TINY_FOLDER"), NULL, &model) == SD_OK, "%s",
                  sd_last_error());
    return model;
}

static int count_own(const sd_part *a, const sd_part *b) {
    int n = 0;
    ck_assert_uint_eq(a->weights.n, b->weights.n);
    for (size_t i = 0; i < a->weights.n; i++)
        n += a->weights.items[i] != b->weights.items[i];
    return n;
}

START_TEST(sharing) {
    const char *const names[] = {Q ".lora_down.weight", Q ".lora_up.weight"};
    const char *const shapes[] = {"[2, 32]", "[32, 2]"};
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    sd_adapter_use use = SD_ADAPTER_USE_INIT;
    const sd_adapter_use *uses[] = {&use};
    sd_context *device;
    sd_model *adapted, *none;
    use.path = write_zeros("a.safetensors", names, shapes, 2);
    params.backend = "cpu";
    ck_assert_int_eq(sd_context_new(&params, &device), SD_OK);
    sd_model *base = load_tiny(device);
    ck_assert_msg(sd_model_adapt(base, uses, 1, &adapted) == SD_OK, "%s", sd_last_error());
    const sd_part *unet = base->parts[SD_PART_UNET], *own = adapted->parts[SD_PART_UNET];
    ck_assert_ptr_eq(adapted->parts[SD_PART_TEXT], base->parts[SD_PART_TEXT]);
    ck_assert_ptr_eq(adapted->parts[SD_PART_VAE], base->parts[SD_PART_VAE]);
    ck_assert_ptr_ne(own, unet);
    ck_assert_int_eq(count_own(unet, own), 1); /* q, k and v are one weight */
    const sd_weight *first = unet->weights.items[0];
    ck_assert_int_eq(atomic_load(&((sd_weight *)first)->refs), 2);
    use.unet_strength = 0;
    ck_assert_int_eq(sd_model_adapt(base, uses, 1, &none), SD_OK);
    for (int i = 0; i < SD_N_PARTS; i++)
        ck_assert_ptr_eq(none->parts[i], base->parts[i]);
    sd_model_free(none);
    sd_model_free(adapted);
    ck_assert_int_eq(atomic_load(&((sd_weight *)first)->refs), 1);
    ck_assert_int_eq(atomic_load(&((sd_part *)unet)->refs), 1);
    sd_model_free(base);
    sd_context_free(device);
}
END_TEST

/* OpenCLIP's in_proj is three modules to an adapter, each some of its rows. */
START_TEST(thirds) {
    const char *const names[] = {
        "lora_te_text_model_encoder_layers_1_self_attn_k_proj.diff",
        "text_encoder.text_model.encoder.layers.1.self_attn.to_v_lora.up.weight"};
    const char *const shapes[] = {"[4, 4]", "[4, 1]"};
    sd_path path = sdi_path_child(
        sdi_path_at(sdi_path_top(), SD_KEY_TEXT_LAYER, (sd_indices){.layer = 1}), SD_KEY_TEXT_QKV);
    sd_path other = sdi_path_child(
        sdi_path_at(sdi_path_top(), SD_KEY_TEXT_LAYER, (sd_indices){.layer = 0}), SD_KEY_TEXT_QKV);
    sd_module_rows rows[3];
    sd_adapter *a;
    ck_assert_int_eq(
        sdi_adapter_load(ctx, write_zeros("t.safetensors", names, shapes, 2), NULL, &a), SD_OK);
    sd_use use = {a, 1, 1, NULL};
    sd_uses uses = {&use, 1};
    ck_assert_int_eq(sdi_path_modules(&path, 12, rows), 3);
    ck_assert_int_eq(rows[1].first, 4);
    ck_assert_int_eq(rows[1].rows, 4);
    ck_assert_ptr_null(sdi_adapter_find_path(a, SD_NET_TEXT, &rows[0].path));
    ck_assert_ptr_nonnull(sdi_adapter_find_path(a, SD_NET_TEXT, &rows[1].path));
    ck_assert_ptr_nonnull(sdi_adapter_find_path(a, SD_NET_TEXT, &rows[2].path));
    ck_assert(sdi_uses_touch(&uses, SD_NET_TEXT, &path, 12, false));
    ck_assert(!sdi_uses_touch(&uses, SD_NET_TEXT, &other, 12, false));
    ck_assert(!sdi_uses_touch(&uses, SD_NET_UNET, &path, 12, false));
    ck_assert(!sdi_uses_touch(&uses, SD_NET_TEXT, &path, 12, true));
    sdi_handle_release(a);
}
END_TEST

#define OUT 13
#define IN 300

/* Float32 tensors of random-looking numbers. */
static const char *write_numbers(const char *name, const char *header, size_t n) {
    static uint8_t bytes[1 << 16];
    size_t length = strlen(header), at = 8 + length;
    const char *path = files_path(dir, name);
    for (int i = 0; i < 8; i++)
        bytes[i] = (uint8_t)(length >> (8 * i));
    memcpy(bytes + 8, header, length);
    for (size_t i = 0; i < n; i++) {
        float x = (float)((i * 7919 + 13) % 257) / 64.0f - 2.0f;
        memcpy(bytes + at + 4 * i, &x, 4);
    }
    files_write(path, bytes, at + 4 * n);
    return path;
}

/* Rows of a weight in any pieces are the same bits, and what the equation says; of two uses the
 * sum, and in the type of 16-bit activations where the file has 16 bits. */
START_TEST(pieces) {
    static float whole[OUT * IN], cut[OUT * IN], base[OUT * IN];
    static uint16_t half[OUT * IN];
    const char *path = write_numbers(
        "lora.safetensors",
        "{\"lora_unet_conv_in.lora_down.weight\":{\"dtype\":\"F32\",\"shape\":[3,300],"
        "\"data_offsets\":[0,3600]},\"lora_unet_conv_in.lora_up.weight\":{\"dtype\":\"F32\","
        "\"shape\":[13,3],\"data_offsets\":[3600,3756]}}",
        939);
    const char *base_path = write_numbers("base.safetensors",
                                          "{\"w\":{\"dtype\":\"BF16\",\"shape\":[13,300],"
                                          "\"data_offsets\":[0,7800]}}",
                                          1950);
    sd_path where = sdi_path_child(sdi_path_top(), SD_KEY_UNET_CONV_IN);
    sd_adapter *a;
    sd_weights *w;
    sd_change *c;
    float *down, *up;
    ck_assert_int_eq(sdi_adapter_load(ctx, path, NULL, &a), SD_OK);
    ck_assert_int_eq(sdi_weights_open(ctx, base_path, &w), SD_OK);
    sd_use use[2] = {{a, 0.5, 1, NULL}, {a, 0.25, 0, NULL}};
    const sd_uses uses = {use, 2};
    sd_changed_tensor tensor = {.net = SD_NET_UNET,
                                .path = &where,
                                .shape = {OUT, IN, 1, false},
                                .weights = w,
                                .entry = sdi_weights_find(w, "w"),
                                .compute = SDB_F16};
    ck_assert_msg(sdi_change_new(ctx, &uses, &tensor, &c) == SD_OK, "%s", sdi_error_get());
    ck_assert_int_eq(c->from, SDB_BF16);
    ck_assert_int_eq(c->to, SDB_F16);
    ck_assert_int_eq(sdi_weights_read(w, tensor.entry, 0, half, sizeof half), SD_OK);
    sdi_arithmetic()->widen(base, half, SDB_BF16, OUT * IN);
    sdi_change_apply(c, 0, OUT * IN, half);
    c->from = c->to = SDB_F32;
    memcpy(whole, base, sizeof base);
    memcpy(cut, base, sizeof base);
    sdi_change_apply(c, 0, OUT * IN, whole);
    for (size_t i = 0, n = 1; i < OUT * IN; i += n) {
        n = n * 7 % 911 + 1;
        n = OUT * IN - i < n ? OUT * IN - i : n;
        sdi_change_apply(c, i, n, cut + i);
    }
    ck_assert_mem_eq(whole, cut, sizeof whole);
    const sd_adapter_module *m = &a->modules[0];
    ck_assert_int_eq(sdi_adapter_numbers(ctx, a, m->tensors[SD_LORA_DOWN], &down), SD_OK);
    ck_assert_int_eq(sdi_adapter_numbers(ctx, a, m->tensors[SD_LORA_UP], &up), SD_OK);
    for (int i = 0; i < OUT * IN; i++) {
        double sum = (double)base[i];
        for (int p = 0; p < 3; p++)
            sum += 0.75 * (double)up[i / IN * 3 + p] * (double)down[p * IN + i % IN];
        ck_assert_double_eq_tol((double)whole[i], sum, 1e-5);
        ck_assert_int_eq(half[i], sdi_half_of((double)whole[i]));
    }
    sdi_free(ctx, down);
    sdi_free(ctx, up);
    sdi_change_free(c);
    sdi_weights_close(w);
    sdi_handle_release(a);
}
END_TEST

/* All 65,536 numbers of float16 there and back, and what is halfway between two. */
START_TEST(halves) {
    static uint16_t half[65536], back[65536];
    static float x[65536];
    const sd_arithmetic *a = sdi_arithmetic();
    for (int i = 0; i < 65536; i++)
        half[i] = (uint16_t)i;
    a->widen(x, half, SDB_F16, 65536);
    a->narrow(back, x, SDB_F16, 65536);
    for (int i = 0; i < 65536; i++) {
        if ((i & 0x7fff) <= 0x7c00) {
            ck_assert_double_eq((double)x[i], sdi_dtype_value(SD_DTYPE_F16, &half[i]));
            ck_assert_int_eq(back[i], half[i]);
        } else {
            ck_assert(isnan(x[i]));
        }
    }
    for (int i = 0; i < 65535; i++)
        x[i] = i < 0x7bff ? 0.5f * (x[i] + x[i + 1]) : 65520.0f - (float)(i & 1);
    a->narrow(back, x, SDB_F16, 65535);
    for (int i = 0; i < 65535; i++)
        ck_assert_int_eq(back[i], sdi_half_of((double)x[i]));
}
END_TEST

/* The bits of a product do not depend on how it is cut. */
START_TEST(products) {
    enum { ROWS = 7, N = 83, RANK = 5 };
    float a[ROWS * RANK], b[RANK * N], whole[ROWS * N], cut[ROWS * N];
    for (int i = 0; i < ROWS * RANK; i++)
        a[i] = (float)(i * 37 % 19) / 7.0f - 1.0f;
    for (int i = 0; i < RANK * N; i++)
        b[i] = (float)(i * 53 % 29) / 3.0f - 4.0f;
    for (int i = 0; i < ROWS * N; i++)
        whole[i] = cut[i] = (float)i;
    sdi_arithmetic()->multiply_add(whole, N, a, RANK, b, N, ROWS, N, RANK);
    for (int r = 0; r < ROWS; r++)
        for (int c = 0; c < N; c += 11)
            sdi_arithmetic()->multiply_add(cut + r * N + c, N, a + r * RANK, RANK, b + c, N, 1,
                                           (size_t)(N - c < 11 ? N - c : 11), RANK);
    ck_assert_mem_eq(whole, cut, sizeof whole);
    double sum = 3 * N + 50; /* of one element, by its definition */
    for (int p = 0; p < RANK; p++)
        sum += (double)a[3 * RANK + p] * (double)b[p * N + 50];
    ck_assert_double_eq_tol((double)whole[3 * N + 50], sum, 1e-4);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("adapters");
    TCase *tcase = tcase_create("adapters");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, sharing);
    tcase_add_test(tcase, thirds);
    tcase_add_test(tcase, pieces);
    tcase_add_test(tcase, halves);
    tcase_add_test(tcase, products);
    suite_add_tcase(suite, tcase);
    return suite_run(suite, CK_NOFORK);
}
