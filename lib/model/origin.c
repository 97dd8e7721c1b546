/* The files of a part, opened once more. */
#include "model/origin.h"

#include "describe/ema.h"

static sd_status make(sd_context *ctx, const char *path, sd_host_files *files, const sd_uses *uses,
                      sd_origin **out) {
    sd_origin *o = sdi_zalloc(ctx, sizeof *o);
    *out = NULL;
    if (!o)
        return SD_ERROR_MEMORY;
    atomic_init(&o->refs, 1);
    o->ctx = ctx;
    o->files = sdi_host_files_retain(files);
    o->path = sdi_strdup(ctx, path);
    sd_status status = o->path ? sdi_uses_copy(ctx, uses, &o->uses) : SD_ERROR_MEMORY;
    if (status)
        sdi_origin_release(o);
    else
        *out = o;
    return status;
}

sd_status sdi_origin_new(sd_context *ctx, const sd_weights *w, const sd_uses *uses,
                         sd_origin **out) {
    sd_status status = make(ctx, sdi_weights_path(w, NULL), sdi_host_files_now(), uses, out);
    if (!status) {
        (*out)->stamp = sdi_weights_stamp(w);
        (*out)->averaged = sdi_weights_is_redirected(w);
    }
    return status;
}

sd_status sdi_origin_with(const sd_origin *from, const sd_uses *uses, sd_origin **out) {
    sd_status status = make(from->ctx, from->path, from->files, uses, out);
    if (!status) {
        (*out)->stamp = from->stamp;
        (*out)->averaged = from->averaged;
    }
    return status;
}

sd_origin *sdi_origin_retain(sd_origin *o) {
    if (o)
        atomic_fetch_add_explicit(&o->refs, 1, memory_order_relaxed);
    return o;
}

void sdi_origin_release(sd_origin *o) {
    if (!o || atomic_fetch_sub_explicit(&o->refs, 1, memory_order_acq_rel) > 1)
        return;
    sdi_uses_free(o->ctx, &o->uses);
    sdi_free(o->ctx, o->path);
    sdi_host_files_release(o->files);
    sdi_free(o->ctx, o);
}

static sd_status check(const sd_origin *o, sd_weights *w) {
    if (sdi_weights_stamp(w) != o->stamp)
        return sdi_fail(
            o->ctx, SD_ERROR_IO,
            "%s: the file was changed since the model was loaded from it; load the model "
            "anew, with its adapters",
            o->path);
    bool alone = sdi_ema_take_alone(w);
    return o->averaged && !alone ? sdi_ema_use(o->ctx, w) : SD_OK;
}

sd_status sdi_origin_open(const sd_origin *o, sd_weights **out) {
    sd_host_files *before = sdi_host_files_enter(o->files);
    sd_status status = sdi_weights_open(o->ctx, o->path, out);
    sdi_host_files_enter(before);
    if (!status && (status = check(o, *out))) {
        sdi_weights_close(*out);
        *out = NULL;
    }
    return status;
}
