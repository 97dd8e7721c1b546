/*
 * Mojibake: UTF-8 that was read in a single-byte encoding, as ftfy's fix_encoding mends it. What
 * looks like it (sdi_clean_bad) is encoded again in each of ten encodings until the bytes are
 * UTF-8.
 */
#include "text/clean.h"
#include "text/clean_tables.h"

#include <string.h>

/* The most texts within texts. Each is shorter than the one around it and was changed before, so
 * that none comes near. */
#define MAX_DEPTH 32

/* ------------------------------------------------------------------------------- patterns */

static bool in_set(int32_t c, uint8_t set) {
    if (set == SD_CLEAN_WORD) {
        sd_char_class class = c == '_' ? SD_CHAR_LETTER : sdi_char_classify(c);
        return class == SD_CHAR_LETTER || class == SD_CHAR_NUMBER;
    }
    const uint16_t(*ranges)[2] = sdi_clean_ranges + sdi_clean_sets[set][0];
    size_t low = 0, high = sdi_clean_sets[set][1], n = high;
    int32_t point = c < 0xFFFF ? c : 0xFFFF;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (point > ranges[middle][1])
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && point >= ranges[low][0];
}

static bool matches(const sd_clean_pattern *p, const sd_code_points *t, size_t i) {
    if (p->n > t->n - i || (p->at_start && i > 0))
        return false;
    for (size_t k = 0; k < p->n; k++)
        if (!in_set(t->at[i + k], p->set[k]))
            return false;
    return true;
}

/* The length of the first pattern that begins at i, or 0. */
static size_t match_any(const sd_clean_pattern *p, size_t n, const sd_code_points *t, size_t i) {
    for (size_t k = 0; k < n; k++)
        if ((p[k].ascii_first || t->at[i] >= 0x80) && matches(&p[k], t, i))
            return p[k].n;
    return 0;
}

static bool is_bad(const sd_code_points *t) {
    for (size_t i = 0; i < t->n; i++)
        if (match_any(sdi_clean_bad, sdi_clean_bad_n, t, i))
            return true;
    return false;
}

static size_t match_bytes(const sd_clean_pattern *p, size_t n, const sd_clean *c, size_t i) {
    for (size_t k = 0; k < n; k++) {
        size_t at = 0;
        while (at < p[k].n && i + at < c->n_bytes && in_set(c->bytes[i + at], p[k].set[at]))
            at++;
        if (at == p[k].n)
            return at;
    }
    return 0;
}

/* ------------------------------------------------------------------------- single bytes */

/* The byte of a character, or -1. */
static int encode_point(const sd_clean_encoding *e, int32_t point) {
    if (point == 0x1A || point == 0xFFFD)
        return e->sloppy == (point == 0xFFFD) ? 0x1A : -1;
    if (point < 0x80)
        return (int)point;
    for (int i = 0; i < 128; i++)
        if (e->high[i] == point)
            return i + 0x80;
    return -1;
}

/* The text into c->bytes; *fits false: it has a character that the encoding has not. */
static sd_status encode(sd_clean *c, const sd_clean_encoding *e, bool *fits) {
    sd_status status = sdi_text_reserve(c->ctx, &c->bytes, &c->byte_capacity, c->text.n + 1, 1);
    *fits = !status;
    for (size_t i = 0; i < c->text.n && *fits; i++) {
        int byte = encode_point(e, c->text.at[i]);
        *fits = byte >= 0;
        c->bytes[i] = (uint8_t)byte;
    }
    c->n_bytes = c->text.n;
    return status;
}

static bool begins(const sd_clean *c, size_t i, const char *word) {
    size_t n = strlen(word);
    return n <= c->n_bytes - i && memcmp(c->bytes + i, word, n) == 0;
}

/* Between "C3 20" and what follows there was one more space, as in "\xC3\xA0 la" (a grave), but for
 * four words of Portuguese. */
static bool lost_a_space(const sd_clean *c, size_t i) {
    static const char *const words[] = {" ", "quele", "quela", "quilo", "s "};
    if (!begins(c, i, "\xC3 "))
        return false;
    for (size_t k = 0; k < SD_COUNT(words); k++)
        if (begins(c, i + 2, words[k]))
            return false;
    return true;
}

/* Puts bytes that were made in the place of c->bytes. */
static void take_bytes(sd_clean *c, uint8_t *made, size_t n) {
    sdi_free(c->ctx, c->bytes);
    c->bytes = made;
    c->n_bytes = n;
    c->byte_capacity = n + 1;
}

