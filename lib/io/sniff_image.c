/* The names of pictures and documents that are neither PNG nor JPEG, by their first bytes. */
#include "io/sniff.h"

#include <string.h>

typedef struct format {
    size_t at; /* where the signature stands */
    const char *bytes;
    size_t size;
    const char *what;
} format;

#define FORMAT(at, bytes, what)                                                                    \
    { at, bytes, sizeof(bytes) - 1, what }

static const format formats[] = {
    FORMAT(0, "GIF87a", "a GIF image"),
    FORMAT(0, "GIF89a", "a GIF image"),
    FORMAT(8, "WEBP", "a WebP image"), /* of a RIFF file */
    FORMAT(8, "AVI ", "an AVI video"),
    FORMAT(8, "WAVE", "a WAV sound"),
    FORMAT(6, "\0\0\0\0", "a BMP image"), /* of "BM": reserved */
    FORMAT(0, "II*\0\x10\0\0\0CR", "a camera's raw photo (CR2)"),
    FORMAT(0, "II*\0", "a TIFF image (or a camera's raw photo)"),
    FORMAT(0, "MM\0*", "a TIFF image (or a camera's raw photo)"),
    FORMAT(0, "II+\0", "a BigTIFF image"),
    FORMAT(0, "MM\0+", "a BigTIFF image"),
    FORMAT(0, "IIRO", "a camera's raw photo (ORF)"),
    FORMAT(0, "IIRS", "a camera's raw photo (ORF)"),
    FORMAT(0, "IIU\0", "a camera's raw photo (RW2)"),
    FORMAT(0, "FUJIFILMCCD-RAW", "a camera's raw photo (RAF)"),
    FORMAT(0, "FOVb", "a camera's raw photo (X3F)"),
    FORMAT(0, "II\xbc", "a JPEG XR image"),
    FORMAT(0, "\xff\x0a", "a JPEG XL image"),
    FORMAT(0, "\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
    FORMAT(0, "\0\0\0\x0cjP  \r\n\x87\n", "a JPEG 2000 image"),
    FORMAT(0, "\xff\x4f\xff\x51", "a JPEG 2000 image"),
    FORMAT(0, "8BPS", "a Photoshop image (PSD)"),
    FORMAT(0, "gimp xcf", "a GIMP image (XCF)"),
    FORMAT(30, "mimetypeapplication/x-krita", "a Krita image"),
    FORMAT(30, "mimetypeimage/openraster", "an OpenRaster image"),
    FORMAT(0, "CSFCHUNK", "a Clip Studio image"),
    FORMAT(0, "\x76\x2f\x31\x01", "an OpenEXR image"),
    FORMAT(0, "#?RADIANCE", "a Radiance HDR image"),
    FORMAT(0, "#?RGBE", "a Radiance HDR image"),
    FORMAT(0, "DDS ", "a DDS texture"),
    FORMAT(0, "\xabKTX ", "a KTX texture"),
    FORMAT(0, "qoif", "a QOI image"),
    FORMAT(0, "FLIF", "a FLIF image"),
    FORMAT(0, "BPG\xfb", "a BPG image"),
    FORMAT(0, "farbfeld", "a farbfeld image"),
    FORMAT(0, "\x8aMNG\r\n\x1a\n", "an MNG animation"),
    FORMAT(0, "\x8bJNG\r\n\x1a\n", "a JNG image"),
    FORMAT(0, "\0\0\1\0", "an ICO icon"),
    FORMAT(0, "\0\0\2\0", "a CUR cursor"),
    FORMAT(0, "icns", "an ICNS icon"),
    FORMAT(0, "P1\n", "a PBM image"),
    FORMAT(0, "P2\n", "a PGM image"),
    FORMAT(0, "P3\n", "a PPM image"),
    FORMAT(0, "P4\n", "a PBM image"),
    FORMAT(0, "P5\n", "a PGM image"),
    FORMAT(0, "P6\n", "a PPM image"),
    FORMAT(0, "P7\n", "a PAM image"),
    FORMAT(0, "PF\n", "a PFM image"),
    FORMAT(0, "Pf\n", "a PFM image"),
    FORMAT(0, "\n\5\1", "a PCX image"),
    FORMAT(0, "\x01\xda\1", "an SGI image"),
    FORMAT(0, "\x01\xda\0", "an SGI image"),
    FORMAT(0, "SIMPLE  =", "a FITS image"),
    FORMAT(128, "DICM", "a DICOM image"),
    FORMAT(0, "AT&TFORM", "a DjVu document"),
    FORMAT(0, "%PDF", "a PDF document"),
    FORMAT(0, "%!PS", "a PostScript document"),
    FORMAT(0, "\xd7\xcd\xc6\x9a", "a WMF drawing"),
    FORMAT(40, " EMF", "an EMF drawing"),
    FORMAT(0, "\x1a\x45\xdf\xa3", "a WebM or Matroska video"),
};

/* A signature that does not stand at the beginning is one where this does. */
static bool has_beginning(const format *f, const uint8_t *bytes) {
    switch (f->at) {
    case 8:
        return memcmp(bytes, "RIFF", 4) == 0;
    case 6:
        return memcmp(bytes, "BM", 2) == 0;
    case 30:
        return memcmp(bytes, "PK\3\4", 4) == 0;
    case 40:
        return memcmp(bytes, "\1\0\0\0", 4) == 0;
    default:
        return true;
    }
}

/* ISO base media files (ISO 14496-12): "ftyp", the brand, a version, and brands that it is fit for,
 * of which HEIF's general one says too little. */
static const struct {
    const char brand[5];
    const char *what;
} brands[] = {
    {"avif", "an AVIF image"},
    {"avis", "an AVIF image"},
    {"heic", "a HEIC image, as phones take them"},
    {"heix", "a HEIC image, as phones take them"},
    {"heim", "a HEIC image, as phones take them"},
    {"heis", "a HEIC image, as phones take them"},
    {"hevc", "a HEIC image, as phones take them"},
    {"hevx", "a HEIC image, as phones take them"},
    {"hevm", "a HEIC image, as phones take them"},
    {"hevs", "a HEIC image, as phones take them"},
    {"jxl ", "a JPEG XL image"},
    {"jp2 ", "a JPEG 2000 image"},
    {"jpx ", "a JPEG 2000 image"},
    {"crx ", "a camera's raw photo (CR3)"},
    {"mif1", "a HEIF image"},
    {"mif2", "a HEIF image"},
    {"msf1", "a HEIF image"},
};

static const char *name_of_media(const uint8_t *bytes, size_t size) {
    if (size < 12 || memcmp(bytes + 4, "ftyp", 4) != 0)
        return NULL;
    size_t end = (size_t)bytes[2] << 8 | bytes[3];
    end = end < size ? end : size;
    for (size_t i = 0; i < SD_COUNT(brands); i++)
        for (size_t at = 8; at + 4 <= (end > 12 ? end : 12); at += at == 8 ? 8 : 4)
            if (memcmp(bytes + at, brands[i].brand, 4) == 0)
                return brands[i].what;
    return "a video (MP4 or QuickTime)";
}

static bool find_word(const uint8_t *bytes, size_t size, const char *word) {
    size_t n = strlen(word);
    for (size_t i = 0; i + n <= size && i < 4096; i++)
        if (memcmp(bytes + i, word, n) == 0)
            return true;
    return false;
}

/* Text that begins with "<", with the root element near. */
static bool is_svg(const uint8_t *bytes, size_t size) {
    size_t at = size >= 3 && memcmp(bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
    while (at < size && at < 256 && strchr(" \t\r\n", bytes[at]) && bytes[at])
        at++;
    return at < size && bytes[at] == '<' && find_word(bytes + at, size - at, "<svg") &&
           !find_word(bytes + at, size - at, "<html") && !find_word(bytes + at, size - at, "<HTML");
}

const char *sdi_sniff_image(const uint8_t *bytes, size_t size) {
    for (size_t i = 0; i < SD_COUNT(formats); i++) {
        const format *f = &formats[i];
        if (size >= f->at + f->size && memcmp(bytes + f->at, f->bytes, f->size) == 0 &&
            has_beginning(f, bytes))
            return f->what;
    }
    if (size >= 18 && memcmp(bytes + size - 18, "TRUEVISION-XFILE.", 18) == 0)
        return "a TGA image";
    return is_svg(bytes, size) ? "an SVG drawing" : name_of_media(bytes, size);
}
