/* sd_checkpoint_list: the tensors in the files of a checkpoint. */
#include "core/files.h"
#include "core/os.h"
#include "model/source.h"

static sd_status list_file(sd_context *ctx, const sd_weights *w, sd_checkpoint_fn fn, void *user) {
    for (size_t i = 0; i < sdi_weights_count(w); i++) {
        const sd_entry *e = sdi_weights_at(w, i);
        const sd_checkpoint_tensor tensor = {.struct_size = sizeof tensor,
                                             .name = e->name,
                                             .type = sdi_entry_type_name(e),
                                             .dims = e->dims,
                                             .n_bytes = e->size,
                                             .n_dims = e->n_dims};
        if (fn(user, &tensor))
            return sdi_fail(ctx, SD_ERROR_CANCELLED, "the walk was ended by its callback");
    }
    return SD_OK;
}

/* `path` is resolved. */
static sd_status list_resolved(sd_context *ctx, const char *path, sd_checkpoint_fn fn, void *user) {
    sd_status status;
    if (!sdi_is_directory(path)) {
        sd_weights *w;
        status = sdi_weights_open(ctx, path, &w);
        if (status)
            return status;
        status = list_file(ctx, w, fn, user);
        sdi_weights_close(w);
        return status;
    }
    sd_source *source;
    status = sdi_source_open(ctx, path, &source);
    if (status)
        return status;
    status = sdi_source_add_tiny(source, NULL);
    for (int i = 0; i < source->n_files && !status; i++)
        status = list_file(ctx, source->files[i], fn, user);
    sdi_source_close(source);
    return status;
}

sd_status sdi_source_list(sd_context *ctx, const char *path, sd_checkpoint_fn fn, void *user) {
    char *resolved;
    sd_status status = sdi_resolve_path(ctx, path, true, &resolved);
    if (!status)
        status = list_resolved(ctx, resolved, fn, user);
    sdi_free(ctx, resolved);
    return status;
}
