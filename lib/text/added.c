/* The table of added tokens, and the search for them in a text. */
#include "text/added.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

sd_status sdi_added_put(const sd_context *ctx, sd_added_tokens *tokens, const sd_added *token) {
    size_t n = strlen(token->text);
    if (!n)
        return SD_OK;
    sd_status status =
        sdi_text_reserve(ctx, &tokens->at, &tokens->capacity, tokens->n + 1, sizeof *tokens->at);
    if (status)
        return status;
    sd_added *put = &tokens->at[tokens->n];
    *put = *token;
    put->written = (sd_code_points){0};
    put->n = n;
    put->order = tokens->n;
    put->text = sdi_strndup(ctx, token->text, n);
    if (!put->text)
        return SD_ERROR_MEMORY;
    tokens->n++;
    if (put->normalized)
        status = sdi_text_normalise(ctx, (const uint8_t *)put->text, n, &put->written);
    sdi_added_single_spaces(&put->written);
    return status;
}

static void free_token(const sd_context *ctx, sd_added *a) {
    sdi_free(ctx, a->text);
    sdi_free(ctx, a->written.at);
}

void sdi_added_free(const sd_context *ctx, sd_added_tokens *tokens) {
    for (size_t i = 0; i < tokens->n; i++)
        free_token(ctx, &tokens->at[i]);
    sdi_free(ctx, tokens->at);
    *tokens = (sd_added_tokens){0};
}

const sd_added *sdi_added_find(const sd_added_tokens *tokens, const char *text) {
    for (size_t i = 0; i < tokens->n; i++)
        if (strcmp(tokens->at[i].text, text) == 0)
            return &tokens->at[i];
    return NULL;
}

const sd_added *sdi_added_of_id(const sd_added_tokens *tokens, int32_t id) {
    for (size_t i = 0; i < tokens->n; i++)
        if (tokens->at[i].id == id)
            return &tokens->at[i];
    return NULL;
}

/* -------------------------------------------------------------------------------- order */

static unsigned first_byte(const sd_added *a) {
    if (!a->normalized)
        return (uint8_t)a->text[0];
    return a->written.n ? (unsigned)a->written.at[0] & 0xFF : 0;
}

static size_t length(const sd_added *a) {
    return a->normalized ? a->written.n : a->n;
}

static int compare(const void *left, const void *right) {
    const sd_added *a = left, *b = right;
    if (a->normalized != b->normalized)
        return a->normalized ? 1 : -1;
    if (first_byte(a) != first_byte(b))
        return first_byte(a) < first_byte(b) ? -1 : 1;
    if (length(a) != length(b))
        return length(a) > length(b) ? -1 : 1;
    return a->order < b->order ? -1 : a->order > b->order;
}

static int compare_texts(const void *left, const void *right) {
    const sd_added *a = left, *b = right;
    int texts = strcmp(a->text, b->text);
    return texts ? texts : a->order < b->order ? -1 : a->order > b->order;
}

/* The first that was added stays of tokens with one text. */
static void drop_twins(const sd_context *ctx, sd_added_tokens *tokens) {
    size_t n = 0;
    qsort(tokens->at, tokens->n, sizeof *tokens->at, compare_texts);
    for (size_t i = 0; i < tokens->n; i++)
        if (n && strcmp(tokens->at[n - 1].text, tokens->at[i].text) == 0)
            free_token(ctx, &tokens->at[i]);
        else
            tokens->at[n++] = tokens->at[i];
    tokens->n = n;
}

void sdi_added_sort(const sd_context *ctx, sd_added_tokens *tokens) {
    size_t i = 0;
    if (tokens->n) {
        drop_twins(ctx, tokens);
        qsort(tokens->at, tokens->n, sizeof *tokens->at, compare);
    }
    for (int kind = 0; kind < 2; kind++)
        for (unsigned byte = 0; byte <= 256; byte++) {
            while (i < tokens->n && tokens->at[i].normalized == (kind == 1) &&
                   first_byte(&tokens->at[i]) < byte)
                i++;
            tokens->first[kind][byte] = i;
        }
}

