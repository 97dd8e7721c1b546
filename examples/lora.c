/* Adapters on command lines and in prompts. */
#include "lora.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* The number that text[0 .. n) ends with behind a colon; *n becomes where the colon is. */
static bool last_number(const char *text, size_t *n, double *number) {
    char digits[32], *end;
    size_t colon = *n;
    while (colon > 0 && text[colon - 1] != ':')
        colon--;
    size_t length = *n - colon;
    if (colon == 0 || length == 0 || length >= sizeof digits)
        return false;
    memcpy(digits, text + colon, length);
    digits[length] = 0;
    *number = strtod(digits, &end);
    *n = colon - 1;
    return !*end && isfinite(*number);
}

/* NAME[:STRENGTH[:TEXT_STRENGTH]]: how long NAME is. */
static size_t strengths(const char *text, size_t n, sd_adapter_use *use) {
    double last, first;
    size_t at = n;
    if (!last_number(text, &at, &last))
        return n;
    n = at;
    use->unet_strength = use->text_strength = last;
    if (last_number(text, &at, &first)) {
        use->unet_strength = first;
        n = at;
    }
    return n;
}

static bool put(lora_list *list, const char *program, const char *path, sd_adapter_use use) {
    if (list->n == CLI_LIST_MAX) {
        fprintf(stderr, "%s: more than %d adapters are too many\n", program, CLI_LIST_MAX);
        return false;
    }
    use.path = strdup(path);
    if (!use.path) {
        fprintf(stderr, "%s: out of memory\n", program);
        return false;
    }
    list->uses[list->n++] = use;
    return true;
}

bool lora_add(lora_list *list, const char *program, const char *text) {
    sd_adapter_use use = SD_ADAPTER_USE_INIT;
    char path[CLI_PATH];
    size_t n = access(text, F_OK) ? strengths(text, strlen(text), &use) : strlen(text);
    if (n >= sizeof path) {
        fprintf(stderr, "%s: --lora: the path is too long\n", program);
        return false;
    }
    memcpy(path, text, n);
    path[n] = 0;
    return put(list, program, path, use);
}

/* A tag at s: its length, or 0; what is in it behind "lora:". */
static size_t tag_at(const char *s, const char **inner, size_t *n) {
    static const char *const kinds[] = {"<lora:", "<lyco:"};
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        size_t begin = strlen(kinds[i]), length = strcspn(s, ">\n");
        if (strncasecmp(s, kinds[i], begin) || s[length] != '>' || length <= begin)
            continue;
        *inner = s + begin;
        *n = length - begin;
        return length + 1;
    }
    return 0;
}

/* NAME in the folder, with whichever end it has. */
static bool find(char path[CLI_PATH], const char *dir, const char *name, size_t n) {
    static const char *const ends[] = {".safetensors", ".pt", ".bin", ".ckpt", ""};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        int used = snprintf(path, CLI_PATH, "%s/%.*s%s", dir, (int)n, name, ends[i]);
        if (used > 0 && used < CLI_PATH && access(path, F_OK) == 0)
            return true;
    }
    return false;
}

static bool add_tag(lora_list *list, const char *program, const char *dir, const char *inner,
                    size_t n) {
    sd_adapter_use use = SD_ADAPTER_USE_INIT;
    char path[CLI_PATH];
    n = strengths(inner, n, &use);
    if (find(path, dir, inner, n))
        return put(list, program, path, use);
    fprintf(stderr,
            "%s: <lora:%.*s>: --lora-dir %s has no %.*s.safetensors (or .pt, .bin, .ckpt)\n",
            program, (int)n, inner, dir, (int)n, inner);
    return false;
}

char *lora_take(lora_list *list, const char *program, const char *prompt, const char *dir) {
    char *plain = malloc(strlen(prompt) + 1), *to = plain;
    const char *inner;
    size_t n;
    if (!plain)
        fprintf(stderr, "%s: out of memory\n", program);
    while (plain && *prompt) {
        size_t length = tag_at(prompt, &inner, &n);
        if (!length) {
            *to++ = *prompt++;
            continue;
        }
        if (!add_tag(list, program, dir, inner, n)) {
            free(plain);
            return NULL;
        }
        prompt += length;
    }
    if (plain)
        *to = 0;
    return plain;
}

bool lora_same(const lora_list *a, const lora_list *b) {
    bool same = a->n == b->n;
    for (int i = 0; i < a->n && same; i++)
        same = !strcmp(a->uses[i].path, b->uses[i].path) &&
               a->uses[i].unet_strength == b->uses[i].unet_strength &&
               a->uses[i].text_strength == b->uses[i].text_strength;
    return same;
}

void lora_free(lora_list *list) {
    for (int i = 0; i < list->n; i++)
        free((char *)list->uses[i].path);
    list->n = 0;
}
