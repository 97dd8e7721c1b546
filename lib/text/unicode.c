/*
 * Unicode by libutf8proc, with what differs in the libraries that transformers' tokenizers is made
 * of (0.23: unicode-normalization-alignments with Unicode 9, Oniguruma with Unicode 16, Rust's
 * char::to_lowercase with Unicode 17). tests/tools/make_tokenizer_fixtures.py --unicode prints
 * these tables by asking both for every code point; utf8proc 2.8 has Unicode 15.
 */
#include "text/unicode.h"

#include <string.h>
#include <utf8proc.h>

typedef struct char_range {
    int32_t first, last;
} char_range;

/* Letters of Unicode 15.1 and 16. */
static const char_range new_letters[] = {
    {0x1C89, 0x1C8A},   {0xA7CB, 0xA7CD},   {0xA7DA, 0xA7DC},   {0x105C0, 0x105F3},
    {0x10D4A, 0x10D65}, {0x10D6F, 0x10D85}, {0x10EC2, 0x10EC4}, {0x11380, 0x11389},
    {0x1138B, 0x1138B}, {0x1138E, 0x1138E}, {0x11390, 0x113B5}, {0x113B7, 0x113B7},
    {0x113D1, 0x113D1}, {0x113D3, 0x113D3}, {0x11BC0, 0x11BE0}, {0x13460, 0x143FA},
    {0x16100, 0x1611D}, {0x16D40, 0x16D6C}, {0x18CFF, 0x18CFF}, {0x1E5D0, 0x1E5ED},
    {0x1E5F0, 0x1E5F0}, {0x2EBF0, 0x2EE5D},
};

static const char_range new_numbers[] = {
    {0x10D40, 0x10D49}, {0x116D0, 0x116E3}, {0x11BF0, 0x11BF9}, {0x16130, 0x16139},
    {0x16D70, 0x16D79}, {0x1CCF0, 0x1CCF9}, {0x1E5F1, 0x1E5FA},
};

/*
 * Marks that Unicode 9 does not order, because it did not have them. Text is normalised in parts
 * that begin at these. Of the same kind: U+11930, whose composition came later, and U+11A7, one
 * before the first trailing Hangul jamo, that utf8proc 2.8 takes for one.
 */
static const char_range barriers[] = {
    {0x07FD, 0x07FD},   {0x0898, 0x089F},   {0x08CA, 0x08D3},   {0x09FE, 0x09FE},
    {0x0C3C, 0x0C3C},   {0x0D3B, 0x0D3C},   {0x0EBA, 0x0EBA},   {0x11A7, 0x11A7},
    {0x1715, 0x1715},   {0x1ABF, 0x1ACE},   {0x1DF6, 0x1DFA},   {0xA82C, 0xA82C},
    {0x10D24, 0x10D27}, {0x10EAB, 0x10EAC}, {0x10EFD, 0x10EFF}, {0x10F46, 0x10F50},
    {0x10F82, 0x10F85}, {0x11070, 0x11070}, {0x1133B, 0x1133B}, {0x1145E, 0x1145E},
    {0x11839, 0x1183A}, {0x11930, 0x11930}, {0x1193D, 0x1193E}, {0x11943, 0x11943},
    {0x119E0, 0x119E0}, {0x11A34, 0x11A34}, {0x11A47, 0x11A47}, {0x11A99, 0x11A99},
    {0x11D42, 0x11D42}, {0x11D44, 0x11D45}, {0x11D97, 0x11D97}, {0x11F41, 0x11F42},
    {0x16FF0, 0x16FF1}, {0x1E08F, 0x1E08F}, {0x1E130, 0x1E136}, {0x1E2AE, 0x1E2AE},
    {0x1E2EC, 0x1E2EF}, {0x1E4EC, 0x1E4EF},
};

#define KEEP_WHOLE 0x11938 /* = U+11935 U+11930 since Unicode 13 */

/* Capitals of Unicode 16 and 17 whose small letter lies `delta` further; every `step`-th. */
static const struct {
    int32_t first, last, step, delta;
} new_capitals[] = {
    {0x1C89, 0x1C89, 1, 1},      {0xA7CB, 0xA7CB, 1, 0x264 - 0xA7CB},
    {0xA7CC, 0xA7CE, 2, 1},      {0xA7D2, 0xA7D4, 2, 1},
    {0xA7DA, 0xA7DA, 1, 1},      {0xA7DC, 0xA7DC, 1, 0x19B - 0xA7DC},
    {0x10D50, 0x10D65, 1, 0x20}, {0x16EA0, 0x16EB8, 1, 0x1B},
};

static bool in_ranges(int32_t c, const char_range *ranges, size_t n) {
    size_t low = 0, high = n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (c > ranges[middle].last)
            low = middle + 1;
        else
            high = middle;
    }
    return low < n && c >= ranges[low].first;
}

