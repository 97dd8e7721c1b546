/* Broken and hostile torch files: the pickle, the tensors that it describes, the archive. */
#include "fault.h"

#include "io/pickle.h"
#include "io/weights.h"
#include "io/weights_internal.h"

#include <zip.h>

#define BYTES(text) text, sizeof(text) - 1

/* ------------------------------------------------------------------------- making archives */

typedef struct member {
    const char *name;
    const void *bytes;
    size_t n;
} member;

static void write_archive(const char *path, const member *members, size_t n, bool deflate) {
    int error;
    zip_t *zip = zip_open(path, ZIP_CREATE | ZIP_TRUNCATE, &error);
    ck_assert_ptr_nonnull(zip);
    for (size_t i = 0; i < n; i++) {
        zip_source_t *source = zip_source_buffer(zip, members[i].bytes, members[i].n, 0);
        ck_assert_int_eq(zip_file_add(zip, members[i].name, source, 0), (zip_int64_t)i);
        zip_set_file_compression(zip, i, deflate ? ZIP_CM_DEFLATE : ZIP_CM_STORE, 1);
    }
    ck_assert_int_eq(zip_close(zip), 0);
}

/* The pickle, and one storage of 64 bytes. */
static void write_torch(const char *path, const void *pickle, size_t n) {
    static const uint8_t storage[64] = {1, 2, 3};
    const member members[] = {{"archive/data.pkl", pickle, n}, {"archive/data/0", storage, 64}};
    write_archive(path, members, 2, false);
}

/* Every byte of every tensor must be there, in the file or in a block of our own. */
static sd_status read_all(const char *path) {
    sd_weights *w;
    sd_status status = sdi_weights_open(fault_ctx, path, &w);
    for (size_t i = 0; !status && i < sdi_weights_count(w); i++) {
        const sd_entry *e = sdi_weights_at(w, i);
        uint8_t *bytes = malloc(e->size + 1);
        ck_assert_int_eq(sdi_weights_read(w, e, 0, bytes, e->size), SD_OK);
        free(bytes);
    }
    sdi_weights_close(w);
    return status;
}

/* ------------------------------------------------------------------------- pickles */

#define STATE "\x80\2}X\n\0\0\0state_dict}"
#define CALL(module, name) "\x80\2c" module "\n" name "\n)R."

