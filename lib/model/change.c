/* Rows of tensors with all that adapters add to them. */
#include "model/change.h"

#include "core/threads.h"
#include "model/arithmetic.h"

#include <math.h>
#include <string.h>

static size_t row_size(const sd_delta_shape *s) {
    return (size_t)s->in * (size_t)s->taps;
}

/* ------------------------------------------------------------------------- which */

/* The module of a use that changes these rows; NULL: none does. A strength of 0 is no use. */
static const sd_adapter_module *find(const sd_use *use, unsigned net, const sd_path *path,
                                     bool bias) {
    bool used = sdi_use_strength(use, net) != 0.0;
    const sd_adapter_module *m = used ? sdi_adapter_find_path(use->adapter, net, path) : NULL;
    return m && sdi_delta_kind(m, bias) ? m : NULL;
}

bool sdi_uses_touch(const sd_uses *uses, unsigned net, const sd_path *path, int rows, bool bias) {
    sd_module_rows modules[3];
    int n = uses->n ? sdi_path_modules(path, rows, modules) : 0;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < uses->n; k++)
            if (find(&uses->at[k], net, &modules[i].path, bias))
                return true;
    return false;
}

/* ------------------------------------------------------------------------- tiles */

/* y += strength (f (W + delta) - W), where y has delta to begin with. */
static void decompose(const sd_dora *dora, const sd_delta_shape *s, const sd_tile *t, float *y,
                      size_t ld) {
    for (int r = 0; r < t->rows; r++) {
        const float *base = t->base + (size_t)r * t->ld, *delta = t->y + (size_t)r * t->ld;
        for (size_t c = 0; c < t->columns; c++) {
            size_t at = dora->of_inputs ? (t->column + c) / (size_t)s->taps : (size_t)(t->row + r);
            float w = base[c];
            y[(size_t)r * ld + c] += dora->strength * (dora->factors[at] * (w + delta[c]) - w);
        }
    }
}

/* The tile's rows of one term, which has them all; t is in the term's rows. */
static void add_term(const sd_change_term *term, const sd_tile *t) {
    float y[SD_TILE_ROWS * SD_TILE_COLUMNS];
    if (!term->dora.factors) {
        sdi_delta_add(&term->delta, t);
        return;
    }
    sd_tile own = *t;
    memset(y, 0, sizeof y);
    own.y = y;
    sdi_delta_add(&term->delta, &own);
    decompose(&term->dora, &term->delta.shape, &own, t->y, t->ld);
}

/* A term may have some of the tile's rows. */
static void add_rows(const sd_change_term *term, const sd_tile *t) {
    int first = term->first, end = first + term->delta.shape.rows;
    int from = t->row > first ? t->row : first;
    int to = t->row + t->rows < end ? t->row + t->rows : end;
    size_t skip = from > t->row ? (size_t)(from - t->row) * t->ld : 0;
    sd_tile part = *t;
    if (from >= to)
        return;
    part.y += skip;
    part.base += skip;
    part.row = from - first;
    part.rows = to - from;
    add_term(term, &part);
}

/* Rows of a tile at x, `ld` elements apart: widened, changed, rounded. */
static void change_tile(const sd_change *c, sd_tile t, uint8_t *x, size_t ld) {
    float y[SD_TILE_ROWS * SD_TILE_COLUMNS], base[SD_TILE_ROWS * SD_TILE_COLUMNS];
    const sd_arithmetic *a = sdi_arithmetic();
    size_t row_bytes = ld * sdb_type_size(c->from);
    for (int r = 0; r < t.rows; r++)
        a->widen(y + r * SD_TILE_COLUMNS, x + (size_t)r * row_bytes, c->from, t.columns);
    if (c->n_dora)
        memcpy(base, y, sizeof base); /* columns that the tile lacks, too */
    t.base = base;
    t.y = y;
    t.ld = SD_TILE_COLUMNS;
    for (int i = 0; i < c->n; i++)
        add_rows(&c->terms[i], &t);
    for (int r = 0; r < t.rows; r++)
        a->narrow(x + (size_t)r * row_bytes, y + r * SD_TILE_COLUMNS, c->to, t.columns);
}

/* Rows with the same columns of each, one behind the other at x. Columns go outside, so that what a
 * product reads of them stays in the cache. */
static void change_rectangle(const sd_change *c, const sd_tile *all, uint8_t *x) {
    size_t size = sdb_type_size(c->from);
    for (size_t k = 0; k < all->columns; k += SD_TILE_COLUMNS) {
        size_t left = all->columns - k;
        for (int r = 0; r < all->rows; r += SD_TILE_ROWS) {
            sd_tile t = {.row = all->row + r, .column = all->column + k};
            t.rows = all->rows - r < SD_TILE_ROWS ? all->rows - r : SD_TILE_ROWS;
            t.columns = left < SD_TILE_COLUMNS ? left : SD_TILE_COLUMNS;
            change_tile(c, t, x + ((size_t)r * all->columns + k) * size, all->columns);
        }
    }
}