/* Bytes A0 that became spaces are those again. */
static sd_status restore_a0(sd_clean *c) {
    size_t n = c->n_bytes;
    for (size_t i = 0; i < c->n_bytes; i++)
        n += lost_a_space(c, i);
    uint8_t *made = sdi_alloc(c->ctx, n + 1);
    if (!made)
        return SD_ERROR_MEMORY;
    n = 0;
    for (size_t i = 0; i < c->n_bytes; i++) {
        made[n++] = c->bytes[i];
        if (lost_a_space(c, i))
            made[n++] = 0xA0;
    }
    take_bytes(c, made, n);
    for (size_t i = 0; i < c->n_bytes;) {
        n = match_bytes(sdi_clean_altered, sdi_clean_altered_n, c, i);
        for (size_t k = i; k < i + n; k++)
            c->bytes[k] = c->bytes[k] == ' ' ? 0xA0 : c->bytes[k];
        i += n ? n : 1;
    }
    return SD_OK;
}

static bool is_altered(const sd_clean *c) {
    for (size_t i = 0; i < c->n_bytes; i++)
        if (match_bytes(sdi_clean_altered, sdi_clean_altered_n, c, i))
            return true;
    return false;
}

/* Sequences of UTF-8 of which a byte was lost (1A) become U+FFFD, of three bytes. */
static sd_status replace_lossy(sd_clean *c) {
    size_t n = 0, length;
    for (size_t i = 0; i < c->n_bytes; i += length ? length : 1) {
        length = match_bytes(sdi_clean_lossy, sdi_clean_lossy_n, c, i);
        n += length ? 3 : 1;
    }
    uint8_t *made = sdi_alloc(c->ctx, n + 1);
    if (!made)
        return SD_ERROR_MEMORY;
    n = 0;
    for (size_t i = 0; i < c->n_bytes; i += length ? length : 1) {
        length = match_bytes(sdi_clean_lossy, sdi_clean_lossy_n, c, i);
        memcpy(made + n, length ? (const void *)"\xEF\xBF\xBD" : c->bytes + i, length ? 3 : 1);
        n += length ? 3 : 1;
    }
    take_bytes(c, made, n);
    return SD_OK;
}

/* ------------------------------------------------------------------------------- decoding */

static bool continues(const sd_clean *c, size_t i, uint8_t low, uint8_t high) {
    return i < c->n_bytes && c->bytes[i] >= low && c->bytes[i] <= high;
}

/*
 * utf-8-variants of ftfy, where the bytes have a C0 or an ED: C0 80 is 0, and surrogates in pairs,
 * three bytes each, are the character they stand for. Its expressions end in $, which is also
 * before a last line feed, so that one there passes for the last byte. Returns the length, or 0.
 */
static size_t variant(const sd_clean *c, size_t i, int32_t *point) {
    const uint8_t *b = c->bytes + i;
    size_t left = c->n_bytes - i;
    if (left >= 2 && b[0] == 0xC0 && (b[1] == 0x80 || (left == 2 && b[1] == '\n'))) {
        *point = 0;
        return 2;
    }
    if (left >= 6 && b[0] == 0xED && continues(c, i + 1, 0xA0, 0xAF) &&
        continues(c, i + 2, 0x80, 0xBF) && b[3] == 0xED && continues(c, i + 4, 0xB0, 0xBF) &&
        (continues(c, i + 5, 0x80, 0xBF) || (left == 6 && b[5] == '\n'))) {
        *point = 0x10000 + ((b[1] & 0x0F) << 16) + ((b[2] & 0x3F) << 10) + ((b[4] & 0x0F) << 6) +
                 (b[5] & 0x3F);
        return 6;
    }
    return 0;
}

/* A character of strict UTF-8: its length, or 0. */
static size_t strict(const sd_clean *c, size_t i, int32_t *point) {
    size_t end = i;
    *point = sdi_utf8_get(c->bytes, c->n_bytes, &end);
    bool replaced = *point == 0xFFFD && !(end - i == 3 && c->bytes[i] == 0xEF &&
                                          c->bytes[i + 1] == 0xBF && c->bytes[i + 2] == 0xBD);
    return replaced ? 0 : end - i;
}