sd_char_class sdi_char_classify(int32_t c) {
    if (c < 0x80) {
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
            return SD_CHAR_LETTER;
        if (c >= '0' && c <= '9')
            return SD_CHAR_NUMBER;
        return c == ' ' || (c >= '\t' && c <= '\r') ? SD_CHAR_SPACE : SD_CHAR_OTHER;
    }
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
        return SD_CHAR_LETTER;
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_NO:
        return SD_CHAR_NUMBER;
    case UTF8PROC_CATEGORY_ZS:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
        return SD_CHAR_SPACE;
    case UTF8PROC_CATEGORY_CN:
        if (in_ranges(c, new_letters, SD_COUNT(new_letters)))
            return SD_CHAR_LETTER;
        return in_ranges(c, new_numbers, SD_COUNT(new_numbers)) ? SD_CHAR_NUMBER : SD_CHAR_OTHER;
    default:
        return c == 0x85 ? SD_CHAR_SPACE : SD_CHAR_OTHER;
    }
}

static int32_t lower_new(int32_t c) {
    for (size_t i = 0; i < SD_COUNT(new_capitals); i++) {
        int32_t from_first = c - new_capitals[i].first;
        if (from_first >= 0 && c <= new_capitals[i].last)
            return from_first % new_capitals[i].step ? c : c + new_capitals[i].delta;
    }
    return c;
}

static int32_t lower(int32_t c) {
    if (c < 0x80)
        return c >= 'A' && c <= 'Z' ? c + ('a' - 'A') : c;
    int32_t small = utf8proc_tolower(c);
    return small == c ? lower_new(c) : small;
}

int sdi_utf8_put(int32_t c, uint8_t *out) {
    if (c < 0x80) {
        out[0] = (uint8_t)c;
        return 1;
    }
    return (int)utf8proc_encode_char(c, out);
}

int32_t sdi_utf8_get(const uint8_t *s, size_t n, size_t *position) {
    uint8_t b = s[(*position)++];
    if (b < 0x80)
        return b;
    if (b < 0xC2 || b > 0xF4)
        return 0xFFFD;
    int rest = b < 0xE0 ? 1 : b < 0xF0 ? 2 : 3;
    /* the bytes that may follow the first: Unicode, table 3-7 */
    uint8_t low = b == 0xE0 ? 0xA0 : b == 0xF0 ? 0x90 : 0x80;
    uint8_t high = b == 0xED ? 0x9F : b == 0xF4 ? 0x8F : 0xBF;
    int32_t c = b & (0x3F >> rest);
    for (; rest; rest--) {
        if (*position == n || s[*position] < low || s[*position] > high)
            return 0xFFFD;
        c = c << 6 | (s[(*position)++] & 0x3F);
        low = 0x80;
        high = 0xBF;
    }
    return c;
}

sd_status sdi_text_reserve(const sd_context *ctx, void *array, size_t *capacity, size_t need,
                           size_t size) {
    if (need <= *capacity)
        return SD_OK;
    size_t n = need < SIZE_MAX / 4 ? need + need / 2 + 64 : need;
    if (n > SIZE_MAX / size)
        return sdi_fail(ctx, SD_ERROR_MEMORY, "out of memory: a text of %zu characters", need);
    void *old, *grown;
    memcpy(&old, array, sizeof old);
    grown = sdi_realloc(ctx, old, n * size);
    if (!grown)
        return SD_ERROR_MEMORY;
    memcpy(array, &grown, sizeof grown);
    *capacity = n;
    return SD_OK;
}

static int combining_class(int32_t c) {
    return c < 0x300 ? 0 : utf8proc_get_property(c)->combining_class;
}

/* Canonical ordering of one run of marks: a stable sort by combining class. Long runs are sorted
 * by counting, so that a text of nothing but marks takes linear time. */
static sd_status order_marks(const sd_context *ctx, int32_t *marks, size_t n) {
    if (n <= 32) {
        for (size_t i = 1; i < n; i++) {
            int32_t c = marks[i];
            int class = combining_class(c);
            size_t j = i;
            for (; j > 0 && combining_class(marks[j - 1]) > class; j--)
                marks[j] = marks[j - 1];
            marks[j] = c;
        }
        return SD_OK;
    }
    size_t start[257] = {0};
    int32_t *copy = sdi_alloc_array(ctx, n, sizeof *copy);
    if (!copy)
        return SD_ERROR_MEMORY;
    memcpy(copy, marks, n * sizeof *copy);
    for (size_t i = 0; i < n; i++)
        start[combining_class(copy[i]) + 1]++;
    for (size_t k = 1; k < SD_COUNT(start); k++)
        start[k] += start[k - 1];
    for (size_t i = 0; i < n; i++)
        marks[start[combining_class(copy[i])]++] = copy[i];
    sdi_free(ctx, copy);
    return SD_OK;
}

