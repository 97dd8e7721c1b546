/*
 * The JSON files in which transformers keeps CLIP's tokenizer beside vocab.json and merges.txt:
 * tokenizer.json (all that transformers 5 writes, with tokenizer_config.json), and what says which
 * tokens were added and which one pads.
 */
#include "core/files.h"
#include "core/os.h"
#include "text/vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FILE (64u << 20)

/* "model_max_length" of tokenizer_config.json is 1e30 as a whole number where there is no limit. */
#define FLAGS JSON_DECODE_INT_AS_REAL

static sd_status wrong(const sd_tokenizer *t, const char *name, const char *what) {
    return sdi_fail(t->ctx, SD_ERROR_FORMAT, "%s: %s", name, what);
}

/* *out NULL: there is no such file. */
static sd_status parse_file(const sd_tokenizer *t, const char *path, json_t **out) {
    uint8_t *data;
    size_t n;
    *out = NULL;
    if (!sdi_is_file(path))
        return SD_OK;
    sd_status status = sdi_read_file(t->ctx, path, MAX_FILE, &data, &n);
    if (status)
        return status;
    status = sdi_vocab_parse(t, path, (const char *)data, n, FLAGS, out);
    sdi_free(t->ctx, data);
    return status;
}

/* --------------------------------------------------------------------------- added tokens */

static bool flag(const json_t *token, const char *key, bool fallback) {
    const json_t *v = json_object_get(token, key);
    return json_is_boolean(v) ? json_is_true(v) : fallback;
}

static bool is_id(double id) {
    return id >= 0 && id < SD_MAX_IDS && id == (double)(int32_t)id;
}

static sd_status put(sd_tokenizer *t, const char *name, const char *text, double id,
                     bool normalized, bool single_word) {
    if (!is_id(id))
        return sdi_fail(
            t->ctx, SD_ERROR_FORMAT,
            "%s: the id of the added token \"%.60s\" is not a whole number from 0 to %d", name,
            text, SD_MAX_IDS - 1);
    sd_added token = {.text = (char *)text,
                      .id = (int32_t)id,
                      .normalized = normalized,
                      .single_word = single_word};
    sd_status status = sdi_added_put(t->ctx, &t->added, &token);
    return status ? status : sdi_vocab_add_token(t, token.id, text);
}

/* {"content": "<cat-toy>", "normalized": true, ...}; tokenizers' default is the opposite of
 * `special`. Other flags (lstrip, rstrip) only move white space, of which CLIP makes no token. */
static sd_status put_object(sd_tokenizer *t, const char *name, double id, const json_t *token) {
    const char *text = json_string_value(json_object_get(token, "content"));
    if (!text)
        return wrong(t, name, "an added token has no \"content\"");
    bool special = flag(token, "special", false);
    return put(t, name, text, id, flag(token, "normalized", !special),
               flag(token, "single_word", false));
}

/* "added_tokens" of tokenizer.json: a list of tokens with "id". */
static sd_status put_list(sd_tokenizer *t, const char *name, const json_t *list) {
    sd_status status = SD_OK;
    size_t i;
    json_t *token;
    if (list && !json_is_null(list) && !json_is_array(list))
        return wrong(t, name, "\"added_tokens\" is no list");
    json_array_foreach(list, i, token) {
        if (!json_is_number(json_object_get(token, "id")))
            return wrong(t, name, "an added token has no \"id\"");
        status = put_object(t, name, json_number_value(json_object_get(token, "id")), token);
        if (status)
            return status;
    }
    return SD_OK;
}

/* "added_tokens_decoder" of tokenizer_config.json: {"49408": {"content": ...}}. */
static sd_status put_decoder(sd_tokenizer *t, const char *name, const json_t *decoder) {
    const char *key;
    json_t *token;
    if (!json_is_object(decoder))
        return wrong(t, name, "\"added_tokens_decoder\" is no object of ids and tokens");
    json_object_foreach((json_t *)decoder, key, token) {
        char *end;
        double id = (double)strtol(key, &end, 10);
        sd_status status = put_object(t, name, *end || !*key ? -1.0 : id, token);
        if (status)
            return status;
    }
    return SD_OK;
}

/* ------------------------------------------------------------- what tokenizer/ says of them */

static const char *const file_names[4] = {"special_tokens_map.json", "tokenizer_config.json",
                                          "added_tokens.json", SD_TOKENIZER_JSON};

typedef struct extras {
    json_t *map, *config, *added; /* each may be NULL */
    json_t *own;                  /* tokenizer.json, where the caller has none */
    const json_t *tokenizer;
    char *paths[4];
} extras;

static const char *token_text(const json_t *v) {
    return json_string_value(json_is_object(v) ? json_object_get(v, "content") : v);
}

static bool lists(const json_t *list, const char *text) {
    size_t i;
    json_t *v;
    json_array_foreach(list, i, v) {
        const char *there = token_text(v);
        if (there && strcmp(there, text) == 0)
            return true;
    }
    return false;
}

static const char *const special_keys[] = {"bos_token", "eos_token",  "unk_token", "pad_token",
                                           "sep_token", "mask_token", "cls_token"};

