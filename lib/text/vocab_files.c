/* Where a vocabulary comes from: files in the layouts of OpenAI and of transformers. */
#include "core/files.h"
#include "core/os.h"
#include "text/vocab.h"

#include <string.h>
#include <zlib.h>

/* CLIP's vocab.json has 1 MB and bpe_simple_vocab_16e6.txt 3.2 MB. */
#define MAX_FILE (64u << 20)

#define VOCAB_JSON "vocab.json"
#define MERGES_TXT "merges.txt"

static void *zlib_alloc(void *ctx, unsigned n, unsigned size) {
    return sdi_alloc_array(ctx, n, size);
}

static void zlib_free(void *ctx, void *ptr) {
    sdi_free(ctx, ptr);
}

/* Inflates into *data, that grows up to MAX_FILE. */
static sd_status inflate_all(sd_context *ctx, const char *name, z_stream *z, uint8_t **data,
                             size_t *size) {
    size_t capacity = 1u << 20;
    for (int rc = Z_OK; rc != Z_STREAM_END;) {
        if (!*data || *size == capacity) {
            capacity = *data ? capacity * 2 : capacity;
            if (capacity > MAX_FILE)
                return sdi_fail(ctx, SD_ERROR_FORMAT, "%s: more than %u bytes when unpacked", name,
                                MAX_FILE);
            uint8_t *grown = sdi_realloc(ctx, *data, capacity);
            if (!grown)
                return SD_ERROR_MEMORY;
            *data = grown;
        }
        z->next_out = *data + *size;
        z->avail_out = (unsigned)(capacity - *size);
        rc = inflate(z, Z_NO_FLUSH);
        *size = capacity - z->avail_out;
        if (rc == Z_MEM_ERROR)
            return SD_ERROR_MEMORY;
        if (rc != Z_OK && rc != Z_STREAM_END)
            return sdi_fail(ctx, SD_ERROR_FORMAT, "%s: damaged or cut gzip data: %s", name,
                            z->msg ? z->msg : "unexpected end");
    }
    return SD_OK;
}

static sd_status gunzip(sd_context *ctx, const char *name, const uint8_t *packed, size_t n,
                        uint8_t **data, size_t *size) {
    z_stream z = {.zalloc = zlib_alloc, .zfree = zlib_free, .opaque = ctx};
    z.next_in = (uint8_t *)packed; /* zlib does not write there */
    z.avail_in = (unsigned)n;
    *data = NULL;
    *size = 0;
    int rc = inflateInit2(&z, 16 + MAX_WBITS);
    if (rc == Z_MEM_ERROR)
        return SD_ERROR_MEMORY;
    if (rc != Z_OK)
        return sdi_fail(ctx, SD_ERROR_INTERNAL, "zlib does not start: %s", zError(rc));
    sd_status status = inflate_all(ctx, name, &z, data, size);
    inflateEnd(&z);
    if (status) {
        sdi_free(ctx, *data);
        *data = NULL;
    }
    return status;
}

static bool is_gzip(const uint8_t *data, size_t n) {
    return n >= 2 && data[0] == 0x1F && data[1] == 0x8B;
}

/* OpenAI's list of merges, packed or not. */
static sd_status read_simple(sd_tokenizer *t, const char *name, const uint8_t *data, size_t n) {
    uint8_t *unpacked = NULL;
    sd_status status = SD_OK;
    if (is_gzip(data, n)) {
        status = gunzip(t->ctx, name, data, n, &unpacked, &n);
        data = unpacked;
    }
    if (!status)
        status = sdi_vocab_add_base(t);
    if (!status)
        status = sdi_vocab_read_merges(t, name, (const char *)data, n, true);
    if (!status)
        status = sdi_vocab_add_special(t);
    if (!status)
        status = sdi_vocab_finish(t, name);
    sdi_free(t->ctx, unpacked);
    return status;
}