/* A bias, which is one long row of one number each, goes through here too: as rows of one column it
 * would be slow, but it is short. */
void sdi_change_apply(const sd_change *c, size_t first, size_t n, void *x) {
    size_t columns = row_size(&c->shape), size = sdb_type_size(c->from);
    uint8_t *at = x;
    while (n > 0) {
        sd_tile t = {.row = (int)(first / columns), .column = first % columns};
        bool whole = t.column == 0 && n >= columns;
        size_t left = columns - t.column, now = left < n ? left : n;
        t.rows = whole ? (int)(n / columns) : 1;
        t.columns = whole ? columns : now;
        now = (size_t)t.rows * t.columns;
        change_rectangle(c, &t, at);
        first += now;
        n -= now;
        at += now * size;
    }
}

size_t sdi_change_count(const sd_change *c) {
    return (size_t)c->shape.rows * row_size(&c->shape);
}

/* ------------------------------------------------------------------------- DoRA's norms */

#define NORM_TASKS 16 /* blocks of rows, whose sums are added in their order */

typedef struct norms {
    const sd_change_term *term;
    const sd_decoder *decoder;
    sdb_type from;
    double *sums; /* [rows], or of inputs [NORM_TASKS][in] */
    bool of_inputs;
    uint8_t *rows; /* [NORM_TASKS][a row, and it as float32 twice] */
    size_t stride;
    atomic_int status;
} norms;

/* W + delta of a row into y; x takes what is read, and base is it in float32. */
static sd_status merged_row(norms *n, int row, uint8_t *x, float *base, float *y) {
    const sd_delta *d = &n->term->delta;
    size_t columns = row_size(&d->shape);
    size_t at = (size_t)(n->term->first + row) * columns;
    sd_status status = sdi_decoder_read(n->decoder, at, columns, x);
    if (status)
        return status;
    sdi_arithmetic()->widen(base, x, n->from, columns);
    memcpy(y, base, columns * sizeof *y);
    for (size_t k = 0; k < columns; k += SD_TILE_COLUMNS) {
        size_t left = columns - k;
        sd_tile t = {.y = y + k, .base = base + k, .ld = columns, .row = row, .rows = 1};
        t.column = k;
        t.columns = left < SD_TILE_COLUMNS ? left : SD_TILE_COLUMNS;
        sdi_delta_add(d, &t);
    }
    return SD_OK;
}

static void norm_task(void *arg, int task, int worker) {
    norms *n = arg;
    const sd_delta_shape *s = &n->term->delta.shape;
    size_t columns = row_size(s);
    uint8_t *x = n->rows + (size_t)task * n->stride;
    float *base = (float *)(void *)x + columns, *y = base + columns;
    int rows = (s->rows + NORM_TASKS - 1) / NORM_TASKS, first = task * rows;
    double *inputs = n->sums + (size_t)task * (size_t)s->in;
    (void)worker;
    for (int r = first; r < first + rows && r < s->rows; r++) {
        sd_status status = merged_row(n, r, x, base, y);
        if (status)
            atomic_store(&n->status, (int)status);
        for (size_t c = 0; c < columns && !status; c++)
            (n->of_inputs ? inputs : n->sums)[n->of_inputs ? c / (size_t)s->taps : (size_t)r] +=
                (double)y[c] * (double)y[c];
    }
}

/* Factors of the sums, where they stand. */
static void finish_norms(const norms *n, int count, float *factors) {
    for (int i = 0; i < count; i++) {
        double sum = n->of_inputs ? 0.0 : n->sums[i];
        for (int t = 0; t < NORM_TASKS && n->of_inputs; t++)
            sum += n->sums[(size_t)t * (size_t)count + (size_t)i];
        factors[i] = (float)((double)factors[i] / (sqrt(sum) + 1.1920928955078125e-07));
    }
}

/* LyCORIS' magnitudes are [out, 1, ...] or, of older files, [1, in, 1, ...]; PEFT's are of outputs,
 * in whichever shape. */
static sd_status read_magnitudes(const sd_change *c, sd_change_term *term) {
    const sd_adapter_module *m = term->delta.module;
    const sd_entry *e =
        m->tensors[SD_MAGNITUDE] ? m->tensors[SD_MAGNITUDE] : m->tensors[SD_DORA_SCALE];
    const sd_delta_shape *s = &term->delta.shape;
    size_t n = sdi_entry_elements(e);
    bool first = e->n_dims > 0 && e->dims[0] == s->rows;
    term->dora.of_inputs = !m->tensors[SD_MAGNITUDE] && !first;
    if (n != (size_t)(term->dora.of_inputs ? s->in : s->rows))
        return sdi_fail(
            c->ctx, SD_ERROR_MODEL,
            "%s: tensor '%s' has %zu numbers; one for each of %d outputs, or of %d inputs, "
            "was expected",
            term->delta.adapter->path, e->name, n, s->rows, s->in);
    return sdi_adapter_numbers(c->ctx, term->delta.adapter, e, &term->dora.factors);
}

