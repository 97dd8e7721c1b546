/* Prompts that change between steps, and parts that are combined: see program.h. */
#include "text/program.h"
#include "text/prompt.h"
#include "text/unicode.h"

#include <math.h>
#include <string.h>

#define NOT_A_PROGRAM SIZE_MAX

/* Brackets with a choice of what stands between their cuts. */
typedef struct choice {
    size_t open, close;
    size_t first_cut, n_cuts; /* of parser.cuts: the | or the : in it */
    bool turns;
    int when; /* the last step of what stands first, where no turns are taken */
} choice;

/* A bracket that is open, and what was in it so far. */
typedef struct bracket {
    size_t open;
    size_t first_cut; /* of parser.pending */
    int colons, bars;
} bracket;

typedef struct parser {
    const sd_context *ctx;
    const char *text;
    int steps;
    choice *choices;
    size_t n_choices, choice_capacity;
    size_t *cuts; /* of all choices */
    size_t n_cuts, cut_capacity;
    bracket *open;
    size_t n_open, open_capacity;
    size_t *pending; /* cuts of open brackets */
    size_t n_pending, pending_capacity;
    size_t *jumps; /* [length + 1]: where reading goes on instead; 0: here */
} parser;

static sd_status reserve(parser *p, void *array, size_t *capacity, size_t need, size_t size) {
    return sdi_text_reserve(p->ctx, array, capacity, need, size);
}

static sd_status push(parser *p, size_t at) {
    sd_status status = reserve(p, &p->open, &p->open_capacity, p->n_open + 1, sizeof *p->open);
    if (!status)
        p->open[p->n_open++] = (bracket){.open = at, .first_cut = p->n_pending};
    return status;
}

static sd_status add_cut(parser *p, size_t at) {
    bracket *b = &p->open[p->n_open - 1];
    b->colons += p->text[at] == ':';
    b->bars += p->text[at] == '|';
    sd_status status =
        reserve(p, &p->pending, &p->pending_capacity, p->n_pending + 1, sizeof *p->pending);
    if (!status)
        p->pending[p->n_pending++] = at;
    return status;
}

/* What is open can close no more, and is text; false where that cannot be, for a | in it. */
static bool give_up(parser *p) {
    bool bars = false;
    for (size_t i = 0; i < p->n_open; i++)
        bars = bars || p->open[i].bars;
    p->n_open = p->n_pending = 0;
    return !bars;
}

/* ------------------------------------------------------------------------------------- steps */

/* SIGNED_NUMBER of lark, with white space around it, up to `end`: the step, by the newer of the web
 * UI's rules: a number with a point in it is a share. False: it is none. */
static bool read_when(const parser *p, size_t from, size_t end, int *when) {
    const char *s = p->text + from, *stop = p->text + end;
    double value, power = 0.0;
    while (s < stop && sdi_is_space(*s))
        s++;
    const char *number = s;
    s = sdi_prompt_number(s, &value);
    bool share = s && memchr(number, '.', (size_t)(s - number));
    if (s && (*s == 'e' || *s == 'E')) {
        const char *digits = s + 1;
        s = sdi_prompt_number(digits, &power);
        if (!s || memchr(digits, '.', (size_t)(s - digits)))
            return false;
    }
    while (s && s < stop && sdi_is_space(*s))
        s++;
    if (s != stop)
        return false;
    if (value != 0.0 && power != 0.0)
        value = power < 0.0 ? value / pow(10.0, -power) : value * pow(10.0, power);
    value = share ? value * p->steps : value;
    *when = value >= p->steps ? p->steps : value < 1.0 ? 0 : (int)value;
    return true;
}

/* A bracket with cuts closes at `close`; false: it is of no shape that has a meaning. */
static bool read_choice(const parser *p, const bracket *b, size_t close, choice *out) {
    *out = (choice){.open = b->open,
                    .close = close,
                    .first_cut = p->n_cuts,
                    .n_cuts = p->n_pending - b->first_cut,
                    .turns = b->bars > 0};
    if (b->bars > 0)
        return b->colons == 0;
    return b->colons <= 2 && read_when(p, p->pending[p->n_pending - 1] + 1, close, &out->when);
}

static sd_status keep(parser *p, const choice *c, const bracket *b) {
    sd_status status =
        reserve(p, &p->choices, &p->choice_capacity, p->n_choices + 1, sizeof *p->choices);
    if (!status)
        status = reserve(p, &p->cuts, &p->cut_capacity, p->n_cuts + c->n_cuts, sizeof *p->cuts);
    if (status)
        return status;
    p->choices[p->n_choices++] = *c;
    memcpy(p->cuts + p->n_cuts, p->pending + b->first_cut, c->n_cuts * sizeof *p->cuts);
    p->n_cuts += c->n_cuts;
    return SD_OK;
}

/* The bracket that is open innermost closes here; *fine is false where the whole is no program. */
static sd_status close_bracket(parser *p, size_t at, bool *fine) {
    if (p->n_open == 0)
        return SD_OK;
    const bracket b = p->open[p->n_open - 1];
    bool round = p->text[b.open] == '(', plain = b.colons + b.bars == 0;
    choice c;
    bool matches = round == (p->text[at] == ')');
    bool whole =
        matches && (plain || (round ? b.bars == 0 && b.colons == 1 : read_choice(p, &b, at, &c)));
    if (!whole) {
        *fine = give_up(p);
        return SD_OK;
    }
    sd_status status = plain || round ? SD_OK : keep(p, &c, &b);
    p->n_open--;
    p->n_pending = b.first_cut;
    return status;
}

