/* Guards jansson against depth, the host's locale and forks. */
#include "core/json.h"

#include "core/os.h"

#include <stdio.h>
#include <string.h>

#define MAX_DEPTH 64

static bool is_too_deep(const char *text, size_t size) {
    bool quoted = false;
    int depth = 0;
    for (size_t i = 0; i < size && depth <= MAX_DEPTH; i++) {
        if (quoted && text[i] == '\\')
            i++;
        else if (text[i] == '"')
            quoted = !quoted;
        else if (!quoted && (text[i] == '[' || text[i] == '{'))
            depth++;
        else if (!quoted && (text[i] == ']' || text[i] == '}'))
            depth--;
    }
    return depth > MAX_DEPTH;
}

json_t *sdi_json_load(const void *bytes, size_t size, size_t flags, json_error_t *error) {
    if (is_too_deep(bytes, size)) {
        if (error) {
            *error = (json_error_t){.line = 1, .column = 1};
            snprintf(error->text, sizeof error->text, "a depth of more than %d levels", MAX_DEPTH);
        }
        return NULL;
    }
    void *before = sdi_c_locale_begin();
    json_t *value = json_loadb(bytes, size, flags, error);
    sdi_c_locale_end(before);
    return value;
}

void sdi_json_settle(void) {
    json_object_seed(0); /* 0: of jansson's choice; nothing where it has one */
}
