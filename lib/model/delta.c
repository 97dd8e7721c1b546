/*
 * The kinds of adapters: LoRA (Hu et al. 2021), LoHa (Hyeon-Woo et al. 2022) and LoKr (Yeh et al.
 * 2023) with their Tucker forms for convolutions, as LyCORIS' functional code has them, and full
 * differences.
 */
#include "model/delta.h"

#include "core/expect.h"
#include "core/tensor.h"
#include "io/decode.h"
#include "model/arithmetic.h"

#include <string.h>

#define MAX_RANK 65536

/* ------------------------------------------------------------------------- tensors */

/* A 16-bit number takes half the room of its float32: it is read into the second half, and widened
 * from there on, front to back. */
static sd_status read_numbers(const sd_decoder *decoder, size_t n, float *out) {
    sdb_type type = sdi_decoded_type(decoder->type);
    uint8_t *at = (uint8_t *)out + n * (sizeof *out - sdb_type_size(type));
    sd_status status = sdi_decoder_read(decoder, 0, n, at);
    if (!status && type != SDB_F32)
        sdi_arithmetic()->widen(out, at, type, n);
    return status;
}

/* Zero times an infinity or NaN is none. */
static bool are_finite(const float *x, size_t n) {
    float sum = 0.0f;
    for (size_t i = 0; i < n; i++)
        sum += 0.0f * x[i];
    return sum == 0.0f;
}

sd_status sdi_adapter_numbers(sd_context *ctx, const sd_adapter *a, const sd_entry *entry,
                              float **out) {
    sd_decoder decoder;
    size_t n = sdi_entry_elements(entry);
    sd_status status = sdi_decoder_check(ctx, a->weights, entry);
    if (status)
        return status;
    *out = sdi_alloc_array(ctx, n ? n : 1, sizeof **out);
    if (!*out)
        return SD_ERROR_MEMORY;
    int rows = entry->n_dims ? (int)entry->dims[0] : 1;
    status = sdi_decoder_open(ctx, a->weights, entry, rows, &decoder);
    if (!status && (status = read_numbers(&decoder, n, *out)))
        sdi_weights_fail(a->weights, entry, status);
    sdi_decoder_close(ctx, &decoder);
    if (!status && !are_finite(*out, n))
        status = sdi_fail(ctx, SD_ERROR_MODEL,
                          "%s: NaN or infinity in tensor '%s' (a training that went wrong?)",
                          a->path, entry->name);
    return status;
}

/* [first, rest in all], where -1 is any number. */
typedef struct wanted {
    int64_t first, rest;
} wanted;

static sd_status misshaped(const sd_delta *d, const sd_entry *e, wanted want) {
    char shape[128];
    const sd_delta_shape *s = &d->shape;
    return sdi_fail(d->ctx, SD_ERROR_MODEL,
                    "%s: tensor '%s' has shape %s; for a %s of %d outputs and %d inputs%s [%lld, "
                    "%lld] was expected: an adapter for another model?",
                    d->adapter->path, e->name,
                    sdi_shape_text(shape, sizeof shape, e->n_dims, e->dims),
                    s->bias ? "bias" : "weight", s->rows, s->in, s->taps > 1 ? " (3x3)" : "",
                    (long long)want.first, (long long)want.rest);
}

/* The numbers of a tensor that has to be there, of that many. */
static sd_status take(const sd_delta *d, sd_adapter_tensor tensor, wanted want, float **out) {
    const sd_entry *e = d->module->tensors[tensor];
    if (!e)
        return sdi_fail(d->ctx, SD_ERROR_MODEL, "%s: the adapter's module '%s' lacks a tensor",
                        d->adapter->path, d->module->key);
    size_t n = sdi_entry_elements(e);
    size_t first = e->n_dims ? (size_t)e->dims[0] : 1, rest = first ? n / first : 0;
    if ((want.first >= 0 && first != (size_t)want.first) ||
        (want.rest >= 0 && rest != (size_t)want.rest) || n == 0)
        return misshaped(d, e, want);
    return sdi_adapter_numbers(d->ctx, d->adapter, e, out);
}

/* The length of a tensor's dimension; 0: it is not there, or has none such. */
static int dim_of(const sd_delta *d, sd_adapter_tensor tensor, int dim) {
    const sd_entry *e = d->module->tensors[tensor];
    int64_t n = e && dim < e->n_dims ? e->dims[dim] : 0;
    return n <= MAX_RANK ? (int)n : 0;
}

static size_t row_size(const sd_delta_shape *s) {
    return (size_t)s->in * (size_t)s->taps;
}

static void scale_by(float *x, size_t n, float scale) {
    for (size_t i = 0; i < n; i++)
        x[i] *= scale;
}

