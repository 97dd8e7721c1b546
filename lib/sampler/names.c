/*
 * Names of samplers: A1111's labels and aliases (modules/sd_samplers_kdiffusion.py), ComfyUI's, and
 * by describe/scheduler.c diffusers' classes. A name is a method's, and a spacing's may follow.
 */
#include "sampler/names.h"
#include "describe/config.h"
#include "sampler/sampler.h"

#include <stdio.h>
#include <string.h>

/* Beside a method's own name and label; plain, as plain_name leaves them. */
static const struct method_names {
    const char *method, *label, *others;
} methods[] = {
    {"ddim", "DDIM", ""},
    {"plms", "PLMS", ""},
    {"ddpm", "DDPM", ""},
    {"ddim_inverse", "DDIM inverse", ""},
    {"euler", "Euler", ""},
    {"euler_a", "Euler a", "eulerancestral"},
    {"heun", "Heun", ""},
    {"dpm2", "DPM2", ""},
    {"lms", "LMS", ""},
    {"dpmpp_2m", "DPM++ 2M", ""},
    {"dpmpp_2m_sde", "DPM++ 2M SDE", "dpmpp2msdegpu"},
    {"unipc", "UniPC", "unipcbh2"},
    {"lcm", "LCM", ""},
    {"dpm_solver", "DPM-Solver", ""},
    {"dpm2_a", "DPM2 a", "dpm2ancestral"},
    {"dpmpp_2s", "DPM++ 2S", ""},
    {"dpmpp_2s_a", "DPM++ 2S a", "dpmpp2sancestral"},
    {"dpmpp_sde", "DPM++ SDE", "dpmppsdegpu dpmsolversde"},
    {"dpmpp_3m_sde", "DPM++ 3M SDE", "dpmpp3msdegpu"},
    {"deis", "DEIS", ""},
    {"tcd", "TCD", ""},
};

/* Beside a spacing's own name, and before it: "uniform" is another in A1111 than in libsd. */
static const struct spacing_names {
    sd_timestep_spacing spacing;
    const char *others;
} spacings[] = {
    {SD_SPACING_AUTO, "automatic"},    {SD_SPACING_NORMAL, "uniform"},
    {SD_SPACING_KARRAS, "k ka"},       {SD_SPACING_EXPONENTIAL, "exp polyexponential"},
    {SD_SPACING_DDIM_UNIFORM, "ddim"}, {SD_SPACING_AYS, "alignyoursteps"},
};

#define NAME_SIZE 96
typedef struct plain {
    char text[NAME_SIZE];
} plain;

/* Lower case, "+" as "p", letters and digits alone, without "scheduler". "" where it is too long.
 */
static plain plain_name(const char *name) {
    static const char suffix[] = "scheduler";
    plain out = {""};
    size_t n = 0;
    for (; *name && n + 1 < NAME_SIZE; name++) {
        char c = *name >= 'A' && *name <= 'Z' ? (char)(*name - 'A' + 'a') : *name;
        if (c == '+')
            c = 'p';
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
            out.text[n++] = c;
    }
    out.text[*name ? 0 : n] = 0;
    char *found = strstr(out.text, suffix);
    if (found)
        memmove(found, found + sizeof suffix - 1, strlen(found + sizeof suffix - 1) + 1);
    return out;
}

/* Whether `text` is one of the words of `list`. */
static bool has_word(const char *list, const char *text) {
    size_t n = strlen(text);
    for (const char *at = list; n && (at = strstr(at, text)); at += n)
        if ((at == list || at[-1] == ' ') && (at[n] == ' ' || !at[n]))
            return true;
    return false;
}

static bool find_spacing(const char *text, sd_timestep_spacing *spacing) {
    *spacing = SD_SPACING_AUTO;
    if (!*text)
        return true;
    for (size_t i = 0; i < SD_COUNT(spacings); i++)
        if (has_word(spacings[i].others, text)) {
            *spacing = spacings[i].spacing;
            return true;
        }
    for (int i = 0; sdi_spacing_name(i); i++)
        if (!strcmp(plain_name(sdi_spacing_name(i)).text, text)) {
            *spacing = i;
            return true;
        }
    return false;
}