/* The bytes into c->made; *good false: they are no UTF-8. */
static sd_status decode(sd_clean *c, bool *good) {
    sd_status status = SD_OK;
    *good = true;
    c->made.n = 0;
    for (size_t i = 0; i < c->n_bytes && *good && !status;) {
        int32_t point;
        size_t n = variant(c, i, &point);
        if (!n)
            n = strict(c, i, &point);
        *good = n > 0;
        if (n)
            status = sdi_clean_put(c, point);
        i += n;
    }
    if (!*good)
        c->made.n = 0;
    return status;
}

/* --------------------------------------------------------------------------------- a step */

static sd_status fix(sd_clean *c, int depth, bool *changed);

/* The text as bytes of one encoding, read as UTF-8, into c->made. */
static sd_status recode(sd_clean *c, const sd_clean_encoding *e, bool *fits, bool *good) {
    *good = false;
    sd_status status = encode(c, e, fits);
    if (status || !*fits)
        return status;
    if (e->spaces && is_altered(c))
        status = restore_a0(c);
    if (!status && e->sloppy)
        status = replace_lossy(c);
    return status ? status : decode(c, good);
}

/* One run of what looks like UTF-8 in a text that is not all of one encoding, [start, end): mended
 * alone, into c->made. */
static sd_status put_embedded(sd_clean *c, size_t start, size_t end, int depth) {
    sd_clean inner = {.ctx = c->ctx};
    sd_status status = SD_OK;
    bool changed = false;
    for (size_t i = start; i < end && !status; i++)
        status = sdi_clean_put(&inner, c->text.at[i]);
    sdi_clean_swap(&inner, &changed);
    if (!status && end - start < c->text.n && is_bad(&inner.text))
        status = fix(&inner, depth + 1, &changed);
    for (size_t i = 0; i < inner.text.n && !status; i++)
        status = sdi_clean_put(c, inner.text.at[i]);
    sdi_free(c->ctx, inner.text.at);
    sdi_free(c->ctx, inner.made.at);
    sdi_free(c->ctx, inner.bytes);
    return status;
}

static sd_status fix_embedded(sd_clean *c, int depth, bool *changed) {
    const sd_code_points *t = &c->text;
    sd_status status = SD_OK;
    c->made.n = 0;
    for (size_t i = 0; i < t->n && !status;) {
        size_t end = i, n = i == 0 || !in_set(t->at[i - 1], sdi_clean_clues_after);
        while (n && end < t->n) {
            n = match_any(sdi_clean_clues, sdi_clean_clues_n, t, end);
            end += n;
        }
        if (end > i)
            status = put_embedded(c, i, end, depth);
        else
            status = sdi_clean_put(c, t->at[end++]);
        i = end;
    }
    if (!status)
        sdi_clean_swap(c, changed);
    return status;
}

void sdi_clean_c1_fix(sd_clean *c, bool *changed) {
    for (size_t i = 0; i < c->text.n; i++) {
        int32_t *point = &c->text.at[i];
        if (*point < 0x80 || *point > 0x9F)
            continue;
        int32_t meant = sdi_clean_encodings[SD_CLEAN_WINDOWS_1252].high[*point - 0x80];
        *changed |= meant != *point;
        *point = meant;
    }
}

static bool is_ascii(const sd_code_points *t) {
    for (size_t i = 0; i < t->n; i++)
        if (t->at[i] >= 0x80)
            return false;
    return true;
}

static sd_status step(sd_clean *c, int depth, bool *changed) {
    if (is_ascii(&c->text) || !is_bad(&c->text))
        return SD_OK;
    for (int i = 0; i < SD_CLEAN_ENCODINGS; i++) {
        bool fits, good;
        sd_status status = recode(c, &sdi_clean_encodings[i], &fits, &good);
        if (!status && good)
            sdi_clean_swap(c, changed);
        if (status || good)
            return status;
    }
    sd_status status = depth < MAX_DEPTH ? fix_embedded(c, depth, changed) : SD_OK;
    if (!status && !*changed) /* Latin-1 that was meant as Windows-1252 */
        sdi_clean_c1_fix(c, changed);
    return status;
}

static sd_status fix(sd_clean *c, int depth, bool *changed) {
    sd_status status = SD_OK;
    for (bool again = true; again && !status;) {
        again = false;
        status = step(c, depth, &again);
        *changed |= again;
    }
    return status;
}

sd_status sdi_clean_encoding_fix(sd_clean *c, bool *changed) {
    return fix(c, 0, changed);
}