/* ------------------------------------------------------------------------- low rank */

/* [n, m] of x [m, n], allocated. */
static float *transposed(sd_context *ctx, const float *x, int m, int n) {
    float *y = sdi_alloc_array(ctx, (size_t)m * (size_t)n, sizeof *y);
    for (int i = 0; i < m && y; i++)
        for (int j = 0; j < n; j++)
            y[(size_t)j * (size_t)m + (size_t)i] = x[(size_t)i * (size_t)n + (size_t)j];
    return y;
}

/* right[p][i][t] = sum over q of core[p][q][t] factor[q][i]: Tucker's second mode, put together
 * with the core once. */
static float *tucker(sd_context *ctx, const float *core, const float *factor, int p_size,
                     int q_size, int in, int taps) {
    size_t columns = (size_t)in * (size_t)taps;
    float *right = sdi_alloc_array(ctx, (size_t)p_size * columns, sizeof *right);
    for (int p = 0; p < p_size && right; p++)
        for (int q = 0; q < q_size; q++)
            for (int i = 0; i < in; i++)
                for (int t = 0; t < taps; t++)
                    right[(size_t)p * columns + (size_t)(i * taps + t)] +=
                        core[((size_t)p * (size_t)q_size + (size_t)q) * (size_t)taps + (size_t)t] *
                        factor[(size_t)q * (size_t)in + (size_t)i];
    return right;
}

/* The names of a product's tensors: left, right and core (SD_N_ADAPTER_TENSORS: there is none). */
typedef struct factors {
    sd_adapter_tensor left, right, core;
    bool left_is_turned; /* with a core, left is [rank, rows] */
} factors;

static sd_status read_with_core(sd_delta *d, factors f, int rows, int in, sd_low_rank *out) {
    int p = dim_of(d, f.core, 0), q = dim_of(d, f.core, 1), taps = d->shape.taps;
    float *core = NULL, *left = NULL, *right = NULL;
    wanted flat = {rows, p}, turned = {p, rows};
    sd_status status = take(d, f.core, (wanted){p, (int64_t)q * taps}, &core);
    if (!status)
        status = take(d, f.right, (wanted){q, in}, &right);
    if (!status)
        status = take(d, f.left, f.left_is_turned ? turned : flat, &left);
    if (!status) {
        *out = (sd_low_rank){.rank = p, .columns = (size_t)in * (size_t)taps};
        out->right = tucker(d->ctx, core, right, p, q, in, taps);
        out->left = f.left_is_turned ? transposed(d->ctx, left, p, rows) : left;
        left = out->left == left ? NULL : left;
        status = out->left && out->right ? SD_OK : SD_ERROR_MEMORY;
    }
    sdi_free(d->ctx, core);
    sdi_free(d->ctx, left);
    sdi_free(d->ctx, right);
    return status;
}

/* [rows, rank] [rank, in * taps] */
static sd_status read_pair(sd_delta *d, factors f, int rows, int in, sd_low_rank *out) {
    if (f.core != SD_N_ADAPTER_TENSORS && d->module->tensors[f.core])
        return read_with_core(d, f, rows, in, out);
    out->rank = dim_of(d, f.right, 0);
    out->columns = (size_t)in * (size_t)d->shape.taps;
    sd_status status = take(d, f.right, (wanted){out->rank, (int64_t)out->columns}, &out->right);
    return status ? status : take(d, f.left, (wanted){rows, out->rank}, &out->left);
}

static void add_pair(const sd_low_rank *p, float *y, size_t ld, int row, int rows, size_t column,
                     size_t columns) {
    sdi_arithmetic()->multiply_add(y, ld, p->left + (size_t)row * (size_t)p->rank, (size_t)p->rank,
                                   p->right + column, p->columns, rows, columns, p->rank);
}

/* ------------------------------------------------------------------------- LoRA */

static sd_status lora_read(sd_delta *d, float strength) {
    const factors f = {SD_LORA_UP, SD_LORA_DOWN, SD_LORA_MID, false};
    const sd_delta_shape *s = &d->shape;
    sd_low_rank *p = &d->pairs[0];
    sd_status status = read_pair(d, f, s->rows, s->in, p);
    int rank = dim_of(d, SD_LORA_DOWN, 0);
    double scale = status ? 0.0 : sdi_adapter_scale(d->adapter, d->module, rank);
    if (!status)
        scale_by(p->left, (size_t)s->rows * (size_t)p->rank, (float)(scale * (double)strength));
    return status;
}

static void lora_add(const sd_delta *d, const sd_tile *t) {
    add_pair(&d->pairs[0], t->y, t->ld, t->row, t->rows, t->column, t->columns);
}

