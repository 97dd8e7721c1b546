/* Writes and reads values of generation parameters. */
#include "parameters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *parameters_quote(const char *value) {
    char *text = malloc(6 * strlen(value) + 3), *at = text;
    if (!text)
        return NULL;
    if (!strpbrk(value, ",:\n\r") && *value != '"')
        return strcpy(text, value);
    *at++ = '"';
    for (; *value; value++) {
        static const char letters[] = "\"\\\b\f\n\r\t", escapes[] = "\"\\bfnrt";
        const char *found = strchr(letters, *value);
        if (found)
            at += sprintf(at, "\\%c", escapes[found - letters]);
        else if ((unsigned char)*value < ' ')
            at += sprintf(at, "\\u%04x", (unsigned char)*value);
        else
            *at++ = *value;
    }
    memcpy(at, "\"", 2);
    return text;
}

char *parameters_model(const char *path) {
    static const char *const extensions[] = {".safetensors", ".ckpt", ".pth", ".pt", ".bin"};
    size_t end = strlen(path), begin;
    while (end > 1 && path[end - 1] == '/')
        end--;
    for (begin = end; begin > 0 && path[begin - 1] != '/';)
        begin--;
    for (size_t i = 0; i < sizeof extensions / sizeof *extensions; i++) {
        size_t n = strlen(extensions[i]);
        if (end - begin > n && !strncmp(path + end - n, extensions[i], n)) {
            end -= n;
            break;
        }
    }
    char *name = calloc(end - begin + 1, 1), *quoted = NULL;
    if (name) {
        memcpy(name, path + begin, end - begin);
        quoted = parameters_quote(name);
    }
    free(name);
    return quoted;
}

void parameters_noise(const sd_sampler_params *sampling, int index, char *out, size_t size) {
    int n = 0;
    out[0] = 0;
    if (sampling->subseed_strength > 0)
        n = snprintf(out, size, ", Variation seed: %llu, Variation seed strength: %g",
                     (unsigned long long)(sampling->subseed + (uint64_t)index),
                     sampling->subseed_strength);
    if (sampling->eta_noise_seed_delta && n >= 0 && (size_t)n < size)
        snprintf(out + n, size - (size_t)n, ", ENSD: %lld",
                 (long long)sampling->eta_noise_seed_delta);
}

const char *parameters_sampler(const char *method) {
    for (int i = 0; sd_sampler_method(i); i++)
        if (!strcmp(method, sd_sampler_method(i)))
            return sd_sampler_label(i);
    return method;
}
