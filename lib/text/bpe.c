/*
 * Byte-pair encoding (Sennrich et al. 2016) in the order of tokenizers' Word::merge_all: always the
 * merge of the smallest rank, the leftmost of equals, from a heap. Candidates that no longer fit
 * are dropped when they come up.
 */
#include "text/bpe.h"
#include "text/unicode.h"

static bool before(const sd_bpe_candidate *a, const sd_bpe_candidate *b) {
    return a->rank != b->rank ? a->rank < b->rank : a->position < b->position;
}

static void heap_push(sd_bpe *b, sd_bpe_candidate c) {
    size_t i = b->n_heap++;
    while (i > 0 && before(&c, &b->heap[(i - 1) / 2])) {
        b->heap[i] = b->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    b->heap[i] = c;
}

static sd_bpe_candidate heap_pop(sd_bpe *b) {
    sd_bpe_candidate top = b->heap[0], last = b->heap[--b->n_heap];
    size_t i = 0;
    for (size_t child = 1; child < b->n_heap; child = 2 * i + 1) {
        if (child + 1 < b->n_heap && before(&b->heap[child + 1], &b->heap[child]))
            child++;
        if (!before(&b->heap[child], &last))
            break;
        b->heap[i] = b->heap[child];
        i = child;
    }
    b->heap[i] = last;
    return top;
}

static const sd_merge *merge_at(const sd_bpe *b, int32_t left) {
    int32_t right = b->symbols[left].next;
    return right < 0 ? NULL : sdi_vocab_merge(b->vocab, b->symbols[left].id, b->symbols[right].id);
}

static void push_pair(sd_bpe *b, int32_t left) {
    const sd_merge *m = merge_at(b, left);
    if (m)
        heap_push(b, (sd_bpe_candidate){m->rank, left, m->id});
}

static void apply_merge(sd_bpe *b, int32_t left, int32_t id) {
    sd_bpe_symbol *s = &b->symbols[left];
    sd_bpe_symbol *gone = &b->symbols[s->next];
    s->id = id;
    s->next = gone->next;
    gone->id = -1;
    if (s->next >= 0)
        b->symbols[s->next].previous = left;
    if (s->previous >= 0)
        push_pair(b, s->previous);
    push_pair(b, left);
}

sd_status sdi_bpe_word(sd_bpe *b, const uint8_t *word, size_t n) {
    const sd_tokenizer *t = b->vocab;
    sd_status status =
        sdi_text_reserve(t->ctx, &b->symbols, &b->symbol_capacity, n, sizeof *b->symbols);
    /* n - 1 pairs to begin with; each of at most n - 1 merges takes one off and puts two on. */
    if (!status)
        status = sdi_text_reserve(t->ctx, &b->heap, &b->heap_capacity, 2 * n, sizeof *b->heap);
    if (status)
        return status;
    int32_t last = (int32_t)n - 1;
    for (int32_t i = 0; i <= last; i++) {
        int32_t id = i == last ? t->byte_end_id[word[i]] : t->byte_id[word[i]];
        /* A byte that the vocabulary lacks becomes the unknown token, which CLIP's end token is. */
        b->symbols[i] = (sd_bpe_symbol){id < 0 ? t->end : id, i - 1, i == last ? -1 : i + 1};
    }
    b->n_heap = 0;
    for (int32_t i = 0; i < last; i++)
        push_pair(b, i);
    while (b->n_heap) {
        sd_bpe_candidate c = heap_pop(b);
        if (b->symbols[c.position].id < 0)
            continue;
        const sd_merge *m = merge_at(b, c.position);
        if (m && m->id == c.id)
            apply_merge(b, c.position, c.id);
    }
    return SD_OK;
}

void sdi_bpe_free(sd_bpe *b) {
    sdi_free(b->vocab->ctx, b->symbols);
    sdi_free(b->vocab->ctx, b->heap);
}
