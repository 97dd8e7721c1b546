/*
 * Writes what torch.save writes: a zip archive of stored files whose data begin at multiples of 64
 * bytes, archive/data.pkl (protocol 2) and archive/data/0, 1, 2 ... The form is Lightning's:
 * {"state_dict": {...}, "epoch": 0, "sd.sample_size": "16"}. Zip64 where it is needed.
 */
#include "checkpoint.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define BLOCK_ELEMENTS (1 << 17)
#define ALIGNMENT 64
#define LIMIT32 0xffffffffU

/* ---------------------------------------------------------------------------------- bytes */

typedef struct buffer {
    unsigned char *data;
    size_t n, room;
    bool failed;
} buffer;

static void put_bytes(buffer *b, const void *bytes, size_t n) {
    if (b->n + n > b->room && !b->failed) {
        size_t room = 2 * (b->n + n);
        unsigned char *grown = realloc(b->data, room);
        if (grown) {
            b->data = grown;
            b->room = room;
        }
        b->failed = !grown;
    }
    if (!b->failed) {
        memcpy(b->data + b->n, bytes, n);
        b->n += n;
    }
}

static void put_text(buffer *b, const char *text) {
    put_bytes(b, text, strlen(text));
}

/* Little-endian. */
static void put_number(buffer *b, uint64_t value, int n_bytes) {
    for (int i = 0; i < n_bytes; i++) {
        unsigned char byte = (unsigned char)(value >> (8 * i));
        put_bytes(b, &byte, 1);
    }
}

/* ---------------------------------------------------------------------------------- zip */

typedef struct zip_row {
    char name[64];
    uint32_t crc;
    uint64_t size, offset;
} zip_row;

typedef struct zip_writer {
    FILE *f;
    zip_row *rows; /* of all files that there will be */
    size_t n;
    uint64_t at;
    bool ok;
} zip_writer;

static void zip_raw(zip_writer *z, const void *bytes, size_t n) {
    z->ok = z->ok && fwrite(bytes, 1, n, z->f) == n;
    z->at += n;
}

/* The fields that a file's local header and its row in the directory share. */
static void put_common(buffer *b, const zip_row *r, size_t n_extra) {
    put_number(b, 0, 2);      /* flags */
    put_number(b, 0, 2);      /* stored */
    put_number(b, 0, 2);      /* time */
    put_number(b, 0x5821, 2); /* date: a day in 2024 */
    put_number(b, r->crc, 4);
    put_number(b, r->size, 4);
    put_number(b, r->size, 4);
    put_number(b, strlen(r->name), 2);
    put_number(b, n_extra, 2);
}

/* A local header whose extra field fills up to the alignment. */
static void put_local(buffer *b, const zip_row *r) {
    size_t bare = 30 + strlen(r->name) + 4;
    size_t padding = (ALIGNMENT - (r->offset + bare) % ALIGNMENT) % ALIGNMENT;
    put_bytes(b, "PK\3\4", 4);
    put_number(b, 20, 2);
    put_common(b, r, 4 + padding);
    put_text(b, r->name);
    put_bytes(b, "FB", 2);
    put_number(b, padding, 2);
    for (size_t i = 0; i < padding; i++)
        put_bytes(b, "Z", 1);
}

static zip_row *zip_begin(zip_writer *z, const char *name) {
    zip_row *row = &z->rows[z->n++];
    buffer b = {0};
    *row = (zip_row){.offset = z->at};
    snprintf(row->name, sizeof(row->name), "archive/%s", name);
    put_local(&b, row);
    z->ok = z->ok && !b.failed;
    zip_raw(z, b.data, b.n);
    free(b.data);
    return row;
}

static void zip_data(zip_writer *z, zip_row *row, const void *bytes, size_t n) {
    row->crc = (uint32_t)crc32(row->crc, bytes, (uInt)n);
    row->size += n;
    zip_raw(z, bytes, n);
}

/* Writes the header again, now that size and checksum are known. */
static void zip_end(zip_writer *z, const zip_row *row) {
    buffer b = {0};
    put_local(&b, row);
    z->ok = z->ok && !b.failed && row->size < LIMIT32 &&
            fseek(z->f, (long)row->offset, SEEK_SET) == 0 && fwrite(b.data, 1, b.n, z->f) == b.n &&
            fseek(z->f, 0, SEEK_END) == 0;
    free(b.data);
}

