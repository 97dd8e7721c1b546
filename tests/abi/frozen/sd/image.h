/* Section 4 of sd/sd.h, images: files, pixels, resizing. */
#ifndef SD_IMAGE_H
#define SD_IMAGE_H

#include <sd/context.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How the host's memory holds a pixel: a byte for each letter, in this order. */
typedef int32_t sd_pixel_format;
enum {
    SD_PIXELS_RGB8 = 0,
    SD_PIXELS_RGBA8 = 1, /* alpha is not multiplied in */
    SD_PIXELS_BGRA8 = 2, /* cairo's ARGB32 and Windows' bitmaps where those are opaque */
    SD_PIXELS_GREY8 = 3
};

/* Pixels in the host's memory. No parameter struct: it has no struct_size, and stays as it is. */
typedef struct sd_pixels {
    void *data;     /* first byte of the top row */
    int64_t stride; /* bytes from a row to the one below it; 0: rows follow each other without a
                       gap; negative: the picture is stored from the bottom up */
    int32_t width;  /* 1 .. 32768 */
    int32_t height;
    sd_pixel_format format;
    int32_t reserved; /* 0 */
} sd_pixels;

/*
 * A copy of the host's pixels; `pixels->data` NULL makes a black image (RGBA8: black and
 * transparent). An image holds RGB8, RGBA8 or GREY8, rows from the top without a gap; of BGRA8 it
 * makes RGBA8.
 *
 * Thread-safety of sd_image: reads from any number of threads; one thread when it changes.
 */
LIBSD_API sd_status sd_image_new(sd_context *ctx, const sd_pixels *pixels, sd_image **out);
LIBSD_API void sd_image_free(sd_image *image);
LIBSD_API int32_t sd_image_width(const sd_image *image);
LIBSD_API int32_t sd_image_height(const sd_image *image);
LIBSD_API sd_pixel_format sd_image_format(const sd_image *image);

/* The image's own bytes, for as long as it lives: height rows of width pixels in its format. */
LIBSD_API const uint8_t *sd_image_pixels(const sd_image *image);
LIBSD_API uint8_t *sd_image_pixels_mut(sd_image *image);

/* Writes the image into `to->data`, of its size, in any format and stride: colours become grey as
 * PIL's convert("L") makes it, grey is each colour, alpha is dropped, or 255 where there is none.
 * Bytes between the rows stay as they are. */
LIBSD_API sd_status sd_image_read(const sd_image *image, const sd_pixels *to);

typedef struct sd_image_load_params {
    size_t struct_size;
    int32_t keep_alpha; /* non-zero: RGBA8 where the file has transparency, as masks may */
    int32_t as_stored;  /* non-zero: its EXIF orientation is not looked at */
} sd_image_load_params;

#define SD_IMAGE_LOAD_PARAMS_INIT                                                                  \
    { .struct_size = sizeof(sd_image_load_params) }
LIBSD_API void sd_image_load_params_init(sd_image_load_params *params, size_t struct_size);

/*
 * PNG or JPEG, by content. Grey, palette and alpha become RGB as PIL's convert("RGB") does, 16 bits
 * the higher 8; a photo is turned upright by its EXIF orientation (ImageOps.exif_transpose).
 */
LIBSD_API sd_status sd_image_load(sd_context *ctx, const char *path,
                                  const sd_image_load_params *params, sd_image **out);
LIBSD_API sd_status sd_image_load_memory(sd_context *ctx, const void *bytes, size_t n_bytes,
                                         const sd_image_load_params *params, sd_image **out);

typedef int32_t sd_file_format;
enum {
    SD_FORMAT_AUTO = 0, /* by the path's extension: .png or none is PNG, .jpg or .jpeg JPEG, any
                           other SD_ERROR_UNSUPPORTED; without a path PNG */
    SD_FORMAT_PNG = 1,
    SD_FORMAT_JPEG = 2 /* without alpha */
};

typedef struct sd_image_save_params {
    size_t struct_size;
    const char *parameters; /* kept in a PNG text chunk of that name, as the popular web UIs do, and
                               in a JPEG comment; NULL: none */
    int32_t only_new;       /* sd_image_save: non-zero: a file of that name is left as it is, and
                               the call is SD_ERROR_STATE. Of two that save at once, in this process
                               or another, one has the name */
    sd_file_format format;  /* default SD_FORMAT_AUTO */
    int32_t quality;        /* of JPEG, 1 .. 100, default 95 */
    int32_t reserved;
} sd_image_save_params;

#define SD_IMAGE_SAVE_PARAMS_INIT                                                                  \
    { .struct_size = sizeof(sd_image_save_params), .quality = 95 }
LIBSD_API void sd_image_save_params_init(sd_image_save_params *params, size_t struct_size);

/* The file appears whole or not at all, and takes the place of one of that name. */
LIBSD_API sd_status sd_image_save(const sd_image *image, const char *path,
                                  const sd_image_save_params *params);

/* Takes the next bytes of a file; non-zero ends the call with SD_ERROR_IO. */
typedef int32_t(SD_CALL *sd_write_fn)(void *user, const void *bytes, size_t n_bytes);

/* The bytes that sd_image_save would write, to a function, in their order: all of them or, where
 * the call fails before the first, none. Called in this thread. */
LIBSD_API sd_status sd_image_write(const sd_image *image, const sd_image_save_params *params,
                                   sd_write_fn write, void *user);

/* A new image of the given size, resampled as PIL's LANCZOS does. */
LIBSD_API sd_status sd_image_resize(const sd_image *image, int32_t width, int32_t height,
                                    sd_image **out);

#ifdef __cplusplus
}
#endif

#endif
