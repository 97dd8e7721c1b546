/* Tables of the vocabulary and the parsing of vocab.json and merges. */
#include "text/vocab.h"
#include "core/json.h"
#include "text/unicode.h"

#include <string.h>

#define MAX_IDS SD_MAX_IDS

/* simple_tokenizer.py reads merges[1 : 49152 - 256 - 2 + 1] of the file's 262,144. */
#define N_CLIP_MERGES (49152 - 256 - 2)

static const char word_end[] = "</w>";

static size_t hash_bytes(const char *s, size_t n) {
    uint64_t h = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)s[i]) * 0x100000001b3u;
    return (size_t)(h ^ h >> 32);
}

static size_t hash_pair(int32_t left, int32_t right) {
    uint64_t h = ((uint64_t)(uint32_t)left << 32 | (uint32_t)right) * 0x9e3779b97f4a7c15u;
    return (size_t)(h ^ h >> 29);
}

/* The slot of a token, or the empty one where it belongs. */
static int32_t *find_slot(const sd_tokenizer *t, const char *token, size_t n) {
    for (size_t i = hash_bytes(token, n);; i++) {
        int32_t *slot = &t->slots[i & t->slot_mask];
        if (*slot < 0)
            return slot;
        const char *there = t->text + t->offset[*slot] - 1;
        if (strncmp(there, token, n) == 0 && there[n] == '\0')
            return slot;
    }
}

static sd_merge *find_merge(const sd_tokenizer *t, int32_t left, int32_t right) {
    for (size_t i = hash_pair(left, right);; i++) {
        sd_merge *m = &t->merges[i & t->merge_mask];
        if (m->left < 0 || (m->left == left && m->right == right))
            return m;
    }
}

int32_t sdi_vocab_id(const sd_tokenizer *t, const char *token, size_t n) {
    return *find_slot(t, token, n);
}

const char *sdi_vocab_text(const sd_tokenizer *t, int32_t id) {
    return id >= 0 && id < t->n_ids && t->offset[id] ? t->text + t->offset[id] - 1 : NULL;
}

const sd_merge *sdi_vocab_merge(const sd_tokenizer *t, int32_t left, int32_t right) {
    const sd_merge *m = find_merge(t, left, right);
    return m->left < 0 ? NULL : m;
}

/* A power of two, at least twice `n`, so that a search always ends at an empty slot. */
static size_t table_size(size_t n) {
    size_t size = 16;
    while (size < 2 * n)
        size *= 2;
    return size;
}

static sd_status make_slots(sd_tokenizer *t, size_t n_tokens) {
    size_t size = table_size(n_tokens);
    t->slots = sdi_alloc_array(t->ctx, size, sizeof *t->slots);
    if (!t->slots)
        return SD_ERROR_MEMORY;
    t->slot_mask = size - 1;
    for (size_t i = 0; i < size; i++)
        t->slots[i] = -1;
    return SD_OK;
}

sd_status sdi_vocab_make_merges(sd_tokenizer *t, size_t n_merges) {
    size_t size = table_size(n_merges);
    t->merges = sdi_alloc_array(t->ctx, size, sizeof *t->merges);
    if (!t->merges)
        return SD_ERROR_MEMORY;
    t->merge_mask = size - 1;
    for (size_t i = 0; i < size; i++)
        t->merges[i].left = -1;
    return SD_OK;
}

/* Keeps half of the slots empty; what make_slots was asked for fits already. */
static sd_status grow_slots(sd_tokenizer *t) {
    if (2 * (t->n_tokens + 1) <= t->slot_mask + 1)
        return SD_OK;
    int32_t *old = t->slots;
    sd_status status = make_slots(t, 2 * (t->n_tokens + 1));
    if (status) {
        t->slots = old;
        return status;
    }
    sdi_free(t->ctx, old);
    for (int32_t id = 0; id < t->n_ids; id++) {
        const char *token = sdi_vocab_text(t, id);
        if (token)
            *find_slot(t, token, strlen(token)) = id;
    }
    return SD_OK;
}