static const struct {
    const char *label, *bytes;
    size_t n;
    sd_status status;
    const char *part;
} pickles[] = {
    {"nothing", BYTES(""), SD_ERROR_FORMAT, "cut short"},
    {"no stop", BYTES("\x80\2}"), SD_ERROR_FORMAT, "cut short"},
    {"stop alone", BYTES("."), SD_ERROR_FORMAT, "byte 0"},
    {"os.system", BYTES("\x80\2cos\nsystem\nX\4\0\0\0true\x85R."), SD_ERROR_UNSUPPORTED,
     "the pickle names 'os.system'"},
    {"os.system, protocol 4", BYTES("\x80\4\x8c\2os\x8c\6system\x93\x8c\4true\x85R."),
     SD_ERROR_UNSUPPORTED, "'os.system'"},
    {"os.system alone", BYTES("\x80\2cos\nsystem\n."), SD_ERROR_UNSUPPORTED, "none of it was run"},
    {"eval", BYTES(CALL("builtins", "eval")), SD_ERROR_UNSUPPORTED, "'builtins.eval'"},
    {"exec", BYTES(CALL("__builtin__", "exec")), SD_ERROR_UNSUPPORTED, "'__builtin__.exec'"},
    {"import", BYTES(CALL("builtins", "__import__")), SD_ERROR_UNSUPPORTED, "__import__"},
    {"subprocess", BYTES(CALL("subprocess", "Popen")), SD_ERROR_UNSUPPORTED, "'subprocess.Popen'"},
    {"runpy", BYTES(CALL("runpy", "run_path")), SD_ERROR_UNSUPPORTED, "'runpy.run_path'"},
    {"a module below", BYTES(CALL("urllib.request", "urlopen")), SD_ERROR_UNSUPPORTED, "urlopen"},
    {"numpy.load", BYTES(CALL("numpy", "load")), SD_ERROR_UNSUPPORTED, "'numpy.load'"},
    {"torch.load", BYTES(CALL("torch", "load")), SD_ERROR_UNSUPPORTED, "'torch.load'"},
    {"getattr", BYTES(CALL("builtins", "getattr")), SD_ERROR_UNSUPPORTED, "neither"},
    {"a module that begins so", BYTES(CALL("omegaconfx", "A")), SD_ERROR_UNSUPPORTED, "neither"},
    {"a name that is no text", BYTES("\x80\2}c\xff\x1b[2J\nx\nN\x85R."), SD_ERROR_UNSUPPORTED,
     "neither"},
    {"a key that is an object", BYTES("\x80\2}X\1\0\0\0acomegaconf\nX\n)Rs."), SD_ERROR_UNSUPPORTED,
     "'a' is made by 'omegaconf.X'; a tensor was expected"},
    {"an empty name", BYTES("\x80\2c\n\n."), SD_ERROR_UNSUPPORTED, "neither"},
    {"a name without an end", BYTES("\x80\2cos\nsystem"), SD_ERROR_FORMAT, "cut short"},
    {"a name of numbers", BYTES("\x80\4K\1K\2\x93."), SD_ERROR_FORMAT, "two strings"},
    {"load_from_bytes", BYTES(CALL("torch.storage", "_load_from_bytes")), SD_ERROR_UNSUPPORTED,
     "'torch.storage._load_from_bytes'"},
    {"protocol 1", BYTES("\x80\1}."), SD_ERROR_UNSUPPORTED, "protocol is 1"},
    {"protocol 9", BYTES("\x80\11}."), SD_ERROR_UNSUPPORTED, "protocol is 9"},
    {"text opcode", BYTES("\x80\2I1\n."), SD_ERROR_UNSUPPORTED, "byte 2: opcode 0x49"},
    {"INST", BYTES("\x80\2(ios\nsystem\n."), SD_ERROR_UNSUPPORTED, "0x69"},
    {"OBJ", BYTES("\x80\2(o."), SD_ERROR_UNSUPPORTED, "0x6f"},
    {"extension", BYTES("\x80\2\x82\1."), SD_ERROR_UNSUPPORTED, "0x82"},
    {"out-of-band buffer", BYTES("\x80\5\x97."), SD_ERROR_UNSUPPORTED, "0x97"},
    {"memo never set", BYTES("\x80\2h\5."), SD_ERROR_FORMAT, "5 was never set"},
    {"memo far away", BYTES("\x80\2j\xff\xff\xff\xff."), SD_ERROR_FORMAT, "never set"},
    {"memo set far away", BYTES("\x80\2}r\xff\xff\xff\x7f."), SD_ERROR_FORMAT, "beyond"},
    {"memo of nothing", BYTES("\x80\2q\0."), SD_ERROR_FORMAT, "stack has 0"},
    {"append to nothing", BYTES("\x80\2K\1a."), SD_ERROR_FORMAT, "stack has 1"},
    {"append below a mark", BYTES("\x80\2](K\1a."), SD_ERROR_FORMAT, "stack has 1"},
    {"append to a dictionary", BYTES("\x80\2}K\1a."), SD_ERROR_FORMAT, "a dictionary"},
    {"setitem of a list", BYTES("\x80\2]K\1K\2s."), SD_ERROR_FORMAT, "a list"},
    {"setitems of a number", BYTES("\x80\2K\0(K\1K\2u."), SD_ERROR_FORMAT, "an integer"},
    {"a key without its value", BYTES("\x80\2}(K\1u."), SD_ERROR_FORMAT, "without its value"},
    {"no mark", BYTES("\x80\2}u."), SD_ERROR_FORMAT, "a mark"},
    {"tuple without a mark", BYTES("\x80\2t."), SD_ERROR_FORMAT, "a mark"},
    {"tuple of too few", BYTES("\x80\2K\1\x87."), SD_ERROR_FORMAT, "3 are needed"},
    {"pop of nothing", BYTES("\x80\2\60."), SD_ERROR_FORMAT, "stack has 0"},
    {"call of a number", BYTES("\x80\2K\1)R."), SD_ERROR_FORMAT, "an integer is called"},
    {"call of nothing", BYTES("\x80\2R."), SD_ERROR_FORMAT, "2 are needed"},
    {"call with a list", BYTES("\x80\2ccollections\nOrderedDict\n]R."), SD_ERROR_FORMAT, "a list"},
    {"OrderedDict of numbers", BYTES("\x80\2ccollections\nOrderedDict\n]K\1a\x85R."),
     SD_ERROR_FORMAT, "pairs"},
    {"build of a list", BYTES("\x80\2]}b."), SD_ERROR_FORMAT, "attributes"},
    {"long text", BYTES("\x80\2X\xff\xff\xff\xff."), SD_ERROR_FORMAT, "cut short"},
    {"longer text", BYTES("\x80\4\x8d\xff\xff\xff\xff\xff\xff\xff\xff."), SD_ERROR_FORMAT,
     "cut short"},
    {"long integer", BYTES("\x80\2\x8b\xff\xff\xff\xff."), SD_ERROR_FORMAT, "cut short"},
    {"huge frame", BYTES("\x80\4\x95\xff\xff\xff\xff\xff\xff\xff\xff}."), SD_ERROR_FORMAT,
     "a frame of"},
    {"frame one too long", BYTES("\x80\4\x95\3\0\0\0\0\0\0\0}."), SD_ERROR_FORMAT, "a frame of 3"},
    {"persistent id of a text", BYTES("\x80\2X\1\0\0\0aQ."), SD_ERROR_FORMAT, "persistent id"},
    {"persistent id of a class", BYTES("\x80\2(K\1K\2K\3K\4K\5tQ."), SD_ERROR_FORMAT,
     "persistent id"},
    {"storage is called", BYTES(CALL("torch", "FloatStorage")), SD_ERROR_UNSUPPORTED, "neither"},
    {"persistent id of two", BYTES("\x80\2X\7\0\0\0storageK\1\x86Q."), SD_ERROR_FORMAT,
     "persistent id"},
    {"module without a class", BYTES("\x80\2X\6\0\0\0module\x85Q."), SD_ERROR_FORMAT,
     "persistent id"},
    {"tensor of nothing", BYTES(CALL("torch._utils", "_rebuild_tensor_v2")), SD_ERROR_FORMAT,
     "a tensor is not"},
    {"parameter of nothing", BYTES(CALL("torch._utils", "_rebuild_parameter")), SD_ERROR_FORMAT,
     "a parameter"},
    {"tensor v3 of nothing", BYTES(CALL("torch._utils", "_rebuild_tensor_v3")), SD_ERROR_FORMAT,
     "a tensor is not"},
    {"a subclass of nothing", BYTES(CALL("torch._tensor", "_rebuild_from_type_v2")),
     SD_ERROR_FORMAT, "(function, class"},
    {"a subclass of itself", BYTES("\x80\2ctorch._tensor\n_rebuild_from_type_v2\nq\1(h\1N)tR."),
     SD_ERROR_FORMAT, "(function, class"},
    {"parameter of an object", BYTES("\x80\2ctorch._utils\n_rebuild_parameter\ncx\ny\n\x85R."),
     SD_ERROR_UNSUPPORTED, "neither"},
    {"opaque in the state dict", BYTES(STATE "X\1\0\0\0acomegaconf\nX\n)Rss."),
     SD_ERROR_UNSUPPORTED, "'a' is made by 'omegaconf.X'"},
    {"a module without tensors",
     BYTES("\x80\2}X\n\0\0\0state_dictcx\nM\n)\x81}X\13\0\0\0_parameters}sbs."),
     SD_ERROR_UNSUPPORTED, "neither"},
    {"a module within itself", BYTES("\x80\2cx\nM\n)\x81q\1}X\10\0\0\0_modules}X\1\0\0\0ah\1ssb."),
     SD_ERROR_FORMAT, "nested more than"},
    {"a list within itself", BYTES("\x80\2}X\1\0\0\0a]q\1h\1as."), SD_ERROR_FORMAT,
     "nested more than"},
    {"a key without a value in an object", BYTES("\x80\2cx\nM\n)\x81(K\1u."), SD_ERROR_FORMAT,
     "without its value"},
    {"a number", BYTES("\x80\2K\1."), SD_ERROR_UNSUPPORTED, "an integer"},
    {"no tensors", BYTES("\x80\2}."), SD_ERROR_UNSUPPORTED, "neither"},
    {"state dict is a list", BYTES("\x80\2}X\n\0\0\0state_dict]s."), SD_ERROR_UNSUPPORTED,
     "neither"},
    {"bytes that end early", BYTES("\x80\5\x96\xff\xff\xff\xff\0\0\0\0."), SD_ERROR_FORMAT,
     "cut short"},
};

