/* Conditioning: named tensors in one handle. */
#include "core/cond.h"
#include "core/expect.h"

#include <string.h>

static const struct {
    const char *name;
    int n_dims;
} parts[SD_COND_N_PARTS] = {[SD_COND_CONTEXT] = {"context", 3},
                            [SD_COND_POOLED] = {"pooled", 2},
                            [SD_COND_SIZES] = {"sizes", 2}};

static void free_cond(void *handle) {
    sd_cond *cond = handle;
    sd_context *ctx = cond->ctx;
    for (int i = 0; i < SD_COND_N_PARTS; i++)
        sdi_tensor_free(cond->parts[i]);
    sdi_cond_program_free(ctx, cond->program);
    sdi_free(ctx, cond);
    sdi_context_release(ctx);
}

void sdi_cond_free(sd_cond *cond) {
    sdi_handle_release(cond);
}

sd_status sdi_cond_begin(sd_context *ctx, sd_cond **out) {
    *out = sdi_zalloc(ctx, sizeof **out);
    if (!*out)
        return SD_ERROR_MEMORY;
    sdi_context_retain(ctx);
    (*out)->ctx = ctx;
    sdi_handle_init(&(*out)->handle, ctx, free_cond);
    return SD_OK;
}

const char *sdi_cond_part_name(int part) {
    return parts[part].name;
}

/* Which part a name is of. */
static sd_status find_part(const sd_context *ctx, const char *name, int *part) {
    char known[64] = "";
    for (*part = 0; *part < SD_COND_N_PARTS; ++*part) {
        if (!strcmp(name, parts[*part].name))
            return SD_OK;
        sdi_print(known + strlen(known), sizeof known - strlen(known), "%s\"%s\"",
                  *part ? ", " : "", parts[*part].name);
    }
    return sdi_fail(ctx, SD_ERROR_UNSUPPORTED,
                    "conditioning has no part \"%.60s\"; this version of libsd knows %s", name,
                    known);
}

static sd_status check_part(const sd_tensor *value, int part) {
    static const int64_t any[SD_MAX_DIMS] = {-1, -1, -1, -1, -1};
    sd_status status = sdi_expect_shape(value, parts[part].name, parts[part].n_dims, any);
    if (!status && part == SD_COND_CONTEXT && value->dims[1] > SD_COND_MAX_TOKENS)
        status =
            sdi_fail(value->ctx, SD_ERROR_ARGUMENT, "%s has %lld tokens; at most %d were expected",
                     parts[part].name, (long long)value->dims[1], SD_COND_MAX_TOKENS);
    return status ? status : sdi_expect_finite(value, parts[part].name);
}

/* Rows first .. first + n - 1 of a tensor. */
static sd_status copy_rows(sd_context *ctx, const sd_tensor *from, int64_t first, int64_t n,
                           sd_tensor **out) {
    int64_t dims[SD_MAX_DIMS], row = from->n_elements / from->dims[0];
    memcpy(dims, from->dims, sizeof dims);
    dims[0] = n;
    sd_status status = sdi_tensor_new_raw(ctx, from->n_dims, dims, out);
    if (!status)
        memcpy((*out)->data, from->data + first * row, (size_t)(n * row) * sizeof *from->data);
    return status;
}

sd_status sdi_cond_gather(const sd_cond *cond, int part, const int *rows, int n, sd_tensor **out) {
    sd_tensor *from = cond->parts[part];
    if (!from || from->dims[0] == 1) {
        sdi_handle_retain(from);
        *out = from;
        return SD_OK;
    }
    int64_t dims[SD_MAX_DIMS], row = from->n_elements / from->dims[0];
    memcpy(dims, from->dims, sizeof dims);
    dims[0] = n;
    sd_status status = sdi_tensor_new_raw(cond->ctx, from->n_dims, dims, out);
    for (int64_t i = 0; i < n && !status; i++)
        memcpy((*out)->data + i * row, sdi_cond_row(from, rows[i]),
               (size_t)row * sizeof *from->data);
    return status;
}

static sd_status add_part(sd_cond *cond, const char *name, const sd_tensor *value) {
    int part;
    sd_status status = find_part(cond->ctx, name, &part);
    if (!status && cond->parts[part])
        status = sdi_fail(cond->ctx, SD_ERROR_ARGUMENT,
                          "conditioning is given \"%s\" twice; once was expected", name);
    if (!status)
        status = check_part(value, part);
    return status ? status : copy_rows(cond->ctx, value, 0, value->dims[0], &cond->parts[part]);
}

