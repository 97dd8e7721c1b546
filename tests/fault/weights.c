/* Broken safetensors files and indexes, and what people take for them. */
#include "fault.h"

#define T(dtype, shape, offsets)                                                                   \
    "{\"dtype\":\"" dtype "\",\"shape\":" shape ",\"data_offsets\":" offsets "}"
#define ONE(name, dtype, shape, offsets) "{\"" name "\":" T(dtype, shape, offsets) "}"

typedef struct row {
    const char *label, *header;
    size_t n_data;
    sd_status status;
    const char *part;
} row;

static const row headers[] = {
    {"no object", "[]", 0, SD_ERROR_FORMAT, "this is neither"},
    {"a string", "\"abc\"", 0, SD_ERROR_FORMAT, "this is neither"},
    {"white space first", " {}", 0, SD_ERROR_FORMAT, "this is neither"},
    {"not closed", "{\"a\":", 0, SD_ERROR_FORMAT, "not valid JSON"},
    {"two objects", "{}{}", 0, SD_ERROR_FORMAT, "not valid JSON"},
    {"comma at the end", "{\"a\":1,}", 0, SD_ERROR_FORMAT, "not valid JSON"},
    {"a comment", "{/* */}", 0, SD_ERROR_FORMAT, "not valid JSON"},
    {"not UTF-8", "{\"\xff\xfe\":1}", 0, SD_ERROR_FORMAT, "not valid JSON"},
    {"an overlong character", "{\"\xc0\x80\":1}", 0, SD_ERROR_FORMAT, "not valid JSON"},
    {"a control character in a name", "{\"a\1b\":1}", 0, SD_ERROR_FORMAT, "not valid JSON"},
    {"a lone surrogate", "{\"\\ud800\":1}", 0, SD_ERROR_FORMAT, "not valid JSON"},
    {"tensor is a number", "{\"a\":1}", 0, SD_ERROR_FORMAT, "'a'"},
    {"tensor is null", "{\"a\":null}", 0, SD_ERROR_FORMAT, "'a'"},
    {"tensor is a list", "{\"a\":[]}", 0, SD_ERROR_FORMAT, "'a'"},
    {"empty description", "{\"a\":{}}", 0, SD_ERROR_FORMAT, "\"dtype\""},
    {"no dtype", "{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, SD_ERROR_FORMAT, "\"dtype\""},
    {"no shape", "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4, SD_ERROR_FORMAT,
     "\"shape\""},
    {"no offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1]}}", 4, SD_ERROR_FORMAT,
     "\"data_offsets\""},
    {"dtype is a number", "{\"a\":{\"dtype\":32,\"shape\":[1],\"data_offsets\":[0,4]}}", 4,
     SD_ERROR_FORMAT, "\"dtype\""},
    {"empty dtype", ONE("a", "", "[1]", "[0,4]"), 4, SD_ERROR_FORMAT, "'a'"},
    {"a long dtype", ONE("a", "F8_E4M3_F8_E4M3_F8_E4M3_F8_E4M3_F8_E4M3_F8", "[1]", "[0,1]"), 1,
     SD_ERROR_FORMAT, "\"dtype\""},
    {"three halves of a byte", ONE("a", "F4", "[3]", "[0,2]"), 2, SD_ERROR_FORMAT,
     "no whole number"},
    {"two quarters of three bytes", ONE("a", "F6_E2M3", "[2]", "[0,2]"), 2, SD_ERROR_FORMAT,
     "no whole number"},
    {"more data than F4", ONE("a", "F4", "[2]", "[0,2]"), 2, SD_ERROR_FORMAT, "1 bytes"},
    {"less data than U16", ONE("a", "U16", "[2]", "[0,2]"), 2, SD_ERROR_FORMAT, "4 bytes"},
    {"F4 overflows", ONE("a", "F4", "[4294967296,4294967296]", "[0,4]"), 4, SD_ERROR_FORMAT,
     "overflows"},
    {"unknown type beyond the data", ONE("a", "F128", "[1]", "[0,16]"), 4, SD_ERROR_FORMAT,
     "cut short"},
    {"shape is an object", ONE("a", "F32", "{}", "[0,4]"), 4, SD_ERROR_FORMAT, "\"shape\""},
    {"shape is a number", ONE("a", "F32", "1", "[0,4]"), 4, SD_ERROR_FORMAT, "\"shape\""},
    {"shape of strings", ONE("a", "F32", "[\"1\"]", "[0,4]"), 4, SD_ERROR_FORMAT, "\"shape\""},
    {"shape of reals", ONE("a", "F32", "[1.0]", "[0,4]"), 4, SD_ERROR_FORMAT, "\"shape\""},
    {"negative dimension", ONE("a", "F32", "[-1]", "[0,4]"), 4, SD_ERROR_FORMAT, "\"shape\""},
    {"two negative dimensions", ONE("a", "F32", "[-1,-1]", "[0,4]"), 4, SD_ERROR_FORMAT,
     "\"shape\""},
    {"dimension of NaN", ONE("a", "F32", "[NaN]", "[0,4]"), 4, SD_ERROR_FORMAT, "not valid JSON"},
    {"dimension beyond 64 bits", ONE("a", "F32", "[99999999999999999999]", "[0,4]"), 4,
     SD_ERROR_FORMAT, "not valid JSON"},
    {"dimension of 1e999", ONE("a", "F32", "[1e999]", "[0,4]"), 4, SD_ERROR_FORMAT,
     "not valid JSON"},
    {"shape overflows", ONE("a", "F32", "[4294967296,4294967296]", "[0,4]"), 4, SD_ERROR_FORMAT,
     "overflows"},
    {"shape wraps to 4 bytes", ONE("a", "F32", "[4611686018427387905]", "[0,4]"), 4,
     SD_ERROR_FORMAT, "overflows"},
    {"shape wraps to nothing", ONE("a", "F32", "[2147483648,2147483648,4]", "[0,0]"), 0,
     SD_ERROR_FORMAT, "overflows"},
    {"shape overflows before a zero", ONE("a", "U8", "[9223372036854775807,3,0]", "[0,0]"), 0,
     SD_ERROR_FORMAT, "overflows"},
    {"nine dimensions", ONE("a", "U8", "[1,1,1,1,1,1,1,1,1]", "[0,1]"), 1, SD_ERROR_FORMAT,
     "9 dimensions"},
    {"one offset", ONE("a", "F32", "[1]", "[0]"), 4, SD_ERROR_FORMAT, "\"data_offsets\""},
    {"three offsets", ONE("a", "F32", "[1]", "[0,4,8]"), 8, SD_ERROR_FORMAT, "\"data_offsets\""},
    {"offsets are strings", ONE("a", "F32", "[1]", "[\"0\",\"4\"]"), 4, SD_ERROR_FORMAT,
     "\"data_offsets\""},
    {"offsets are reals", ONE("a", "F32", "[1]", "[0.0,4.0]"), 4, SD_ERROR_FORMAT,
     "\"data_offsets\""},
    {"offsets are an object", ONE("a", "F32", "[1]", "{}"), 4, SD_ERROR_FORMAT, "\"data_offsets\""},
    {"negative offset", ONE("a", "F32", "[1]", "[-4,0]"), 4, SD_ERROR_FORMAT, "no range"},
    {"offsets backwards", ONE("a", "F32", "[1]", "[4,0]"), 4, SD_ERROR_FORMAT, "no range"},
    {"offset far beyond", ONE("a", "F32", "[1]", "[9223372036854775803,9223372036854775807]"), 4,
     SD_ERROR_FORMAT, "cut short"},
    {"data one byte short", ONE("a", "F32", "[1]", "[0,4]"), 3, SD_ERROR_FORMAT, "cut short"},
    {"no data at all", ONE("a", "F32", "[1]", "[0,4]"), 0, SD_ERROR_FORMAT, "cut short"},
    {"less data than the shape", ONE("a", "F32", "[2]", "[0,4]"), 4, SD_ERROR_FORMAT, "8 bytes"},
    {"more data than the shape", ONE("a", "F16", "[1]", "[0,4]"), 4, SD_ERROR_FORMAT, "2 bytes"},
    {"data for an empty shape", ONE("a", "F16", "[0]", "[0,4]"), 4, SD_ERROR_FORMAT, "0 bytes"},
    {"a rest at the end", ONE("a", "F32", "[1]", "[0,4]"), 5, SD_ERROR_FORMAT,
     "1 bytes at the end"},
    {"data and no tensor", "{}", 8, SD_ERROR_FORMAT, "8 bytes at the end"},
    {"a hole in front", ONE("a", "F32", "[1]", "[4,8]"), 8, SD_ERROR_FORMAT, "no tensor"},
    {"a hole", "{\"a\":" T("F32", "[1]", "[0,4]") ",\"b\":" T("F32", "[1]", "[8,12]") "}", 12,
     SD_ERROR_FORMAT, "'b'"},
    {"an overlap", "{\"a\":" T("F32", "[2]", "[0,8]") ",\"b\":" T("F32", "[2]", "[4,12]") "}", 12,
     SD_ERROR_FORMAT, "overlaps"},
    {"the same data", "{\"a\":" T("F32", "[1]", "[0,4]") ",\"b\":" T("F32", "[1]", "[0,4]") "}", 4,
     SD_ERROR_FORMAT, "overlaps"},
    {"one inside the other",
     "{\"a\":" T("F32", "[3]", "[0,12]") ",\"b\":" T("F32", "[1]", "[4,8]") "}", 12,
     SD_ERROR_FORMAT, "overlaps"},
    {"the same name", "{\"a\":" T("F32", "[1]", "[0,4]") ",\"a\":" T("F32", "[1]", "[4,8]") "}", 8,
     SD_ERROR_FORMAT, "no tensor"},
    {"a key twice",
     "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F16\",\"shape\":[1],"
     "\"data_offsets\":[0,4]}}",
     4, SD_ERROR_FORMAT, "duplicate"},
    {"metadata is a list", "{\"__metadata__\":[]}", 0, SD_ERROR_FORMAT, "__metadata__"},
    {"metadata twice", "{\"__metadata__\":null,\"__metadata__\":{}}", 0, SD_ERROR_FORMAT,
     "duplicate key \"__metadata__\""},
    {"offsets twice",
     "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"data_offsets\":[0,4]}}", 4,
     SD_ERROR_FORMAT, "duplicate key \"data_offsets\""},
    {"metadata holds null", "{\"__metadata__\":{\"a\":null}}", 0, SD_ERROR_FORMAT, "'a'"},
    {"metadata holds a number", "{\"__metadata__\":{\"a\":1}}", 0, SD_ERROR_FORMAT, "'a'"},
    {"metadata holds an object", "{\"__metadata__\":{\"a\":{}}}", 0, SD_ERROR_FORMAT, "'a'"},
};