START_TEST(broken_pickles) {
    const char *path = files_path(fault_dir, "broken.ckpt");
    for (size_t i = 0; i < SD_COUNT(pickles); i++) {
        write_torch(path, pickles[i].bytes, pickles[i].n);
        fault_refused(pickles[i].label, fault_list(path), pickles[i].status, path, pickles[i].part);
    }
}
END_TEST

/* `n` times the same bytes between a start and an end. */
static char *repeat(const char *start, const char *unit, size_t n_unit, size_t n, const char *end,
                    size_t *size) {
    size_t a = strlen(start), b = strlen(end);
    char *text = malloc(a + n * n_unit + b);
    memcpy(text, start, a);
    for (size_t i = 0; i < n; i++)
        memcpy(text + a + i * n_unit, unit, n_unit);
    memcpy(text + a + n * n_unit, end, b);
    *size = a + n * n_unit + b;
    return text;
}

START_TEST(deep_and_large_pickles) {
    static const struct {
        const char *label, *start, *unit;
        size_t n_unit, n;
        const char *end;
        const char *part; /* NULL: it is no checkpoint, but does no harm */
    } rows[] = {
        {"marks", "\x80\2", "(", 1, 1000000, ".", "nested more than"},
        {"marks with values", "\x80\2", "N(", 2, 100000, ".", "nested more than"},
        {"lists on the stack", "\x80\2", "]", 1, 1000000, ".", "wait on its stack"},
        {"tuples in tuples", "\x80\2)", "\x85", 1, 1000000, ".", NULL},
        {"a tuple that doubles", "\x80\2)", "2\x86", 2, 100000, ".", NULL},
        {"memory", "\x80\2]", "N0", 2, 9000000, ".", "take more than 256 MiB"},
        {"memoized", "\x80\4]", "\x94", 1, 100000, ".", NULL},
    };
    const char *path = files_path(fault_dir, "deep.ckpt");
    for (size_t i = 0; i < SD_COUNT(rows); i++) {
        size_t n;
        char *text =
            repeat(rows[i].start, rows[i].unit, rows[i].n_unit, rows[i].n, rows[i].end, &n);
        write_torch(path, text, n);
        fault_refused(rows[i].label, fault_list(path), 0, path, rows[i].part);
        free(text);
    }
}
END_TEST

