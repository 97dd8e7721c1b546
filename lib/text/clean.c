/* The order of the steps of cleaning, and those that go character by character. */
#include "text/clean.h"
#include "text/clean_tables.h"

#include <string.h>
#include <utf8proc.h>

/* ftfy's max_decode_length: what is mended at once, where no line ends before. */
#define MAX_SEGMENT 1000000

/* Text that is still another after so many passes over so many characters in all is no text:
 * entities of entities of entities. */
#define MAX_PASSES 32
#define MAX_WORK (1u << 25)

static void free_all(sd_clean *c) {
    sdi_free(c->ctx, c->text.at);
    sdi_free(c->ctx, c->made.at);
    sdi_free(c->ctx, c->bytes);
}

/* ------------------------------------------------------------------- character by character */

static const sd_clean_map *find_map(const sd_clean_map *map, size_t n, int32_t c) {
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (map[middle].from < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && map[low].from == c ? &map[low] : NULL;
}

static sd_status put_straight(sd_clean *c, int32_t point) {
    if (point >= 0x201C && point <= 0x201F)
        point = '"';
    else if (point == 0x02BC || (point >= 0x2018 && point <= 0x201B))
        point = '\'';
    return sdi_clean_put(c, point);
}

static sd_status put_width(sd_clean *c, int32_t point) {
    const sd_clean_map *width = find_map(sdi_clean_widths, sdi_clean_widths_n, point);
    sd_status status = width ? SD_OK : put_straight(c, point);
    for (int i = 0; width && i < 3 && width->to[i] && !status; i++)
        status = put_straight(c, width->to[i]);
    return status;
}

/* fix_latin_ligatures, fix_character_width, uncurl_quotes */
static sd_status replace_characters(sd_clean *c) {
    bool changed = false;
    sd_status status = SD_OK;
    for (size_t i = 0; i < c->text.n && !status; i++) {
        const sd_clean_map *ligature =
            find_map(sdi_clean_ligatures, sdi_clean_ligatures_n, c->text.at[i]);
        if (!ligature)
            status = put_width(c, c->text.at[i]);
        for (int k = 0; ligature && k < 3 && ligature->to[k] && !status; k++)
            status = put_width(c, ligature->to[k]);
    }
    if (!status)
        sdi_clean_swap(c, &changed);
    return status;
}

static bool is_high(int32_t c) {
    return c >= 0xD800 && c <= 0xDBFF;
}

static bool is_low(int32_t c) {
    return c >= 0xDC00 && c <= 0xDFFF;
}

/* fix_line_breaks, fix_surrogates */
static sd_status replace_breaks(sd_clean *c) {
    const sd_code_points *t = &c->text;
    bool changed = false;
    sd_status status = SD_OK;
    for (size_t i = 0; i < t->n && !status; i++) {
        int32_t point = t->at[i], next = i + 1 < t->n ? t->at[i + 1] : 0;
        if (point == '\r' && next == '\n')
            continue;
        if (point == '\r' || point == 0x2028 || point == 0x2029 || point == 0x85)
            point = '\n';
        if (is_high(point) && is_low(next)) {
            point = 0x10000 + (point - 0xD800) * 0x400 + (next - 0xDC00);
            i++;
        } else if (is_high(point) || is_low(point)) {
            point = 0xFFFD;
        }
        status = sdi_clean_put(c, point);
    }
    if (!status)
        sdi_clean_swap(c, &changed);
    return status;
}

/* Where "\033[31;1m" at i ends, or 0. */
static size_t escape_end(const sd_code_points *t, size_t i) {
    if (t->at[i] != 0x1B || i + 1 >= t->n || t->at[i + 1] != '[')
        return 0;
    for (i += 2; i < t->n; i++) {
        int32_t c = t->at[i];
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
            return i + 1;
        if (c != ';' && utf8proc_category(c) != UTF8PROC_CATEGORY_ND)
            return 0;
    }
    return 0;
}

static bool is_control(int32_t c) {
    for (size_t i = 0; i < sdi_clean_controls_n; i++)
        if (c >= sdi_clean_controls[i][0] && c <= sdi_clean_controls[i][1])
            return true;
    return false;
}

/* remove_terminal_escapes, remove_control_chars */
static void remove_controls(sd_clean *c) {
    sd_code_points *t = &c->text;
    size_t n = 0;
    for (size_t i = 0; i < t->n;) {
        size_t end = escape_end(t, i);
        if (!end && !is_control(t->at[i]))
            t->at[n++] = t->at[i];
        i = end ? end : i + 1;
    }
    t->n = n;
}

/* ------------------------------------------------------------------------- ftfy's fix_text */

static sd_status pass(sd_clean *c, bool unescape) {
    bool changed = false;
    sd_status status = unescape ? sdi_clean_unescape_strict(c, &changed) : SD_OK;
    if (!status)
        status = sdi_clean_encoding_fix(c, &changed);
    if (status)
        return status;
    sdi_clean_c1_fix(c, &changed);
    status = replace_characters(c);
    if (!status)
        status = replace_breaks(c);
    if (status)
        return status;
    remove_controls(c);
    return sdi_text_nfc(c->ctx, &c->text);
}

static sd_status copy_points(const sd_context *ctx, const int32_t *at, size_t n,
                             sd_code_points *out) {
    sd_status status = sdi_text_reserve(ctx, &out->at, &out->capacity, n, sizeof *out->at);
    if (!status && n)
        memcpy(out->at, at, n * sizeof *at);
    out->n = status ? 0 : n;
    return status;
}

/* fix_and_explain: passes until nothing changes. */
static sd_status fix_segment(sd_clean *c, bool unescape) {
    sd_code_points before = {0};
    sd_status status = SD_OK;
    uint64_t work = 0;
    bool done = false;
    for (int passes = 0; !done && !status; passes++) {
        work += c->text.n;
        if (passes > MAX_PASSES && work > MAX_WORK)
            status = sdi_fail(c->ctx, SD_ERROR_ARGUMENT,
                              "a prompt of %zu characters is still not clean after %d passes; "
                              "entities within entities (&amp;amp;...) are not unfolded so far",
                              c->text.n, passes);
        if (!status)
            status = copy_points(c->ctx, c->text.at, c->text.n, &before);
        if (!status)
            status = pass(c, unescape);
        done = sdi_clean_same(&before, &c->text);
    }
    sdi_free(c->ctx, before.at);
    return status;
}

static size_t segment_end(const sd_code_points *t, size_t start, bool *angle) {
    size_t end = start;
    while (end < t->n && end - start < MAX_SEGMENT) {
        *angle |= t->at[end] == '<';
        if (t->at[end++] == '\n')
            break;
    }
    return end;
}

/* Line by line; where a < was seen, what follows is HTML whose entities are meant as they are. */
static sd_status fix_text(const sd_context *ctx, sd_code_points *text) {
    sd_clean all = {.ctx = ctx};
    bool angle = false;
    sd_status status = SD_OK;
    for (size_t start = 0, end; start < text->n && !status; start = end) {
        sd_clean c = {.ctx = ctx};
        end = segment_end(text, start, &angle);
        status = copy_points(ctx, text->at + start, end - start, &c.text);
        if (!status)
            status = fix_segment(&c, !angle);
        for (size_t i = 0; i < c.text.n && !status; i++)
            status = sdi_clean_put(&all, c.text.at[i]);
        free_all(&c);
    }
    if (status) {
        free_all(&all);
        return status;
    }
    sdi_free(ctx, text->at);
    *text = all.made;
    return SD_OK;
}

/* --------------------------------------------------------------------------- final sigma */

static bool is_cased(int32_t c) {
    utf8proc_category_t category = utf8proc_category(c);
    return category == UTF8PROC_CATEGORY_LU || category == UTF8PROC_CATEGORY_LL ||
           category == UTF8PROC_CATEGORY_LT || c == 0xAA || c == 0xBA ||
           (c >= 0x2160 && c <= 0x217F) || (c >= 0x24B6 && c <= 0x24E9);
}

/* Case_Ignorable: marks, modifiers and formats, and what stands within words. */
static bool is_case_ignorable(int32_t c) {
    static const int32_t within[] = {'\'',   '.',    ':',    0xB7,   0x387,  0x55F,
                                     0x5F4,  0x2018, 0x2019, 0x2024, 0x2027, 0xFE13,
                                     0xFE52, 0xFE55, 0xFF07, 0xFF0E, 0xFF1A};
    for (size_t i = 0; i < SD_COUNT(within); i++)
        if (within[i] == c)
            return true;
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
        return true;
    default:
        return false;
    }
}

