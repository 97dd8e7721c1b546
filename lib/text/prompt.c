/* Emphasis: the rules of the web UIs' parse_prompt_attention. */
#include "text/prompt.h"
#include "text/unicode.h"

#include <string.h>

/* A part while parsing: its text is that of parser.text from `start` to the next part's. */
typedef struct span {
    size_t start;
    double weight;
    bool is_break;
} span;

typedef struct brackets {
    size_t first[SD_PROMPT_MAX_DEPTH]; /* the span that follows each open bracket */
    int n;
} brackets;

typedef struct parser {
    const sd_context *ctx;
    char *text;
    size_t n_text;
    span *spans;
    size_t n_spans, capacity;
    brackets round, square;
    sd_status status;
} parser;

static const double round_weight = 1.1, square_weight = 1 / 1.1;

static void add_span(parser *p, bool is_break, const char *text, size_t n) {
    if (!p->status)
        p->status =
            sdi_text_reserve(p->ctx, &p->spans, &p->capacity, p->n_spans + 1, sizeof *p->spans);
    if (p->status)
        return;
    p->spans[p->n_spans++] = (span){p->n_text, 1.0, is_break};
    memcpy(p->text + p->n_text, text, n);
    p->n_text += n;
}

static void multiply(parser *p, size_t first, double weight) {
    for (size_t i = first; i < p->n_spans; i++) {
        double w = p->spans[i].weight * weight;
        if (w > SD_PROMPT_MAX_WEIGHT)
            w = SD_PROMPT_MAX_WEIGHT;
        p->spans[i].weight = w < -SD_PROMPT_MAX_WEIGHT ? -SD_PROMPT_MAX_WEIGHT : w;
    }
}

static bool open_bracket(parser *p, brackets *b) {
    if (b->n == SD_PROMPT_MAX_DEPTH)
        return false;
    b->first[b->n++] = p->n_spans;
    return true;
}

static bool close_bracket(parser *p, brackets *b, double weight) {
    if (b->n == 0)
        return false;
    multiply(p, b->first[--b->n], weight);
    return true;
}

/* ---------------------------------------------------------------------------------- numbers */

const char *sdi_prompt_number(const char *s, double *out) {
    double sign = *s == '-' ? -1 : 1, value = 0, scale = 1;
    int points = 0, digits = 0;
    if (*s == '+' || *s == '-')
        s++;
    for (; *s == '.' || (*s >= '0' && *s <= '9'); s++) {
        if (*s == '.') {
            points++;
            continue;
        }
        digits++;
        if (points && scale < 1e15) { /* what a double holds exactly, and divides right */
            value = value * 10 + (*s - '0');
            scale *= 10;
        } else if (!points && value < 1e15) {
            value = value * 10 + (*s - '0');
        }
    }
    *out = sign * value / scale;
    return points <= 1 && digits > 0 ? s : NULL;
}

/* ":1.3)" at s: where it ends; else NULL. */
static const char *match_weight(const char *s, double *weight) {
    for (s++; sdi_is_space(*s);)
        s++;
    s = sdi_prompt_number(s, weight);
    while (s && sdi_is_space(*s))
        s++;
    return s && *s == ')' ? s + 1 : NULL;
}

/* ------------------------------------------------------------------------------------ words */

/* The code point that begins at s, or -1 where there is no whole one. */
static int32_t code_point(const char *s, size_t n) {
    const unsigned char *u = (const unsigned char *)s;
    size_t size = n == 0 ? 0 : u[0] < 0x80 ? 1 : u[0] < 0xE0 ? 2 : u[0] < 0xF0 ? 3 : 4;
    if (size == 0 || size > n)
        return -1;
    int32_t c = size == 1 ? u[0] : u[0] & (0x7F >> size);
    for (size_t i = 1; i < size; i++)
        c = c * 64 + (u[i] & 0x3F);
    return c;
}

static bool is_word(int32_t c) {
    if (c < 0 || c > 0x10FFFF)
        return false;
    sd_char_class class = sdi_char_classify(c);
    return c == '_' || class == SD_CHAR_LETTER || class == SD_CHAR_NUMBER;
}

/* Whether the character that ends before text[i] is part of a word. */
static bool word_before(const char *text, size_t i) {
    size_t start = i;
    while (start > 0 && i - start < 4) {
        start--;
        if (((unsigned char)text[start] & 0xC0) != 0x80)
            break;
    }
    return is_word(code_point(text + start, i - start));
}

