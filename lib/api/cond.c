/* Conditioning: section 7 of sd.h. */
#include "core/cond.h"
#include "api/check.h"

SD_PUBLIC(sd_cond_new, (ctx, names, values, n, out), (ctx), sd_context *ctx,
          const char *const *names, const sd_tensor *const *values, int32_t n, sd_cond **out) {
    SD_REQUIRE_PTR(ctx, out);
    *out = NULL;
    SD_REQUIRE_PTR(ctx, ctx);
    SD_REQUIRE_PTR(ctx, names);
    SD_REQUIRE_PTR(ctx, values);
    SD_REQUIRE(ctx, n >= 1, "sd_cond_new: n is %d; at least 1 was expected", (int)n);
    for (int i = 0; i < n; i++) {
        SD_REQUIRE(ctx, names[i], "sd_cond_new: names[%d] is NULL", i);
        SD_REQUIRE(ctx, values[i], "sd_cond_new: values[%d] is NULL", i);
        sdi_call_use(values[i]);
    }
    return sdi_cond_new(ctx, names, values, n, out);
}

SD_PUBLIC(sd_cond_get, (cond, name, out), (cond), const sd_cond *cond, const char *name,
          sd_tensor **out) {
    SD_REQUIRE_PTR(cond ? cond->ctx : NULL, out);
    *out = NULL;
    SD_REQUIRE_PTR(NULL, cond);
    SD_REQUIRE_PTR(cond->ctx, name);
    return sdi_cond_copy(cond, name, out);
}

SD_PUBLIC(sd_cond_rows, (cond, first, n, out), (cond), const sd_cond *cond, int32_t first,
          int32_t n, sd_cond **out) {
    SD_REQUIRE_PTR(cond ? cond->ctx : NULL, out);
    *out = NULL;
    SD_REQUIRE_PTR(NULL, cond);
    return sdi_cond_cut(cond, first, n, out);
}

void sd_cond_free(sd_cond *cond) {
    sdi_handle_free(cond);
}