/* As many as the longest part has; the others have as many, or one for all. */
int64_t sdi_cond_stock_rows(const sd_cond *cond) {
    int64_t n = 1;
    for (int i = 0; i < SD_COND_N_PARTS; i++)
        if (cond->parts[i] && cond->parts[i]->dims[0] > n)
            n = cond->parts[i]->dims[0];
    return n;
}

int64_t sdi_cond_count(const sd_cond *cond) {
    return cond->program ? cond->program->rows : sdi_cond_stock_rows(cond);
}

static sd_status check_whole(const sd_cond *cond) {
    int64_t n = sdi_cond_stock_rows(cond);
    if (!cond->parts[SD_COND_CONTEXT])
        return sdi_fail(cond->ctx, SD_ERROR_ARGUMENT,
                        "conditioning is given no \"%s\", which was expected",
                        parts[SD_COND_CONTEXT].name);
    for (int i = 0; i < SD_COND_N_PARTS; i++)
        if (cond->parts[i] && cond->parts[i]->dims[0] != n && cond->parts[i]->dims[0] != 1)
            return sdi_fail(cond->ctx, SD_ERROR_ARGUMENT,
                            "\"%s\" has %lld rows; %lld or 1 were expected, as the other parts of "
                            "the conditioning have",
                            parts[i].name, (long long)cond->parts[i]->dims[0], (long long)n);
    return SD_OK;
}

sd_status sdi_cond_new(sd_context *ctx, const char *const *names, const sd_tensor *const *values,
                       int n, sd_cond **out) {
    sd_cond *cond;
    *out = NULL;
    sd_status status = sdi_cond_begin(ctx, &cond);
    if (status)
        return status;
    for (int i = 0; i < n && !status; i++)
        status = add_part(cond, names[i], values[i]);
    if (!status)
        status = check_whole(cond);
    if (status)
        sdi_cond_free(cond);
    else
        *out = cond;
    return status;
}

sd_status sdi_cond_take(sd_tensor *const taken[SD_COND_N_PARTS], sd_cond **out) {
    sd_status status = sdi_cond_begin(taken[SD_COND_CONTEXT]->ctx, out);
    for (int i = 0; i < SD_COND_N_PARTS; i++) {
        if (status)
            sdi_tensor_free(taken[i]);
        else
            (*out)->parts[i] = taken[i];
    }
    return status;
}

/* Of a program what is looked at first. */
static sd_status copy_first(const sd_cond *cond, int part, sd_tensor **out) {
    sd_cond_pick *picks = cond->program->picks;
    int n = cond->program->rows;
    int *rows = sdi_alloc_array(cond->ctx, (size_t)n, sizeof *rows);
    if (!rows)
        return SD_ERROR_MEMORY;
    for (int i = 0; i < n; i++)
        rows[i] = picks[i].row;
    sd_tensor *some;
    sd_status status = sdi_cond_gather(cond, part, rows, n, &some);
    sdi_free(cond->ctx, rows);
    if (status)
        return status;
    status = copy_rows(cond->ctx, some, 0, some->dims[0], out);
    sdi_tensor_free(some);
    return status;
}

sd_status sdi_cond_copy(const sd_cond *cond, const char *name, sd_tensor **out) {
    int part;
    *out = NULL;
    sd_status status = find_part(cond->ctx, name, &part);
    if (status)
        return status;
    const sd_tensor *value = cond->parts[part];
    if (!value)
        return sdi_fail(cond->ctx, SD_ERROR_ARGUMENT, "this conditioning has no \"%s\"", name);
    if (cond->program)
        return copy_first(cond, part, out);
    return copy_rows(cond->ctx, value, 0, value->dims[0], out);
}

sd_status sdi_cond_cut_plain(const sd_cond *cond, int first, int n, sd_cond **out) {
    int64_t rows = sdi_cond_stock_rows(cond);
    sd_cond *cut;
    *out = NULL;
    sd_status status = sdi_cond_begin(cond->ctx, &cut);
    if (status)
        return status;
    for (int i = 0; i < SD_COND_N_PARTS && !status; i++) {
        const sd_tensor *part = cond->parts[i];
        bool one = part && part->dims[0] == 1 && rows > 1;
        if (part)
            status = copy_rows(cond->ctx, part, one ? 0 : first, one ? 1 : n, &cut->parts[i]);
    }
    if (status)
        sdi_cond_free(cut);
    else
        *out = cut;
    return status;
}