/* ------------------------------------------------------------------------- LoHa */

static sd_status loha_read(sd_delta *d, float strength) {
    const factors f[2] = {{SD_HADA_W1_A, SD_HADA_W1_B, SD_HADA_T1, true},
                          {SD_HADA_W2_A, SD_HADA_W2_B, SD_HADA_T2, true}};
    const sd_delta_shape *s = &d->shape;
    sd_status status = SD_OK;
    for (int i = 0; i < 2 && !status; i++)
        status = read_pair(d, f[i], s->rows, s->in, &d->pairs[i]);
    sd_low_rank *p = &d->pairs[0];
    double scale =
        status ? 0.0 : sdi_adapter_scale(d->adapter, d->module, dim_of(d, SD_HADA_W1_B, 0));
    if (!status)
        scale_by(p->left, (size_t)s->rows * (size_t)p->rank, (float)(scale * (double)strength));
    return status;
}

static void loha_add(const sd_delta *d, const sd_tile *t) {
    float x[2][SD_TILE_ROWS * SD_TILE_COLUMNS];
    memset(x, 0, sizeof x);
    for (int i = 0; i < 2; i++)
        add_pair(&d->pairs[i], x[i], SD_TILE_COLUMNS, t->row, t->rows, t->column, t->columns);
    for (int r = 0; r < t->rows; r++)
        for (size_t c = 0; c < t->columns; c++)
            t->y[(size_t)r * t->ld + c] +=
                x[0][(size_t)r * SD_TILE_COLUMNS + c] * x[1][(size_t)r * SD_TILE_COLUMNS + c];
}

/* ------------------------------------------------------------------------- LoKr */

/* p's product, allocated; p goes. */
static sd_status multiply_out(sd_context *ctx, sd_low_rank *p, int rows, float **out) {
    *out = sdi_alloc_array(ctx, (size_t)rows * p->columns, sizeof **out);
    if (*out)
        add_pair(p, *out, p->columns, 0, rows, 0, p->columns);
    sdi_free(ctx, p->left);
    sdi_free(ctx, p->right);
    *p = (sd_low_rank){.rank = 0};
    return *out ? SD_OK : SD_ERROR_MEMORY;
}

static sd_status lokr_small(sd_delta *d) {
    const factors f = {SD_LOKR_W1_A, SD_LOKR_W1_B, SD_N_ADAPTER_TENSORS, false};
    bool whole = d->module->tensors[SD_LOKR_W1];
    d->small_rows = dim_of(d, whole ? SD_LOKR_W1 : SD_LOKR_W1_A, 0);
    d->small_in = dim_of(d, whole ? SD_LOKR_W1 : SD_LOKR_W1_B, 1);
    if (whole)
        return take(d, SD_LOKR_W1, (wanted){d->small_rows, d->small_in}, &d->small);
    int taps = d->shape.taps;
    d->shape.taps = 1;
    sd_status status = read_pair(d, f, d->small_rows, d->small_in, &d->pairs[0]);
    d->shape.taps = taps;
    return status ? status : multiply_out(d->ctx, &d->pairs[0], d->small_rows, &d->small);
}

static sd_status lokr_large(sd_delta *d, int rows, int in) {
    const factors f = {SD_LOKR_W2_A, SD_LOKR_W2_B, SD_LOKR_T2, true};
    if (d->module->tensors[SD_LOKR_W2])
        return take(d, SD_LOKR_W2, (wanted){rows, (int64_t)in * d->shape.taps}, &d->numbers);
    sd_status status = read_pair(d, f, rows, in, &d->pairs[0]);
    return status ? status : multiply_out(d->ctx, &d->pairs[0], rows, &d->numbers);
}

/* Without factors there is no rank, and alpha means nothing. */
static double lokr_scale(const sd_delta *d) {
    int rank = dim_of(d, SD_LOKR_W2_B, 0) ? dim_of(d, SD_LOKR_W2_B, 0) : dim_of(d, SD_LOKR_W1_B, 0);
    return rank ? sdi_adapter_scale(d->adapter, d->module, rank) : 1.0;
}

static sd_status lokr_read(sd_delta *d, float strength) {
    const sd_delta_shape *s = &d->shape;
    sd_status status = lokr_small(d);
    if (status)
        return status;
    if (s->rows % d->small_rows || s->in % d->small_in) {
        sd_adapter_tensor first = d->module->tensors[SD_LOKR_W1] ? SD_LOKR_W1 : SD_LOKR_W1_A;
        return misshaped(d, d->module->tensors[first], (wanted){-1, -1});
    }
    status = lokr_large(d, s->rows / d->small_rows, s->in / d->small_in);
    if (!status)
        scale_by(d->small, (size_t)d->small_rows * (size_t)d->small_in,
                 (float)(lokr_scale(d) * (double)strength));
    return status;
}

