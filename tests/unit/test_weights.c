/* Reading safetensors files that are as they should be; those that are not are in tests/fault. */
#include "io/weights.h"

#include "../tools/fixture.h"
#include "../tools/suite.h"

#include <check.h>
#include <stdio.h>
#include <string.h>

static sd_weights *open_weights(const char *path) {
    sd_weights *w;
    ck_assert_msg(sdi_weights_open(ctx, path, &w) == SD_OK, "%s", sdi_error_get());
    return w;
}

static void check_bytes(const sd_weights *w, const sd_entry *e, const uint8_t *want) {
    uint8_t bytes[64];
    ck_assert_uint_le(e->size, sizeof bytes);
    ck_assert_int_eq(sdi_weights_read(w, e, 0, bytes, e->size), SD_OK);
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
    ck_assert_uint_eq(sdi_weights_count(w), 4);
    static const char *const order[] = {"a", "b", "empty", "c.weight"}; /* of the data */
    for (size_t i = 0; i < 4; i++)
        ck_assert_str_eq(sdi_weights_at(w, i)->name, order[i]);
    ck_assert_ptr_null(sdi_weights_at(w, 4));
    const sd_entry *a = sdi_weights_find(w, "a"), *b = sdi_weights_find(w, "b");
    const sd_entry *c = sdi_weights_find(w, "c.weight"), *empty = sdi_weights_find(w, "empty");
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
    ck_assert_str_eq(sdi_weights_metadata(w, "sd.unet_heads"), "4");
    ck_assert_ptr_null(sdi_weights_metadata(w, "sd.text_heads"));
    ck_assert_str_eq(sdi_weights_path(w, a), path);
    sdi_weights_will_need(w, a);
    check_bytes(w, a, data); /* again */
    ck_assert_int_eq(sdi_weights_read(w, empty, 0, NULL, 0), SD_OK);
    sdi_weights_close(w);
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
    ck_assert_uint_eq(sdi_weights_count(w), 1131);
    for (int i = 0; i < 1131; i++) {
        snprintf(name, sizeof name, "layer.%d.weight", i);
        ck_assert_ptr_nonnull(sdi_weights_find(w, name));
        ck_assert_str_eq(sdi_weights_find(w, name)->name, name);
    }
    ck_assert_ptr_null(sdi_weights_find(w, "layer.1131.weight"));
    ck_assert_ptr_null(sdi_weights_find(w, ""));
    ck_assert_ptr_null(sdi_weights_find(w, "layer.1"));
    ck_assert(sdi_weights_has_prefix(w, "layer.1130."));
    ck_assert(sdi_weights_has_prefix(w, ""));
    ck_assert(!sdi_weights_has_prefix(w, "layer.1131"));
    ck_assert(!sdi_weights_has_prefix(w, "m"));
    ck_assert(!sdi_weights_has_prefix(w, "a"));
    sdi_weights_close(w);
}
END_TEST

START_TEST(reads_a_file_without_tensors) {
    const char *path = files_path(dir, "none.safetensors");
    safetensors_write_raw(path, 2, "{}", 0);
    sd_weights *w = open_weights(path);
    ck_assert_uint_eq(sdi_weights_count(w), 0);
    ck_assert_ptr_null(sdi_weights_find(w, "a"));
    ck_assert(!sdi_weights_has_prefix(w, ""));
    sdi_weights_close(w);
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
    ck_assert_uint_eq(sdi_weights_count(w), 2);
    const sd_entry *first = sdi_weights_find(w, "first"), *second = sdi_weights_find(w, "second");
    ck_assert(first && second && second->n_dims == 2 && first->file != second->file);
    ck_assert_ptr_nonnull(strstr(sdi_weights_path(w, first), "m-00001-of-00002.safetensors"));
    ck_assert_ptr_nonnull(strstr(sdi_weights_path(w, second), "m-00002-of-00002.safetensors"));
    ck_assert_str_eq(sdi_weights_path(w, NULL), index);
    sdi_weights_close(w);
}
END_TEST

/* Headers that safetensors 0.8.0 reads (and what it refuses is in tests/fault/weights.c), and where
 * one of their tensors lies. */
