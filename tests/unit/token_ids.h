/* The ids that transformers' CLIPTokenizer gives: files of tests/tools/make_tokenizer_fixtures.py.
 */
#ifndef SD_TESTS_TOKEN_IDS_H
#define SD_TESTS_TOKEN_IDS_H

#include "core/os.h"
#include "text/tokenizer.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOKENS 77

/* Undoes the escapes of the fixture in place. */
static void unescape(char *s) {
    char *out = s;
    while (*s) {
        if (*s != '\\') {
            *out++ = *s++;
            continue;
        }
        char kind = s[1];
        s += 2;
        if (kind == 'x') {
            char hex[3] = {s[0], s[1], 0};
            *out++ = (char)strtol(hex, NULL, 16);
            s += 2;
        } else if (kind == 'u') {
            long c = strtol(s + 1, &s, 16);
            s++;
            if (c < 0x80) {
                *out++ = (char)c;
            } else if (c < 0x800) {
                *out++ = (char)(0xC0 | c >> 6);
                *out++ = (char)(0x80 | (c & 63));
            } else if (c < 0x10000) {
                *out++ = (char)(0xE0 | c >> 12);
                *out++ = (char)(0x80 | (c >> 6 & 63));
                *out++ = (char)(0x80 | (c & 63));
            } else {
                *out++ = (char)(0xF0 | c >> 18);
                *out++ = (char)(0x80 | (c >> 12 & 63));
                *out++ = (char)(0x80 | (c >> 6 & 63));
                *out++ = (char)(0x80 | (c & 63));
            }
        } else {
            *out++ = kind == 'n' ? '\n' : kind;
        }
    }
    *out = '\0';
}

/* Whether `text` has the ids at the beginning of `line`: their count, a tab, the ids. */
static bool same_text_ids(const sd_tokenizer *t, const char *line, const char *text, int32_t pad) {
    char *p;
    int32_t ids[TOKENS];
    int n_used = -1, n = (int)strtol(line, &p, 10), i = 0;
    ck_assert_int_eq(sdi_tokenizer_encode(t, text, pad, ids, TOKENS, &n_used), SD_OK);
    bool same = n_used == n;
    for (; i < TOKENS && i < n; i++) {
        long id = strtol(p, &p, 10);
        if (same && ids[i] != id) {
            printf("\"%.60s\": id %d is %d, expected %ld\n", text, i, (int)ids[i], id);
            same = false;
        }
    }
    for (; i < TOKENS; i++)
        same = same && ids[i] == pad;
    if (n_used != n)
        printf("\"%.60s\": %d ids, expected %d\n", text, n_used, n);
    return same;
}

/* The text is the last of the line. */
static inline bool same_ids(const sd_tokenizer *t, char *line, int32_t pad) {
    char *text = strrchr(line, '\t') + 1;
    unescape(text);
    return same_text_ids(t, line, text, pad);
}

static inline void check_ids(const sd_tokenizer *t, const char *path, int32_t pad, int at_least) {
    FILE *f = fopen(path, "rb");
    ck_assert_msg(f != NULL, "%s", path);
    int n = 0, n_same = 0;
    static char line[1 << 16];
    while (fgets(line, sizeof line, f)) {
        line[strcspn(line, "\n")] = '\0';
        n_same += same_ids(t, line, pad);
        n++;
    }
    fclose(f);
    printf("%s: %d of %d texts have the ids of CLIPTokenizer\n", strrchr(path, '/') + 1, n_same, n);
    ck_assert_int_ge(n, at_least);
    ck_assert_int_eq(n_same, n);
}

#endif
