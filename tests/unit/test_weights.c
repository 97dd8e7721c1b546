/* Reading safetensors files that are as they should be; those that are not are in tests/fault. */
#include "io/weights.h"

#include "../tools/fixture.h"
#include "../tools/suite.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

static sd_weights *open_weights(const char *path) {
    sd_weights *w;
    ck_assert_msg(sd_weights_open(ctx, path, &w) == SD_OK, "%s", sd_error_get(ctx->id));
    return w;
}

static void check_bytes(const sd_weights *w, const sd_entry *e, const uint8_t *want) {
    uint8_t bytes[64];
    ck_assert_uint_le(e->size, sizeof bytes);
    ck_assert_int_eq(sd_weights_read(w, e, 0, bytes, e->size), SD_OK);
    ck_assert_mem_eq(bytes, want, e->size);
}

START_TEST(reads_types_shapes_and_bytes) {
    /* Out of order in the header, a scalar, an empty tensor, an odd start of the data. */
    static const char header[] =
        "{\"b\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[12,20]},"
        "\"__metadata__\":{\"format\":\"pt\",\"sd.unet_heads\":\"4\"},"
        "\"a\":{\"dtype\":\"F16\",\"shape\":[2,3],\"data_offsets\":[0,12]},"
        "\"empty\":{\"dtype\":\"F32\",\"shape\":[0,5],\"data_offsets\":[20,20]},"
        "\"c.weight\":{\"dtype\":\"BOOL\",\"shape\":[1,1,1,3],\"data_offsets\":[20,23]}}  ";
    const char *path = files_path(dir, "odd.safetensors");
    uint8_t data[23];
    safetensors_write_raw(path, strlen(header), header, 0);
    size_t n;
    uint8_t *bytes = files_read(path, &n), *all = malloc(n + sizeof data);
    memcpy(all, bytes, n);
    for (size_t i = 0; i < sizeof data; i++)
        all[n + i] = data[i] = (uint8_t)(i * 7 + 1);
    files_write(path, all, n + sizeof data);
    free(bytes);
    free(all);

    sd_weights *w = open_weights(path);
    ck_assert_uint_eq(sd_weights_count(w), 4);
    static const char *const order[] = {"a", "b", "empty", "c.weight"}; /* of the data */
    for (size_t i = 0; i < 4; i++)
        ck_assert_str_eq(sd_weights_at(w, i)->name, order[i]);
    ck_assert_ptr_null(sd_weights_at(w, 4));
    const sd_entry *a = sd_weights_find(w, "a"), *b = sd_weights_find(w, "b");
    const sd_entry *c = sd_weights_find(w, "c.weight"), *empty = sd_weights_find(w, "empty");
    ck_assert(a && b && c && empty);
    ck_assert_int_eq(a->type, SD_DTYPE_F16);
    ck_assert_int_eq(a->n_dims, 2);
    ck_assert(a->dims[0] == 2 && a->dims[1] == 3 && a->size == 12);
    check_bytes(w, a, data);
    ck_assert(b->type == SD_DTYPE_I64 && b->n_dims == 0 && b->size == 8);
    check_bytes(w, b, data + 12);
    ck_assert(c->type == SD_DTYPE_BOOL && c->n_dims == 4 && c->dims[3] == 3);
    check_bytes(w, c, data + 20);
    ck_assert(empty->size == 0 && empty->dims[0] == 0);
    ck_assert_str_eq(sd_weights_metadata(w, "sd.unet_heads"), "4");
    ck_assert_ptr_null(sd_weights_metadata(w, "sd.text_heads"));
    ck_assert_str_eq(sd_weights_path(w, a), path);
    sd_weights_will_need(w, a);
    check_bytes(w, a, data); /* again */
    ck_assert_int_eq(sd_weights_read(w, empty, 0, NULL, 0), SD_OK);
    sd_weights_close(w);
}
END_TEST