static void zip_file(zip_writer *z, const char *name, const void *bytes, size_t n) {
    zip_row *row = zip_begin(z, name);
    zip_data(z, row, bytes, n);
    zip_end(z, row);
}

static void put_directory_row(buffer *b, const zip_row *r) {
    bool far = r->offset >= LIMIT32;
    put_bytes(b, "PK\1\2", 4);
    put_number(b, 20, 2);
    put_number(b, far ? 45 : 20, 2);
    put_common(b, r, far ? 12 : 0);
    put_bytes(b, "\0\0\0\0\0\0\0\0\0", 10); /* comment, disk, attributes */
    put_number(b, far ? LIMIT32 : r->offset, 4);
    put_text(b, r->name);
    if (far) {
        put_number(b, 1, 2);
        put_number(b, 8, 2);
        put_number(b, r->offset, 8);
    }
}

static void put_end64(buffer *b, size_t n, uint64_t begin, uint64_t size) {
    put_bytes(b, "PK\6\6", 4);
    put_number(b, 44, 8);
    put_number(b, 45, 2);
    put_number(b, 45, 2);
    put_number(b, 0, 4 + 4);
    put_number(b, n, 8);
    put_number(b, n, 8);
    put_number(b, size, 8);
    put_number(b, begin, 8);
    put_bytes(b, "PK\6\7", 4);
    put_number(b, 0, 4);
    put_number(b, begin + size, 8);
    put_number(b, 1, 4);
}

static void zip_directory(zip_writer *z) {
    uint64_t begin = z->at;
    buffer b = {0};
    for (size_t i = 0; i < z->n; i++)
        put_directory_row(&b, &z->rows[i]);
    uint64_t size = b.n;
    bool far = begin >= LIMIT32 || z->n >= 0xffff;
    if (far)
        put_end64(&b, z->n, begin, size);
    put_bytes(&b, "PK\5\6", 4);
    put_number(&b, 0, 4);
    put_number(&b, far ? 0xffff : z->n, 2);
    put_number(&b, far ? 0xffff : z->n, 2);
    put_number(&b, size, 4);
    put_number(&b, far ? LIMIT32 : begin, 4);
    put_number(&b, 0, 2);
    z->ok = z->ok && !b.failed;
    zip_raw(z, b.data, b.n);
    free(b.data);
}

/* ---------------------------------------------------------------------------------- pickle */

/* A tensor of the state dict; its storage is the file data/INDEX. */
typedef struct record {
    const tensor_spec *spec;
    char name[NAME_SIZE];
    uint64_t seed;
    dtype type;
} record;

static void put_string(buffer *b, const char *text) {
    put_bytes(b, "X", 1);
    put_number(b, strlen(text), 4);
    put_text(b, text);
}

static void put_int(buffer *b, int64_t value) {
    if (value < 0x7fffffff) {
        put_bytes(b, "J", 1);
        put_number(b, (uint64_t)value, 4);
    } else {
        put_bytes(b, "\x8a\x08", 2);
        put_number(b, (uint64_t)value, 8);
    }
}

/* Sizes and strides of a row-major tensor. */
static void put_shape(buffer *b, const tensor_spec *t) {
    int64_t stride = tensor_elements(t);
    put_text(b, "(");
    for (int i = 0; i < t->n_dims; i++)
        put_int(b, t->dims[i]);
    put_text(b, "t(");
    for (int i = 0; i < t->n_dims; i++)
        put_int(b, stride /= t->dims[i]);
    put_text(b, "t");
}

/* _rebuild_tensor_v2(persistent id, 0, sizes, strides, False, OrderedDict()) */
static void put_tensor(buffer *b, const record *r, size_t index) {
    static const char *const storages[] = {"FloatStorage", "HalfStorage", "BFloat16Storage",
                                           "LongStorage"};
    char key[24];
    snprintf(key, sizeof(key), "%zu", index);
    put_text(b, "ctorch._utils\n_rebuild_tensor_v2\n((");
    put_string(b, "storage");
    put_text(b, "ctorch\n");
    put_text(b, storages[r->type]);
    put_text(b, "\n");
    put_string(b, key);
    put_string(b, "cpu");
    put_int(b, tensor_elements(r->spec));
    put_text(b, "tQK");
    put_bytes(b, "\0", 1);
    put_shape(b, r->spec);
    put_bytes(b, "\x89", 1);
    put_text(b, "ccollections\nOrderedDict\n)RtR");
}

