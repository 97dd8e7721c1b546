/* The one place where text is formatted: decimals have a point under every locale of the host. */
#include "core/context.h"
#include "core/os.h"

#include <stdio.h>

int sdi_vprint(char *text, size_t size, const char *format, va_list args) {
    void *before = sdi_c_locale_begin();
    int n = vsnprintf(text, size, format, args);
    sdi_c_locale_end(before);
    return n;
}

int sdi_print(char *text, size_t size, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int n = sdi_vprint(text, size, format, args);
    va_end(args);
    return n;
}
