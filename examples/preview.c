/* Previews of the programs that paint. */
#include "preview.h"

#include <stdio.h>
#include <string.h>

/* As sd_preview_method numbers them. */
static const char *const methods[] = {"auto", "vae", "matrix", "tiny"};
#define N_METHODS ((int)(sizeof methods / sizeof *methods))

static int method_of(const preview *p) {
    int i = 0;
    while (i < N_METHODS && strcmp(p->method, methods[i]) != 0)
        i++;
    return i;
}

bool preview_check(const preview *p) {
    if (method_of(p) == N_METHODS)
        fprintf(stderr, "%s: --preview_method '%s': one of these was expected: %s\n", p->program,
                p->method, PREVIEW_METHODS);
    else if (p->every < 1)
        fprintf(stderr, "%s: --preview_every must be at least 1\n", p->program);
    else
        return true;
    return false;
}

static sd_status save(const preview *p, sd_sampler *sampler) {
    sd_preview_params params = SD_PREVIEW_PARAMS_INIT;
    sd_image *image;
    params.method = method_of(p);
    sd_status status = sd_sampler_preview(sampler, &params, &image);
    if (status)
        return status;
    status = sd_image_save(image, p->path, NULL);
    sd_image_free(image);
    return status;
}

void preview_update(preview *p, const sd_progress *progress) {
    bool due = progress->step % p->every == 0 || progress->step == progress->total;
    if (!p->path || progress->stage != SD_STAGE_SAMPLE || !due)
        return;
    sd_status status = save(p, progress->sampler);
    if (!status || status == SD_ERROR_CANCELLED)
        return;
    fprintf(stderr, "%s: no more previews: %s\n", p->program, sd_last_error());
    p->path = NULL;
}