/* One thing of str.lower(): a capital sigma that ends a word (Unicode, table 3-17, Final_Sigma). */
static void lower_final_sigmas(sd_code_points *t) {
    bool after_cased = false; /* but for what is ignored */
    for (size_t i = 0; i < t->n; i++) {
        int32_t c = t->at[i];
        size_t next = i + 1;
        while (c == 0x3A3 && after_cased && next < t->n && is_case_ignorable(t->at[next]))
            next++;
        if (c == 0x3A3 && after_cased && (next == t->n || !is_cased(t->at[next])))
            t->at[i] = 0x3C2;
        if (!is_case_ignorable(c))
            after_cased = is_cased(c);
    }
}

/* ------------------------------------------------------------------------------------ all */

static bool is_space(int32_t c) {
    return sdi_char_classify(c) == SD_CHAR_SPACE || (c >= 0x1C && c <= 0x1F);
}

static void clean_spaces(sd_code_points *t) {
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++)
        if (!is_space(t->at[i]))
            t->at[n++] = t->at[i];
        else if (n && t->at[n - 1] != ' ')
            t->at[n++] = ' ';
    t->n = n && t->at[n - 1] == ' ' ? n - 1 : n;
}

/* Surrogates, of which neither sdi_utf8_get nor UTF-8 knows, stand for themselves. */
static sd_status read_text(const sd_context *ctx, const char *text, sd_code_points *out) {
    const uint8_t *s = (const uint8_t *)text;
    size_t n = strlen(text);
    sd_status status = sdi_text_reserve(ctx, &out->at, &out->capacity, n + 1, sizeof *out->at);
    for (size_t i = 0; i < n && !status;) {
        bool surrogate = n - i >= 3 && s[i] == 0xED && s[i + 1] >= 0xA0 && s[i + 1] <= 0xBF &&
                         s[i + 2] >= 0x80 && s[i + 2] <= 0xBF;
        if (surrogate) {
            out->at[out->n++] = 0xD000 | (s[i + 1] & 0x3F) << 6 | (s[i + 2] & 0x3F);
            i += 3;
        } else {
            out->at[out->n++] = sdi_utf8_get(s, n, &i);
        }
    }
    return status;
}