/* One character at `at`: where the next is, or NOT_A_PROGRAM. */
static sd_status read_one(parser *p, size_t at, size_t *next) {
    char c = p->text[at];
    bool fine = true;
    sd_status status = SD_OK;
    *next = at + 1;
    if (c == '\\') {
        fine = p->text[at + 1] && p->text[at + 1] != '\n';
        *next = at + 2;
    } else if (c == '(' || c == '[') {
        status = push(p, at);
    } else if (c == ')' || c == ']') {
        status = close_bracket(p, at, &fine);
    } else if (c == '|' || c == ':') {
        fine = c == ':' || p->n_open > 0;
        status = p->n_open > 0 ? add_cut(p, at) : SD_OK;
    }
    if (!fine)
        *next = NOT_A_PROGRAM;
    return status;
}

/* The choices of the prompt; none, where it is not read as a program. */
static sd_status parse(parser *p) {
    sd_status status = SD_OK;
    size_t at = 0;
    while (at != NOT_A_PROGRAM && p->text[at] && !status)
        status = read_one(p, at, &at);
    if (at == NOT_A_PROGRAM || !give_up(p))
        p->n_choices = 0;
    return status;
}

/* ------------------------------------------------------------------------------------ reading */

/* Where reading goes on from a choice's bracket: at the part that is meant at `step`. */
static size_t chosen(const parser *p, const choice *c, int step) {
    const size_t *cuts = p->cuts + c->first_cut;
    size_t part = c->turns ? (size_t)(step - 1) % (c->n_cuts + 1) : step > c->when;
    if (!c->turns && c->n_cuts == 1) /* nothing, then the part */
        return part ? c->open + 1 : c->close + 1;
    return part == 0 ? c->open + 1 : cuts[part - 1] + 1;
}

/* The prompt at `step`, for sdi_free. */
static char *read_at(parser *p, int step) {
    size_t length = strlen(p->text), n = 0;
    char *out = sdi_alloc(p->ctx, length + 1);
    for (size_t i = 0; i < p->n_choices; i++) {
        const choice *c = &p->choices[i];
        p->jumps[c->open] = chosen(p, c, step);
        p->jumps[c->close] = c->close + 1;
        for (size_t k = 0; k < c->n_cuts; k++)
            p->jumps[p->cuts[c->first_cut + k]] = c->close + 1;
    }
    for (size_t at = 0; out && at < length; at = p->jumps[at] ? p->jumps[at] : at + 1)
        if (!p->jumps[at])
            out[n++] = p->text[at];
    if (out)
        out[n] = 0;
    return out;
}

/* Whether something may change after `step`. */
static bool ends(const parser *p, int step) {
    bool found = step == p->steps;
    for (size_t i = 0; i < p->n_choices && !found; i++)
        found = p->choices[i].turns || p->choices[i].when == step;
    return found;
}

static sd_status add_change(parser *p, int end, sd_text_changes *out) {
    sd_status status = reserve(p, &out->at, &out->capacity, out->n + 1, sizeof *out->at);
    char *text = status ? NULL : read_at(p, end);
    if (text)
        out->at[out->n++] = (sd_text_change){end, text};
    return text ? SD_OK : SD_ERROR_MEMORY;
}

sd_status sdi_text_changes(const sd_context *ctx, const char *text, int steps,
                           sd_text_changes *out) {
    parser p = {.ctx = ctx, .text = text, .steps = steps};
    *out = (sd_text_changes){0};
    p.jumps = sdi_alloc_array(ctx, strlen(text) + 1, sizeof *p.jumps);
    sd_status status = p.jumps ? parse(&p) : SD_ERROR_MEMORY;
    for (int step = 1; step <= steps && !status; step++)
        if (ends(&p, step))
            status = add_change(&p, step, out);
    void *const arrays[] = {p.choices, p.cuts, p.open, p.pending, p.jumps};
    for (size_t i = 0; i < SD_COUNT(arrays); i++)
        sdi_free(ctx, arrays[i]);
    if (status)
        sdi_text_changes_free(ctx, out);
    return status;
}

void sdi_text_changes_free(const sd_context *ctx, sd_text_changes *changes) {
    for (size_t i = 0; i < changes->n; i++)
        sdi_free(ctx, changes->at[i].text);
    sdi_free(ctx, changes->at);
    *changes = (sd_text_changes){0};
}

/* ---------------------------------------------------------------------------------------- AND */

/* ":0.7" with white space around it at the end of text[0 .. n - 1]: where it begins; else n. */
static size_t find_weight(const char *text, size_t n, double *weight) {
    size_t colon = n;
    while (colon > 0 && text[colon - 1] != ':')
        colon--;
    const char *s = text + colon;
    while (colon > 0 && s < text + n && sdi_is_space(*s))
        s++;
    double value;
    s = colon > 0 ? sdi_prompt_number(s, &value) : NULL;
    if (s != text + n)
        return n;
    *weight = value;
    return colon - 1;
}

static size_t trim(const char *text, size_t n) {
    while (n > 0 && sdi_is_space(text[n - 1]))
        n--;
    return n;
}

sd_text_term sdi_text_next_term(const char **rest) {
    const char *text = *rest;
    size_t all = strlen(text), n = sdi_prompt_find_word(text, 0, all, "AND");
    sd_text_term term = {.text = text, .weight = 1.0};
    *rest = n < all ? text + n + 3 : NULL;
    n = trim(text, n);
    term.n = trim(text, find_weight(text, n, &term.weight));
    return term;
}
