/* Tables that lib/text/clean*.c look things up in; tests/tools/make_clean_tables.py writes the
 * values. */
#ifndef SD_TEXT_CLEAN_TABLES_H
#define SD_TEXT_CLEAN_TABLES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A sequence of characters (or bytes), each of a set: sdi_clean_sets[set[i]]. */
#define SD_CLEAN_WORD 255 /* \w: letters, numbers, _ */
typedef struct sd_clean_pattern {
    uint8_t n;
    bool at_start;    /* of the text alone */
    bool ascii_first; /* may begin with one */
    uint8_t set[7];
} sd_clean_pattern;

/* Numbers up to 0xFFFF; that one stands for all beyond too. */
extern const uint16_t sdi_clean_ranges[][2];
extern const uint16_t sdi_clean_sets[][2];
extern const sd_clean_pattern sdi_clean_bad[], sdi_clean_clues[], sdi_clean_altered[],
    sdi_clean_lossy[];
extern const size_t sdi_clean_bad_n, sdi_clean_clues_n, sdi_clean_altered_n, sdi_clean_lossy_n;
extern const uint8_t sdi_clean_clues_after;

/* A single-byte encoding; below 0x80 each is ASCII. */
#define SD_CLEAN_ENCODINGS 10
typedef struct sd_clean_encoding {
    bool sloppy;        /* its holes are those of Latin-1, and byte 1A is U+FFFD */
    bool spaces;        /* a space may have been byte A0 */
    uint16_t high[128]; /* what 0x80 to 0xFF are */
} sd_clean_encoding;
#define SD_CLEAN_LATIN_1 0
#define SD_CLEAN_WINDOWS_1252 1
extern const sd_clean_encoding sdi_clean_encodings[SD_CLEAN_ENCODINGS];

/* Ordered by `from`; a 0 ends what is put in its place. */
typedef struct sd_clean_map {
    int32_t from, to[3];
} sd_clean_map;
extern const sd_clean_map sdi_clean_ligatures[], sdi_clean_widths[], sdi_clean_charrefs[];
extern const size_t sdi_clean_ligatures_n, sdi_clean_widths_n, sdi_clean_charrefs_n;

/* First and last. */
extern const uint16_t sdi_clean_controls[][2];
extern const size_t sdi_clean_controls_n;
extern const int32_t sdi_clean_no_charrefs[][2];
extern const size_t sdi_clean_no_charrefs_n;

/* Entities by their first letter, A to Z and a to z: name, 0, UTF-8, 0 and so on, "" at the end. A
 * name with a ! before it needs no semicolon. */
extern const char *const sdi_clean_entities[52], *const sdi_clean_capitals[52];

#endif