static const struct {
    const char *label, *header;
    size_t n_data;
    const char *name, *type;
    uint64_t before;
    size_t size;
} official[] = {
#define T(dtype, shape, offsets)                                                                   \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
    {"metadata is null", "{\"__metadata__\":null,\"a\":" T("F16", "[1]", "[0,2]") "}", 2, "a",
     "F16", 0, 2},
    {"a zero in a name",
     "{\"a\\u0000b\":" T("U8", "[1]", "[0,1]") ",\"a\\u0000c\":" T("U8", "[1]", "[1,2]") "}", 2,
     "a\xe2\x90\x80"
     "c",
     "U8", 1, 1},
    {"no zero but a backslash", "{\"a\\\\u0000\":" T("U8", "[1]", "[0,1]") "}", 1, "a\\u0000", "U8",
     0, 1},
    {"a backslash and a zero", "{\"\\\\\\u0000\":" T("U8", "[1]", "[0,1]") "}", 1, "\\\xe2\x90\x80",
     "U8", 0, 1},
    {"no metadata", "{\"__metadata__\\u0000\":" T("U8", "[1]", "[0,1]") "}", 1,
     "__metadata__\xe2\x90\x80", "U8", 0, 1},
    {"no name", "{\"\":" T("U8", "[1]", "[0,1]") "}", 1, "", "U8", 0, 1},
    {"the last of two", "{\"a\":" T("F32", "[1]", "[0,4]") ",\"a\":" T("F16", "[2]", "[0,4]") "}",
     4, "a", "F16", 0, 4},
    {"the same twice", "{\"a\":" T("F32", "[1]", "[0,4]") ",\"a\":" T("F32", "[1]", "[0,4]") "}", 4,
     "a", "F32", 0, 4},
    {"the last is empty", "{\"a\":" T("F32", "[1]", "[0,4]") ",\"a\":" T("F32", "[0]", "[0,0]") "}",
     0, "a", "F32", 0, 0},
    {"an unknown member twice",
     "{\"a\":{\"x\":1,\"x\":{\"dtype\":1,\"dtype\":2},\"dtype\":\"F16\",\"shape\":[1],"
     "\"data_offsets\":[0,2]}}",
     2, "a", "F16", 0, 2},
    {"metadata named as members",
     "{\"__metadata__\":{\"dtype\":\"1\",\"dtype\":\"2\",\"shape\":\"3\",\"shape\":\"\\u0000\"},"
     "\"a\":" T("F16", "[1]", "[0,2]") "}",
     2, "a", "F16", 0, 2},
    {"two halves of a byte", "{\"a\":" T("F4", "[3,2]", "[0,3]") "}", 3, "a", "F4", 0, 3},
    {"six bits", "{\"a\":" T("F6_E3M2", "[4]", "[0,3]") "}", 3, "a", "F6_E3M2", 0, 3},
    /* and one that even it does not know */
    {"another type", "{\"a\":" T("F128", "[1]", "[0,16]") "}", 16, "a", "F128", 0, 16},
    {"another type of 4 bits", "{\"a\":" T("I4", "[3]", "[0,2]") "}", 2, "a", "I4", 0, 2},
};

START_TEST(reads_what_the_official_reader_reads) {
    const char *path = files_path(dir, "official.safetensors");
    for (size_t i = 0; i < SD_COUNT(official); i++) {
        const char *header = official[i].header;
        safetensors_write_raw(path, strlen(header), header, official[i].n_data);
        sd_weights *w = open_weights(path);
        const sd_entry *e = sdi_weights_find(w, official[i].name);
        ck_assert_msg(e != NULL, "%s: no tensor '%s', but '%s'", official[i].label,
                      official[i].name, sdi_weights_at(w, 0)->name);
        ck_assert_str_eq(sdi_entry_type_name(e), official[i].type);
        ck_assert_uint_eq(e->offset, 8 + strlen(header) + official[i].before);
        ck_assert_uint_eq(e->size, official[i].size);
        sdi_weights_close(w);
    }
}
END_TEST

START_TEST(metadata_of_two_is_the_last) {
    static const char header[] =
        "{\"__metadata__\":{\"sd.a\":\"1\",\"sd.a\":\"2\",\"b\":\"x\\u0000y\"}}";
    const char *path = files_path(dir, "metadata.safetensors");
    safetensors_write_raw(path, strlen(header), header, 0);
    sd_weights *w = open_weights(path);
    ck_assert_str_eq(sdi_weights_metadata(w, "sd.a"), "2");
    ck_assert_str_eq(sdi_weights_metadata(w, "b"), "x\xe2\x90\x80y");
    sdi_weights_close(w);
}
END_TEST