/* Adds a token that is not there yet under an id that is free. */
static sd_status add_token(sd_tokenizer *t, int32_t id, const char *token, size_t n) {
    sd_status status = grow_slots(t);
    if (!status)
        status = sdi_text_reserve(t->ctx, &t->text, &t->text_capacity, t->text_size + n + 1, 1);
    if (!status)
        status = sdi_text_reserve(t->ctx, &t->offset, &t->offset_capacity, (size_t)id + 1,
                                  sizeof *t->offset);
    if (status)
        return status;
    for (; t->n_ids <= id; t->n_ids++)
        t->offset[t->n_ids] = 0;
    t->offset[id] = t->text_size + 1;
    memcpy(t->text + t->text_size, token, n);
    t->text[t->text_size + n] = '\0';
    t->text_size += n + 1;
    t->n_tokens++;
    *find_slot(t, token, n) = id;
    return SD_OK;
}

/* Bytes as printable characters, bytes_to_unicode() of GPT-2: those that print stand for
 * themselves, the others take U+0100 and up in their order. */
static int32_t byte_character(int byte) {
    bool prints = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte != 0xAD);
    if (prints)
        return byte;
    if (byte <= ' ')
        return 0x100 + byte;
    return byte == 0xAD ? 0x100 + 67 : 0x100 + 33 + (byte - 0x7F);
}

/* "Ġ</w>" into out; returns its length. */
static size_t byte_token(int byte, bool at_end, char out[16]) {
    size_t n = (size_t)sdi_utf8_put(byte_character(byte), (uint8_t *)out);
    if (at_end) {
        memcpy(out + n, word_end, sizeof word_end - 1);
        n += sizeof word_end - 1;
    }
    return n;
}

sd_status sdi_vocab_add_base(sd_tokenizer *t) {
    sd_status status = make_slots(t, 512 + N_CLIP_MERGES + 2);
    /* First the bytes that print, then the others: 188 and 68, as the dict of GPT-2 lists them. */
    for (int round = 0; round < 4; round++)
        for (int byte = 0; byte < 256; byte++) {
            char token[16];
            bool prints = byte_character(byte) == byte;
            if (status || prints != (round % 2 == 0))
                continue;
            size_t n = byte_token(byte, round >= 2, token);
            status = add_token(t, t->n_ids, token, n);
        }
    return status;
}

sd_status sdi_vocab_add_special(sd_tokenizer *t) {
    sd_status status = add_token(t, t->n_ids, SD_VOCAB_START, sizeof SD_VOCAB_START - 1);
    return status ? status : add_token(t, t->n_ids, SD_VOCAB_END, sizeof SD_VOCAB_END - 1);
}

static sd_status read_json_entry(sd_tokenizer *t, const char *name, const char *token,
                                 const json_t *value) {
    json_int_t id = json_integer_value(value);
    if (!json_is_integer(value) || id < 0 || id >= MAX_IDS)
        return sdi_fail(t->ctx, SD_ERROR_FORMAT,
                        "%s: the id of token \"%.60s\" is not a whole number from 0 to %d", name,
                        token, MAX_IDS - 1);
    if (sdi_vocab_text(t, (int32_t)id))
        return sdi_fail(t->ctx, SD_ERROR_FORMAT,
                        "%s: tokens \"%.60s\" and \"%.60s\" both have id %d", name,
                        sdi_vocab_text(t, (int32_t)id), token, (int)id);
    return add_token(t, (int32_t)id, token, strlen(token));
}

sd_status sdi_vocab_read_object(sd_tokenizer *t, const char *name, const json_t *object) {
    if (json_object_size(object) > MAX_IDS)
        return sdi_fail(t->ctx, SD_ERROR_FORMAT, "%s: %zu tokens; at most %d are expected", name,
                        json_object_size(object), MAX_IDS);
    sd_status status = make_slots(t, json_object_size(object));
    const char *token;
    json_t *value;
    if (!status)
        json_object_foreach((json_t *)object, token, value) {
            status = read_json_entry(t, name, token, value);
            if (status)
                break;
        }
    return status;
}

sd_status sdi_vocab_parse(const sd_tokenizer *t, const char *name, const char *data, size_t size,
                          size_t flags, json_t **out) {
    json_error_t error;
    *out = sdi_json_load(data, size, flags, &error);
    if (!*out)
        return sdi_fail(t->ctx, SD_ERROR_FORMAT, "%s, line %d: %s", name, error.line, error.text);
    if (json_is_object(*out))
        return SD_OK;
    json_decref(*out);
    *out = NULL;
    return sdi_fail(t->ctx, SD_ERROR_FORMAT, "%s, line 1: expected an object", name);
}

