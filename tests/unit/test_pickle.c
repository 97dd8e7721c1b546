/* torch.save's files that are as they should be (tests/unit/data/ckpt, made by
 * tests/tools/make_ckpt_fixtures.py), pickles by hand, and averaged weights. What is broken on
 * purpose is in tests/fault/pickles.c. */
#include "io/pickle.h"

#include "../tools/fixture.h"
#include "../tools/suite.h"
#include "describe/ema.h"
#include "io/weights_internal.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

static sd_weights *open_fixture(const char *name) {
    sd_weights *w;
    char path[FILES_PATH];
    snprintf(path, sizeof path, SD_TEST_DATA "/ckpt/%s", name);
    ck_assert_msg(sdi_weights_open(ctx, path, &w) == SD_OK, "%s", sdi_error_get());
    return w;
}

static void check_fixture_fails(const char *name, sd_status status, const char *part) {
    sd_weights *w;
    char path[FILES_PATH];
    snprintf(path, sizeof path, SD_TEST_DATA "/ckpt/%s", name);
    ck_assert_int_eq(sdi_weights_open(ctx, path, &w), status);
    const char *text = sdi_error_get();
    ck_assert_msg(strstr(text, part) && strstr(text, path), "'%s' is not in: %s", part, text);
    ck_assert_ptr_null(w);
}

/* ------------------------------------------------------------------------- fixtures */

static double half_value(uint16_t bits) {
    int exponent = bits >> 10 & 31;
    double fraction = bits & 1023;
    double x = exponent ? ldexp(1024 + fraction, exponent - 25) : ldexp(fraction, -24);
    return bits & 0x8000 ? -x : x;
}

