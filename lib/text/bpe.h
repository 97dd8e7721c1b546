/* Byte-pair encoding of one word. */
#ifndef SD_TEXT_BPE_H
#define SD_TEXT_BPE_H

#include "text/vocab.h"

/* A piece of the word in a doubly linked list of array indices, -1 at its ends. */
typedef struct sd_bpe_symbol {
    int32_t id; /* -1: swallowed by the symbol before it */
    int32_t previous, next;
} sd_bpe_symbol;

/* A merge that was possible when it was queued. */
typedef struct sd_bpe_candidate {
    int32_t rank, position, id;
} sd_bpe_candidate;

/* Scratch memory, kept from word to word. Zero it to begin. */
typedef struct sd_bpe {
    const sd_tokenizer *vocab;
    sd_bpe_symbol *symbols;
    size_t symbol_capacity;
    sd_bpe_candidate *heap;
    size_t heap_capacity;
    size_t n_heap;
} sd_bpe;

/* Splits `n` >= 1 bytes into symbols: walk b->symbols from 0 by `next`. O(n log n). */
sd_status sdi_bpe_word(sd_bpe *b, const uint8_t *word, size_t n);
void sdi_bpe_free(sd_bpe *b);

#endif
