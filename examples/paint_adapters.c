/* Models of the programs that paint, as words and adapters change them. */
#include "paint_adapters.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static bool is_there(const char *path) {
    return access(path, F_OK) == 0;
}

/* The sign of "NAME=FILE", or NULL: it may be a part of a path, "lr=5e-3/boat.pt", or of NAME. */
static const char *name_end(const char *text) {
    const char *first = strchr(text, '=');
    if (!first || is_there(text))
        return NULL;
    for (const char *sign = first; sign; sign = strchr(sign + 1, '='))
        if (is_there(sign + 1))
            return sign;
    return memchr(text, '/', (size_t)(first - text)) ? NULL : first;
}

/* --embedding: files and, where "NAME=FILE" is given, their words, which are allocated. Returns the
 * number; -1 after saying that there is no memory. */
static int read_embeddings(const char *program, const cli_list *list, sd_adapter_use *uses,
                           char **words) {
    for (int i = 0; i < list->n; i++) {
        const char *text = list->items[i], *sign = name_end(text);
        uses[i] = (sd_adapter_use)SD_ADAPTER_USE_INIT;
        uses[i].path = sign ? sign + 1 : text;
        if (!sign)
            continue;
        size_t length = (size_t)(sign - text);
        words[i] = calloc(length + 1, 1);
        if (!words[i]) {
            fprintf(stderr, "%s: out of memory\n", program);
            return -1;
        }
        memcpy(words[i], text, length);
        uses[i].word = words[i];
    }
    return list->n;
}

sd_status paint_load_model(paint *p, sd_model_params *model, const lora_list *loras) {
    const paint_options *o = p->options;
    sd_adapter_use uses[CLI_LIST_MAX];
    const sd_adapter_use *adapters[2 * CLI_LIST_MAX];
    char *words[CLI_LIST_MAX] = {NULL};
    int n = read_embeddings(p->program, &o->embeddings, uses, words);
    sd_status status = SD_ERROR_MEMORY;
    for (int i = 0; i < n; i++)
        adapters[i] = &uses[i];
    for (int i = 0; i < loras->n && n >= 0; i++)
        adapters[n++] = &loras->uses[i];
    model->adapters = adapters;
    model->n_adapters = n;
    if (n >= 0) {
        cli_progress_begin(&p->progress, "loading");
        status = sd_model_load(p->ctx, p->ckpt, model, &p->model);
        cli_progress_end(&p->progress);
    }
    for (int i = 0; i < o->embeddings.n; i++)
        free(words[i]);
    return status;
}

/* n prompts without their tags, which all have the same; the caller frees them, and the tags. False
 * with a sentence printed. */
static bool take_tags(const paint *p, const char *const *prompts, int n, char **plain,
                      lora_list *tags) {
    bool ok = true;
    for (int i = 0; i < n && ok; i++) {
        lora_list own = {.n = 0};
        plain[i] = lora_take(i ? &own : tags, p->program, prompts[i], p->options->lora_dir);
        ok = plain[i] && (i == 0 || !*prompts[i] || lora_same(&own, tags));
        if (plain[i] && !ok)
            fprintf(stderr, "%s: prompts that are painted at once have other adapters: \"%s\"\n",
                    p->program, prompts[i]);
        lora_free(&own);
    }
    return ok;
}

static void free_plain(char **plain, int n) {
    for (int i = 0; i < n; i++)
        free(plain[i]);
    free(plain);
}

int paint_check_tags(const paint *p) {
    const paint_options *o = p->options;
    int at_once = p->lines ? p->lines_at_once : 1, all = p->lines ? p->n_lines : 1;
    char **plain = calloc((size_t)at_once, sizeof *plain);
    bool ok = plain != NULL;
    for (int i = 0; i < all && ok; i += at_once) {
        lora_list tags = {.n = 0};
        const char *const *prompts = p->lines ? p->prompts + i : &o->prompt;
        ok = take_tags(p, prompts, at_once, plain, &tags);
        for (int k = 0; k < at_once; k++) {
            free(plain[k]);
            plain[k] = NULL;
        }
        lora_free(&tags);
    }
    free(plain);
    return ok ? 0 : 2;
}

/* The model as tags change it: that of the round before, where it has the same. Takes the tags. */
static sd_status adapt(paint *p, lora_list *tags) {
    const sd_adapter_use *uses[CLI_LIST_MAX];
    bool same = p->adapted && lora_same(tags, &p->tags);
    for (int i = 0; i < tags->n; i++)
        uses[i] = &tags->uses[i];
    if (same) {
        lora_free(tags);
        return SD_OK;
    }
    sd_model_free(p->adapted);
    p->adapted = NULL;
    lora_free(&p->tags);
    p->tags = *tags;
    return tags->n ? sd_model_adapt(p->model, uses, tags->n, &p->adapted) : SD_OK;
}

sd_status paint_generate(paint *p, const paint_round *round, sd_generate_params *params,
                         sd_image **images) {
    int n = round->prompts ? round->sampling.batch : 1;
    const char *const *prompts = round->prompts ? round->prompts : &round->prompt;
    lora_list tags = {.n = 0};
    char **plain = p->options->lora_dir ? calloc((size_t)n, sizeof *plain) : NULL;
    sd_status status = SD_OK;
    if (p->options->lora_dir) {
        bool ok = plain && take_tags(p, prompts, n, plain, &tags);
        status = ok ? adapt(p, &tags) : SD_ERROR_MEMORY; /* all else was checked before */
        params->prompt = ok ? plain[0] : NULL;
        params->prompts = ok && round->prompts ? (const char *const *)plain : NULL;
    }
    if (!status)
        status =
            sd_generate(p->adapted ? p->adapted : p->model, params, images, round->sampling.batch);
    if (plain)
        free_plain(plain, n);
    return status;
}