static void put_pickle(buffer *b, const record *records, size_t n, const model_size *size) {
    char text[16];
    put_bytes(b, "\x80\2}(", 4);
    put_string(b, "epoch");
    put_int(b, 0);
    if (size->sample_size != 64) {
        snprintf(text, sizeof(text), "%d", size->sample_size);
        put_string(b, "sd.sample_size");
        put_string(b, text);
    }
    put_string(b, "state_dict");
    put_text(b, "}(");
    for (size_t i = 0; i < n; i++) {
        put_string(b, records[i].name);
        put_tensor(b, &records[i], i);
    }
    put_text(b, "uu.");
}

/* ---------------------------------------------------------------------------------- the file */

static void add_record(record *r, const tensor_spec *t, const value_options *o, bool average) {
    static const char unet[] = "model.diffusion_model.", ema[] = "model_ema.diffusion_model";
    *r = (record){.spec = t, .seed = o->seed};
    r->type = t->kind == KIND_POSITIONS ? DTYPE_I64 : o->type;
    if (!average) {
        memcpy(r->name, t->original, sizeof(r->name));
        return;
    }
    /* LitEma's buffers have no dots */
    size_t n = sizeof(ema) - 1;
    memcpy(r->name, ema, n);
    for (const char *c = t->original + sizeof(unet) - 1; *c && n < sizeof(r->name) - 1; c++)
        if (*c != '.')
            r->name[n++] = *c;
}

/* With `ema` the UNet's own weights become the average, and its last ones are of the next seed. */
static size_t make_records(record *records, const tensor_list *list, const value_options *o,
                           bool ema) {
    size_t n = 0;
    for (size_t i = 0; i < list->n; i++) {
        const tensor_spec *t = &list->items[i];
        bool twice = ema && t->network == UNET;
        add_record(&records[n++], t, o, false);
        if (twice) {
            records[n - 1].seed++;
            add_record(&records[n++], t, o, true);
        }
    }
    return n;
}

static void write_storage(zip_writer *z, const record *r, size_t index, const value_options *o,
                          void *block) {
    char name[32];
    value_options options = *o;
    int64_t n = tensor_elements(r->spec);
    options.seed = r->seed;
    snprintf(name, sizeof(name), "data/%zu", index);
    zip_row *row = zip_begin(z, name);
    for (int64_t done = 0; done < n && z->ok;) {
        size_t m = n - done < BLOCK_ELEMENTS ? (size_t)(n - done) : BLOCK_ELEMENTS;
        random_values(r->spec, &options, r->type, done, m, block);
        zip_data(z, row, block, m * dtype_size(r->type));
        done += (int64_t)m;
    }
    zip_end(z, row);
}

bool torch_write(const char *path, const tensor_list *list, const value_options *o, bool ema,
                 const model_size *size) {
    zip_writer z = {.f = fopen(path, "wb")};
    record *records = malloc(2 * list->n * sizeof(*records));
    void *block = malloc(BLOCK_ELEMENTS * 8);
    buffer pickle = {0};
    z.rows = malloc((2 * list->n + 3) * sizeof(*z.rows));
    z.ok = z.f && records && block && z.rows;
    if (z.ok) {
        size_t n = make_records(records, list, o, ema);
        put_pickle(&pickle, records, n, size);
        z.ok = !pickle.failed;
        if (z.ok)
            zip_file(&z, "data.pkl", pickle.data, pickle.n);
        zip_file(&z, "byteorder", "little", 6);
        for (size_t i = 0; i < n && z.ok; i++)
            write_storage(&z, &records[i], i, o, block);
        zip_file(&z, "version", "3\n", 2);
        zip_directory(&z);
    }
    if (z.f && fclose(z.f) != 0)
        z.ok = false;
    free(pickle.data);
    free(z.rows);
    free(records);
    free(block);
    if (!z.ok)
        fprintf(stderr, "cannot write %s\n", path);
    return z.ok;
}