/* Whether a token is one of these, or in a list of more of them. */
static bool names_special(const json_t *file, const char *text) {
    for (size_t i = 0; i < SD_COUNT(special_keys); i++) {
        const char *there = token_text(json_object_get(file, special_keys[i]));
        if (there && strcmp(there, text) == 0)
            return true;
    }
    return lists(json_object_get(file, "additional_special_tokens"), text) ||
           lists(json_object_get(file, "extra_special_tokens"), text);
}

/* "bos_token": "<|startoftext|>", or {"content": "<|startoftext|>", "normalized": true, ...}. Each
 * is cut out of texts whole: of SD 2.x "!" too, which pads. */
static sd_status put_special(sd_tokenizer *t, const char *name, const json_t *token) {
    const char *text = token_text(token);
    int32_t id = text ? sdi_vocab_id(t, text, strlen(text)) : -1;
    if (id < 0)
        return SD_OK;
    return put(t, name, text, id, flag(token, "normalized", false),
               flag(token, "single_word", false));
}

/* special_tokens_map.json comes before tokenizer_config.json. */
static sd_status put_specials(sd_tokenizer *t, const extras *x) {
    sd_status status = SD_OK;
    for (size_t i = 0; i < SD_COUNT(special_keys) && !status; i++) {
        const json_t *token = json_object_get(x->map, special_keys[i]);
        if (token_text(token))
            status = put_special(t, x->paths[0], token);
        else
            status = put_special(t, x->paths[1], json_object_get(x->config, special_keys[i]));
    }
    return status;
}

/* added_tokens.json: {"<cat-toy>": 49408}. Those that are no special ones are normalised. */
static sd_status put_added(sd_tokenizer *t, const extras *x, const char *name) {
    const char *text;
    json_t *id;
    json_object_foreach(x->added, text, id) {
        bool special = names_special(x->map, text) || names_special(x->config, text);
        sd_status status =
            put(t, name, text, json_is_number(id) ? json_number_value(id) : -1.0, !special, false);
        if (status)
            return status;
    }
    return SD_OK;
}

static sd_status check_pad(const sd_tokenizer *t, const json_t *file, const char *name) {
    const json_t *v = json_object_get(file, "pad_token");
    if (!v || json_is_null(v) || token_text(v))
        return SD_OK;
    return wrong(t, name, "\"pad_token\" is neither a string nor an object with \"content\"");
}

static sd_status read_pad(sd_tokenizer *t, const json_t *file, const char *name) {
    const char *text = token_text(json_object_get(file, "pad_token"));
    sd_status status = check_pad(t, file, name);
    if (status || !text || t->pad_token)
        return status;
    t->pad_token = sdi_strdup(t->ctx, text);
    return t->pad_token ? SD_OK : SD_ERROR_MEMORY;
}

void sdi_tokenizer_drop_pad(sd_tokenizer *t) {
    const sd_added *added = t->pad_token ? sdi_added_find(&t->added, t->pad_token) : NULL;
    if (added && added->id != t->start && added->id != t->end)
        sdi_added_drop(t->ctx, &t->added, added);
    sdi_free(t->ctx, t->pad_token);
    t->pad_token = NULL;
}

static sd_status replace_pad(sd_tokenizer *t, const char *name, const json_t *token) {
    sdi_tokenizer_drop_pad(t);
    t->pad_token = sdi_strdup(t->ctx, token_text(token));
    if (!t->pad_token)
        return SD_ERROR_MEMORY;
    sd_status status = put_special(t, name, token);
    sdi_added_sort(t->ctx, &t->added);
    return status;
}

sd_status sdi_tokenizer_take_pad(sd_tokenizer *t, const char *dir) {
    sd_status status = SD_OK;
    bool found = false;
    for (int i = 0; i < 2 && !status && !found; i++) {
        json_t *file = NULL;
        char *path = sdi_path_join(t->ctx, dir, file_names[i]);
        status = path ? parse_file(t, path, &file) : SD_ERROR_MEMORY;
        if (!status)
            status = check_pad(t, file, path);
        const json_t *token = json_object_get(file, "pad_token");
        found = token_text(token) != NULL;
        if (!status && found)
            status = replace_pad(t, path, token);
        json_decref(file);
        sdi_free(t->ctx, path);
    }
    return status;
}

/* The first file that has a token counts, in the order of transformers, which has all that the
 * others say in added_tokens_decoder when it saves. */
static sd_status read_all(sd_tokenizer *t, const extras *x) {
    const json_t *decoder = json_object_get(x->config, "added_tokens_decoder");
    sd_status status = SD_OK;
    if (decoder && !json_is_null(decoder))
        status = put_decoder(t, x->paths[1], decoder);
    if (!status)
        status = put_list(t, x->paths[3], json_object_get(x->tokenizer, "added_tokens"));
    if (!status)
        status = put_added(t, x, x->paths[2]);
    if (!status)
        status = put_specials(t, x);
    if (!status)
        status = read_pad(t, x->map, x->paths[0]);
    if (!status)
        status = read_pad(t, x->config, x->paths[1]);
    /* padding may be fixed in tokenizer.json itself */
    if (!status)
        status = read_pad(t, json_object_get(x->tokenizer, "padding"), x->paths[3]);
    return status;
}