START_TEST(lists_every_type) {
    static const char *const names[] = {
        "F64",         "F32",         "F16", "BF16", "F8_E4M3", "F8_E5M2", "F8_E8M0",
        "F8_E4M3FNUZ", "F8_E5M2FNUZ", "I64", "I32",  "I16",     "I8",      "U64",
        "U32",         "U16",         "U8",  "BOOL", "C64",     "C32",     "C128"};
    static const size_t sizes[] = {8, 4, 2, 2, 1, 1, 1, 1, 1, 8, 4, 2, 1, 8, 4, 2, 1, 1, 8, 4, 16};
    const char *path = files_path(dir, "types.safetensors");
    for (size_t i = 0; i < SD_COUNT(names); i++) {
        char header[200];
        snprintf(header, sizeof header,
                 "{\"a\":{\"dtype\":\"%s\",\"shape\":[3],\"data_offsets\":[0,%zu]}}", names[i],
                 3 * sizes[i]);
        safetensors_write_raw(path, strlen(header), header, 3 * sizes[i]);
        sd_weights *w = open_weights(path);
        const sd_entry *e = sdi_weights_at(w, 0);
        ck_assert_str_eq(sdi_entry_type_name(e), names[i]);
        ck_assert_ptr_null(e->other_type);
        ck_assert_uint_eq(e->size, 3 * sizes[i]);
        sdi_weights_close(w);
    }
}
END_TEST

/* ------------------------------------------------------------------------- other inputs */

/* A host's memory, whose reads fail from the one numbered `fails` on. */
typedef struct memory {
    const uint8_t *bytes;
    int reads, fails;
    bool closed;
} memory;

static sd_status read_memory(void *user, uint64_t offset, void *dst, size_t n) {
    memory *m = user;
    if (++m->reads >= m->fails)
        return SD_ERROR_IO;
    memcpy(dst, m->bytes + offset, n);
    return SD_OK;
}

static void close_memory(void *user, const sd_context *context) {
    memory *m = user;
    ck_assert_ptr_eq(context, ctx);
    ck_assert(!m->closed);
    m->closed = true;
}

/* Opens the bytes and reads all tensors; *reads is how often. */
static sd_status read_input(const uint8_t *bytes, size_t n, int fails, int *reads) {
    memory m = {bytes, 0, fails, false};
    sd_input in = {.size = n, .user = &m, .read = read_memory, .close = close_memory};
    sd_weights *w;
    sd_status status = sdi_weights_open_input(ctx, "the host's", in, &w);
    ck_assert(!status || (m.closed && !w));
    for (size_t i = 0; !status && i < sdi_weights_count(w); i++) {
        const sd_entry *e = sdi_weights_at(w, i);
        uint8_t *to = malloc(e->size + 1);
        sdi_weights_will_need(w, e);
        status = sdi_weights_read(w, e, 0, to, e->size);
        if (status)
            status = sdi_weights_fail(w, e, status);
        free(to);
    }
    sdi_weights_close(w);
    ck_assert(m.closed);
    *reads = m.reads;
    return status;
}

START_TEST(a_read_that_fails_is_an_error_everywhere) {
    static const char *const files[] = {SD_TEST_DATA "/ckpt/lightning.ckpt",
                                        SD_TEST_DATA "/ckpt/deflated.ckpt", "made.safetensors"};
    save_one("made.safetensors", "first", "[4]");
    for (size_t i = 0; i < SD_COUNT(files); i++) {
        size_t n;
        int all, reads;
        uint8_t *bytes = files_read(i == 2 ? files_path(dir, files[i]) : files[i], &n);
        ck_assert_int_eq(read_input(bytes, n, 1 << 30, &all), SD_OK);
        ck_assert_int_ge(all, 3);
        for (int fails = 1; fails <= all; fails++) {
            ck_assert_int_eq(read_input(bytes, n, fails, &reads), SD_ERROR_IO);
            ck_assert_str_eq(sdi_error_get(), "the host's: cannot be read");
        }
        printf("%s: each of %d reads failed once\n", files[i], all);
        free(bytes);
    }
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
    tcase_add_test(tcase, reads_what_the_official_reader_reads);
    tcase_add_test(tcase, metadata_of_two_is_the_last);
    tcase_add_test(tcase, lists_every_type);
    tcase_add_test(tcase, a_read_that_fails_is_an_error_everywhere);
    suite_add_tcase(suite, tcase);
    return suite_run(suite, CK_FORK_GETENV);
}