/* Every beginning of a good pickle, at the end of a block so that a sanitizer sees one byte more.
 */
START_TEST(truncated_pickle) {
    int error;
    zip_stat_t st;
    zip_t *zip = zip_open(SD_TEST_DATA "/ckpt/lightning.ckpt", ZIP_RDONLY, &error);
    ck_assert_int_eq(zip_stat(zip, "lightning/data.pkl", 0, &st), 0);
    uint8_t *bytes = malloc(st.size);
    zip_file_t *f = zip_fopen(zip, "lightning/data.pkl", 0);
    ck_assert_int_eq(zip_fread(f, bytes, st.size), (zip_int64_t)st.size);
    zip_fclose(f);
    zip_discard(zip);
    for (size_t n = 0; n < st.size; n++) {
        uint8_t *copy = malloc(n ? n : 1);
        sd_pickle *p;
        memcpy(copy, bytes, n);
        sd_status status = sdi_pickle_read(fault_ctx, "x.ckpt", copy + (n ? 0 : 1), n, &p);
        ck_assert_ptr_null(p);
        fault_refused("truncated pickle", status, SD_ERROR_FORMAT, "x.ckpt", "cut short");
        free(copy);
        n += n > 600 ? 6 : 0;
    }
    free(bytes);
}
END_TEST

/* ------------------------------------------------------------------------- tensors */

typedef struct text_buffer {
    uint8_t bytes[4096];
    size_t n;
} text_buffer;

static void put(text_buffer *b, const void *bytes, size_t n) {
    ck_assert_uint_le(b->n + n, sizeof b->bytes);
    memcpy(b->bytes + b->n, bytes, n);
    b->n += n;
}

static void put_long(text_buffer *b, int64_t value) {
    put(b, "\x8a\x08", 2);
    for (int i = 0; i < 8; i++)
        put(b, &(uint8_t){(uint8_t)((uint64_t)value >> (8 * i))}, 1);
}

static void put_string(text_buffer *b, const char *text, size_t n) {
    put(b, "X", 1);
    for (int i = 0; i < 4; i++)
        put(b, &(uint8_t){(uint8_t)(n >> (8 * i))}, 1);
    put(b, text, n);
}

typedef struct tensor_row {
    const char *label, *type, *key;
    int64_t numel, offset;
    int n_dims;
    int64_t dims[9], strides[9];
    const char *part; /* NULL: it is good */
} tensor_row;

static void put_tensor(text_buffer *b, const tensor_row *t) {
    put(b, BYTES("ctorch._utils\n_rebuild_tensor_v2\n(("));
    put_string(b, "storage", 7);
    put(b, "ctorch\n", 7);
    put(b, t->type, strlen(t->type));
    put(b, "\n", 1);
    put_string(b, t->key, strlen(t->key));
    put_string(b, "cpu", 3);
    put_long(b, t->numel);
    put(b, "tQ", 2);
    put_long(b, t->offset);
    put(b, "(", 1);
    for (int i = 0; i < t->n_dims; i++)
        put_long(b, t->dims[i]);
    put(b, "t(", 2);
    for (int i = 0; i < t->n_dims; i++)
        put_long(b, t->strides[i]);
    put(b, BYTES("t\x89}tR"));
}

#define BIG ((int64_t)1 << 62)
#define F "FloatStorage"

