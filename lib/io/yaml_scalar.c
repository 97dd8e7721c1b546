/* Scalars as OmegaConf's loader has them: PyYAML's of YAML 1.1, but 1e-6 is a number without a
 * point. omegaconf/_utils.py, yaml/resolver.py */
#include "core/json.h"
#include "io/yaml.h"
#include "io/yaml_internal.h"

#include <stdio.h>
#include <string.h>

#define MAX_NUMBER 48 /* characters */

typedef struct word {
    const char *text;
    enum { WORD_NULL, WORD_TRUE, WORD_FALSE } value;
} word;

static const word words[] = {
    {"", WORD_NULL},       {"~", WORD_NULL},    {"null", WORD_NULL},   {"Null", WORD_NULL},
    {"NULL", WORD_NULL},   {"true", WORD_TRUE}, {"True", WORD_TRUE},   {"TRUE", WORD_TRUE},
    {"yes", WORD_TRUE},    {"Yes", WORD_TRUE},  {"YES", WORD_TRUE},    {"on", WORD_TRUE},
    {"On", WORD_TRUE},     {"ON", WORD_TRUE},   {"false", WORD_FALSE}, {"False", WORD_FALSE},
    {"FALSE", WORD_FALSE}, {"no", WORD_FALSE},  {"No", WORD_FALSE},    {"NO", WORD_FALSE},
    {"off", WORD_FALSE},   {"Off", WORD_FALSE}, {"OFF", WORD_FALSE},
};

/* Drops the underscores that may stand between digits; false: too long for a number of ours. */
static bool without_underscores(const char *text, char out[MAX_NUMBER + 1]) {
    size_t n = 0;
    for (; *text; text++) {
        if (*text == '_')
            continue;
        if (n == MAX_NUMBER)
            return false;
        out[n++] = *text;
    }
    out[n] = 0;
    return true;
}

static int digit_of(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : 99;
}

/* value * base + digit; false: not in 63 bits. */
static bool shift_in(int64_t *value, int base, int digit) {
    if (digit >= base || *value > (INT64_MAX - digit) / base)
        return false;
    *value = *value * base + digit;
    return true;
}

/* Digits of a base; false: others, none or too many. */
static bool read_digits(const char *text, int base, int64_t *value) {
    *value = 0;
    bool ok = *text != 0;
    for (; ok && *text; text++)
        ok = shift_in(value, base, digit_of(*text));
    return ok;
}

/* 190:20:30, in base 60. */
static bool read_sexagesimal(const char *text, int64_t *value) {
    *value = 0;
    for (bool first = true; *text; first = false) {
        int64_t part;
        char digits[MAX_NUMBER + 1];
        size_t n = strcspn(text, ":");
        snprintf(digits, sizeof digits, "%.*s", (int)n, text);
        if (!read_digits(digits, 10, &part) || (!first && (n > 2 || part > 59)) ||
            !shift_in(value, 60, 0) || part > INT64_MAX - *value)
            return false;
        *value += part;
        text += n + (text[n] == ':');
    }
    return true;
}

/* PyYAML's integers: 0b101, 017, 0x1F, 1_000, 1:30; text without its underscores. */
static bool read_integer(const char *text, int64_t *value) {
    bool negative = *text == '-', ok;
    if (*text == '-' || *text == '+')
        text++;
    if (text[0] == '0' && text[1] == 'b')
        ok = read_digits(text + 2, 2, value);
    else if (text[0] == '0' && text[1] == 'x')
        ok = read_digits(text + 2, 16, value);
    else if (text[0] == '0')
        ok = read_digits(text, 8, value); /* also 0 itself */
    else if (strchr(text, ':'))
        ok = text[strlen(text) - 1] != ':' && read_sexagesimal(text, value);
    else
        ok = read_digits(text, 10, value);
    if (ok && negative)
        *value = -*value;
    return ok;
}

static size_t skip_digits(const char **text) {
    size_t n = strspn(*text, "0123456789");
    *text += n;
    return n;
}

/* A float in JSON's grammar, which wants digits on both sides of the point and no plus. Without
 * digits before the point OmegaConf's pattern has no sign, and one in an exponent. */
static bool to_json_float(const char *text, char out[MAX_NUMBER + 8]) {
    const char *sign = *text == '-' ? "-" : "", *start = text;
    if (*text == '-' || *text == '+')
        text++;
    while (*text == '0' && text[1] >= '0' && text[1] <= '9')
        text++;
    const char *whole = text, *fraction = "", *exponent = "";
    size_t n_whole = skip_digits(&text), n_fraction = 0;
    bool point = *text == '.';
    if (point) {
        fraction = ++text;
        n_fraction = skip_digits(&text);
    }
    if (n_whole + n_fraction == 0 || (n_whole == 0 && *start != '.'))
        return false;
    if (*text == 'e' || *text == 'E') {
        exponent = text++;
        if (*text == '-' || *text == '+')
            text++;
        else if (n_whole == 0)
            return false;
        if (skip_digits(&text) == 0)
            return false;
    }
    if (*text || (!point && !*exponent))
        return false;
    snprintf(out, MAX_NUMBER + 8, "%s%.*s.%.*s%s", sign, n_whole ? (int)n_whole : 1,
             n_whole ? whole : "0", n_fraction ? (int)n_fraction : 1, n_fraction ? fraction : "0",
             exponent);
    return true;
}

json_t *sdi_yaml_number(const char *text) {
    char digits[MAX_NUMBER + 1], number[MAX_NUMBER + 8];
    int64_t value;
    if (*text == '_' || !without_underscores(text, digits))
        return NULL;
    if (read_integer(digits, &value))
        return json_integer(value);
    /* NULL where it is out of range, and then it is text */
    return to_json_float(digits, number)
               ? sdi_json_load(number, strlen(number), JSON_DECODE_ANY, NULL)
               : NULL;
}

json_t *sdi_yaml_plain(const char *text) {
    for (size_t i = 0; i < SD_COUNT(words); i++)
        if (strcmp(words[i].text, text) == 0)
            return words[i].value == WORD_NULL ? json_null()
                                               : json_boolean(words[i].value == WORD_TRUE);
    json_t *number = sdi_yaml_number(text);
    return number ? number : json_string(text);
}
