/* Finds the words in a prompt that nothing here acts on. */
#include "text/odd_words.h"

#include <stdio.h>
#include <string.h>

#define MAX_DEPTH 64 /* deeper brackets are not looked at */
#define MAX_SHOWN 40 /* bytes of one */
#define NONE SIZE_MAX

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* Whether a word has such bytes, those of other letters included. */
static bool is_word(char c) {
    return is_letter(c) || (c >= '0' && c <= '9') || c == '_' || (c & 0x80);
}

/* Whether it is there already. */
static bool shows(const char *shown, const char *quoted) {
    const char *at = strstr(shown, quoted);
    return at && (at == shown || at[-1] == ' ');
}

static void add(sd_odd_words *odd, sd_odd_kind kind, const char *text, size_t n) {
    char quoted[MAX_SHOWN + 8];
    char *shown = odd->shown[kind];
    size_t used = strlen(shown), cut = n;
    if (n > MAX_SHOWN)
        for (cut = MAX_SHOWN - 3; cut > 0 && ((unsigned char)text[cut] & 0xC0) == 0x80;)
            cut--;
    snprintf(quoted, sizeof quoted, "\"%.*s%s\"", (int)cut, text, cut < n ? "..." : "");
    for (char *p = quoted; *p; p++)
        *p = *p == '\n' || *p == '\r' || *p == '\t' ? ' ' : *p;
    if (shows(shown, quoted))
        return;
    if (used + 2 + strlen(quoted) < sizeof odd->shown[kind])
        snprintf(shown + used, sizeof odd->shown[kind] - used, "%s%s", used ? ", " : "", quoted);
    else
        odd->more[kind]++;
}

/* ------------------------------------------------------------------------------- networks */

/* "<lora:name:0.8>" at s: its length, or 0. */
static size_t network(const char *s) {
    static const char *const names[] = {"lora", "lyco", "lycoris",  "locon",     "loha",
                                        "lokr", "dora", "hypernet", "embedding", "hypernetwork"};
    size_t n = 1;
    while (is_word(s[n]))
        n++;
    size_t length = s[n] == ':' ? strcspn(s + n, "<>\n") : 0;
    if (length < 2 || s[n + length] != '>')
        return 0;
    for (size_t i = 0; i < SD_COUNT(names); i++) {
        size_t k = 0;
        while (names[i][k] && k + 1 < n && (s[k + 1] | 0x20) == names[i][k])
            k++;
        if (!names[i][k] && k + 1 == n)
            return n + length + 1;
    }
    return 0;
}

/* ------------------------------------------------------------------------------- brackets */

typedef struct bracket {
    size_t start, colon; /* the last colon in it, or NONE */
    char kind;           /* that closes it */
    bool bar;
} bracket;

/* [+-]?[.0-9]+%? with white space around. */
static bool is_number(const char *s, size_t n) {
    size_t digits = 0;
    while (n && (*s == ' ' || *s == '\n' || *s == '\t'))
        s++, n--;
    while (n && (s[n - 1] == ' ' || s[n - 1] == '\n' || s[n - 1] == '\t'))
        n--;
    if (n && s[n - 1] == '%')
        n--;
    for (size_t i = n && (*s == '+' || *s == '-'); i < n; i++) {
        if (*(s + i) != '.' && (s[i] < '0' || s[i] > '9'))
            return false;
        digits += s[i] != '.';
    }
    return digits > 0;
}

/* A whole bracket, text[b->start .. end]. */
static void close_bracket(sd_odd_words *odd, const char *text, const bracket *b, size_t end) {
    size_t n = end + 1 - b->start;
    bool number = b->colon != NONE && is_number(text + b->colon + 1, end - b->colon - 1);
    if ((b->kind == ']' && b->bar) || number)
        add(odd, SD_ODD_WEIGHTED, text + b->start, n);
}

static void find_brackets(sd_odd_words *odd, const char *text) {
    bracket open[MAX_DEPTH];
    size_t depth = 0;
    for (size_t i = 0; text[i]; i++) {
        char c = text[i];
        if (c == '\\' && text[i + 1]) {
            i++;
        } else if ((c == '[' || c == '(') && depth < MAX_DEPTH) {
            open[depth++] = (bracket){i, NONE, c == '[' ? ']' : ')', false};
        } else if (c == ']' || c == ')') {
            size_t k = depth;
            while (k > 0 && open[k - 1].kind != c)
                k--;
            if (k > 0)
                close_bracket(odd, text, &open[k - 1], i);
            depth = k > 0 ? k - 1 : depth;
        } else if (depth && c == '|') {
            open[depth - 1].bar = true;
        } else if (depth && c == ':') {
            open[depth - 1].colon = i;
        }
    }
}

/* ------------------------------------------------------------------------------------- words */

static bool has_small_letters(const char *text) {
    for (; *text; text++)
        if (*text >= 'a' && *text <= 'z')
            return true;
    return false;
}

static void find_words(sd_odd_words *odd, const char *text) {
    if (!has_small_letters(text)) /* all of it is in capitals */
        return;
    for (size_t i = 0; text[i];) {
        size_t n = 0;
        while (is_word(text[i + n]))
            n++;
        if ((n == 3 && !memcmp(text + i, "AND", 3)) || (n == 5 && !memcmp(text + i, "BREAK", 5)))
            add(odd, SD_ODD_WEIGHTED, text + i, n);
        i += n ? n : 1;
    }
}

void sdi_odd_words_find(sd_odd_words *odd, const char *text, bool weighted) {
    for (const char *p = strchr(text, '<'); p; p = strchr(p + 1, '<')) {
        size_t n = network(p);
        if (n)
            add(odd, SD_ODD_NETWORK, p, n);
    }
    if (weighted)
        return;
    find_brackets(odd, text);
    find_words(odd, text);
}

void sdi_odd_words_log(const sd_odd_words *odd, const sd_context *ctx) {
    static const char *const reasons[SD_ODD_KINDS] = {
        "no LoRA or other network is loaded by a prompt",
        "the weighted syntax is off: sd_text_params.weighted, --weighted",
    };
    char line[640] = "";
    for (int i = 0; i < SD_ODD_KINDS; i++) {
        size_t used = strlen(line);
        char more[24] = "";
        if (odd->more[i])
            snprintf(more, sizeof more, " and %d more", odd->more[i]);
        if (*odd->shown[i])
            snprintf(line + used, sizeof line - used, "%s%s%s (%s)", used ? "; " : "",
                     odd->shown[i], more, reasons[i]);
    }
    if (*line)
        sdi_log(ctx, SD_LOG_LEVEL_WARN, "of a prompt, read as plain words: %s", line);
}