/* The storage "0" has 64 bytes: 16 float32. */
static const tensor_row tensors[] = {
    {"good", F, "0", 16, 0, 2, {4, 4}, {4, 1}, NULL},
    {"good part", F, "0", 16, 12, 2, {2, 2}, {2, 1}, NULL},
    {"good scalar", F, "0", 16, 15, 0, {0}, {0}, NULL},
    {"good strides", F, "0", 16, 3, 2, {4, 4}, {1, 3}, NULL},
    {"good and empty", F, "0", 16, 999, 2, {0, 4}, {999, 999}, NULL},
    {"stride of a single step", F, "0", 16, 0, 2, {1, 4}, {INT64_MAX, 1}, NULL},
    {"numel too large", F, "0", 17, 0, 1, {4}, {1}, "should have 17 elements"},
    {"numel too small", F, "0", 15, 0, 1, {4}, {1}, "should have 15 elements"},
    {"another type", "DoubleStorage", "0", 16, 0, 1, {4}, {1}, "has 64 bytes"},
    {"numel overflows", F, "0", BIG, 0, 1, {4}, {1}, "elements"},
    {"numel wraps to 64 bytes", F, "0", BIG + 16, 0, 1, {4}, {1}, "elements"},
    {"numel is negative", F, "0", -1, 0, 1, {4}, {1}, "persistent id"},
    {"no such storage", F, "1", 16, 0, 1, {4}, {1}, "'1' is not in the file"},
    {"storage above", F, "../data.pkl", 16, 0, 1, {4}, {1}, "not in the file"},
    {"storage elsewhere", F, "/etc/passwd", 16, 0, 1, {4}, {1}, "not in the file"},
    {"storage without a name", F, "", 16, 0, 1, {4}, {1}, "no name"},
    {"one too many", F, "0", 16, 0, 1, {17}, {1}, "beyond its storage"},
    {"one too far", F, "0", 16, 1, 1, {16}, {1}, "beyond its storage"},
    {"scalar behind the end", F, "0", 16, 16, 0, {0}, {0}, "beyond its storage"},
    {"offset far away", F, "0", 16, INT64_MAX, 1, {1}, {1}, "beyond its storage"},
    {"offset is negative", F, "0", 16, -1, 1, {1}, {1}, "a tensor is not"},
    {"strides beyond", F, "0", 16, 0, 2, {2, 2}, {15, 1}, "beyond its storage"},
    {"stride wraps", F, "0", 16, 0, 2, {3, 1}, {INT64_MAX, 1}, "beyond its storage"},
    {"strides wrap together", F, "0", 16, 0, 2, {2, 2}, {INT64_MAX, INT64_MAX}, "beyond"},
    {"stride is negative", F, "0", 16, 4, 1, {4}, {-1}, "from 0 upward"},
    {"size is negative", F, "0", 16, 0, 1, {-4}, {1}, "from 0 upward"},
    {"sizes overflow", F, "0", 16, 0, 2, {BIG, BIG}, {0, 0}, "overflows"},
    {"sizes wrap to 0", F, "0", 16, 0, 2, {BIG, 4}, {0, 0}, "overflows"},
    {"expanded beyond memory", F, "0", 16, 0, 2, {1 << 20, 1 << 10}, {0, 1}, "beyond its storage"},
    {"expanded to 4 TB", F, "0", 16, 0, 2, {1 << 20, 1 << 20}, {0, 0}, "bytes of memory"},
    {"expanded to 400 MB", F, "0", 16, 0, 1, {100000000}, {0}, "bytes of memory"},
    {"nine dimensions", F, "0", 16, 0, 9, {1, 1, 1, 1, 1, 1, 1, 1, 1}, {0}, "9 dimensions"},
};

START_TEST(broken_tensors) {
    const char *path = files_path(fault_dir, "tensor.ckpt");
    for (size_t i = 0; i < SD_COUNT(tensors); i++) {
        text_buffer b = {.n = 0};
        put(&b, BYTES("\x80\2}"));
        put_string(&b, "w", 1);
        put_tensor(&b, &tensors[i]);
        put(&b, "s.", 2);
        write_torch(path, b.bytes, b.n);
        if (tensors[i].part)
            fault_refused(tensors[i].label, read_all(path), SD_ERROR_FORMAT, path, tensors[i].part);
        else
            ck_assert_msg(read_all(path) == SD_OK, "%s: %s", tensors[i].label, sd_last_error());
    }
}
END_TEST

START_TEST(broken_names) {
    static const struct {
        const char *label, *name;
        size_t n;
        const char *part;
    } rows[] = {
        {"a zero", BYTES("a\0b"), "name of a tensor"},
        {"not UTF-8", BYTES("\xff"), "name of a tensor"},
        {"cut UTF-8", BYTES("a\xe2\x82"), "name of a tensor"},
        {"twice", BYTES("w"), "'w' is also in"},
    };
    const char *path = files_path(fault_dir, "names.ckpt");
    for (size_t i = 0; i < SD_COUNT(rows); i++) {
        text_buffer b = {.n = 0};
        put(&b, BYTES("\x80\2}"));
        for (int k = 0; k < 2; k++) {
            put_string(&b, k ? rows[i].name : "w", k ? rows[i].n : 1);
            put_tensor(&b, &tensors[0]);
            put(&b, "s", 1);
        }
        put(&b, ".", 1);
        write_torch(path, b.bytes, b.n);
        fault_refused(rows[i].label, read_all(path), SD_ERROR_FORMAT, path, rows[i].part);
    }
}
END_TEST

/* ------------------------------------------------------------------------- archives */

/* Every place of `from` becomes `to`, of the same length. */
static int replace(uint8_t *bytes, size_t n, const char *from, const char *to, size_t length) {
    int count = 0;
    for (size_t i = 0; i + length <= n; i++) {
        if (memcmp(bytes + i, from, length) == 0) {
            memcpy(bytes + i, to, length);
            count++;
        }
    }
    return count;
}

static size_t good_pickle(text_buffer *b) {
    b->n = 0;
    put(b, BYTES("\x80\2}"));
    put_string(b, "w", 1);
    put_tensor(b, &tensors[0]);
    put(b, "s.", 2);
    return b->n;
}

/* The row of data/0 in the directory, which is the second and last. */
static uint8_t *last_row(uint8_t *bytes, size_t n) {
    for (size_t i = n - 4; i > 0; i--)
        if (memcmp(bytes + i, "PK\1\2", 4) == 0)
            return bytes + i;
    return NULL;
}

