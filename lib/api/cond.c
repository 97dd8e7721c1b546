/* Conditioning: section 7 of sd.h. */
#include "core/cond.h"
#include "api/check.h"

#include <math.h>

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

/* Each of n, and of the numbers beside them that the call has as `what`. */
static sd_status check_list(const sd_cond *const *conds, const double *numbers, int n,
                            const char *what) {
    const char *call = sdi_call_current()->name;
    SD_REQUIRE_PTR(NULL, conds);
    SD_REQUIRE(NULL, numbers, "%s: %s is NULL", call, what);
    SD_REQUIRE(NULL, n >= 1, "%s: n is %d; at least 1 was expected", call, n);
    for (int i = 0; i < n; i++) {
        SD_REQUIRE(NULL, conds[i], "%s: conds[%d] is NULL", call, i);
        SD_REQUIRE(conds[i]->ctx, isfinite(numbers[i]),
                   "%s: %s[%d] is %g; a finite number was expected", call, what, i, numbers[i]);
    }
    return SD_OK;
}

typedef sd_status (*cond_maker)(const sd_cond *const *conds, const double *numbers, int n,
                                sd_cond **out);

/* They may be more than a call has places for. */
static sd_status make(cond_maker maker, const sd_cond *const *conds, const double *numbers, int n,
                      sd_cond **out) {
    for (int i = 0; i < n; i++)
        sdi_handle_retain(conds[i]);
    sd_status status = maker(conds, numbers, n, out);
    for (int i = 0; i < n; i++)
        sdi_handle_release(conds[i]);
    return status;
}

SD_PUBLIC(sd_cond_schedule, (conds, until, n, out), (NULL), const sd_cond *const *conds,
          const double *until, int32_t n, sd_cond **out) {
    SD_REQUIRE_PTR(NULL, out);
    *out = NULL;
    sd_status status = check_list(conds, until, n, "until");
    if (status)
        return status;
    for (int i = 0; i < n; i++)
        SD_REQUIRE(conds[i]->ctx, until[i] > (i > 0 ? until[i - 1] : 0.0) && until[i] <= 1.0,
                   "sd_cond_schedule: until[%d] is %g; above %g up to 1 was expected", i, until[i],
                   i > 0 ? until[i - 1] : 0.0);
    SD_REQUIRE(conds[0]->ctx, until[n - 1] == 1.0,
               "sd_cond_schedule: until[%d], the last, is %g; 1 was expected, the run's end", n - 1,
               until[n - 1]);
    return make(sdi_cond_schedule, conds, until, n, out);
}

SD_PUBLIC(sd_cond_combine, (conds, weights, n, out), (NULL), const sd_cond *const *conds,
          const double *weights, int32_t n, sd_cond **out) {
    SD_REQUIRE_PTR(NULL, out);
    *out = NULL;
    sd_status status = check_list(conds, weights, n, "weights");
    return status ? status : make(sdi_cond_combine, conds, weights, n, out);
}

void sd_cond_free(sd_cond *cond) {
    sdi_handle_free(cond);
}