static sd_status read_pair(sd_tokenizer *t, const char *json_path, const char *merges_path) {
    uint8_t *data = NULL;
    size_t n = 0;
    sd_status status = sdi_read_file(t->ctx, json_path, MAX_FILE, &data, &n);
    if (!status)
        status = sdi_vocab_read_json(t, json_path, (const char *)data, n);
    sdi_free(t->ctx, data);
    data = NULL;
    if (!status)
        status = sdi_read_file(t->ctx, merges_path, MAX_FILE, &data, &n);
    if (!status)
        status = sdi_vocab_read_merges(t, merges_path, (const char *)data, n, false);
    sdi_free(t->ctx, data);
    char *dir = status ? NULL : sdi_path_dirname(t->ctx, json_path);
    if (!status)
        status = dir ? sdi_vocab_read_extras(t, dir, NULL) : SD_ERROR_MEMORY;
    sdi_free(t->ctx, dir);
    return status ? status : sdi_vocab_finish(t, json_path);
}

/* vocab.json and merges.txt of one folder. *found: both are there. */
static sd_status read_folder_pair(sd_tokenizer *t, const char *dir, bool *found) {
    char *json = sdi_path_join(t->ctx, dir, VOCAB_JSON);
    char *merges = sdi_path_join(t->ctx, dir, MERGES_TXT);
    sd_status status = json && merges ? SD_OK : SD_ERROR_MEMORY;
    *found = !status && sdi_is_file(json) && sdi_is_file(merges);
    if (*found)
        status = read_pair(t, json, merges);
    sdi_free(t->ctx, json);
    sdi_free(t->ctx, merges);
    return status;
}

static sd_status read_file(sd_tokenizer *t, const char *path);

/* Leaves `t` empty and *found false where the folder has no vocabulary. */
static sd_status read_folder(sd_tokenizer *t, const char *dir, bool *found) {
    static const char *const names[] = {SD_TOKENIZER_JSON, "bpe_simple_vocab_16e6.txt.gz",
                                        "bpe_simple_vocab_16e6.txt"};
    sd_status status = read_folder_pair(t, dir, found);
    for (size_t i = 0; i < SD_COUNT(names) && !status && !*found; i++) {
        char *path = sdi_path_join(t->ctx, dir, names[i]);
        if (!path)
            return SD_ERROR_MEMORY;
        *found = sdi_is_file(path);
        if (*found)
            status = read_file(t, path);
        sdi_free(t->ctx, path);
    }
    return status;
}

static bool named(const char *path, const char *name) {
    const char *slash = strrchr(path, '/');
    return strcmp(slash ? slash + 1 : path, name) == 0;
}

/* A tokenizer.json by any name. */
static bool is_json(const uint8_t *data, size_t n) {
    size_t i = 0;
    while (i < n && (data[i] == ' ' || (data[i] >= '\t' && data[i] <= '\r')))
        i++;
    return i < n && data[i] == '{';
}

/* vocab.json and merges.txt stand for their pair; any other file is a tokenizer.json or a list of
 * merges. merges.txt alone is enough too: CLIP's ids follow from it. */
static sd_status read_file(sd_tokenizer *t, const char *path) {
    bool is_vocab = named(path, VOCAB_JSON);
    if (is_vocab || named(path, MERGES_TXT)) {
        bool found = false;
        char *dir = sdi_path_dirname(t->ctx, path);
        sd_status status = dir ? read_folder_pair(t, dir, &found) : SD_ERROR_MEMORY;
        sdi_free(t->ctx, dir);
        if (status || found)
            return status;
        if (is_vocab && sdi_is_file(path))
            return sdi_fail(t->ctx, SD_ERROR_IO, "%s: there is no " MERGES_TXT " beside it", path);
    }
    uint8_t *data = NULL;
    size_t n = 0;
    sd_status status = sdi_read_file(t->ctx, path, MAX_FILE, &data, &n);
    if (!status && is_json(data, n))
        status = sdi_vocab_read_tokenizer(t, path, (const char *)data, n);
    else if (!status)
        status = read_simple(t, path, data, n);
    sdi_free(t->ctx, data);
    return status;
}