START_TEST(broken_archives) {
    static const struct {
        const char *label;
        int at, width;
        uint32_t value;
        bool deflate;
        const char *part;
    } rows[] = {
        {"offset at the end", 42, 4, 600, false, "zip"},
        {"offset beyond", 42, 4, 0x7fffffff, false, "zip"},
        {"offset far beyond", 42, 4, 0xfffffffe, false, "zip"},
        {"offset in the middle", 42, 4, 7, false, "zip"},
        {"another size", 24, 4, 65, false, "65 bytes"},
        {"no data", 24, 4, 0, false, NULL},
        {"method", 10, 2, 98, false, "not read"},
        {"encrypted by AES", 10, 2, 99, false, "zip"},
        {"bzip2", 10, 2, 12, false, "not read"},
        {"encrypted", 8, 2, 1, false, "encrypted"},
        {"packed size beyond", 20, 4, 0x7fffffff, true, "not have"},
        {"packed into more than it can", 24, 4, 0x7fffffff, true, "cannot become"},
        {"a wrong size", 24, 4, 63, true, NULL},
        {"a wrong checksum", 16, 4, 1, true, "zip"},
        {"directory says stored", 10, 2, 0, true, NULL},
        {"directory says deflated", 10, 2, 8, false, NULL},
    };
    const char *path = files_path(fault_dir, "archive.ckpt");
    static const uint8_t storage[64] = {1, 2, 3};
    text_buffer b;
    const member members[] = {{"a/data.pkl", b.bytes, good_pickle(&b)}, {"a/data/0", storage, 64}};
    for (size_t i = 0; i < SD_COUNT(rows); i++) {
        size_t n;
        write_archive(path, members, 2, rows[i].deflate);
        ck_assert_int_eq(read_all(path), SD_OK);
        uint8_t *bytes = files_read(path, &n), *row = last_row(bytes, n);
        ck_assert_ptr_nonnull(row);
        for (int k = 0; k < rows[i].width; k++)
            row[rows[i].at + k] = (uint8_t)(rows[i].value >> (8 * k));
        files_write(path, bytes, n);
        free(bytes);
        fault_refused(rows[i].label, read_all(path), 0, path, rows[i].part);
    }
}
END_TEST

START_TEST(odd_archives) {
    const char *path = files_path(fault_dir, "odd.ckpt");
    static const uint8_t storage[64] = {1, 2, 3};
    text_buffer b;
    size_t n = good_pickle(&b), n_file;
    const member two[] = {{"a/data.pkl", b.bytes, n}, {"b/data.pkl", b.bytes, n}};
    const member none[] = {{"a/other", b.bytes, n}, {"data.pkl", b.bytes, n}};
    const member deep[] = {{"a/b/data.pkl", b.bytes, n}};
    const member twice[] = {
        {"a/data.pkl", b.bytes, n}, {"a/data/0", storage, 64}, {"a/data/1", storage, 64}};
    write_archive(path, two, 2, false);
    fault_refused("two pickles", fault_list(path), SD_ERROR_FORMAT, path, "more than one");
    write_archive(path, none, 2, false);
    fault_refused("no pickle", fault_list(path), SD_ERROR_UNSUPPORTED, path, "without a data.pkl");
    write_archive(path, deep, 1, false);
    fault_refused("a pickle too deep", fault_list(path), SD_ERROR_UNSUPPORTED, path, "data.pkl");
    write_archive(path, twice, 3, false);
    uint8_t *bytes = files_read(path, &n_file);
    ck_assert_int_eq(replace(bytes, n_file, "a/data/1", "a/data/0", 8), 2);
    files_write(path, bytes, n_file);
    free(bytes);
    fault_refused("the same name", fault_list(path), SD_ERROR_FORMAT, path, "'a/data/0' twice");
}
END_TEST

/* 9 storages of 40 MB of zeros each in some 400 kB. */
START_TEST(zip_bomb) {
    const char *path = files_path(fault_dir, "bomb.ckpt");
    size_t size = 40000000;
    uint8_t *zeros = calloc(1, size);
    text_buffer b = {.n = 0};
    member members[10] = {{"a/data.pkl", b.bytes, 0}};
    char names[9][16];
    put(&b, BYTES("\x80\2}"));
    for (int i = 0; i < 9; i++) {
        const char key[] = {(char)('0' + i), 0};
        const tensor_row t = {"zeros", "ByteStorage", key, (int64_t)size, 0, 1, {1}, {1}, NULL};
        put_string(&b, key, 1);
        put_tensor(&b, &t);
        put(&b, "s", 1);
        snprintf(names[i], sizeof names[i], "a/data/%d", i);
        members[i + 1] = (member){names[i], zeros, size};
    }
    put(&b, ".", 1);
    members[0].n = b.n;
    write_archive(path, members, 10, true);
    fault_refused("bomb", fault_list(path), SD_ERROR_FORMAT, path, "bytes of memory");
    free(zeros);
}
END_TEST

/* ------------------------------------------------------------------------- before torch 1.6 */

#define MAGIC                                                                                      \
    "\x80\2\x8a\nl\xfc\x9c"                                                                        \
    "F\xf9 j\xa8P\x19."