START_TEST(broken_headers) {
    const char *path = files_path(fault_dir, "broken.safetensors");
    for (size_t i = 0; i < SD_COUNT(headers); i++) {
        const row *r = &headers[i];
        safetensors_write_raw(path, strlen(r->header), r->header, r->n_data);
        fault_refused(r->label, fault_list(path), r->status, path, r->part);
    }
}
END_TEST

START_TEST(wrong_header_lengths) {
    static const struct {
        uint64_t length;
        const char *header;
        size_t n_data;
    } rows[] = {
        {0, "{}", 0},
        {1, "{}", 0},
        {3, "{}", 0},
        {100, "{}", 50},
        {100000001, "{}", 100000001},
        {UINT64_MAX, "{}", 8},
        {(uint64_t)1 << 63, "{}", 8},
        {UINT64_MAX - 7, "{}", 100},
        {UINT32_MAX, "{}", 100},
    };
    const char *path = files_path(fault_dir, "length.safetensors");
    for (size_t i = 0; i < SD_COUNT(rows); i++) {
        safetensors_write_raw(path, rows[i].length, rows[i].header, rows[i].n_data);
        fault_refused("length", fault_list(path), SD_ERROR_FORMAT, path, NULL);
        fault_refused("length", fault_load(path), SD_ERROR_FORMAT, path, NULL);
    }
    /* zeros where JSON should go on, for the whole of what is allowed */
    safetensors_write_raw(path, 1 << 20, "{", 1 << 20);
    fault_refused("zeros", fault_list(path), SD_ERROR_FORMAT, path, NULL);
}
END_TEST