sd_status sdi_vocab_read_extras(sd_tokenizer *t, const char *dir, const json_t *tokenizer) {
    extras x = {.tokenizer = tokenizer};
    json_t **const files[4] = {&x.map, &x.config, &x.added, &x.own};
    sd_status status = SD_OK;
    for (int i = 0; i < 4 && !status; i++) {
        x.paths[i] = sdi_path_join(t->ctx, dir, file_names[i]);
        /* its megabytes are read again only where the small files are of an old transformers */
        bool needed = i < 3 || (!tokenizer && !json_object_get(x.config, "added_tokens_decoder"));
        if (!x.paths[i])
            status = SD_ERROR_MEMORY;
        else if (needed)
            status = parse_file(t, x.paths[i], files[i]);
    }
    if (x.own)
        x.tokenizer = x.own;
    if (!status)
        status = read_all(t, &x);
    for (int i = 0; i < 4; i++) {
        json_decref(*files[i]);
        sdi_free(t->ctx, x.paths[i]);
    }
    return status;
}

/* ------------------------------------------------------------------------- tokenizer.json */

/* CLIP's is BPE with an end of word; GPT-2's has none, T5's is Unigram. */
static sd_status check_model(const sd_tokenizer *t, const char *name, const json_t *model) {
    const json_t *type = json_object_get(model, "type");
    const char *kind = json_string_value(type);
    const char *end = json_string_value(json_object_get(model, "end_of_word_suffix"));
    const char *found = NULL;
    if (!json_is_object(model))
        found = "it has no \"model\"";
    else if (type && (!kind || strcmp(kind, "BPE") != 0))
        found = kind ? kind : "its \"model\" has no \"type\"";
    else if (!end || strcmp(end, "</w>") != 0)
        found = "byte pairs without \"end_of_word_suffix\": \"</w>\"";
    else if (!json_is_object(json_object_get(model, "vocab")) ||
             !json_is_array(json_object_get(model, "merges")))
        found = "byte pairs without \"vocab\" or \"merges\"";
    if (!found)
        return SD_OK;
    return sdi_fail(t->ctx, SD_ERROR_UNSUPPORTED,
                    "%s: this is not CLIP's tokenizer (%.60s); one of CLIP's byte pairs was "
                    "expected, as in tokenizer/ of Stable Diffusion",
                    name, found);
}

/* "a b", or ["a", "b"]. */
static bool read_pair(const json_t *v, sd_merge_text *m) {
    const json_t *left = json_array_get(v, 0), *right = json_array_get(v, 1);
    if (json_is_string(v))
        return sdi_vocab_split_merge(json_string_value(v), json_string_length(v), m);
    if (json_array_size(v) != 2 || !json_is_string(left) || !json_is_string(right))
        return false;
    m->left = json_string_value(left);
    m->right = json_string_value(right);
    m->n_left = json_string_length(left);
    m->n_right = json_string_length(right);
    return m->n_left && m->n_right;
}

static sd_status read_merges(sd_tokenizer *t, const char *name, const json_t *merges) {
    size_t n = json_array_size(merges);
    if (n > SD_MAX_IDS)
        return wrong(t, name, "more merges than any CLIP vocabulary has");
    sd_status status = sdi_vocab_make_merges(t, n);
    for (size_t i = 0; i < n && !status; i++) {
        sd_merge_text m = {.name = name, .unit = "merge", .number = (int)i + 1};
        if (read_pair(json_array_get(merges, i), &m))
            status = sdi_vocab_add_merge(t, &m, (int)i, false);
        else
            status = sdi_fail(t->ctx, SD_ERROR_FORMAT,
                              "%s, merge %d: expected two tokens, as a pair or with one space "
                              "between",
                              name, m.number);
    }
    return status;
}

static sd_status read_root(sd_tokenizer *t, const char *name, const json_t *root) {
    const json_t *model = json_object_get(root, "model");
    sd_status status = check_model(t, name, model);
    if (!status)
        status = sdi_vocab_read_object(t, name, json_object_get(model, "vocab"));
    if (!status)
        status = read_merges(t, name, json_object_get(model, "merges"));
    if (status)
        return status;
    char *dir = sdi_path_dirname(t->ctx, name);
    status = dir ? sdi_vocab_read_extras(t, dir, root) : SD_ERROR_MEMORY;
    sdi_free(t->ctx, dir);
    return status ? status : sdi_vocab_finish(t, name);
}

sd_status sdi_vocab_read_tokenizer(sd_tokenizer *t, const char *name, const char *data,
                                   size_t size) {
    json_t *root;
    sd_status status = sdi_vocab_parse(t, name, data, size, JSON_REJECT_DUPLICATES, &root);
    if (status)
        return status;
    status = read_root(t, name, root);
    json_decref(root);
    return status;
}