void sdi_added_drop(const sd_context *ctx, sd_added_tokens *tokens, const sd_added *token) {
    size_t at = (size_t)(token - tokens->at);
    free_token(ctx, &tokens->at[at]);
    tokens->n--;
    memmove(&tokens->at[at], &tokens->at[at + 1], (tokens->n - at) * sizeof *tokens->at);
    sdi_added_sort(ctx, tokens);
}

void sdi_added_limit(const sd_context *ctx, sd_added_tokens *tokens, int32_t n_ids) {
    size_t n = 0;
    for (size_t i = 0; i < tokens->n; i++)
        if (tokens->at[i].id < n_ids)
            tokens->at[n++] = tokens->at[i];
        else
            free_token(ctx, &tokens->at[i]);
    tokens->n = n;
    sdi_added_sort(ctx, tokens);
}

/* ------------------------------------------------------------------------------- search */

/* \w of Rust's regex crate: Alphabetic, M, Nd, Pc, Join_Control. */
static bool is_word(int32_t c) {
    switch (utf8proc_category(c)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_MC:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_ND:
    case UTF8PROC_CATEGORY_NL:
    case UTF8PROC_CATEGORY_PC:
        return true;
    case UTF8PROC_CATEGORY_SO: /* letters in circles and squares */
        return (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) ||
               (c >= 0x1F150 && c <= 0x1F169) || (c >= 0x1F170 && c <= 0x1F189);
    default:
        return c == 0x200C || c == 0x200D;
    }
}

static bool word_at(const char *text, size_t n, size_t i) {
    return i < n && is_word(sdi_utf8_get((const uint8_t *)text, n, &i));
}

static bool word_before(const char *text, size_t i) {
    size_t start = i;
    while (start > 0 && i - start < 4) {
        start--;
        if (((uint8_t)text[start] & 0xC0) != 0x80)
            break;
    }
    size_t end = start;
    return start < i && is_word(sdi_utf8_get((const uint8_t *)text, i, &end)) && end == i;
}

bool sdi_added_in_text(const sd_added_tokens *tokens, const char *text, size_t n, size_t from,
                       sd_added_match *match) {
    for (size_t i = from; i < n;) {
        const size_t *first = &tokens->first[0][(uint8_t)text[i]];
        const sd_added *found = NULL;
        for (size_t k = first[0]; k < first[1] && !found; k++) {
            const sd_added *a = &tokens->at[k];
            if (a->n <= n - i && memcmp(a->text, text + i, a->n) == 0)
                found = a;
        }
        size_t end = found ? i + found->n : i + 1;
        if (found && !(found->single_word && (word_before(text, i) || word_at(text, n, end)))) {
            *match = (sd_added_match){found, i, end};
            return true;
        }
        i = end; /* what was no word of its own is not looked into, as tokenizers has it */
    }
    return false;
}

bool sdi_added_in_points(const sd_added_tokens *tokens, const sd_code_points *text, size_t from,
                         sd_added_match *match) {
    for (size_t i = from; i < text->n;) {
        const size_t *first = &tokens->first[1][(uint32_t)text->at[i] & 0xFF];
        const sd_added *found = NULL;
        for (size_t k = first[0]; k < first[1] && !found; k++) {
            const sd_code_points *w = &tokens->at[k].written;
            if (w->n && w->n <= text->n - i &&
                memcmp(w->at, text->at + i, w->n * sizeof *w->at) == 0)
                found = &tokens->at[k];
        }
        size_t end = found ? i + found->written.n : i + 1;
        if (found && !(found->single_word && ((i > 0 && is_word(text->at[i - 1])) ||
                                              (end < text->n && is_word(text->at[end]))))) {
            *match = (sd_added_match){found, i, end};
            return true;
        }
        i = end;
    }
    return false;
}

void sdi_added_single_spaces(sd_code_points *text) {
    size_t n = 0;
    for (size_t i = 0; i < text->n; i++) {
        bool space = sdi_char_classify(text->at[i]) == SD_CHAR_SPACE;
        if (!space)
            text->at[n++] = text->at[i];
        else if (n == 0 || text->at[n - 1] != ' ')
            text->at[n++] = ' ';
    }
    text->n = n;
}