START_TEST(deep_nesting) {
    const char *path = files_path(fault_dir, "deep.safetensors");
    size_t n = 1000000;
    char *text = malloc(n + 1);
    for (int i = 0; i < 2; i++) {
        memset(text, '[', n);
        memcpy(text, "{\"a\":", 5);
        for (size_t j = 5; i == 1 && j + 5 <= n; j += 5)
            memcpy(text + j, "{\"a\":", 5);
        text[n] = '\0';
        safetensors_write_raw(path, n, text, 0);
        fault_refused("nesting", fault_list(path), SD_ERROR_FORMAT, path, "depth");
    }
    free(text);
}
END_TEST

static const struct {
    const char *label, *bytes;
    size_t n;
    sd_status status;
    const char *part;
} others[] = {
#define BYTES(text) text, sizeof(text) - 1
    {"empty", BYTES(""), SD_ERROR_FORMAT, "empty"},
    {"one byte", BYTES("x"), SD_ERROR_FORMAT, "too few"},
    {"eight bytes", BYTES("\2\0\0\0\0\0\0\0"), SD_ERROR_FORMAT, "too few"},
    {"text", BYTES("Hello, this is a text file.\n"), SD_ERROR_FORMAT,
     "begins with the bytes 48 65 6c 6c"},
    {"JSON", BYTES("{\"_class_name\": \"UNet2DConditionModel\"}"), SD_ERROR_FORMAT,
     "a safetensors file or what torch.save writes was expected, this is neither"},
    {"torch zip", BYTES("PK\3\4\0\0\x08\x08\0\0\0\0\0\0\0\0\0\0archive/data.pkl"), SD_ERROR_FORMAT,
     "damaged zip"},
    {"zip of deflate", BYTES("PK\3\4\x14\0\0\0\x08\0 aaaaaaaaaaaaaaaa"), SD_ERROR_FORMAT, "zip"},
    {"empty zip", BYTES("PK\5\6\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0"), SD_ERROR_FORMAT, "zip"},
    {"old torch",
     BYTES("\x80\x02\x8a\nl\xfc\x9c"
           "F\xf9 j\xa8P\x19.\x80\x02M\xe9\3."),
     SD_ERROR_FORMAT, "cut short"},
    {"a pickle", BYTES("\x80\x02}q\1."), SD_ERROR_UNSUPPORTED, "torch.save(pickle.load("},
    {"pickle 4", BYTES("\x80\x04\x95\x0b\0\0\0\0\0\0\0}\x94."), SD_ERROR_UNSUPPORTED, "pickle"},
    {"GGUF", BYTES("GGUF\3\0\0\0\x10\0\0\0\0\0\0\0"), SD_ERROR_UNSUPPORTED, "GGUF"},
    {"GGML", BYTES("tjgg\3\0\0\0\x10\0\0\0\0\0\0\0"), SD_ERROR_UNSUPPORTED, "GGML"},
    {"git-lfs",
     BYTES("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4265146304\n"),
     SD_ERROR_FORMAT, "git-lfs"},
    {"web page", BYTES("<!DOCTYPE html><html><body>404</body></html>"), SD_ERROR_FORMAT,
     "web page"},
    {"web page, spaced", BYTES("\xef\xbb\xbf\r\n  <HTML lang=en>"), SD_ERROR_FORMAT, "web page"},
    {"HDF5", BYTES("\x89HDF\r\n\x1a\n\0\0\0\0\0\0\0\0"), SD_ERROR_UNSUPPORTED, "HDF5"},
    {"NumPy", BYTES("\x93NUMPY\1\0v\0{'descr': '<f4'}"), SD_ERROR_UNSUPPORTED, "NumPy"},
    {"gzip", BYTES("\x1f\x8b\x08\0\0\0\0\0\0\3+I-.\1"), SD_ERROR_UNSUPPORTED, "gzip"},
    {"PNG", BYTES("\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), SD_ERROR_FORMAT, "PNG"},
    {"JPEG", BYTES("\xff\xd8\xff\xe0\0\x10JFIF\0"), SD_ERROR_FORMAT, "JPEG"},
    {"program",
     BYTES("\x7f"
           "ELF\2\1\1\0\0\0\0\0\0\0\0\0"),
     SD_ERROR_FORMAT, "program"},
};

START_TEST(other_formats) {
    const char *path = files_path(fault_dir, "model.safetensors");
    const char *ckpt = files_path(fault_dir, "model.ckpt");
    for (size_t i = 0; i < SD_COUNT(others); i++) {
        files_write(path, others[i].bytes, others[i].n);
        fault_refused(others[i].label, fault_list(path), others[i].status, path, others[i].part);
        files_write(ckpt, others[i].bytes, others[i].n);
        fault_refused(others[i].label, fault_load(ckpt), others[i].status, ckpt, others[i].part);
    }
}
END_TEST

static const struct {
    const char *label, *text;
    sd_status status;
    const char *part;
} indexes[] = {
    {"empty", "", SD_ERROR_FORMAT, "not valid JSON"},
    {"no object", "[]", SD_ERROR_FORMAT, "a JSON object"},
    {"no map", "{}", SD_ERROR_FORMAT, "weight_map"},
    {"map is a list", "{\"weight_map\": []}", SD_ERROR_FORMAT, "weight_map"},
    {"empty map", "{\"weight_map\": {}}", SD_ERROR_FORMAT, "weight_map"},
    {"file is a number", "{\"weight_map\": {\"a\": 1}}", SD_ERROR_FORMAT, "'a'"},
    {"file has no name", "{\"weight_map\": {\"a\": \"\"}}", SD_ERROR_FORMAT, "'a'"},
    {"file elsewhere", "{\"weight_map\": {\"a\": \"../a.safetensors\"}}", SD_ERROR_FORMAT, "'a'"},
    {"absolute file", "{\"weight_map\": {\"a\": \"/etc/passwd\"}}", SD_ERROR_FORMAT, "'a'"},
    {"backslash", "{\"weight_map\": {\"a\": \"x\\\\a.safetensors\"}}", SD_ERROR_FORMAT, "'a'"},
    {"missing file", "{\"weight_map\": {\"a\": \"none.safetensors\"}}", SD_ERROR_IO,
     "none.safetensors"},
    {"tensor not in the file", "{\"weight_map\": {\"x\": \"a.safetensors\"}}", SD_ERROR_FORMAT,
     "'x'"},
    {"tensor in another file",
     "{\"weight_map\": {\"a\": \"b.safetensors\", \"b\": \"a.safetensors\"}}", SD_ERROR_FORMAT,
     "is not in"},
    {"tensor in two files",
     "{\"weight_map\": {\"a\": \"a.safetensors\", \"a2\": \"copy.safetensors\"}}", SD_ERROR_FORMAT,
     "is also in"},
};

static void save_one(const char *file, const char *tensor) {
    safetensors *s = safetensors_new();
    safetensors_add(s, tensor, "F32", "[2]");
    safetensors_save(s, files_path(fault_dir, file));
    safetensors_free(s);
}

START_TEST(broken_indexes) {
    const char *path = files_path(fault_dir, "model.safetensors.index.json");
    save_one("a.safetensors", "a");
    save_one("b.safetensors", "b");
    save_one("copy.safetensors", "a");
    for (size_t i = 0; i < SD_COUNT(indexes); i++) {
        files_write_text(path, indexes[i].text);
        bool names_shard = indexes[i].status == SD_ERROR_IO || i == SD_COUNT(indexes) - 1;
        fault_refused(indexes[i].label, fault_list(path), indexes[i].status,
                      names_shard ? fault_dir : path, indexes[i].part);
    }
}
END_TEST

START_TEST(no_files) {
    const char *missing = files_path(fault_dir, "missing.safetensors");
    fault_refused("missing", fault_list(missing), SD_ERROR_IO, missing, "No such file");
    fault_refused("missing", fault_load(missing), SD_ERROR_IO, missing, "No such file");
    fault_refused("device", fault_list("/dev/null"), SD_ERROR_IO, "/dev/null", NULL);
    fault_refused("device", fault_load("/dev/zero"), SD_ERROR_IO, "/dev/zero", NULL);
    fault_refused("empty name", fault_load(""), 0, NULL, NULL);
    fault_refused("empty folder", fault_list(fault_dir), SD_ERROR_IO, fault_dir, NULL);
    fault_refused("empty folder", fault_load(fault_dir), SD_ERROR_IO, fault_dir,
                  "model_index.json");
}
END_TEST

/* Every byte of a good file's header, changed in three ways. */
START_TEST(damaged_bytes) {
    const char *path = files_path(fault_dir, "damaged.safetensors");
    safetensors *s = safetensors_new();
    safetensors_metadata(s, "format", "pt");
    safetensors_add(s, "first", "F16", "[3, 2]");
    safetensors_add(s, "second", "F32", "[5]");
    safetensors_add(s, "third", "I64", "[]");
    safetensors_save(s, path);
    safetensors_free(s);
    size_t n;
    uint8_t *bytes = files_read(path, &n);
    for (size_t i = 0; i < n; i++) {
        static const uint8_t masks[] = {0x01, 0x80, 0xff};
        for (size_t k = 0; k < SD_COUNT(masks); k++) {
            bytes[i] ^= masks[k];
            files_write(path, bytes, n);
            fault_survived("damage", fault_list(path), path);
            bytes[i] ^= masks[k];
        }
    }
    for (size_t i = 0; i < n; i++) { /* and every length */
        files_write(path, bytes, i);
        fault_refused("truncated", fault_list(path), SD_ERROR_FORMAT, path, NULL);
    }
    free(bytes);
}
END_TEST

void fault_add_weights(Suite *suite) {
    TCase *tcase = fault_case(suite, "weights");
    tcase_add_test(tcase, broken_headers);
    tcase_add_test(tcase, wrong_header_lengths);
    tcase_add_test(tcase, deep_nesting);
    tcase_add_test(tcase, other_formats);
    tcase_add_test(tcase, broken_indexes);
    tcase_add_test(tcase, no_files);
    tcase_add_test(tcase, damaged_bytes);
}
