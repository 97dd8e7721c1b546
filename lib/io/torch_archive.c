/* Gives libzip an input, and finds files in the archive. */
#include "io/torch_archive.h"

#include <stdio.h>
#include <string.h>
#include <zip.h>

#define MAX_FILES 200000
#define PKL "data.pkl"
#define NAME_SIZE 512
#define MAX_DEFLATE_RATIO 1040 /* 1032 is what the format can do */

/* Our input as a file that libzip reads, and where it read first since `first` was -1. */
typedef struct view {
    const sd_input *input;
    uint64_t size, at;
    int64_t first;
    sd_status status; /* of the first read that failed */
    zip_error_t error;
} view;

struct sd_archive {
    sd_weights *w;
    const char *path;
    view view;
    zip_t *zip;
    char prefix[NAME_SIZE]; /* "archive/" */
    sd_window *files;       /* by the index in the zip's directory; those that were found */
    uint64_t n_files;
    sd_budget *budget;
};

/* ------------------------------------------------------------------------- libzip's source */

static zip_int64_t view_read(view *v, void *data, zip_uint64_t n) {
    if (v->first < 0)
        v->first = (int64_t)v->at;
    if (n > v->size - v->at)
        n = v->size - v->at;
    sd_status status = n ? v->input->read(v->input->user, v->at, data, (size_t)n) : SD_OK;
    if (status) {
        v->status = v->status ? v->status : status;
        zip_error_set(&v->error, ZIP_ER_READ, 0);
        return -1;
    }
    v->at += n;
    return (zip_int64_t)n;
}

static zip_int64_t view_stat(const view *v, void *data) {
    zip_stat_t *st = data;
    zip_stat_init(st);
    st->size = v->size;
    st->valid = ZIP_STAT_SIZE;
    return sizeof *st;
}

static zip_int64_t view_command(void *user, void *data, zip_uint64_t n, zip_source_cmd_t command) {
    view *v = user;
    zip_int64_t at;
    switch (command) {
    case ZIP_SOURCE_OPEN:
        v->at = 0;
        return 0;
    case ZIP_SOURCE_READ:
        return view_read(v, data, n);
    case ZIP_SOURCE_SEEK:
        at = zip_source_seek_compute_offset(v->at, v->size, data, n, &v->error);
        if (at >= 0)
            v->at = (uint64_t)at;
        return at < 0 ? -1 : 0;
    case ZIP_SOURCE_TELL:
        return (zip_int64_t)v->at;
    case ZIP_SOURCE_STAT:
        return view_stat(v, data);
    case ZIP_SOURCE_ERROR:
        return zip_error_to_data(&v->error, data, n);
    case ZIP_SOURCE_SUPPORTS:
        return zip_source_make_command_bitmap(
            ZIP_SOURCE_OPEN, ZIP_SOURCE_READ, ZIP_SOURCE_CLOSE, ZIP_SOURCE_STAT, ZIP_SOURCE_ERROR,
            ZIP_SOURCE_FREE, ZIP_SOURCE_SEEK, ZIP_SOURCE_TELL, ZIP_SOURCE_SUPPORTS, -1);
    case ZIP_SOURCE_CLOSE:
    case ZIP_SOURCE_FREE:
        return 0;
    default:
        zip_error_set(&v->error, ZIP_ER_OPNOTSUPP, 0);
        return -1;
    }
}

static sd_status fail_zip(const sd_archive *a, const char *name, zip_error_t *error) {
    if (a->view.status)
        return sdi_input_fail(a->w->ctx, a->view.input, a->path, a->view.status);
    if (zip_error_code_zip(error) == ZIP_ER_MEMORY)
        return sdi_fail(a->w->ctx, SD_ERROR_MEMORY, "%s: out of memory", a->path);
    return sdi_fail(a->w->ctx, SD_ERROR_FORMAT,
                    "%s: a damaged zip archive%s%s: %s (a download that was cut short?)", a->path,
                    *name ? ", file " : "", name, zip_error_strerror(error));
}

/* ------------------------------------------------------------------------- opening */

/* Whether `name` is "PREFIX/data.pkl", with one slash. */
static bool is_pickle(const char *name) {
    const char *slash = strchr(name, '/');
    return slash && strcmp(slash + 1, PKL) == 0;
}

static sd_status take_prefix(sd_archive *a, const char *name) {
    size_t n = strlen(name) - strlen(PKL);
    if (a->prefix[0])
        return sdi_fail(a->w->ctx, SD_ERROR_FORMAT, "%s: the archive has more than one " PKL,
                        a->path);
    if (n >= sizeof a->prefix - 128)
        return sdi_fail(a->w->ctx, SD_ERROR_FORMAT, "%s: the name of its " PKL " is too long",
                        a->path);
    memcpy(a->prefix, name, n);
    a->prefix[n] = 0;
    return SD_OK;
}

