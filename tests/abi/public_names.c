/* A program with functions of its own that have names of libsd's public ones, as another library
 * may have (public_names_host.c): what libsd calls within is libsd's. */
#include <sd/sd.h>
#include <stdio.h>

extern int public_names_met;

int main(void) {
    sd_context *ctx;
    sd_image *image = NULL;
    sd_status status = sd_context_new(NULL, &ctx);
    if (!status)
        status = sd_image_load(ctx, "no such file", NULL, &image);
    if (status != SD_ERROR_IO)
        printf("SD_ERROR_IO was expected, not %s\n", sd_status_string(status));
    sd_image_free(image);
    sd_context_free(ctx);
    printf("%d of libsd's calls came to the program's functions\n", public_names_met);
    return status != SD_ERROR_IO || public_names_met;
}