#define PROTOCOL "\x80\2M\xe9\3."
#define LITTLE "\x80\2}X\15\0\0\0little_endian\x88s."
#define PART_OF(part)                                                                              \
    "\x80\2}X\1\0\0\0wctorch._utils\n_rebuild_tensor\n((X\7\0\0\0storagectorch\nFloatStorage\n"    \
    "X\1\0\0\0kX\3\0\0\0cpuK\4" part "tQK\1K\2\x85K\1\x85tRs."
#define OBJECT PART_OF("N") /* elements 1 and 2 of 4 */
#define KEYS "\x80\2]X\1\0\0\0ka."
#define STORAGE                                                                                    \
    "\4\0\0\0\0\0\0\0"                                                                             \
    "aaaabbbbccccdddd"

static const struct {
    const char *label, *bytes;
    size_t n;
    sd_status status; /* SD_OK: it is good */
    const char *part;
} legacies[] = {
    {"good", BYTES(MAGIC PROTOCOL LITTLE OBJECT KEYS STORAGE), SD_OK, NULL},
    {"good, and more behind it", BYTES(MAGIC PROTOCOL LITTLE OBJECT KEYS STORAGE "x"), SD_OK, NULL},
    {"good part", BYTES(MAGIC PROTOCOL LITTLE PART_OF("X\1\0\0\0pK\1K\3\x87") KEYS STORAGE), SD_OK,
     NULL},
    {"a part that is too small",
     BYTES(MAGIC PROTOCOL LITTLE PART_OF("X\1\0\0\0pK\1K\2\x87") KEYS STORAGE), SD_ERROR_FORMAT,
     "beyond its storage"},
    {"a part beyond", BYTES(MAGIC PROTOCOL LITTLE PART_OF("X\1\0\0\0pK\2K\3\x87") KEYS STORAGE),
     SD_ERROR_FORMAT, "part of a storage"},
    {"a part far beyond",
     BYTES(MAGIC PROTOCOL LITTLE PART_OF("X\1\0\0\0p\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7fK\3"
                                         "\x87") KEYS STORAGE),
     SD_ERROR_FORMAT, "part of a storage"},
    {"a negative part",
     BYTES(MAGIC PROTOCOL LITTLE PART_OF("X\1\0\0\0pJ\xff\xff\xff\xffK\3\x87") KEYS STORAGE),
     SD_ERROR_FORMAT, "part of a storage"},
    {"a part that is a number", BYTES(MAGIC PROTOCOL LITTLE PART_OF("K\1") KEYS STORAGE),
     SD_ERROR_FORMAT, "part of a storage"},
    {"another protocol", BYTES(MAGIC "\x80\2M\xea\3." LITTLE OBJECT KEYS STORAGE), SD_ERROR_FORMAT,
     "protocol is not 1001"},
    {"a protocol that is a text", BYTES(MAGIC "\x80\2X\1\0\0\0a." LITTLE OBJECT KEYS STORAGE),
     SD_ERROR_FORMAT, "protocol is not 1001"},
    {"no machine", BYTES(MAGIC PROTOCOL "\x80\2}." OBJECT KEYS STORAGE), SD_ERROR_FORMAT,
     "little_endian"},
    {"a machine that is a list", BYTES(MAGIC PROTOCOL "\x80\2]." OBJECT KEYS STORAGE),
     SD_ERROR_FORMAT, "little_endian"},
    {"big-endian", BYTES(MAGIC PROTOCOL "\x80\2}X\15\0\0\0little_endian\x89s." OBJECT KEYS STORAGE),
     SD_ERROR_UNSUPPORTED, "big-endian"},
    {"no object", BYTES(MAGIC PROTOCOL LITTLE), SD_ERROR_FORMAT, "cut short"},
    {"os.system", BYTES(MAGIC PROTOCOL LITTLE "\x80\2cos\nsystem\n." KEYS STORAGE),
     SD_ERROR_UNSUPPORTED, "'os.system'"},
    {"keys that are a dictionary", BYTES(MAGIC PROTOCOL LITTLE OBJECT "\x80\2}." STORAGE),
     SD_ERROR_FORMAT, "no list of its storages"},
    {"no keys", BYTES(MAGIC PROTOCOL LITTLE OBJECT "\x80\2]." STORAGE), SD_ERROR_FORMAT,
     "'k' is not in the file"},
    {"a key that nothing has", BYTES(MAGIC PROTOCOL LITTLE OBJECT "\x80\2]X\1\0\0\0ja." STORAGE),
     SD_ERROR_FORMAT, "no tensor has"},
    {"a key twice",
     BYTES(MAGIC PROTOCOL LITTLE OBJECT "\x80\2]X\1\0\0\0kaX\1\0\0\0ka." STORAGE STORAGE),
     SD_ERROR_FORMAT, "one twice"},
    {"a key that is a number", BYTES(MAGIC PROTOCOL LITTLE OBJECT "\x80\2]K\1a." STORAGE),
     SD_ERROR_FORMAT, "no tensor has"},
    {"another size", BYTES(MAGIC PROTOCOL LITTLE OBJECT KEYS "\3\0\0\0\0\0\0\0aaaabbbbcccc"),
     SD_ERROR_FORMAT, "should have 4 elements"},
    {"a size beyond", BYTES(MAGIC PROTOCOL LITTLE OBJECT KEYS "\5\0\0\0\0\0\0\0aaaabbbbccccdddd"),
     SD_ERROR_FORMAT, "within a storage"},
    {"a size that wraps",
     BYTES(MAGIC PROTOCOL LITTLE OBJECT KEYS "\4\0\0\0\0\0\0\x40"
                                             "aaaabbbbccccdddd"),
     SD_ERROR_FORMAT, "within a storage"},
    {"a negative size",
     BYTES(MAGIC PROTOCOL LITTLE OBJECT KEYS "\xff\xff\xff\xff\xff\xff\xff\xff"
                                             "aaaabbbbccccdddd"),
     SD_ERROR_FORMAT, "within a storage"},
};