/* All names: no two alike, and one of them the pickle's. */
static sd_status check_names(sd_archive *a) {
    sd_status status = SD_OK;
    for (uint64_t i = 0; i < a->n_files && !status; i++) {
        const char *name = zip_get_name(a->zip, i, 0);
        if (!name)
            status = fail_zip(a, "", zip_get_error(a->zip));
        else if (zip_name_locate(a->zip, name, 0) != (zip_int64_t)i)
            status = sdi_fail(a->w->ctx, SD_ERROR_FORMAT, "%s: the archive has '%.200s' twice",
                              a->path, name);
        else if (is_pickle(name))
            status = take_prefix(a, name);
    }
    if (!status && !a->prefix[0])
        status = sdi_fail(a->w->ctx, SD_ERROR_UNSUPPORTED,
                          "%s: this is a zip archive without a " PKL "; a safetensors file or what "
                          "torch.save writes was expected",
                          a->path);
    return status;
}

static sd_status open_zip(sd_archive *a) {
    zip_error_t error;
    zip_error_init(&error);
    zip_source_t *source = zip_source_function_create(view_command, &a->view, &error);
    if (source && !(a->zip = zip_open_from_source(source, ZIP_RDONLY, &error)))
        zip_source_free(source);
    sd_status status = a->zip ? SD_OK : fail_zip(a, "", &error);
    zip_error_fini(&error);
    return status;
}

static sd_status read_directory(sd_archive *a) {
    sd_status status = open_zip(a);
    if (status)
        return status;
    a->n_files = (uint64_t)zip_get_num_entries(a->zip, 0);
    if (a->n_files > MAX_FILES)
        return sdi_fail(a->w->ctx, SD_ERROR_FORMAT,
                        "%s: %llu files in the archive; at most %d "
                        "were expected",
                        a->path, (unsigned long long)a->n_files, MAX_FILES);
    a->files = sdi_alloc_array(a->w->ctx, (size_t)a->n_files + 1, sizeof *a->files);
    return a->files ? check_names(a) : SD_ERROR_MEMORY;
}

sd_status sdi_archive_open(sd_weights *w, int file, sd_budget *budget, sd_archive **out) {
    *out = NULL;
    sd_archive *a = sdi_zalloc(w->ctx, sizeof *a);
    if (!a)
        return SD_ERROR_MEMORY;
    const sd_input *in = &w->shards[file].input;
    a->w = w;
    a->path = w->shards[file].path;
    a->view = (view){.input = in, .size = in->size};
    zip_error_init(&a->view.error);
    a->budget = budget;
    sd_status status = read_directory(a);
    if (status)
        sdi_archive_close(a);
    else
        *out = a;
    return status;
}

void sdi_archive_close(sd_archive *a) {
    if (!a)
        return;
    if (a->zip)
        zip_discard(a->zip);
    zip_error_fini(&a->view.error);
    sdi_free(a->w->ctx, a->files);
    sdi_free(a->w->ctx, a);
}

/* ------------------------------------------------------------------------- one file */

/*
 * Where the data of a stored file begin: libzip does not tell, but where the first byte was that it
 * fetched for the open file is known. False when that cannot be relied on.
 */
static bool find_stored(sd_archive *a, zip_file_t *f, uint64_t size, uint64_t *offset) {
    uint8_t bytes[32], same[32];
    view *v = &a->view;
    *offset = 0;
    if (size == 0)
        return true;
    uint64_t n = size < sizeof bytes ? size : sizeof bytes;
    v->first = -1;
    if (zip_fread(f, bytes, n) != (zip_int64_t)n || v->first < 0)
        return false;
    *offset = (uint64_t)v->first;
    if (*offset > v->size || size > v->size - *offset)
        return false;
    v->status = v->input->read(v->input->user, *offset, same, (size_t)n);
    return !v->status && memcmp(bytes, same, (size_t)n) == 0;
}

/* A stored file without a copy; false: it must be read as a packed one. */
static bool locate(sd_archive *a, uint64_t i, uint64_t size, sd_window *out) {
    uint64_t offset = 0;
    zip_file_t *f = zip_fopen_index(a->zip, i, ZIP_FL_COMPRESSED);
    bool stored = f && find_stored(a, f, size, &offset);
    if (f)
        zip_fclose(f);
    if (stored)
        *out = (sd_window){true, offset, NULL, (size_t)size};
    return stored;
}

