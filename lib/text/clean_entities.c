/* HTML's entities, as ftfy and as Python's html.unescape read them. */
#include "text/clean.h"
#include "text/clean_tables.h"

#include <string.h>

#define LONGEST_NAME 32 /* "CounterClockwiseContourIntegral" is the longest of all */
#define LONGEST_STRICT 24

static bool is_digit(int32_t c) {
    return c >= '0' && c <= '9';
}

static int hex_digit(int32_t c) {
    return is_digit(c)            ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

static bool is_alphanumeric(int32_t c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* The characters of a name, or NULL; *bare: it needs no semicolon. */
static const char *find_name(const char *const table[52], const char *name, size_t n, bool *bare) {
    int letter = n && name[0] >= 'A' && name[0] <= 'Z'   ? name[0] - 'A'
                 : n && name[0] >= 'a' && name[0] <= 'z' ? name[0] - 'a' + 26
                                                         : -1;
    if (letter < 0)
        return NULL;
    for (const char *p = table[letter]; *p;) {
        const char *there = p + (*p == '!'), *value = p + strlen(p) + 1;
        if (strncmp(there, name, n) == 0 && there[n] == '\0') {
            *bare = *p == '!';
            return value;
        }
        p = value + strlen(value) + 1;
    }
    return NULL;
}

static sd_status put_value(sd_clean *c, const char *value) {
    size_t n = strlen(value);
    sd_status status = SD_OK;
    for (size_t i = 0; i < n && !status;)
        status = sdi_clean_put(c, sdi_utf8_get((const uint8_t *)value, n, &i));
    return status;
}

/* ------------------------------------------------------------------------------- numbers */

/* "&#38;" or "&#x26" at i: its number, at most 0x110000, and where it ends with its semicolon. */
static bool read_number(const sd_code_points *t, size_t i, int32_t *number, size_t *end) {
    bool hex = i + 2 < t->n && (t->at[i + 2] == 'x' || t->at[i + 2] == 'X');
    int32_t base = hex ? 16 : 10, value = 0;
    size_t first = i + (hex ? 3 : 2), at = first;
    for (; at < t->n; at++) {
        int digit = hex ? hex_digit(t->at[at]) : is_digit(t->at[at]) ? t->at[at] - '0' : -1;
        if (digit < 0)
            break;
        value = value > 0x110000 ? value : value * base + digit;
    }
    *number = value > 0x110000 ? 0x110000 : value;
    *end = at < t->n && t->at[at] == ';' ? at + 1 : at;
    return at > first;
}

/* The character that HTML makes of a number: HTML5, "numeric character reference end state". -1:
 * nothing. */
static int32_t of_number(int32_t number) {
    for (size_t i = 0; i < sdi_clean_charrefs_n; i++)
        if (sdi_clean_charrefs[i].from == number)
            return sdi_clean_charrefs[i].to[0];
    if ((number >= 0xD800 && number <= 0xDFFF) || number > 0x10FFFF)
        return 0xFFFD;
    for (size_t i = 0; i < sdi_clean_no_charrefs_n; i++)
        if (number >= sdi_clean_no_charrefs[i][0] && number <= sdi_clean_no_charrefs[i][1])
            return -1;
    return number;
}

/* ---------------------------------------------------------------------------------- ftfy */

/* Where &name; or &#number; at i ends, or 0. */
static size_t strict_end(const sd_code_points *t, size_t i) {
    size_t first = i + 1 + (i + 1 < t->n && t->at[i + 1] == '#'), end = first;
    while (end < t->n && is_alphanumeric(t->at[end]))
        end++;
    bool fits = end > first && end - first <= LONGEST_STRICT;
    return fits && end < t->n && t->at[end] == ';' ? end + 1 : 0;
}

/* The entity [i, end) where ftfy has something in its place; *done says so. */
static sd_status put_strict(sd_clean *c, size_t i, size_t end, bool *done) {
    const sd_code_points *t = &c->text;
    char name[LONGEST_STRICT + 1];
    size_t n = 0, number_end = 0;
    int32_t number;
    bool bare;
    *done = false;
    if (t->at[i + 1] == '#') {
        if (!read_number(t, i, &number, &number_end) || number_end != end)
            return SD_OK;
        number = of_number(number);
        if (number == ';') /* it is to be gone with the entity */
            return SD_OK;
        *done = true;
        return number < 0 ? SD_OK : sdi_clean_put(c, number);
    }
    for (size_t k = i + 1; k + 1 < end; k++)
        name[n++] = (char)t->at[k];
    const char *value = find_name(sdi_clean_entities, name, n, &bare);
    if (!value)
        value = find_name(sdi_clean_capitals, name, n, &bare);
    *done = value != NULL;
    return value ? put_value(c, value) : SD_OK;
}

sd_status sdi_clean_unescape_strict(sd_clean *c, bool *changed) {
    const sd_code_points *t = &c->text;
    sd_status status = SD_OK;
    for (size_t i = 0; i < t->n && !status;) {
        size_t end = t->at[i] == '&' ? strict_end(t, i) : 0;
        bool done = false;
        if (end)
            status = put_strict(c, i, end, &done);
        size_t next = end ? end : i + 1;
        for (; i < next && !done && !status; i++)
            status = sdi_clean_put(c, t->at[i]);
        i = next;
    }
    if (!status)
        sdi_clean_swap(c, changed);
    return status;
}

/* -------------------------------------------------------------------------- html.unescape */

/* Where a name at i + 1, which may go on in other text, ends, with its semicolon. */
static size_t name_end(const sd_code_points *t, size_t i) {
    size_t end = i + 1;
    while (end < t->n && end - i <= LONGEST_NAME && t->at[end] != '\t' && t->at[end] != '\n' &&
           t->at[end] != '\f' && t->at[end] != ' ' && t->at[end] != '<' && t->at[end] != '&' &&
           t->at[end] != '#' && t->at[end] != ';')
        end++;
    return end < t->n && end > i + 1 && t->at[end] == ';' ? end + 1 : end;
}

/* A name with its semicolon, or the longest beginning that needs none. `end` becomes where it ends,
 * or stays where there is none. */
static const char *find_prefix(const sd_code_points *t, size_t i, size_t *end) {
    char name[LONGEST_NAME + 2];
    size_t n = 0;
    bool bare;
    for (size_t k = i + 1; k < *end && t->at[k] < 0x80; k++)
        name[n++] = (char)t->at[k];
    if (n && name[n - 1] == ';') {
        const char *value = find_name(sdi_clean_entities, name, n - 1, &bare);
        if (value)
            return value;
        n--;
    }
    for (; n > 1; n--) {
        const char *value = find_name(sdi_clean_entities, name, n, &bare);
        if (value && bare) {
            *end = i + 1 + n;
            return value;
        }
    }
    return NULL;
}

static sd_status put_reference(sd_clean *c, size_t *i) {
    const sd_code_points *t = &c->text;
    size_t end;
    int32_t number;
    sd_status status = SD_OK;
    if (*i + 1 < t->n && t->at[*i + 1] == '#' && read_number(t, *i, &number, &end)) {
        number = of_number(number);
        *i = end;
        return number < 0 ? SD_OK : sdi_clean_put(c, number);
    }
    end = name_end(t, *i);
    const char *value = find_prefix(t, *i, &end);
    if (value)
        status = put_value(c, value);
    for (size_t k = *i; k < end && !value && !status; k++)
        status = sdi_clean_put(c, t->at[k]);
    *i = end;
    return status;
}

sd_status sdi_clean_unescape(sd_clean *c) {
    const sd_code_points *t = &c->text;
    bool changed = false;
    sd_status status = SD_OK;
    for (size_t i = 0; i < t->n && !status;)
        if (t->at[i] == '&')
            status = put_reference(c, &i);
        else
            status = sdi_clean_put(c, t->at[i++]);
    if (!status)
        sdi_clean_swap(c, &changed);
    return status;
}