static sd_tokenizer *new_tokenizer(sd_context *ctx) {
    sd_tokenizer *t = sdi_zalloc(ctx, sizeof *t);
    if (!t)
        return NULL;
    atomic_init(&t->refs, 1);
    t->ctx = ctx;
    return t;
}

/* All that was read. */
static void clear(sd_tokenizer *t) {
    sd_context *ctx = t->ctx;
    sdi_free(ctx, t->text);
    sdi_free(ctx, t->offset);
    sdi_free(ctx, t->slots);
    sdi_free(ctx, t->merges);
    sdi_free(ctx, t->pad_token);
    sdi_added_free(ctx, &t->added);
    *t = (sd_tokenizer){.ctx = ctx};
    atomic_init(&t->refs, 1);
}

sd_tokenizer *sdi_tokenizer_retain(sd_tokenizer *t) {
    if (t)
        atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void sdi_tokenizer_release(sd_tokenizer *t) {
    if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) > 1)
        return;
    clear(t);
    sdi_free(t->ctx, t);
}

/* Hands `t` out, or frees it. */
static sd_status give(sd_tokenizer *t, sd_status status, sd_tokenizer **out) {
    if (status)
        sdi_tokenizer_release(t);
    else
        *out = t;
    return status;
}

sd_status sdi_tokenizer_load(sd_context *ctx, const char *path, sd_tokenizer **out) {
    *out = NULL;
    sd_tokenizer *t = new_tokenizer(ctx);
    if (!t)
        return SD_ERROR_MEMORY;
    if (!sdi_is_directory(path))
        return give(t, read_file(t, path), out);
    bool found = false;
    sd_status status = read_folder(t, path, &found);
    if (!status && !found)
        status = sdi_fail(ctx, SD_ERROR_IO,
                          "%s: the folder has neither " VOCAB_JSON " with " MERGES_TXT
                          " nor " SD_TOKENIZER_JSON " nor bpe_simple_vocab_16e6.txt[.gz]",
                          path);
    return give(t, status, out);
}

static sd_status not_found(sd_context *ctx, const char *const dirs[2]) {
    return sdi_fail(ctx, SD_ERROR_IO,
                    "no CLIP vocabulary: looked for " VOCAB_JSON " with " MERGES_TXT
                    ", for " SD_TOKENIZER_JSON " and for bpe_simple_vocab_16e6.txt[.gz] in %s%s%s, "
                    "and none is built in (Meson option clip_vocab)",
                    dirs[0] ? dirs[0] : "", dirs[0] && dirs[1] ? " and " : "",
                    dirs[1]   ? dirs[1]
                    : dirs[0] ? ""
                              : "no folder");
}

sd_status sdi_tokenizer_find(sd_context *ctx, const char *path, const char *tokenizer_dir,
                             const char *directory, sd_tokenizer **out) {
    *out = NULL;
    if (path)
        return sdi_tokenizer_load(ctx, path, out);
    const char *const dirs[2] = {tokenizer_dir, directory};
    sd_tokenizer *t = new_tokenizer(ctx);
    if (!t)
        return SD_ERROR_MEMORY;
    bool found = false;
    sd_status status = SD_OK;
    for (int i = 0; i < 2 && !status && !found; i++) {
        if (dirs[i])
            status = read_folder(t, dirs[i], &found);
        if (status == SD_ERROR_UNSUPPORTED) { /* another program's tokenizer.json lies there */
            sdi_log(ctx, SD_LOG_LEVEL_WARN, "%s; it is not used", sdi_error_get());
            clear(t);
            status = SD_OK;
            found = false;
        }
    }
    if (!status && !found && sdi_builtin_vocab_size)
        status = read_simple(t, "built-in vocabulary", sdi_builtin_vocab, sdi_builtin_vocab_size);
    else if (!status && !found)
        status = not_found(ctx, dirs);
    return give(t, status, out);
}