sd_status sdi_vocab_read_json(sd_tokenizer *t, const char *name, const char *data, size_t size) {
    json_t *root;
    sd_status status = sdi_vocab_parse(t, name, data, size, JSON_REJECT_DUPLICATES, &root);
    if (status)
        return status;
    status = sdi_vocab_read_object(t, name, root);
    json_decref(root);
    return status;
}

sd_status sdi_vocab_add_token(sd_tokenizer *t, int32_t id, const char *token) {
    size_t n = strlen(token);
    if (id < 0 || id >= MAX_IDS || sdi_vocab_text(t, id) || sdi_vocab_id(t, token, n) >= 0)
        return SD_OK;
    return add_token(t, id, token, n);
}

typedef struct text_line {
    const char *text;
    size_t n;
    int number;
} text_line;

/* The next line without its end. */
static bool next_line(const char **data, const char *end, text_line *line) {
    if (*data == end)
        return false;
    const char *stop = memchr(*data, '\n', (size_t)(end - *data));
    line->text = *data;
    line->n = (size_t)((stop ? stop : end) - *data);
    line->number++;
    if (line->n && line->text[line->n - 1] == '\r')
        line->n--;
    *data = stop ? stop + 1 : end;
    return true;
}

static bool is_header(const text_line *line) {
    static const char mark[] = "#version";
    for (size_t i = 0; line->number == 1 && i + sizeof mark - 1 <= line->n; i++)
        if (memcmp(line->text + i, mark, sizeof mark - 1) == 0)
            return true;
    return false;
}

static sd_status bad_merge(const sd_tokenizer *t, const sd_merge_text *m, const char *what) {
    return sdi_fail(t->ctx, SD_ERROR_FORMAT, "%s, %s %d: %s: \"%.*s %.*s\"", m->name, m->unit,
                    m->number, what, m->n_left > 60 ? 60 : (int)m->n_left, m->left,
                    m->n_right > 60 ? 60 : (int)m->n_right, m->right);
}

/* Id of left + right: found, or added where `add` is set. */
static sd_status joined_id(sd_tokenizer *t, const sd_merge_text *m, bool add, int32_t *id) {
    char small[256];
    size_t n = m->n_left + m->n_right;
    char *joined = n <= sizeof small ? small : sdi_alloc(t->ctx, n);
    if (!joined)
        return SD_ERROR_MEMORY;
    memcpy(joined, m->left, m->n_left);
    memcpy(joined + m->n_left, m->right, m->n_right);
    sd_status status = SD_OK;
    *id = sdi_vocab_id(t, joined, n);
    if (!add && *id < 0) {
        status = bad_merge(t, m, "the vocabulary has no token that is this pair joined");
    } else if (add && *id >= 0) {
        status = bad_merge(t, m, "the token of this pair is there already");
    } else if (add) {
        *id = t->n_ids;
        status = add_token(t, *id, joined, n);
    }
    if (joined != small)
        sdi_free(t->ctx, joined);
    return status;
}

sd_status sdi_vocab_add_merge(sd_tokenizer *t, const sd_merge_text *m, int rank, bool add) {
    int32_t left = sdi_vocab_id(t, m->left, m->n_left);
    int32_t right = sdi_vocab_id(t, m->right, m->n_right);
    if (left < 0 || right < 0)
        return bad_merge(t, m,
                         left < 0 ? "the vocabulary has no such first token"
                                  : "the vocabulary has no such second token");
    int32_t id;
    sd_status status = joined_id(t, m, add, &id);
    if (status)
        return status;
    /* A pair that comes twice is its last, as in transformers. */
    sd_merge *merge = find_merge(t, left, right);
    *merge = (sd_merge){left, right, rank, id};
    return SD_OK;
}

bool sdi_vocab_split_merge(const char *text, size_t n, sd_merge_text *m) {
    const char *space = memchr(text, ' ', n);
    m->left = text;
    m->n_left = space ? (size_t)(space - text) : 0;
    m->right = space ? space + 1 : text;
    m->n_right = space ? n - m->n_left - 1 : 0;
    return m->n_left && m->n_right && !memchr(m->right, ' ', m->n_right) && !memchr(text, 0, n);
}

static sd_status read_merge(sd_tokenizer *t, const char *name, const text_line *line, int rank,
                            bool add) {
    sd_merge_text m = {.name = name, .unit = "line", .number = line->number};
    if (!sdi_vocab_split_merge(line->text, line->n, &m))
        return sdi_fail(t->ctx, SD_ERROR_FORMAT,
                        "%s, line %d: expected two tokens with one space between: \"%.*s\"", name,
                        line->number, line->n > 60 ? 60 : (int)line->n, line->text);
    return sdi_vocab_add_merge(t, &m, rank, add);
}