/* Reads to the end, where libzip compares the checksum. */
static sd_status unpack(sd_archive *a, zip_file_t *f, const char *name, uint64_t size,
                        sd_window *out) {
    uint8_t *block, extra;
    sd_status status = sdi_budget_block(a->w, a->budget, size, name, &block);
    if (status)
        return status;
    uint64_t done = 0;
    zip_int64_t n = 1;
    while (done < size && n > 0) {
        n = zip_fread(f, block + done, size - done);
        done += n > 0 ? (uint64_t)n : 0;
    }
    if (n >= 0)
        n = zip_fread(f, &extra, 1);
    if (n < 0)
        return fail_zip(a, name, zip_file_get_error(f));
    if (done != size || n != 0)
        return sdi_fail(a->w->ctx, SD_ERROR_FORMAT,
                        "%s: '%.200s' in the archive is said to be of %llu bytes and is of another "
                        "size",
                        a->path, name, (unsigned long long)size);
    *out = (sd_window){true, 0, block, (size_t)size};
    return SD_OK;
}

static sd_status fail_stored(const sd_archive *a, const char *name, const zip_stat_t *st) {
    return sdi_fail(a->w->ctx, SD_ERROR_FORMAT,
                    "%s: '%.200s' in the archive is said to be of %llu bytes, which the file does "
                    "not have (a download that was cut short?)",
                    a->path, name, (unsigned long long)st->size);
}

/* Sizes that contradict each other or the file, and what libzip cannot or should not read. */
static sd_status check_stat(const sd_archive *a, const char *name, const zip_stat_t *st) {
    const zip_uint64_t wanted = ZIP_STAT_SIZE | ZIP_STAT_COMP_SIZE | ZIP_STAT_COMP_METHOD;
    if ((st->valid & wanted) != wanted || st->comp_size > a->view.size ||
        (st->comp_method == ZIP_CM_STORE && st->size != st->comp_size))
        return fail_stored(a, name, st);
    if ((st->comp_method != ZIP_CM_STORE && st->comp_method != ZIP_CM_DEFLATE) ||
        st->encryption_method != ZIP_EM_NONE)
        return sdi_fail(a->w->ctx, SD_ERROR_UNSUPPORTED,
                        "%s: '%.200s' in the archive is packed or encrypted in a way that is not "
                        "read",
                        a->path, name);
    if (st->comp_method == ZIP_CM_DEFLATE && st->size / MAX_DEFLATE_RATIO > st->comp_size)
        return sdi_fail(a->w->ctx, SD_ERROR_FORMAT,
                        "%s: '%.200s' in the archive: %llu bytes cannot become %llu", a->path, name,
                        (unsigned long long)st->comp_size, (unsigned long long)st->size);
    return SD_OK;
}

static sd_status fetch(sd_archive *a, uint64_t i, const char *name, size_t max_size,
                       sd_window *out) {
    zip_stat_t st;
    zip_stat_init(&st);
    if (zip_stat_index(a->zip, i, 0, &st) != 0)
        return fail_zip(a, name, zip_get_error(a->zip));
    sd_status status = check_stat(a, name, &st);
    if (status)
        return status;
    if (st.size > max_size)
        return sdi_fail(a->w->ctx, SD_ERROR_FORMAT,
                        "%s: '%.200s' in the archive is of %llu bytes; at most %zu were expected",
                        a->path, name, (unsigned long long)st.size, max_size);
    if (st.comp_method == ZIP_CM_STORE && locate(a, i, st.size, out))
        return SD_OK;
    zip_file_t *f = a->view.status ? NULL : zip_fopen_index(a->zip, i, 0);
    if (!f)
        return fail_zip(a, name, zip_get_error(a->zip));
    status = unpack(a, f, name, st.size, out);
    zip_fclose(f);
    return status;
}

sd_status sdi_archive_find(sd_archive *a, const char *name, size_t max_size, sd_window *out) {
    char full[NAME_SIZE];
    *out = (sd_window){0};
    int n = snprintf(full, sizeof full, "%s%s", a->prefix, name);
    if (n < 0 || (size_t)n >= sizeof full)
        return SD_OK;
    zip_int64_t i = zip_name_locate(a->zip, full, 0);
    if (i < 0)
        return SD_OK;
    sd_window *file = &a->files[i];
    sd_status status = file->found ? SD_OK : fetch(a, (uint64_t)i, full, max_size, file);
    *out = *file;
    return status;
}

sd_status sdi_archive_get(sd_archive *a, const char *name, size_t max_size, const uint8_t **data,
                          size_t *size) {
    sd_window window;
    uint8_t *block;
    *data = NULL;
    sd_status status = sdi_archive_find(a, name, max_size, &window);
    *size = window.size;
    if (status || !window.found || (*data = window.data))
        return status;
    status = sdi_budget_block(a->w, a->budget, window.size, name, &block);
    if (!status)
        status =
            sdi_input_read(a->w->ctx, a->view.input, a->path, window.offset, block, window.size);
    if (!status)
        *data = block;
    return status;
}