/* The tensor is read once more for them. */
static sd_status find_norms(const sd_change *c, sd_change_term *term,
                            const sd_changed_tensor *tensor, const sd_decoder *decoder) {
    const sd_delta_shape *s = &term->delta.shape;
    size_t columns = row_size(s);
    if (tensor->transposed)
        return sdi_fail(c->ctx, SD_ERROR_UNSUPPORTED,
                        "%s: DoRA of '%s', which %s has with rows and columns exchanged, is not "
                        "supported",
                        term->delta.adapter->path, term->delta.module->key,
                        sdi_weights_path(tensor->weights, tensor->entry));
    norms n = {
        .term = term, .decoder = decoder, .from = c->from, .of_inputs = term->dora.of_inputs};
    atomic_init(&n.status, SD_OK);
    n.stride = 3 * columns * sizeof(float);
    n.rows = sdi_alloc_array(c->ctx, NORM_TASKS, n.stride);
    n.sums = sdi_alloc_array(c->ctx, n.of_inputs ? NORM_TASKS * (size_t)s->in : (size_t)s->rows,
                             sizeof *n.sums);
    sd_status status = n.rows && n.sums ? SD_OK : SD_ERROR_MEMORY;
    if (!status) {
        sdi_parallel_for(c->ctx, NORM_TASKS, norm_task, &n);
        status = (sd_status)atomic_load(&n.status);
        if (status)
            sdi_weights_fail(tensor->weights, tensor->entry, status);
        else
            finish_norms(&n, n.of_inputs ? s->in : s->rows, term->dora.factors);
    }
    sdi_free(c->ctx, n.rows);
    sdi_free(c->ctx, n.sums);
    return status;
}

/* ------------------------------------------------------------------------- making one */

static bool is_dora(const sd_adapter_module *m, bool bias) {
    return !bias && (m->tensors[SD_DORA_SCALE] || m->tensors[SD_MAGNITUDE]);
}

/* One use's change of a module's rows. */
static sd_status add_use(sd_change *c, const sd_use *use, const sd_changed_tensor *tensor,
                         const sd_module_rows *rows, const sd_decoder *decoder) {
    const sd_adapter_module *m = find(use, tensor->net, &rows->path, tensor->shape.bias);
    if (!m)
        return SD_OK;
    sd_change_term *term = &c->terms[c->n++];
    sd_delta_shape shape = tensor->shape;
    double strength = sdi_use_strength(use, tensor->net);
    bool dora = is_dora(m, shape.bias);
    shape.rows = rows->rows;
    *term = (sd_change_term){.first = rows->first, .dora = {.strength = (float)strength}};
    sd_status status =
        sdi_delta_read(&term->delta, c->ctx, use->adapter, m, &shape, dora ? 1.0 : strength);
    c->n_dora += dora;
    if (!status && dora)
        status = read_magnitudes(c, term);
    return status || !dora ? status : find_norms(c, term, tensor, decoder);
}

static sd_status add_all(sd_change *c, const sd_uses *uses, const sd_changed_tensor *tensor,
                         const sd_module_rows *modules, int n) {
    sd_decoder decoder;
    sd_status status =
        sdi_decoder_open(c->ctx, tensor->weights, tensor->entry, tensor->shape.rows, &decoder);
    sdb_type type = sdi_decoded_type(decoder.type);
    c->from = type;
    c->to = type == SDB_F32 || tensor->compute == SDB_F32 ? type : tensor->compute;
    for (int i = 0; i < n; i++)
        for (int k = 0; k < uses->n && !status; k++)
            status = add_use(c, &uses->at[k], tensor, &modules[i], &decoder);
    sdi_decoder_close(c->ctx, &decoder);
    return status;
}

sd_status sdi_change_new(sd_context *ctx, const sd_uses *uses, const sd_changed_tensor *tensor,
                         sd_change **out) {
    const sd_delta_shape *s = &tensor->shape;
    sd_module_rows modules[3];
    *out = NULL;
    if (!sdi_uses_touch(uses, tensor->net, tensor->path, s->rows, s->bias))
        return SD_OK;
    int n = sdi_path_modules(tensor->path, s->rows, modules);
    sd_change *c = sdi_zalloc(ctx, sizeof *c + (size_t)(n * uses->n) * sizeof *c->terms);
    if (!c)
        return SD_ERROR_MEMORY;
    c->ctx = ctx;
    c->shape = *s;
    sd_status status = add_all(c, uses, tensor, modules, n);
    if (status)
        sdi_change_free(c);
    else
        *out = c;
    return status;
}

void sdi_change_free(sd_change *c) {
    for (int i = 0; c && i < c->n; i++) {
        sdi_delta_free(&c->terms[i].delta);
        sdi_free(c->ctx, c->terms[i].dora.factors);
    }
    if (c)
        sdi_free(c->ctx, c);
}