static size_t count_lines(const char *data, size_t size) {
    size_t n = 1;
    for (size_t i = 0; i < size; i++)
        n += data[i] == '\n';
    return n;
}

sd_status sdi_vocab_read_merges(sd_tokenizer *t, const char *name, const char *data, size_t size,
                                bool add) {
    int most = add ? N_CLIP_MERGES : MAX_IDS;
    size_t n_lines = count_lines(data, size);
    sd_status status = sdi_vocab_make_merges(t, n_lines < (size_t)most ? n_lines : (size_t)most);
    const char *end = data + size;
    text_line line = {0};
    int rank = 0;
    while (!status && next_line(&data, end, &line)) {
        if (is_header(&line) || (line.n == 0 && data == end))
            continue;
        if (rank == most && add)
            break;
        if (rank == most)
            return sdi_fail(t->ctx, SD_ERROR_FORMAT,
                            "%s, line %d: more merges than any CLIP vocabulary has", name,
                            line.number);
        status = read_merge(t, name, &line, rank++, add);
    }
    return status;
}

sd_status sdi_vocab_finish(sd_tokenizer *t, const char *name) {
    static const char *const special[2] = {SD_VOCAB_START, SD_VOCAB_END};
    int32_t *const ids[2] = {&t->start, &t->end};
    for (int i = 0; i < 2; i++) {
        *ids[i] = sdi_vocab_id(t, special[i], strlen(special[i]));
        if (*ids[i] < 0)
            return sdi_fail(t->ctx, SD_ERROR_FORMAT, "%s: the token %s is missing", name,
                            special[i]);
        sd_added token = {.text = (char *)special[i], .id = *ids[i]};
        sd_status status = sdi_added_put(t->ctx, &t->added, &token);
        if (status)
            return status;
    }
    sdi_added_sort(t->ctx, &t->added);
    for (int byte = 0; byte < 256; byte++) {
        char token[16];
        t->byte_id[byte] = sdi_vocab_id(t, token, byte_token(byte, false, token));
        t->byte_end_id[byte] = sdi_vocab_id(t, token, byte_token(byte, true, token));
    }
    return SD_OK;
}

/* ---------------------------------------------------------------------------- what tokens are */

const char *sdi_tokenizer_text(const sd_tokenizer *t, int32_t id) {
    return sdi_vocab_text(t, id);
}

int sdi_tokenizer_size(const sd_tokenizer *t) {
    return t->n_ids;
}

int32_t sdi_tokenizer_start(const sd_tokenizer *t) {
    return t->start;
}

int32_t sdi_tokenizer_end(const sd_tokenizer *t) {
    return t->end;
}

void sdi_tokenizer_limit(sd_tokenizer *t, const char *path, int n_ids) {
    for (size_t i = 0; i < t->added.n; i++) {
        const sd_added *a = &t->added.at[i];
        if (a->id >= n_ids && a->id != t->start && a->id != t->end)
            sdi_log(
                t->ctx, SD_LOG_LEVEL_WARN,
                "%s: the added token \"%s\" has id %d, but the text encoder has rows for 0 to %d "
                "alone: it cannot be used and is read as text",
                path, a->text, (int)a->id, n_ids - 1);
    }
    sdi_added_limit(t->ctx, &t->added, n_ids);
}

const char *sdi_tokenizer_pad_text(const sd_tokenizer *t) {
    return t->pad_token;
}

int32_t sdi_tokenizer_pad(const sd_tokenizer *t) {
    if (!t->pad_token)
        return t->end;
    const sd_added *added = sdi_added_find(&t->added, t->pad_token);
    return added ? added->id : sdi_vocab_id(t, t->pad_token, strlen(t->pad_token));
}

int32_t sdi_tokenizer_following(const sd_tokenizer *t, int32_t id, int k) {
    char text[256];
    const sd_added *first = sdi_added_of_id(&t->added, id);
    int n = first ? snprintf(text, sizeof text, "%s_%d", first->text, k) : -1;
    const sd_added *added =
        n < 0 || (size_t)n >= sizeof text ? NULL : sdi_added_find(&t->added, text);
    return added ? added->id : -1;
}