START_TEST(broken_legacy_files) {
    const char *path = files_path(fault_dir, "legacy.ckpt");
    for (size_t i = 0; i < SD_COUNT(legacies); i++) {
        files_write(path, legacies[i].bytes, legacies[i].n);
        sd_status status = read_all(path);
        if (legacies[i].status)
            fault_refused(legacies[i].label, status, legacies[i].status, path, legacies[i].part);
        else
            ck_assert_msg(status == SD_OK, "%s: %s", legacies[i].label, sd_last_error());
    }
    for (size_t n = 0; n < legacies[0].n; n++) { /* and every length of the good one */
        files_write(path, legacies[0].bytes, n);
        fault_refused("cut legacy file", read_all(path), 0, path, NULL);
    }
}
END_TEST

/* ------------------------------------------------------------------------- damage */

static uint64_t below(uint64_t n) {
    static uint64_t state = 88172645463325252;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state % n;
}

/* Half of the changes fall into the pickle, whose checksum is not asked for where it is stored. */
static void damage(uint8_t *bytes, size_t n) {
    static const uint8_t opcodes[] = "(.0Nlt]}aesubhjqrcQRJKMX\x80\x81\x85\x86\x87\x88\x8a\x93\x94";
    size_t limit = below(2) && n > 4096 ? 4096 : n;
    for (uint64_t changes = 1 + below(4); changes > 0; changes--) {
        size_t at = below(limit);
        switch (below(3)) {
        case 0:
            bytes[at] = opcodes[below(sizeof opcodes)];
            break;
        case 1:
            bytes[at] = (uint8_t)below(256);
            break;
        default:
            bytes[at] ^= (uint8_t)(1u << below(8));
            break;
        }
    }
}

START_TEST(random_damage) {
    static const char *const names[] = {"lightning.ckpt", "plain.pt",   "protocol4.pth",
                                        "deflated.ckpt",  "legacy.pt",  "legacy-objects.ckpt",
                                        "objects.ckpt",   "dict-old.pt"};
    const char *path = files_path(fault_dir, "damaged.ckpt");
    for (size_t i = 0; i < SD_COUNT(names); i++) {
        char fixture[FILES_PATH];
        size_t n;
        snprintf(fixture, sizeof fixture, SD_TEST_DATA "/ckpt/%s", names[i]);
        uint8_t *bytes = files_read(fixture, &n), *copy = malloc(n);
        for (int round = 0; round < 700; round++) {
            memcpy(copy, bytes, n);
            damage(copy, n);
            files_write(path, copy, n);
            fault_survived("damage", read_all(path), path);
        }
        free(bytes);
        free(copy);
    }
}
END_TEST

START_TEST(truncated_files) {
    const char *path = files_path(fault_dir, "truncated.ckpt");
    size_t n;
    static const char *const names[] = {SD_TEST_DATA "/ckpt/plain.pt",
                                        SD_TEST_DATA "/ckpt/legacy.pt"};
    for (size_t k = 0; k < SD_COUNT(names); k++) {
        uint8_t *bytes = files_read(names[k], &n);
        for (size_t i = 0; i < n; i += i < 200 || i + 200 > n ? 1 : 13) {
            files_write(path, bytes, i);
            fault_refused("truncated", read_all(path), k ? 0 : SD_ERROR_FORMAT, path, NULL);
        }
        free(bytes);
    }
}
END_TEST

void fault_add_pickles(Suite *suite) {
    TCase *tcase = fault_case(suite, "pickles");
    tcase_add_test(tcase, broken_pickles);
    tcase_add_test(tcase, deep_and_large_pickles);
    tcase_add_test(tcase, truncated_pickle);
    tcase_add_test(tcase, broken_tensors);
    tcase_add_test(tcase, broken_names);
    tcase_add_test(tcase, broken_archives);
    tcase_add_test(tcase, odd_archives);
    tcase_add_test(tcase, zip_bomb);
    tcase_add_test(tcase, broken_legacy_files);
    tcase_add_test(tcase, random_damage);
    tcase_add_test(tcase, truncated_files);
}