static bool is_barrier(int32_t c) {
    return c >= barriers[0].first && in_ranges(c, barriers, SD_COUNT(barriers));
}

/* Only the fault of utf8proc is none of Unicode's. */
static bool is_always_barrier(int32_t c) {
    return c == 0x11A7;
}

typedef bool (*barrier_fn)(int32_t c);

/* NFC of decomposed text without a barrier but at its start; *n shrinks. */
static sd_status compose(const sd_context *ctx, barrier_fn barrier, int32_t *c, size_t *n) {
    for (size_t i = barrier(c[0]); i < *n;) {
        size_t first = i;
        while (i < *n && combining_class(c[i]) != 0)
            i++;
        if (i > first + 1) {
            sd_status status = order_marks(ctx, c + first, i - first);
            if (status)
                return status;
        }
        if (i == first)
            i++;
    }
    utf8proc_ssize_t composed =
        utf8proc_normalize_utf32(c, (utf8proc_ssize_t)*n, UTF8PROC_COMPOSE | UTF8PROC_STABLE);
    if (composed < 0)
        return sdi_fail(ctx, SD_ERROR_INTERNAL, "utf8proc_normalize_utf32: %s",
                        utf8proc_errmsg(composed));
    *n = (size_t)composed;
    return SD_OK;
}

static sd_status compose_parts(const sd_context *ctx, barrier_fn barrier, sd_code_points *t) {
    size_t kept = 0;
    for (size_t i = 0; i < t->n;) {
        size_t end = i + 1;
        while (end < t->n && !barrier(t->at[end]))
            end++;
        size_t n = end - i;
        sd_status status = compose(ctx, barrier, t->at + i, &n);
        if (status)
            return status;
        memmove(t->at + kept, t->at + i, n * sizeof *t->at);
        kept += n;
        i = end;
    }
    t->n = kept;
    return SD_OK;
}

/* U+0130 is the one capital whose small letter is two code points (SpecialCasing.txt). */
static sd_status lower_all(const sd_context *ctx, sd_code_points *t) {
    size_t extra = 0;
    for (size_t i = 0; i < t->n; i++)
        extra += t->at[i] == 0x130;
    sd_status status = sdi_text_reserve(ctx, &t->at, &t->capacity, t->n + extra, sizeof *t->at);
    if (status)
        return status;
    size_t to = t->n + extra;
    for (size_t i = t->n; i-- > 0;) {
        if (t->at[i] == 0x130) {
            t->at[--to] = 0x307;
            t->at[--to] = 'i';
        } else {
            t->at[--to] = lower(t->at[i]);
        }
    }
    t->n += extra;
    return SD_OK;
}

static int decompose(int32_t c, int32_t out[4]) {
    int boundary = 0;
    if (c < 0xC0) {
        out[0] = c;
        return 1;
    }
    /* Canonical decompositions have at most 4 code points (U+1F82). */
    utf8proc_ssize_t n = utf8proc_decompose_char(c, out, 4, UTF8PROC_DECOMPOSE, &boundary);
    if (n < 1 || n > 4) {
        out[0] = c;
        return 1;
    }
    return (int)n;
}

sd_status sdi_text_normalise(const sd_context *ctx, const uint8_t *text, size_t n,
                             sd_code_points *out) {
    bool plain = true;
    out->n = 0;
    for (size_t i = 0; i < n;) {
        sd_status status =
            sdi_text_reserve(ctx, &out->at, &out->capacity, out->n + 4, sizeof *out->at);
        if (status)
            return status;
        int32_t c = sdi_utf8_get(text, n, &i);
        plain = plain && c < 0xC0;
        if (c == KEEP_WHOLE)
            out->at[out->n++] = c;
        else
            out->n += (size_t)decompose(c, out->at + out->n);
    }
    if (!plain) {
        sd_status status = compose_parts(ctx, is_barrier, out);
        if (status)
            return status;
    }
    return lower_all(ctx, out);
}

sd_status sdi_text_nfc(const sd_context *ctx, sd_code_points *text) {
    sd_code_points out = {0};
    bool plain = true;
    for (size_t i = 0; i < text->n && plain; i++)
        plain = text->at[i] < 0x300; /* all of these are composed */
    if (plain)
        return SD_OK;
    sd_status status = SD_OK;
    for (size_t i = 0; i < text->n && !status; i++) {
        status = sdi_text_reserve(ctx, &out.at, &out.capacity, out.n + 4, sizeof *out.at);
        if (!status)
            out.n += (size_t)decompose(text->at[i], out.at + out.n);
    }
    if (!status)
        status = compose_parts(ctx, is_always_barrier, &out);
    if (status) {
        sdi_free(ctx, out.at);
        return status;
    }
    sdi_free(ctx, text->at);
    *text = out;
    return SD_OK;
}
