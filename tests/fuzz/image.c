/* PNG and JPEG, then the way back for what decodes. */
#include "fuzz.h"

#include "io/image.h"

static void encode(const sd_image *image) {
    uint8_t *bytes = NULL;
    size_t size;
    sd_image *again;
    if (sdi_image_encode(image, &(sd_image_file){.parameters = "parameters"}, &bytes, &size))
        return; /* no memory */
    if (!sdi_image_decode(fuzz_ctx, "again", bytes, size, &again)) {
        FUZZ_REQUIRE(again->width == image->width && again->height == image->height);
        sdi_image_free(again);
    }
    sdi_free(fuzz_ctx, bytes);
}

/* With its transparency, and as it is stored. */
static void decode_otherwise(const uint8_t *data, size_t size, const sd_image *plain) {
    sd_image_load_params params = SD_IMAGE_LOAD_PARAMS_INIT;
    sd_image *image;
    unsigned sum = 0;
    params.keep_alpha = params.as_stored = 1;
    if (sdi_image_decode_with(fuzz_ctx, "input", data, size, &params, &image))
        return; /* no memory */
    FUZZ_REQUIRE(image->width + image->height == plain->width + plain->height);
    FUZZ_REQUIRE(image->channels == 3 || image->channels == 4);
    size_t n = (size_t)image->width * (size_t)image->height * (size_t)image->channels;
    for (size_t i = 0; i < n; i++)
        sum += image->pixels[i];
    FUZZ_REQUIRE(sum <= 255u * n);
    sdi_image_free(image);
}

sd_status fuzz_image(const uint8_t *data, size_t size) {
    sd_image *image;
    unsigned sum = 0;
    sd_status status = sdi_image_decode(fuzz_ctx, "input", data, size, &image);
    if (status)
        return status;
    FUZZ_REQUIRE(image->width > 0 && image->height > 0 && image->channels == 3);
    size_t n = (size_t)image->width * (size_t)image->height * 3;
    for (size_t i = 0; i < n; i++) /* all of it was written: the memory sanitizer's question */
        sum += image->pixels[i];
    FUZZ_REQUIRE(sum <= 255u * n);
    if (n < 1 << 16) {
        encode(image);
        decode_otherwise(data, size, image);
    }
    sdi_image_free(image);
    return SD_OK;
}