/* Row (a, c) and columns (b, d, tap): small[a][b] large[c][d, tap]. */
static void lokr_add(const sd_delta *d, const sd_tile *t) {
    int large_rows = d->shape.rows / d->small_rows;
    size_t width = row_size(&d->shape) / (size_t)d->small_in;
    for (int r = 0; r < t->rows; r++) {
        int row = t->row + r;
        const float *small = d->small + (size_t)(row / large_rows) * (size_t)d->small_in;
        const float *large = d->numbers + (size_t)(row % large_rows) * width;
        for (size_t c = 0, n; c < t->columns; c += n) {
            size_t at = (t->column + c) % width, left = t->columns - c;
            float factor = small[(t->column + c) / width];
            n = width - at < left ? width - at : left;
            for (size_t i = 0; i < n; i++)
                t->y[(size_t)r * t->ld + c + i] += factor * large[at + i];
        }
    }
}

/* ------------------------------------------------------------------------- differences */

static sd_status full_read(sd_delta *d, float strength) {
    const sd_delta_kind *k = d->kind;
    sd_adapter_tensor tensor = d->module->tensors[k->tells] ? k->tells : k->other;
    size_t columns = row_size(&d->shape);
    sd_status status = take(d, tensor, (wanted){d->shape.rows, (int64_t)columns}, &d->numbers);
    double scale = 1.0;
    if (!status && tensor == SD_LORA_BIAS)
        scale = sdi_adapter_scale(d->adapter, d->module, dim_of(d, SD_LORA_DOWN, 0));
    if (!status)
        scale_by(d->numbers, (size_t)d->shape.rows * columns, (float)(scale * (double)strength));
    return status;
}

static void full_add(const sd_delta *d, const sd_tile *t) {
    size_t columns = row_size(&d->shape);
    for (int r = 0; r < t->rows; r++) {
        const float *x = d->numbers + (size_t)(t->row + r) * columns + t->column;
        for (size_t c = 0; c < t->columns; c++)
            t->y[(size_t)r * t->ld + c] += x[c];
    }
}

/* ------------------------------------------------------------------------- the table */

static const sd_delta_kind kinds[] = {
    {"LoRA", false, SD_LORA_UP, SD_LORA_DOWN, lora_read, lora_add},
    {"LoHa", false, SD_HADA_W1_A, SD_HADA_W1_B, loha_read, loha_add},
    {"LoKr", false, SD_LOKR_W1, SD_LOKR_W1_A, lokr_read, lokr_add},
    {"full difference", false, SD_DIFF, SD_W_NORM, full_read, full_add},
    {NULL, true, SD_DIFF_B, SD_B_NORM, full_read, full_add},
    {NULL, true, SD_LORA_BIAS, SD_LORA_BIAS, full_read, full_add},
};

const sd_delta_kind *sdi_delta_kind(const sd_adapter_module *m, bool bias) {
    for (size_t i = 0; i < SD_COUNT(kinds); i++)
        if (kinds[i].bias == bias && (m->tensors[kinds[i].tells] || m->tensors[kinds[i].other]))
            return &kinds[i];
    return NULL;
}

int sdi_delta_rank(const sd_adapter_module *m) {
    static const sd_adapter_tensor rows[] = {SD_LORA_DOWN, SD_HADA_W1_B, SD_LOKR_W2_B,
                                             SD_LOKR_W1_B};
    for (size_t i = 0; i < SD_COUNT(rows); i++)
        if (m->tensors[rows[i]] && m->tensors[rows[i]]->n_dims > 0)
            return (int)(m->tensors[rows[i]]->dims[0] & INT32_MAX);
    return 0;
}

sd_status sdi_delta_read(sd_delta *d, sd_context *ctx, const sd_adapter *adapter,
                         const sd_adapter_module *m, const sd_delta_shape *shape, double strength) {
    *d = (sd_delta){.ctx = ctx,
                    .adapter = adapter,
                    .module = m,
                    .kind = sdi_delta_kind(m, shape->bias),
                    .shape = *shape};
    return d->kind->read(d, (float)strength);
}

void sdi_delta_free(sd_delta *d) {
    for (int i = 0; i < 2; i++) {
        sdi_free(d->ctx, d->pairs[i].left);
        sdi_free(d->ctx, d->pairs[i].right);
    }
    sdi_free(d->ctx, d->numbers);
    sdi_free(d->ctx, d->small);
    *d = (sd_delta){.ctx = d->ctx};
}

void sdi_delta_add(const sd_delta *d, const sd_tile *tile) {
    d->kind->add(d, tile);
}
