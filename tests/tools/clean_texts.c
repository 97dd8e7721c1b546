/* Cleans texts, for make_clean_fixtures.py --compare: each is "length newline bytes" on both ends.
 */
#include "core/context_new.h"
#include "text/clean.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int clean_one(const sd_context *ctx, size_t n) {
    char *text = malloc(n + 1), *out = NULL;
    if (!text || getchar() != '\n' || fread(text, 1, n, stdin) != n) {
        fprintf(stderr, "sd-clean-texts: a text of %zu bytes was expected\n", n);
        free(text);
        return 1;
    }
    text[n] = '\0';
    sd_status status = sdi_text_clean(ctx, text, &out);
    if (status)
        fprintf(stderr, "sd-clean-texts: %s\n", sdi_error_get());
    else
        printf("%zu\n%s", strlen(out), out);
    sdi_free(ctx, out);
    free(text);
    return status != SD_OK;
}

int main(void) {
    sd_context_params params = SD_CONTEXT_PARAMS_INIT;
    sd_context *ctx;
    size_t n;
    int failed = 0;
    params.n_threads = 1;
    if (sdi_context_new(&params, &ctx))
        return 1;
    while (!failed && scanf("%zu", &n) == 1)
        failed = clean_one(ctx, n);
    sdi_context_release(ctx);
    return failed;
}