size_t sdi_prompt_find_word(const char *text, size_t from, size_t n, const char *word) {
    size_t size = strlen(word);
    for (size_t i = from; i + size <= n; i++)
        if (text[i] == *word && !memcmp(text + i, word, size) && !word_before(text, i) &&
            !is_word(code_point(text + i + size, n - i - size)))
            return i;
    return n;
}

/* Plain text, with the breaks in it and the white space around them. */
static void add_text(parser *p, const char *text, size_t n) {
    for (size_t i = 0;;) {
        size_t at = sdi_prompt_find_word(text, i, n, "BREAK"), end = at;
        if (at < n)
            while (end > i && sdi_is_space(text[end - 1]))
                end--;
        add_span(p, false, text + i, end - i);
        if (at == n)
            return;
        add_span(p, true, "", 0);
        for (i = at + 5; i < n && sdi_is_space(text[i]);)
            i++;
    }
}

/* ----------------------------------------------------------------------------------- parsing */

/* One piece of the prompt at s; where the next begins. */
static const char *parse_piece(parser *p, const char *s) {
    double weight;
    size_t n = strcspn(s, "\\()[]:");
    if (n) {
        add_text(p, s, n);
        return s + n;
    }
    const char *end = *s == ':' ? match_weight(s, &weight) : NULL;
    if (end) {
        if (!close_bracket(p, &p->round, weight))
            add_text(p, s, (size_t)(end - s));
        return end;
    }
    if (*s == '\\') { /* a backslash before anything else vanishes */
        size_t escaped = s[1] && strchr("()[]\\", s[1]) ? 1 : 0;
        add_span(p, false, s + 1, escaped);
        return s + 1 + escaped;
    }
    bool done = (*s == '(' && open_bracket(p, &p->round)) ||
                (*s == '[' && open_bracket(p, &p->square)) ||
                (*s == ')' && close_bracket(p, &p->round, round_weight)) ||
                (*s == ']' && close_bracket(p, &p->square, square_weight));
    if (!done)
        add_text(p, s, 1);
    return s + 1;
}

/* The parts: neighbours of one weight together, each text with a 0 byte after it. */
static sd_status finish(parser *p, sd_prompt *out) {
    size_t n = 0, to = 0;
    out->parts = sdi_alloc_array(p->ctx, p->n_spans, sizeof *out->parts);
    out->text = sdi_alloc(p->ctx, p->n_text + p->n_spans);
    if (!out->parts || !out->text)
        return SD_ERROR_MEMORY;
    for (size_t i = 0; i < p->n_spans; i++) {
        const span *s = &p->spans[i];
        size_t end = i + 1 < p->n_spans ? p->spans[i + 1].start : p->n_text;
        sd_prompt_part *last = n ? &out->parts[n - 1] : NULL;
        if (last && !last->is_break && !s->is_break && last->weight == s->weight)
            to--;
        else
            out->parts[n++] =
                (sd_prompt_part){out->text + to, s->is_break ? 1.0 : s->weight, s->is_break};
        memcpy(out->text + to, p->text + s->start, end - s->start);
        to += end - s->start;
        out->text[to++] = 0;
    }
    out->n = n;
    return SD_OK;
}

sd_status sdi_prompt_parse(const sd_context *ctx, const char *text, sd_prompt *out) {
    *out = (sd_prompt){0};
    parser *p = sdi_zalloc(ctx, sizeof *p);
    if (!p)
        return SD_ERROR_MEMORY;
    p->ctx = ctx;
    p->text = sdi_alloc(ctx, strlen(text) + 1);
    p->status = p->text ? SD_OK : SD_ERROR_MEMORY;
    while (*text && !p->status)
        text = parse_piece(p, text);
    while (close_bracket(p, &p->round, round_weight))
        continue;
    while (close_bracket(p, &p->square, square_weight))
        continue;
    if (p->n_spans == 0)
        add_span(p, false, "", 0);
    sd_status status = p->status ? p->status : finish(p, out);
    if (status)
        sdi_prompt_free(ctx, out);
    sdi_free(ctx, p->spans);
    sdi_free(ctx, p->text);
    sdi_free(ctx, p);
    return status;
}

void sdi_prompt_free(const sd_context *ctx, sd_prompt *prompt) {
    sdi_free(ctx, prompt->parts);
    sdi_free(ctx, prompt->text);
    *prompt = (sd_prompt){0};
}