#define READ(type)                                                                                 \
    (sdi_weights_read(w, e, i * sizeof type##_, &type##_, sizeof type##_) ? NAN : (double)type##_)

static double element(const sd_weights *w, const sd_entry *e, size_t i) {
    double double_;
    float float_;
    uint16_t uint16_t_;
    uint32_t bits;
    int64_t int64_t_;
    int32_t int32_t_;
    int16_t int16_t_;
    int8_t int8_t_;
    uint8_t uint8_t_;
    switch (e->type) {
    case SD_DTYPE_F64:
        return READ(double);
    case SD_DTYPE_F32:
        return READ(float);
    case SD_DTYPE_F16:
        return half_value((uint16_t)READ(uint16_t));
    case SD_DTYPE_BF16:
        bits = (uint32_t)READ(uint16_t) << 16;
        memcpy(&float_, &bits, sizeof bits);
        return (double)float_;
    case SD_DTYPE_I64:
        return READ(int64_t);
    case SD_DTYPE_I32:
        return READ(int32_t);
    case SD_DTYPE_I16:
        return READ(int16_t);
    case SD_DTYPE_I8:
        return READ(int8_t);
    default:
        return READ(uint8_t);
    }
}

/* One line of values.txt: name, type, number of dimensions, dimensions, elements. */
static void check_line(const sd_weights *w, char *line) {
    char *word = strtok(line, " ");
    const sd_entry *e = sdi_weights_find(w, word);
    ck_assert_msg(e != NULL, "no tensor %s", word);
    ck_assert_str_eq(sdi_dtype_name(e->type), strtok(NULL, " "));
    ck_assert_int_eq(e->n_dims, atoi(strtok(NULL, " ")));
    size_t n = 1;
    for (int i = 0; i < e->n_dims; i++) {
        ck_assert_int_eq(e->dims[i], atoi(strtok(NULL, " ")));
        n *= (size_t)e->dims[i];
    }
    ck_assert_uint_eq(e->size, n * sdi_dtype_size(e->type));
    for (size_t i = 0; i < n; i++) {
        double want = atof(strtok(NULL, " ")), got = element(w, e, i);
        ck_assert_msg(got == want, "%s[%zu] is %g, not %g", e->name, i, got, want);
    }
    ck_assert_ptr_null(strtok(NULL, " "));
}

static size_t check_values(const sd_weights *w) {
    size_t n, lines = 0;
    uint8_t *bytes = files_read(SD_TEST_DATA "/ckpt/values.txt", &n);
    char *text = malloc(n + 1), *next = text;
    memcpy(text, bytes, n);
    text[n] = 0;
    free(bytes);
    while (*next) {
        char *end = strchr(next, '\n');
        *end = 0;
        check_line(w, next);
        next = end + 1;
        lines++;
    }
    free(text);
    return lines;
}

static const char *const good[] = {"lightning.ckpt", "plain.pt", "protocol4.pth", "deflated.ckpt",
                                   "legacy.pt"};

START_TEST(reads_what_torch_writes) {
    for (size_t i = 0; i < SD_COUNT(good); i++) {
        sd_weights *w = open_fixture(good[i]);
        size_t n = check_values(w);
        ck_assert_uint_eq(sdi_weights_count(w), n);
        ck_assert_str_eq(sdi_weights_at(w, 0)->name, "types.float32"); /* the order of the file */
        printf("%s: %zu tensors are torch's\n", good[i], n);
        sdi_weights_close(w);
    }
}
END_TEST

/* _rebuild_tensor_v3: a storage of bytes, and what they are; not contiguous either. */
START_TEST(reads_untyped_storages) {
    static const char *const names[] = {
        "float8_e4m3fn",   "F8_E4M3",     "float8_e5m2",     "F8_E5M2",
        "float8_e4m3fnuz", "F8_E4M3FNUZ", "float8_e5m2fnuz", "F8_E5M2FNUZ",
        "uint16",          "U16",         "uint32",          "U32",
        "uint64",          "U64"};
    sd_weights *w = open_fixture("untyped.pt");
    ck_assert_uint_eq(sdi_weights_count(w), SD_COUNT(names) / 2);
    for (size_t i = 0; i < SD_COUNT(names); i += 2) {
        const sd_entry *e = sdi_weights_find(w, names[i]);
        ck_assert_msg(e && strcmp(sdi_dtype_name(e->type), names[i + 1]) == 0, "%s", names[i]);
        ck_assert(e->n_dims == 2 && e->dims[0] == 2 && e->dims[1] == 2);
        uint8_t bytes[32];
        static const uint64_t wanted[] = {3, 6, 12, 15};
        size_t size = sdi_dtype_size(e->type);
        ck_assert_int_eq(sdi_weights_read(w, e, 0, bytes, 4 * size), SD_OK);
        for (size_t k = 0; k < 4; k++) {
            uint64_t integer = 0;
            memcpy(&integer, bytes + k * size, size);
            double x = sdi_dtype_is_float8(e->type) ? sdi_dtype_value(e->type, bytes + k * size)
                                                    : (double)integer;
            double want = (double)wanted[k];
            ck_assert_msg(fabs(x - want) <= want / 8, "%s: %g, not %g", names[i], x, want);
        }
    }
    sdi_weights_close(w);
    w = open_fixture("complex.pt");
    ck_assert_str_eq(sdi_dtype_name(sdi_weights_at(w, 0)->type), "C64");
    sdi_weights_close(w);
}
END_TEST

/* The tensor has the numbers that values.txt has for `line`, whatever its name. */
static void check_as(const sd_weights *w, const char *name, const char *line) {
    size_t n;
    char *bytes = (char *)files_read(SD_TEST_DATA "/ckpt/values.txt", &n), *text = malloc(n + 2);
    snprintf(text, n + 2, "\n%.*s", (int)n, bytes);
    free(bytes);
    char wanted[80], row[512];
    snprintf(wanted, sizeof wanted, "\n%s ", line);
    const char *at = strstr(text, wanted);
    ck_assert_msg(at != NULL, "no line %s", line);
    at += strlen(wanted);
    snprintf(row, sizeof row, "%s %.*s", name, (int)strcspn(at, "\n"), at);
    check_line(w, row);
    free(text);
}

/* Objects beside the weights are passed over; tensors are found in modules and dictionaries of
 * other classes, with attributes, and in the words of other programs. */
START_TEST(finds_tensors_among_objects) {
    static const struct {
        const char *file;
        size_t n;
        const char *name, *line;
    } rows[] = {
        {"objects.ckpt", 3, "parameter", "parameter"},
        {"objects5.ckpt", 3, "shared.part", "shared.part"},
        {"objects-flat.pt", 3, "types.float32", "types.float32"},
        {"attributes.ckpt", 4, "types.int64", "types.int64"},
        {"attributes.ckpt", 4, "parameter", "parameter"},
        {"dict-plain.pt", 1, "*", "shared.part"},
        {"dict-new.pt", 1, "*", "shared.part"},
        {"dict-old.pt", 1, "*", "shared.part"},
        {"dict-modules.pt", 1, "boat.vector", "shared.part"},
        {"dict-class.pt", 3, "parameter", "parameter"},
        {"module.pt", 2, "inner.whole", "shared.whole"},
        {"module.pt", 2, "scalar", "scalar"},
        {"module-within.pt", 1, "shared.whole", "shared.whole"},
        {"hypernetwork.pt", 2, "768.1.linear.0.weight", "shared.part"},
        {"opaque-tensor.ckpt", 1, NULL, NULL},
        {"legacy-objects.ckpt", 3, "shared.part", "shared.part"},
        {"legacy-parts.pt", 3, "shared.whole", "shared.whole"},
        {"legacy-parts.pt", 3, "shared.part", "shared.part"},
        {"legacy-parts.pt", 3, "strided.step", "strided.step"},
        {"legacy-module.pt", 3, "part", "shared.part"},
    };
    for (size_t i = 0; i < SD_COUNT(rows); i++) {
        sd_weights *w = open_fixture(rows[i].file);
        ck_assert_msg(sdi_weights_count(w) == rows[i].n, "%s: %zu tensors", rows[i].file,
                      sdi_weights_count(w));
        if (rows[i].name)
            check_as(w, rows[i].name, rows[i].line);
        sdi_weights_close(w);
    }
}
END_TEST

START_TEST(copies_only_what_it_must) {
    static const char *const in_file[] = {"types.float32", "types.bfloat16", "types.bool",
                                          "types.float64", "shared.whole",   "shared.part",
                                          "parameter",     "scalar",         "strided.ones"};
    static const char *const copied[] = {"strided.transposed", "strided.step", "strided.half",
                                         "strided.expanded"};
    sd_weights *w = open_fixture("lightning.ckpt");
    for (size_t i = 0; i < SD_COUNT(in_file); i++)
        ck_assert_msg(!sdi_weights_find(w, in_file[i])->data, "%s was copied", in_file[i]);
    for (size_t i = 0; i < SD_COUNT(copied); i++)
        ck_assert_msg(sdi_weights_find(w, copied[i])->data, "%s was not copied", copied[i]);
    const sd_entry *whole = sdi_weights_find(w, "shared.whole");
    const sd_entry *part = sdi_weights_find(w, "shared.part");
    ck_assert_uint_eq(whole->offset + 5 * sizeof(float), part->offset);
    ck_assert_uint_eq(whole->offset % 64, 0);
    sdi_weights_close(w);
    w = open_fixture("deflated.ckpt"); /* unpacked once, and shared all the same */
    whole = sdi_weights_find(w, "shared.whole");
    ck_assert_ptr_nonnull(whole->data);
    ck_assert_ptr_eq((const float *)whole->data + 5, sdi_weights_find(w, "shared.part")->data);
    sdi_weights_close(w);
}
END_TEST

START_TEST(reads_texts_beside_the_weights) {
    sd_weights *w = open_fixture("lightning.ckpt");
    ck_assert_str_eq(sdi_weights_metadata(w, "sd.sample_size"), "16");
    ck_assert_ptr_null(sdi_weights_metadata(w, "pytorch-lightning_version"));
    sdi_weights_close(w);
    w = open_fixture("legacy-objects.ckpt");
    ck_assert_str_eq(sdi_weights_metadata(w, "sd.sample_size"), "16");
    sdi_weights_close(w);
}
END_TEST

START_TEST(refuses_what_is_no_checkpoint) {
    check_fixture_fails("system.ckpt", SD_ERROR_UNSUPPORTED, "the pickle names 'posix.system'");
    check_fixture_fails("eval.ckpt", SD_ERROR_UNSUPPORTED, "'__builtin__.eval'");
    check_fixture_fails("load-from-bytes.ckpt", SD_ERROR_UNSUPPORTED,
                        "'torch.storage._load_from_bytes'");
    check_fixture_fails("list.pt", SD_ERROR_UNSUPPORTED, "a list");
    check_fixture_fails("tensor.pt", SD_ERROR_UNSUPPORTED, "aesthetic gradients");
    check_fixture_fails("no-tensors.pt", SD_ERROR_UNSUPPORTED, "state_dict");
    check_fixture_fails("script.pt", SD_ERROR_UNSUPPORTED, "TorchScript");
    check_fixture_fails("big-endian.pt", SD_ERROR_UNSUPPORTED, "big-endian");
}
END_TEST

/* ------------------------------------------------------------------------- pickles by hand */

#define P(text) text, sizeof(text) - 1

static sd_pickle *read_pickle(const char *bytes, size_t n) {
    sd_pickle *p;
    sd_status status = sdi_pickle_read(ctx, "x.ckpt", (const uint8_t *)bytes, n, &p);
    ck_assert_msg(status == SD_OK, "%s", sdi_error_get());
    return p;
}

START_TEST(reads_numbers) {
    static const struct {
        const char *bytes;
        size_t n;
        int64_t value;
    } rows[] = {
        {P("\x80\2K\xff."), 255},
        {P("\x80\2M\xfe\xff."), 65534},
        {P("\x80\2J\xfe\xff\xff\xff."), -2},
        {P("\x80\2\x8a\0."), 0},
        {P("\x80\2\x8a\1\x80."), -128},
        {P("\x80\2\x8a\2\xff\0."), 255},
        {P("\x80\2\x8b\5\0\0\0\0\0\0\0\1."), (int64_t)1 << 32},
        {P("\x80\2\x8a\x08\0\0\0\0\0\0\0\x80."), INT64_MIN},
        {P("\x80\2\x88."), 1},
        {P("\x80\2\x89."), 0},
    };
    for (size_t i = 0; i < SD_COUNT(rows); i++) {
        sd_pickle *p = read_pickle(rows[i].bytes, rows[i].n);
        sd_pickle_kind kind = sdi_pickle_root(p)->kind;
        ck_assert_int_eq(kind, i < 8 ? SD_PICKLE_INT : SD_PICKLE_BOOL);
        ck_assert_int_eq(sdi_pickle_root(p)->integer, rows[i].value);
        sdi_pickle_free(p);
    }
    sd_pickle *p = read_pickle(P("\x80\2G\xbf\xf8\0\0\0\0\0\0."));
    ck_assert(sdi_pickle_root(p)->kind == SD_PICKLE_REAL && sdi_pickle_root(p)->real == -1.5);
    sdi_pickle_free(p);
}
END_TEST

/* {"a": [1, None], "b": ("x",)} with memo, marks, pops and a list that holds itself. */
START_TEST(reads_containers) {
    sd_pickle *p = read_pickle(P("\x80\4\x95\5\0\0\0\0\0\0\0}\x94(\x8c\1a\x94](K\1NeX\1\0\0\0b\x8c"
                                 "\1x\x85K\0000(K\1K\0021u\x8c\1c]\x94h\2as."));
    const sd_pickle_value *root = sdi_pickle_root(p);
    ck_assert_int_eq(root->kind, SD_PICKLE_DICT);
    ck_assert_uint_eq(root->list.n, 6);
    const sd_pickle_value *a = sdi_pickle_get(root, "a"), *b = sdi_pickle_get(root, "b");
    const sd_pickle_value *c = sdi_pickle_get(root, "c");
    ck_assert(a && a->kind == SD_PICKLE_LIST && a->list.n == 2);
    ck_assert(a->list.items[0]->integer == 1 && a->list.items[1]->kind == SD_PICKLE_NONE);
    ck_assert(b && b->kind == SD_PICKLE_TUPLE && b->list.n == 1);
    ck_assert(c && c->list.n == 1 && c->list.items[0] == c);
    ck_assert_ptr_null(sdi_pickle_get(root, ""));
    ck_assert_ptr_null(sdi_pickle_get(root, "aa"));
    sdi_pickle_free(p);
}
END_TEST

/* Calls on harmless libraries' names give objects that stay inert whatever is done to them. */
START_TEST(keeps_opaque_values_inert) {
    static const struct {
        const char *bytes;
        size_t n;
        const char *name;
    } rows[] = {
        {P("\x80\2comegaconf.base\nNode\n)\x81}q\1(X\1\0\0\0aK\1ub."), "omegaconf.base.Node"},
        {P("\x80\2cnumpy\ndtype\n(K\1K\2tR(K\1tb."), "numpy.dtype"},
        {P("\x80\2ccollections\ndefaultdict\nc__builtin__\nlist\n\x85RX\1\0\0\0aK\1s."),
         "collections.defaultdict"},
        {P("\x80\2cpathlib\nPosixPath\n(X\1\0\0\0/X\1\0\0\0atR."), "pathlib.PosixPath"},
        {P("\x80\2cmine.x\nA\n)\x81N}X\1\0\0\0aK\1s\206b."), "mine.x.A"},
        {P("\x80\2cctypesx\nA\n(X\1\0\0\0at}\x92."), "ctypesx.A"},
        {P("\x80\2cbuiltins\ngetattr\ncmine\nA\nX\1\0\0\0B\x86R."), "builtins.getattr"},
        {P("\x80\5cnumpy.core.numeric\n_frombuffer\n(\x96\2\0\0\0\0\0\0\0abtR."),
         "numpy.core.numeric._frombuffer"},
        {P("\x80\4\x8c\21pytorch_lightning\x8c\1X\x93)R]\x94K\1a\x86\x85R."), NULL},
    };
    for (size_t i = 0; i < SD_COUNT(rows) - 1; i++) {
        sd_pickle *p = read_pickle(rows[i].bytes, rows[i].n);
        ck_assert_int_eq(sdi_pickle_root(p)->kind, SD_PICKLE_OPAQUE);
        ck_assert_str_eq(sdi_pickle_root(p)->object.name, rows[i].name);
        sdi_pickle_free(p);
    }
    sd_pickle *p; /* a tuple with an object in it is still no function */
    const uint8_t *bytes = (const uint8_t *)rows[SD_COUNT(rows) - 1].bytes;
    ck_assert_int_eq(sdi_pickle_read(ctx, "x.ckpt", bytes, rows[SD_COUNT(rows) - 1].n, &p),
                     SD_ERROR_FORMAT);
}
END_TEST

START_TEST(measures_pickles) {
    static const struct {
        const char *bytes;
        size_t n, length;
    } rows[] = {
        {P("\x80\2."), 3},
        {P("\x80\2}X\1\0\0\0.ca\nb\n.}."), 15},
        {P("\x80\4\x95\3\0\0\0\0\0\0\0\x8c\1..N"), 15},
        {P("G........."), 10},
        {P("\x8a\2..I1\n."), 5}, /* an opcode that is not known, which the machine names */
        {P("\x80"), 0},
        {P("\x80\2}"), 0},
        {P("X\2\0\0"), 0},
        {P("X\2\0\0\0."), 0},
        {P("\x8d\xff\xff\xff\xff\xff\xff\xff\xff."), 0},
        {P("ca\nb"), 0},
        {P("G..."), 0},
    };
    for (size_t i = 0; i < SD_COUNT(rows); i++) {
        uint8_t *copy = malloc(rows[i].n); /* where a sanitizer sees one byte more */
        memcpy(copy, rows[i].bytes, rows[i].n);
        size_t length = sdi_pickle_length(copy, rows[i].n);
        ck_assert_msg(length == rows[i].length, "row %zu: %zu bytes", i, length);
        free(copy);
    }
}
END_TEST

/* A module's attributes, and the items of a dictionary's other class. */
START_TEST(keeps_what_is_set_in_objects) {
    sd_pickle *p = read_pickle(P("\x80\2cmine\nD\n)\x81}X\1\0\0\0aK\1sN\206b(K\2K\3u."));
    const sd_pickle_value *root = sdi_pickle_root(p);
    ck_assert_int_eq(root->kind, SD_PICKLE_OPAQUE);
    ck_assert_ptr_nonnull(root->object.state);
    ck_assert_int_eq(sdi_pickle_get(root->object.state, "a")->integer, 1);
    ck_assert_uint_eq(root->object.items->list.n, 2);
    ck_assert_int_eq(root->object.items->list.items[1]->integer, 3);
    sdi_pickle_free(p);
}
END_TEST

/* ------------------------------------------------------------------------- averaged weights */

START_TEST(takes_the_average) {
    static const char *const names[] = {
        "model.diffusion_model.out.0.weight", "model_ema.diffusion_modelout0weight",
        "model.diffusion_model.a.1.b",        "first_stage_model.x",
        "model_ema.diffusion_modela1b",       "model_ema.decay"};
    const char *path = files_path(dir, "ema.safetensors");
    safetensors *s = safetensors_new();
    for (size_t i = 0; i < SD_COUNT(names); i++)
        safetensors_add(s, names[i], "F16", "[2]");
    safetensors_save(s, path);
    sd_weights *w;
    ck_assert_int_eq(sdi_weights_open(ctx, path, &w), SD_OK);
    ck_assert(!sdi_ema_take_alone(w));
    const sd_entry *other = sdi_weights_find(w, names[3]);
    uint64_t last = sdi_weights_find(w, names[0])->offset;
    uint64_t ema = sdi_weights_find(w, names[1])->offset;
    ck_assert_int_eq(sdi_ema_use(ctx, w), SD_OK);
    ck_assert(sdi_weights_find(w, names[0])->offset == ema && ema != last);
    ck_assert_str_eq(sdi_weights_find(w, names[0])->name, names[1]);
    ck_assert(sdi_weights_take(w, names[2])->taken && sdi_weights_at(w, 2)->taken);
    ck_assert_uint_eq(sdi_weights_find(w, names[2])->offset, sdi_weights_find(w, names[4])->offset);
    ck_assert_ptr_eq(sdi_weights_find(w, names[3]), other);
    sdi_weights_close(w);

    for (int i = 4; i > 0; i -= 3) { /* one is missing, then all */
        safetensors_drop(s, names[i]);
        safetensors_save(s, path);
        ck_assert_int_eq(sdi_weights_open(ctx, path, &w), SD_OK);
        const void *data = sdi_weights_find(w, names[0])->data;
        ck_assert_int_eq(sdi_ema_use(ctx, w), SD_ERROR_MODEL);
        ck_assert_ptr_nonnull(
            strstr(sdi_error_get(),
                   i == 4 ? "'model_ema.diffusion_modela1b' is missing" : "no tensor is named"));
        ck_assert_ptr_eq(sdi_weights_find(w, names[0])->data, data); /* nothing was replaced */
        sdi_weights_close(w);
    }
    safetensors_free(s);
}
END_TEST

/* Where the UNet is there only as its average, under each of the names that it is given. */
START_TEST(finds_the_average_alone) {
    static const char *const names[][2] = {
        {"model_ema.diffusion_modelinput_blocks00weight", "model_ema.diffusion_modelout2bias"},
        {"model_ema.diffusion_model.input_blocks.0.0.weight",
         "model_ema.diffusion_model.out.2.bias"},
        {"model_ema.input_blocks00weight", "model_ema.out2bias"},
        {"model_ema.input_blocks.0.0.weight", "model_ema.out.2.bias"},
        {"model_ema.decay", "model_ema.num_updates"},
    };
    const char *path = files_path(dir, "alone.safetensors");
    for (size_t i = 0; i < SD_COUNT(names); i++) {
        bool any = i < SD_COUNT(names) - 1;
        safetensors *s = safetensors_new();
        for (int k = 0; k < 2; k++)
            safetensors_add(s, names[i][k], "F16", "[2]");
        safetensors_save(s, path);
        safetensors_free(s);
        sd_weights *w;
        ck_assert_int_eq(sdi_weights_open(ctx, path, &w), SD_OK);
        ck_assert(!sdi_weights_has_prefix(w, "model.diffusion_model."));
        ck_assert_int_eq(sdi_ema_take_alone(w), any);
        ck_assert_int_eq(sdi_weights_has_prefix(w, "model.diffusion_model."), any);
        ck_assert(!sdi_weights_has_prefix(w, "model.diffusion_model.label_emb."));
        const sd_entry *e = sdi_weights_find(w, "model.diffusion_model.input_blocks.0.0.weight");
        ck_assert((e != NULL) == any && (!e || strcmp(e->name, names[i][0]) == 0));
        ck_assert_int_eq(sdi_weights_find(w, "model.diffusion_model.out.2.bias") != NULL, any);
        ck_assert_int_eq(sdi_ema_use(ctx, w), any ? SD_OK : SD_ERROR_MODEL);
        sdi_weights_close(w);
    }
}
END_TEST

int main(void) {
    Suite *suite = suite_create("pickle");
    TCase *tcase = tcase_create("pickle");
    tcase_add_checked_fixture(tcase, setup, teardown);
    tcase_add_test(tcase, reads_what_torch_writes);
    tcase_add_test(tcase, finds_tensors_among_objects);
    tcase_add_test(tcase, reads_untyped_storages);
    tcase_add_test(tcase, copies_only_what_it_must);
    tcase_add_test(tcase, keeps_what_is_set_in_objects);
    tcase_add_test(tcase, measures_pickles);
    tcase_add_test(tcase, reads_texts_beside_the_weights);
    tcase_add_test(tcase, refuses_what_is_no_checkpoint);
    tcase_add_test(tcase, reads_numbers);
    tcase_add_test(tcase, reads_containers);
    tcase_add_test(tcase, keeps_opaque_values_inert);
    tcase_add_test(tcase, takes_the_average);
    tcase_add_test(tcase, finds_the_average_alone);
    suite_add_tcase(suite, tcase);
    return suite_run(suite, CK_NOFORK);
}