static const char *find_method(const char *text) {
    const char *class_name, *method;
    for (size_t i = 0; i < SD_COUNT(methods); i++)
        if (!strcmp(plain_name(methods[i].method).text, text) ||
            !strcmp(plain_name(methods[i].label).text, text) || has_word(methods[i].others, text))
            return methods[i].method;
    for (int i = 0; sdi_scheduler_class(i, &class_name, &method); i++)
        if (method && !strcmp(plain_name(class_name).text, text))
            return method;
    return NULL;
}

/* The longest method that `text` begins with, where the rest is a spacing. */
static const char *parse(const char *text, sd_timestep_spacing *spacing) {
    plain head = {""};
    for (size_t n = strlen(text); n > 0; n--) {
        memcpy(head.text, text, n);
        head.text[n] = 0;
        const char *method = find_spacing(text + n, spacing) ? find_method(head.text) : NULL;
        if (method)
            return method;
    }
    return NULL;
}

const char *sdi_method_label(int i) {
    const sd_method *method = sdi_method_at(i);
    for (size_t k = 0; method && k < SD_COUNT(methods); k++)
        if (!strcmp(methods[k].method, method->name))
            return methods[k].label;
    return NULL;
}

/* ------------------------------------------------------------------------------- near names */

/* Levenshtein's. */
static int distance(const char *a, const char *b) {
    int row[NAME_SIZE + 1];
    int n = (int)strlen(b);
    for (int j = 0; j <= n; j++)
        row[j] = j;
    for (int i = 0; a[i]; i++) {
        int diagonal = row[0];
        row[0] = i + 1;
        for (int j = 0; j < n; j++) {
            int change = diagonal + (a[i] != b[j]);
            int gap = (row[j] < row[j + 1] ? row[j] : row[j + 1]) + 1;
            diagonal = row[j + 1];
            row[j + 1] = change < gap ? change : gap;
        }
    }
    return row[n];
}

/* `text` without the longest spacing at its end. */
static plain without_spacing(plain text) {
    sd_timestep_spacing spacing;
    for (size_t i = 1; text.text[0] && text.text[i]; i++)
        if (find_spacing(text.text + i, &spacing)) {
            text.text[i] = 0;
            break;
        }
    return text;
}

static int distance_to(const struct method_names *names, const char *text) {
    int own = distance(plain_name(names->method).text, text);
    int label = distance(plain_name(names->label).text, text);
    return own < label ? own : label;
}

#define N_NEAR 3

/* The nearest methods, nearest first. */
static void find_near(const char *text, const struct method_names *near[N_NEAR]) {
    bool taken[SD_COUNT(methods)] = {false};
    for (int n = 0; n < N_NEAR; n++) {
        size_t best = 0;
        int least = 2 * NAME_SIZE;
        for (size_t i = 0; i < SD_COUNT(methods); i++) {
            int d = taken[i] ? 2 * NAME_SIZE : distance_to(&methods[i], text);
            best = d < least ? i : best;
            least = d < least ? d : least;
        }
        taken[best] = true;
        near[n] = &methods[best];
    }
}

sd_status sdi_sampler_find(const sd_context *ctx, const char *name, const char **method,
                           sd_timestep_spacing *spacing) {
    plain text = plain_name(name);
    const struct method_names *near[N_NEAR];
    const char *found = parse(text.text, spacing);
    if (!found && text.text[0] == 'k') /* "k_euler_a" */
        found = parse(text.text + 1, spacing);
    *method = found;
    if (found)
        return SD_OK;
    find_near(without_spacing(text).text, near);
    return sdi_fail(
        ctx, SD_ERROR_ARGUMENT,
        "there is no sampling method \"%.80s\"; near it are \"%s\" (%s), \"%s\" (%s) and "
        "\"%s\" (%s), and sd_sampler_method lists all",
        name, near[0]->label, near[0]->method, near[1]->label, near[1]->method, near[2]->label,
        near[2]->method);
}
