/*
 * A byte-pair vocabulary in CLIP's form (256 bytes, the same at the end of a word, merges, start
 * and end), small and made here: prompts then work with a small model and without CLIP's own file.
 * The merges are those that turn each word of a list into one token.
 */
#include "checkpoint.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define MAX_MERGES 512
#define PIECE 32 /* bytes: the longest word of the list and </w> */

/* More than enough for MAX_MERGES. */
static const char words[] =
    "a the of in on and with at by for from to is an photo photograph painting drawing sketch "
    "cat dog horse bird fish fox bear wolf tree forest flower rose garden mountain mountains river "
    "lake sea ocean beach island sky cloud clouds sun moon star stars night day morning evening "
    "sunset sunrise winter summer spring autumn rain snow storm fire water earth stone rock "
    "house castle tower bridge city street road village church room window door table chair "
    "man woman boy girl child king queen knight astronaut robot dragon ship boat car train "
    "red green blue yellow orange purple black white grey brown gold silver dark light bright "
    "big small old new young beautiful detailed highly realistic fantasy abstract digital oil "
    "watercolor portrait landscape still life style art artist trending studio lighting soft "
    "sharp focus high quality low blurry ugly bad riding wearing holding standing flying "
    "reading dancing market kitchen library desert jungle waterfall lighthouse cottage palace "
    "temple dinosaur elephant tiger rabbit penguin butterfly";

typedef struct vocabulary {
    char left[MAX_MERGES][PIECE];
    char right[MAX_MERGES][PIECE];
    int n, limit;
} vocabulary;

typedef struct pieces {
    char text[64][PIECE];
    int n;
} pieces;

static int merge_rank(const vocabulary *v, const char *left, const char *right) {
    for (int i = 0; i < v->n; i++)
        if (strcmp(v->left[i], left) == 0 && strcmp(v->right[i], right) == 0)
            return i;
    return v->n;
}

static void join(pieces *p, int i) {
    size_t n = strlen(p->text[i]), m = strlen(p->text[i + 1]);
    memcpy(p->text[i] + n, p->text[i + 1], n + m < PIECE ? m + 1 : 0);
    memmove(p->text[i + 1], p->text[i + 2], (size_t)(p->n - i - 2) * PIECE);
    p->n--;
}

/* Splits a word with the merges so far, then adds merges until it is one piece. */
static void learn(vocabulary *v, const char *word, size_t length) {
    pieces p = {.n = (int)length};
    for (size_t i = 0; i < length; i++)
        snprintf(p.text[i], PIECE, "%c%s", word[i], i + 1 == length ? "</w>" : "");
    while (p.n > 1) {
        int best = v->n, at = 0;
        for (int i = 0; i + 1 < p.n; i++) {
            int rank = merge_rank(v, p.text[i], p.text[i + 1]);
            if (rank < best) {
                best = rank;
                at = i;
            }
        }
        if (best == v->n) {
            if (v->n == v->limit)
                return;
            memcpy(v->left[v->n], p.text[0], PIECE);
            memcpy(v->right[v->n], p.text[1], PIECE);
            v->n++;
        }
        join(&p, at);
    }
}

/* The code point that stands for a byte: printable Latin-1 for itself, the rest from 256 up. */
static void byte_points(int order[256]) {
    int n = 0;
    for (int b = 0; b < 256; b++)
        if ((b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae)
            order[n++] = b;
    for (int k = 0; n < 256; k++)
        order[n++] = 256 + k;
}

static void set_token(json_t *vocab, const char *left, const char *right, int id) {
    char text[2 * PIECE];
    snprintf(text, sizeof(text), "%s%s", left, right);
    json_object_set_new(vocab, text, json_integer(id));
}

static json_t *vocab_json(const vocabulary *v) {
    json_t *vocab = json_object();
    int order[256];

    byte_points(order);
    for (int i = 0; i < 256; i++) {
        /* UTF-8 of a code point below 0x800. */
        int c = order[i];
        char text[3] = {(char)c, 0, 0};
        if (c >= 0x80) {
            text[0] = (char)(0xc0 | c >> 6);
            text[1] = (char)(0x80 | (c & 0x3f));
        }
        set_token(vocab, text, "", i);
        set_token(vocab, text, "</w>", 256 + i);
    }
    for (int i = 0; i < v->n; i++)
        set_token(vocab, v->left[i], v->right[i], 512 + i);
    set_token(vocab, "<|startoftext|>", "", 512 + v->n);
    set_token(vocab, "<|endoftext|>", "", 513 + v->n);
    return vocab;
}

static bool write_merges(const char *path, const vocabulary *v) {
    FILE *f = fopen(path, "wb");
    if (!f)
        return false;
    fputs("#version: 0.2\n", f);
    for (int i = 0; i < v->n; i++)
        fprintf(f, "%s %s\n", v->left[i], v->right[i]);
    return fclose(f) == 0;
}

/* Takes `json` over. */
static bool dump(const char *folder, const char *name, json_t *json, size_t flags) {
    char path[PATH_SIZE];
    bool ok = json && join_path(path, folder, name) && json_dump_file(json, path, flags) == 0;
    json_decref(json);
    return ok;
}

static bool write_tokenizer_files(const char *folder, const vocabulary *v, const char *pad) {
    char path[PATH_SIZE];
    json_t *special = json_pack("{s:s, s:s, s:s, s:s}", "bos_token", "<|startoftext|>", "eos_token",
                                "<|endoftext|>", "pad_token", pad, "unk_token", "<|endoftext|>");
    json_t *config =
        json_pack("{s:s, s:b, s:s, s:i}", "tokenizer_class", "CLIPTokenizer", "do_lower_case", 1,
                  "errors", "replace", "model_max_length", TEXT_TOKENS);

    json_object_update(config, special);
    bool ok = dump(folder, "special_tokens_map.json", special, JSON_INDENT(2));
    ok = dump(folder, "tokenizer_config.json", config, JSON_INDENT(2)) && ok;
    ok = dump(folder, "vocab.json", vocab_json(v), JSON_COMPACT) && ok;
    return ok && join_path(path, folder, "merges.txt") && write_merges(path, v);
}

static bool write_tokenizer(const char *folder, const char *name, const vocabulary *v,
                            const char *pad) {
    char path[PATH_SIZE] = "";
    return join_path(path, folder, name) && make_folder(path) &&
           write_tokenizer_files(path, v, pad);
}

/* The second pads with id 0, "!". */
bool tokenizer_write(const char *folder, const model_size *size) {
    int merges = size->vocab_size - 514;
    if (merges > MAX_MERGES) {
        printf("%s: no tokenizer/ written: a model of this size takes CLIP's own vocabulary\n",
               folder);
        return true;
    }
    vocabulary *v = calloc(1, sizeof(*v));
    if (!v)
        return false;
    v->limit = merges;
    for (const char *word = words; *word && v->n < v->limit;) {
        size_t length = strcspn(word, " ");
        learn(v, word, length);
        word += length + (word[length] == ' ');
    }
    bool ok = v->n == merges &&
              (is_refiner(size) || write_tokenizer(folder, "tokenizer", v, "<|endoftext|>")) &&
              (!size->xl || write_tokenizer(folder, "tokenizer_2", v, "!"));
    if (!ok)
        fprintf(stderr, "cannot write the tokenizer of %s (%d of %d merges)\n", folder, v->n,
                merges);
    free(v);
    return ok;
}