START_TEST(finds_names_and_prefixes) {
    const char *path = files_path(dir, "many.safetensors");
    safetensors *s = safetensors_new();
    char name[64];
    for (int i = 0; i < 1131; i++) {
        snprintf(name, sizeof name, "layer.%d.weight", (i * 577) % 1131);
        safetensors_add(s, name, "U8", "[3]");
    }
    safetensors_save(s, path);
    safetensors_free(s);
    sd_weights *w = open_weights(path);
    ck_assert_uint_eq(sd_weights_count(w), 1131);
    for (int i = 0; i < 1131; i++) {
        snprintf(name, sizeof name, "layer.%d.weight", i);
        ck_assert_ptr_nonnull(sd_weights_find(w, name));
        ck_assert_str_eq(sd_weights_find(w, name)->name, name);
    }
    ck_assert_ptr_null(sd_weights_find(w, "layer.1131.weight"));
    ck_assert_ptr_null(sd_weights_find(w, ""));
    ck_assert_ptr_null(sd_weights_find(w, "layer.1"));
    ck_assert(sd_weights_has_prefix(w, "layer.1130."));
    ck_assert(sd_weights_has_prefix(w, ""));
    ck_assert(!sd_weights_has_prefix(w, "layer.1131"));
    ck_assert(!sd_weights_has_prefix(w, "m"));
    ck_assert(!sd_weights_has_prefix(w, "a"));
    sd_weights_close(w);
}
END_TEST

START_TEST(reads_a_file_without_tensors) {
    const char *path = files_path(dir, "none.safetensors");
    safetensors_write_raw(path, 2, "{}", 0);
    sd_weights *w = open_weights(path);
    ck_assert_uint_eq(sd_weights_count(w), 0);
    ck_assert_ptr_null(sd_weights_find(w, "a"));
    ck_assert(!sd_weights_has_prefix(w, ""));
    sd_weights_close(w);
}
END_TEST

static void save_one(const char *name, const char *tensor, const char *shape) {
    safetensors *s = safetensors_new();
    safetensors_add(s, tensor, "F32", shape);
    safetensors_save(s, files_path(dir, name));
    safetensors_free(s);
}

START_TEST(reads_several_files_by_their_index) {
    save_one("m-00001-of-00002.safetensors", "first", "[4]");
    save_one("m-00002-of-00002.safetensors", "second", "[2, 2]");
    const char *index = files_path(dir, "m.safetensors.index.json");
    files_write_text(index, "{\"metadata\": {\"total_size\": 32}, \"weight_map\": {"
                            "\"second\": \"m-00002-of-00002.safetensors\","
                            "\"first\": \"m-00001-of-00002.safetensors\"}}");
    sd_weights *w = open_weights(index);
    ck_assert_uint_eq(sd_weights_count(w), 2);
    const sd_entry *first = sd_weights_find(w, "first"), *second = sd_weights_find(w, "second");
    ck_assert(first && second && second->n_dims == 2 && first->file != second->file);
    ck_assert_ptr_nonnull(strstr(sd_weights_path(w, first), "m-00001-of-00002.safetensors"));
    ck_assert_ptr_nonnull(strstr(sd_weights_path(w, second), "m-00002-of-00002.safetensors"));
    ck_assert_str_eq(sd_weights_path(w, NULL), index);
    sd_weights_close(w);
}
END_TEST

START_TEST(names_types) {
    ck_assert_str_eq(sd_dtype_name(SD_DTYPE_BF16), "BF16");
    ck_assert_uint_eq(sd_dtype_size(SD_DTYPE_BF16), 2);
    ck_assert_str_eq(sd_dtype_name(SD_DTYPE_BOOL), "BOOL");
    ck_assert_uint_eq(sd_dtype_size(SD_DTYPE_F64), 8);
    ck_assert_str_eq(sd_dtype_name(SD_N_DTYPES), "?");
    ck_assert_uint_eq(sd_dtype_size(SD_N_DTYPES), 0);
}
END_TEST

int main(void) {
    Suite *suite = suite_create("weights");
    TCase *tcase = tcase_create("weights");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, reads_types_shapes_and_bytes);
    tcase_add_test(tcase, finds_names_and_prefixes);
    tcase_add_test(tcase, reads_a_file_without_tensors);
    tcase_add_test(tcase, reads_several_files_by_their_index);
    tcase_add_test(tcase, names_types);
    suite_add_tcase(suite, tcase);
    return suite_run(suite, CK_FORK_GETENV);
}
