/* The weighted prompt syntax, its programs, and the rows that it becomes. */
#include "fuzz.h"

#include "text/odd_words.h"
#include "text/program.h"
#include "text/prompt.h"

#include <math.h>
#include <string.h>

#define TOKENS 77
#define MAX_TEXT 16384

static void check_parts(const sd_prompt *prompt, size_t size) {
    size_t total = 0;
    FUZZ_REQUIRE(prompt->n > 0);
    for (size_t i = 0; i < prompt->n; i++) {
        const sd_prompt_part *p = &prompt->parts[i];
        FUZZ_REQUIRE(fabs(p->weight) <= SD_PROMPT_MAX_WEIGHT);
        FUZZ_REQUIRE(!p->is_break || !*p->text);
        FUZZ_REQUIRE(i == 0 || p->is_break || prompt->parts[i - 1].is_break ||
                     p->weight != prompt->parts[i - 1].weight);
        total += strlen(p->text);
    }
    FUZZ_REQUIRE(total <= size);
}

static void check_rows(const sd_tokenizer *t, const sd_chunks *c) {
    FUZZ_REQUIRE(c->n >= 1 && c->n <= SD_PROMPT_MAX_CHUNKS);
    for (int i = 0; i < c->n * TOKENS; i++) {
        int column = i % TOKENS;
        FUZZ_REQUIRE(c->ids[i] >= 0 && c->ids[i] < sdi_tokenizer_size(t));
        FUZZ_REQUIRE(isfinite(c->weights[i]));
        FUZZ_REQUIRE(c->weighted || c->weights[i] == 1.0f);
        FUZZ_REQUIRE(column != 0 || c->ids[i] == sdi_tokenizer_start(t));
        FUZZ_REQUIRE(column != TOKENS - 1 || c->ids[i] == sdi_tokenizer_end(t));
    }
}

/* The program of a prompt, and as the second half of it a negative one. */
static void check_program(const char *text) {
    const char *const texts[] = {text, text + strlen(text) / 2};
    int steps = 1 + (int)(strlen(text) % 20);
    sd_text_rows rows;
    sd_status status = sdi_text_rows(fuzz_ctx, texts, 2, 1, steps, &rows);
    FUZZ_REQUIRE(!status || status == SD_ERROR_UNSUPPORTED);
    const sd_cond_program *p = rows.program;
    for (int i = 0; !status && p && i < p->n; i++) {
        FUZZ_REQUIRE(p->until[i] > (i > 0 ? p->until[i - 1] : 0.0) && p->until[i] <= 1.0);
        for (int k = 0; k < p->terms * p->rows; k++)
            FUZZ_REQUIRE(p->picks[i * p->terms * p->rows + k].row < rows.n);
    }
    FUZZ_REQUIRE(status || !p || p->until[p->n - 1] == 1.0);
    sdi_text_rows_free(fuzz_ctx, &rows);
}

sd_status fuzz_prompt(const uint8_t *data, size_t size) {
    char text[MAX_TEXT + 1];
    sd_prompt prompt;
    sd_chunks chunks;
    size = size < MAX_TEXT ? size : MAX_TEXT;
    memcpy(text, data, size);
    text[size] = 0;
    sd_odd_words odd = {0};
    sdi_odd_words_find(&odd, text, size & 1);
    sdi_odd_words_log(&odd, fuzz_ctx);
    check_program(text);
    FUZZ_REQUIRE(!sdi_prompt_parse(fuzz_ctx, text, &prompt));
    check_parts(&prompt, strlen(text));
    sdi_prompt_free(fuzz_ctx, &prompt);
    sd_status status = sdi_prompt_chunks(fuzz_tokenizer, NULL, text, true, TOKENS,
                                         sdi_tokenizer_end(fuzz_tokenizer), &chunks, NULL);
    if (!status) {
        check_rows(fuzz_tokenizer, &chunks);
        sdi_chunks_free(fuzz_ctx, &chunks);
    }
    return status;
}
