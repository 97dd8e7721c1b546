/* First bytes that tell what a file is. */
#include "io/sniff.h"

#include <string.h>

typedef struct signature {
    const char *bytes;
    size_t size;
    sd_status status;
    const char *what;
} signature;

#define SIGNATURE(bytes, status, what)                                                             \
    { bytes, sizeof(bytes) - 1, status, what }
#define PICKLE                                                                                     \
    "a Python pickle that torch.save did not write; torch.save(pickle.load(open(\"FILE\", "        \
    "\"rb\")), \"NEW\") in Python, of a file that you trust, makes one that is read"

static const signature signatures[] = {
    SIGNATURE("PK\3\4", SD_ERROR_UNSUPPORTED, "a zip archive"),
    SIGNATURE("PK\5\6", SD_ERROR_FORMAT, "an empty zip archive"),
    SIGNATURE("\x80\x02", SD_ERROR_UNSUPPORTED, PICKLE),
    SIGNATURE("\x80\x03", SD_ERROR_UNSUPPORTED, PICKLE),
    SIGNATURE("\x80\x04", SD_ERROR_UNSUPPORTED, PICKLE),
    SIGNATURE("\x80\x05", SD_ERROR_UNSUPPORTED, PICKLE),
    SIGNATURE("GGUF", SD_ERROR_UNSUPPORTED, "a GGUF file"),
    SIGNATURE("tjgg", SD_ERROR_UNSUPPORTED, "a GGML file"),
    SIGNATURE("lmgg", SD_ERROR_UNSUPPORTED, "a GGML file"),
    SIGNATURE("\x89HDF\r\n\x1a\n", SD_ERROR_UNSUPPORTED, "an HDF5 file (Keras or TensorFlow)"),
    SIGNATURE("\x93NUMPY", SD_ERROR_UNSUPPORTED, "a NumPy array"),
    SIGNATURE("\x1f\x8b", SD_ERROR_UNSUPPORTED, "gzip-compressed"),
    SIGNATURE("7z\xbc\xaf\x27\x1c", SD_ERROR_UNSUPPORTED, "a 7z archive"),
    SIGNATURE("Rar!\x1a\x07", SD_ERROR_UNSUPPORTED, "a RAR archive"),
    SIGNATURE("version https://git-lfs", SD_ERROR_FORMAT,
              "a git-lfs pointer: the file itself was not downloaded (run `git lfs pull`)"),
    SIGNATURE("\x89PNG\r\n\x1a\n", SD_ERROR_FORMAT, "a PNG image"),
    SIGNATURE("\xff\xd8\xff", SD_ERROR_FORMAT, "a JPEG image"),
    SIGNATURE("\x7f"
              "ELF",
              SD_ERROR_FORMAT, "a program"),
};

static char lower(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c - 'A' + 'a') : c;
}

/* White space and a byte order mark may come first. */
static bool looks_like_html(const uint8_t *bytes, size_t size) {
    static const char *const starts[] = {"<!doctype html", "<html", "<head", "<?xml", "<!--"};
    size_t at = size >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (at < size && at < 256 && strchr(" \t\r\n", bytes[at]) && bytes[at])
        at++;
    for (size_t i = 0; i < SD_COUNT(starts); i++) {
        size_t n = strlen(starts[i]), same = 0;
        while (same < n && at + same < size && lower((char)bytes[at + same]) == starts[i][same])
            same++;
        if (same == n)
            return true;
    }
    return false;
}

sd_status sdi_sniff(const sd_context *ctx, const char *path, const uint8_t *bytes, size_t size,
                    const char *expected) {
    if (size == 0)
        return sdi_fail(ctx, SD_ERROR_FORMAT, "%s: the file is empty; %s was expected", path,
                        expected);
    /* the length before a safetensors header that was cut short may be some short signature */
    const char *image = size > 8 && bytes[8] == '{' ? NULL : sdi_sniff_image(bytes, size);
    if (image)
        return sdi_fail(ctx, SD_ERROR_FORMAT, "%s: %s was expected, this is %s", path, expected,
                        image);
    if (looks_like_html(bytes, size))
        return sdi_fail(ctx, SD_ERROR_FORMAT,
                        "%s: this is a web page, not %s: the download went wrong", path, expected);
    for (size_t i = 0; i < SD_COUNT(signatures); i++) {
        const signature *s = &signatures[i];
        if (size >= s->size && memcmp(bytes, s->bytes, s->size) == 0)
            return sdi_fail(ctx, s->status, "%s: %s was expected, this is %s", path, expected,
                            s->what);
    }
    return SD_OK;
}
