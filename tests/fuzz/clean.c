/* The cleaning of prompts: any bytes become UTF-8 without white space but for single spaces. */
#include "fuzz.h"

#include "text/clean.h"

#include <string.h>

#define MAX_TEXT 16384

static bool is_text(const char *s) {
    size_t n = strlen(s);
    for (size_t i = 0; i < n;) {
        size_t start = i;
        int32_t c = sdi_utf8_get((const uint8_t *)s, n, &i);
        if ((c == 0xFFFD && i - start != 3) || c == '\t' || c == '\n' || c == '\r' ||
            (c == ' ' && (start == 0 || i == n || s[i] == ' ')))
            return false;
    }
    return true;
}

sd_status fuzz_clean(const uint8_t *data, size_t size) {
    char text[MAX_TEXT + 1], *out;
    size = size < MAX_TEXT ? size : MAX_TEXT;
    memcpy(text, data, size);
    text[size] = 0;
    sd_status status = sdi_text_clean(fuzz_ctx, text, &out);
    FUZZ_REQUIRE(status || is_text(out));
    FUZZ_REQUIRE(!status || !out);
    sdi_free(fuzz_ctx, out);
    return status;
}