static sd_status write_text(const sd_context *ctx, const sd_code_points *t, char **out) {
    size_t n = 0;
    *out = t->n < SIZE_MAX / 4 ? sdi_alloc(ctx, 4 * t->n + 1) : NULL;
    if (!*out)
        return SD_ERROR_MEMORY;
    for (size_t i = 0; i < t->n; i++)
        n += (size_t)sdi_utf8_put(t->at[i], (uint8_t *)*out + n);
    (*out)[n] = '\0';
    return SD_OK;
}

sd_status sdi_text_clean(const sd_context *ctx, const char *text, char **out) {
    sd_clean c = {.ctx = ctx};
    *out = NULL;
    sd_status status = read_text(ctx, text, &c.text);
    if (!status)
        status = fix_text(ctx, &c.text);
    for (int i = 0; i < 2 && !status; i++)
        status = sdi_clean_unescape(&c);
    if (!status) {
        clean_spaces(&c.text);
        lower_final_sigmas(&c.text);
        status = write_text(ctx, &c.text, out);
    }
    free_all(&c);
    return status;
}

sd_status sdi_texts_clean(const sd_context *ctx, const char *const *texts, int n, char ***out) {
    *out = sdi_alloc_array(ctx, (size_t)n, sizeof **out);
    sd_status status = *out ? SD_OK : SD_ERROR_MEMORY;
    for (int i = 0; i < n && !status; i++)
        status = sdi_text_clean(ctx, texts[i], &(*out)[i]);
    return status;
}

void sdi_texts_free(const sd_context *ctx, char **texts, int n) {
    for (int i = 0; i < n && texts; i++)
        sdi_free(ctx, texts[i]);
    sdi_free(ctx, texts);
}
