/* The record of a weight: its life, and the tensors that it wants. */
#include "model/weight.h"

#include "backend/device.h"

#include <string.h>

sd_weight *sdi_weight_new(sd_context *ctx, const sd_weight_form *form, const sd_param *params,
                          int n_params) {
    size_t size = (size_t)n_params * sizeof *params;
    sd_weight *w = sdi_zalloc(ctx, sizeof *w + size);
    if (!w)
        return NULL;
    atomic_init(&w->refs, 1);
    w->ctx = ctx;
    w->form = *form;
    w->n_params = n_params;
    memcpy(w->params, params, size);
    return w;
}

sd_weight *sdi_weight_retain(sd_weight *w) {
    if (w)
        atomic_fetch_add_explicit(&w->refs, 1, memory_order_relaxed);
    return w;
}

void sdi_weight_release(sd_weight *w) {
    if (!w || atomic_fetch_sub_explicit(&w->refs, 1, memory_order_acq_rel) > 1)
        return;
    if (w->dev)
        w->ctx->device->api->weight_free(w->ctx->device->dev, w->dev);
    sdi_free(w->ctx, w);
}

size_t sdi_weight_row_size(const sd_weight_form *form) {
    return form->kind == SDB_WEIGHT_VECTOR    ? 1
           : form->kind == SDB_WEIGHT_CONV3X3 ? 9 * (size_t)form->in
                                              : (size_t)form->in;
}

int64_t sdi_weight_count(const sd_weight *w) {
    int64_t n = 0, row_size = (int64_t)sdi_weight_row_size(&w->form);
    for (int i = 0; i < w->n_params; i++)
        n += w->params[i].rows * (row_size + w->params[i].bias);
    return n;
}

static sd_key last_key(const sd_path *path) {
    return path->keys[path->depth - 1];
}

sd_wanted sdi_weight_wants(const sd_weight *w, const sd_param *p, sd_layout layout) {
    sd_key key = last_key(&p->path);
    int in = w->form.in;
    sd_wanted want = {.path = &p->path, .suffix = sdi_key_weight_suffix(key, layout)};
    switch (w->form.kind) {
    case SDB_WEIGHT_LINEAR:
    case SDB_WEIGHT_GEGLU:
        want.n_dims = sdi_key_matrix_dims(key, layout);
        want.transposed = sdi_key_is_transposed(key, layout);
        memcpy(want.dims, (const int64_t[]){p->of, in, 1, 1}, sizeof want.dims);
        if (want.transposed)
            memcpy(want.dims, (const int64_t[]){in, p->of}, 2 * sizeof *want.dims);
        break;
    case SDB_WEIGHT_CONV3X3:
        want.n_dims = 4;
        memcpy(want.dims, (const int64_t[]){p->of, in, 3, 3}, sizeof want.dims);
        break;
    case SDB_WEIGHT_VECTOR:
        want.n_dims = 1;
        want.dims[0] = p->of;
        break;
    case SDB_WEIGHT_EMBEDDING:
        want.n_dims = 2;
        want.dims[0] = p->of;
        want.dims[1] = in;
        break;
    }
    return want;
}

sd_wanted sdi_weight_wants_bias(const sd_param *p, sd_layout layout) {
    return (sd_wanted){.path = &p->path,
                       .suffix = sdi_key_bias_suffix(last_key(&p->path), layout),
                       .n_dims = 1,
                       .dims = {p->of}};
}
