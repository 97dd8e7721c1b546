/* Tensors and weights of the tests' cases on a device. */
#include "kernels.h"

#include "backend/ops.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GUARD 64 /* elements before and after each tensor */
#define BENCH_SECONDS 0.5

void kt_stop(const char *format, ...) {
    va_list args;
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    printf("\n");
    exit(1);
}

/* ------------------------------------------------------------------------------ random numbers */

/* splitmix64 (Steele, Lea and Flood 2014) */
uint64_t kt_bits(kt_rng *r) {
    uint64_t z = r->state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

int kt_below(kt_rng *r, int n) {
    return (int)(kt_bits(r) % (uint64_t)n);
}

int kt_pick(kt_rng *r, int n, const int *numbers) {
    return numbers[kt_below(r, n)];
}

/* The sum of four uniform numbers has variance 1/3. */
double kt_normal(kt_rng *r) {
    uint64_t bits = kt_bits(r);
    double sum = 0;
    for (int i = 0; i < 4; i++, bits >>= 16)
        sum += ((double)(bits & 0xffff) + 0.5) / 65536.0;
    return (sum - 2.0) * 1.7320508075688772;
}

/* --------------------------------------------------------------- elements, apart from libsd's own
 */

static double get(sdb_type type, const void *data, size_t i) {
    uint16_t h = type == SDB_F16 || type == SDB_BF16 ? ((const uint16_t *)data)[i] : 0;
    uint32_t bits = (uint32_t)h << 16;
    float f;
    switch (type) {
    case SDB_F32:
        return ((const float *)data)[i];
    case SDB_F64:
        return ((const double *)data)[i];
    case SDB_I32:
        return ((const int32_t *)data)[i];
    case SDB_F16:
        if ((h >> 10 & 31) == 31)
            return h & 1023 ? (double)NAN : (h >> 15 ? -1.0 : 1.0) * (double)INFINITY;
        return (h >> 15 ? -1.0 : 1.0) * (h >> 10 & 31
                                             ? ldexp(1024 + (h & 1023), (h >> 10 & 31) - 25)
                                             : ldexp(h & 1023, -24));
    default:
        memcpy(&f, &bits, sizeof f);
        return f;
    }
}

/* Drops `drop` low bits of `bits`, rounding to nearest even. */
static uint32_t round_bits(uint32_t bits, int drop) {
    uint32_t half = 1u << (drop - 1);
    return (bits + half - 1 + (bits >> drop & 1)) >> drop;
}

static void put(sdb_type type, void *data, size_t i, double value) {
    float f = (float)value;
    uint32_t bits, sign;
    memcpy(&bits, &f, sizeof bits);
    sign = bits >> 16 & 0x8000;
    switch (type) {
    case SDB_F32:
        ((float *)data)[i] = f;
        break;
    case SDB_F64:
        ((double *)data)[i] = value;
        break;
    case SDB_I32:
        ((int32_t *)data)[i] = (int32_t)value;
        break;
    case SDB_F16: /* numbers of the tests are finite; those too small for a normal are dropped */
        bits = round_bits(bits & 0x7fffffff, 13);
        bits = bits < 113u << 10 ? 0 : bits - (112u << 10);
        ((uint16_t *)data)[i] = (uint16_t)(sign | (bits < 0x7c00 ? bits : 0x7c00));
        break;
    default:
        ((uint16_t *)data)[i] = (uint16_t)round_bits(bits, 16);
        break;
    }
}

/* A quiet NaN of each float type; `guard` and poison differ in their payload. */
static void put_nan(sdb_type type, void *data, size_t i, bool guard) {
    static const uint16_t half[2] = {0x7fff, 0x7e55};
    static const uint32_t single[2] = {0x7fffffff, 0x7fc12345};
    if (type == SDB_F16 || type == SDB_BF16)
        ((uint16_t *)data)[i] = half[guard];
    else if (type == SDB_F32)
        memcpy((char *)data + i * 4, &single[guard], 4);
    else
        memset((char *)data + i * sdb_type_size(type), 0x7f, sdb_type_size(type));
}

/* -------------------------------------------------------------------------------------- tensors */

static void failed(kt_device *d, const char *format, ...) {
    va_list args;
    if (d->status == KT_FAILED)
        return; /* the first one matters */
    d->status = KT_FAILED;
    va_start(args, format);
    vsnprintf(d->message, sizeof d->message, format, args);
    va_end(args);
}

static bool check(kt_device *d, sd_status status, const char *what) {
    if (status != SD_OK)
        failed(d, "%s: status %d, %s", what, (int)status, kt_host_error(d->host));
    return status == SD_OK;
}

typedef enum fill_kind { FILL_RANDOM, FILL_POISON, FILL_VALUES } fill_kind;

typedef struct fill {
    fill_kind kind;
    bool output, scratch;
    double mean, std;
    const double *values;
} fill;

static double next_value(kt_device *d, const fill *f, size_t i) {
    double value[1];
    if (f->kind == FILL_VALUES)
        return f->values[i];
    put(d->round, value, 0, f->mean + f->std * kt_normal(&d->rng));
    return get(d->round, value, 0);
}

static sdb_tensor make(kt_device *d, sdb_type type, int n, int h, int w, int c, int margin,
                       fill f) {
    int first = margin > 2 ? 3 : margin > 0 ? 1 : 0;
    sdb_tensor t = {.type = type, .n = n, .h = h, .w = w, .c = c, .ld = c + margin};
    size_t pixels = (size_t)n * (size_t)h * (size_t)w, ld = (size_t)t.ld;
    size_t count = pixels * ld + 2 * GUARD, start = GUARD + (size_t)first;
    if (d->planning || d->status != KT_OK || d->n_buffers == 32)
        return t;

    kt_buffer *b = &d->buffers[d->n_buffers++];
    *b = (kt_buffer){.size = count * sdb_type_size(type), .output = f.output, .scratch = f.scratch};
    b->before = malloc(b->size);
    for (size_t i = 0; i < count; i++)
        put_nan(type, b->before, i, true);
    for (size_t i = 0; i < pixels * (size_t)c; i++) {
        size_t at = start + i / (size_t)c * ld + i % (size_t)c;
        if (f.kind == FILL_POISON)
            put_nan(type, b->before, at, false);
        else
            put(type, b->before, at, next_value(d, &f, i));
    }
    if (check(d, d->api->buffer_alloc(d->dev, b->size, &b->device), "buffer_alloc") &&
        check(d, d->api->upload(d->queue, b->device, b->before, b->size), "upload"))
        t.data = (char *)b->device + start * sdb_type_size(type);
    b->view = t;
    return t;
}

sdb_tensor kt_input(kt_device *d, int n, int h, int w, int c, int margin) {
    return make(d, d->act, n, h, w, c, margin, (fill){.std = 1.0});
}

sdb_tensor kt_input_with(kt_device *d, int n, int h, int w, int c, int margin, double mean,
                         double std) {
    return make(d, d->act, n, h, w, c, margin, (fill){.mean = mean, .std = std});
}

sdb_tensor kt_output_typed(kt_device *d, sdb_type type, int n, int h, int w, int c, int margin) {
    return make(d, type, n, h, w, c, margin, (fill){.kind = FILL_POISON, .output = true});
}

sdb_tensor kt_output(kt_device *d, int n, int h, int w, int c, int margin) {
    return kt_output_typed(d, d->act, n, h, w, c, margin);
}

sdb_tensor kt_inout_with(kt_device *d, int n, int h, int w, int c, int margin, double mean,
                         double std) {
    return make(d, d->act, n, h, w, c, margin, (fill){.output = true, .mean = mean, .std = std});
}

sdb_tensor kt_inout(kt_device *d, int n, int h, int w, int c, int margin) {
    return kt_inout_with(d, n, h, w, c, margin, 0.0, 1.0);
}

sdb_tensor kt_scratch(kt_device *d, sdb_type type, int n, int h, int w, int c) {
    return make(d, type, n, h, w, c, 0, (fill){.kind = FILL_POISON, .scratch = true});
}

sdb_tensor kt_values(kt_device *d, sdb_type type, int n, int c, const double *values) {
    return make(d, type, n, 1, 1, c, 0, (fill){.kind = FILL_VALUES, .values = values});
}

/* -------------------------------------------------------------------------------------- weights */

/* `n` random elements at an odd address. */
static char *odd_source(kt_device *d, sdb_type type, size_t n, double mean, double std) {
    size_t size = sdb_type_size(type);
    char *source = malloc(n * size + 1);
    double element[1];
    for (size_t i = 0; i < n; i++) {
        put(type, element, 0, mean + std * kt_normal(&d->rng));
        memcpy(source + 1 + i * size, element, size);
    }
    return source;
}

static const sdb_weight *prepare(kt_device *d, const sdb_weight_desc *desc) {
    sdb_weight *weight = NULL;
    if (d->status != KT_OK || d->n_weights == 4)
        return NULL;
    if (!check(d, d->api->weight_prepare(d->dev, desc, &weight), "weight_prepare"))
        return NULL;
    if (d->api->weight_size(weight) == 0)
        failed(d, "weight_size is 0");
    return d->weights[d->n_weights++] = weight;
}

const sdb_weight *kt_weight(kt_device *d, const kt_weight_args *args) {
    sdb_weight_part parts[8], bias[8];
    char *sources[16];
    size_t sizes[16];
    int n_parts = args->n_parts ? args->n_parts : 1, n_sources = 0;
    size_t in = (size_t)args->in * (args->kind == SDB_WEIGHT_CONV3X3 ? 9 : 1);
    double std = args->kind == SDB_WEIGHT_EMBEDDING ? 1.0 : 1.0 / sqrt((double)in);
    for (int p = 0; p < n_parts; p++) {
        sdb_type type = args->mixed && p % 2 ? SDB_F32 : args->type;
        size_t rows = (size_t)args->rows[p];
        parts[p] = (sdb_weight_part){NULL, type, args->rows[p]};
        bias[p] = (sdb_weight_part){NULL, type, args->rows[p]};
        sizes[n_sources] = rows * in * sdb_type_size(type);
        sources[n_sources] = args->gamma ? odd_source(d, type, rows, 1.0, 0.5)
                                         : odd_source(d, type, rows * in, 0.0, std);
        parts[p].data = sources[n_sources++] + 1;
        if (args->bias >> p & 1) {
            sizes[n_sources] = rows * sdb_type_size(type);
            sources[n_sources] = odd_source(d, type, rows, 0.0, 0.5);
            bias[p].data = sources[n_sources++] + 1;
        }
    }
    const sdb_weight *weight =
        prepare(d, &(sdb_weight_desc){.kind = args->kind,
                                      .in = args->in,
                                      .n_parts = n_parts,
                                      .parts = parts,
                                      .bias = args->bias || args->bias_list ? bias : NULL,
                                      .compute = d->act,
                                      .upsample = args->upsample});
    for (int i = 0; i < n_sources; i++) {
        memset(sources[i], 0xff, sizes[i] + 1); /* nothing may be read from there later */
        free(sources[i]);
    }
    return weight;
}

const sdb_weight *kt_weight_values(kt_device *d, sdb_weight_kind kind, int rows, int in,
                                   const float *values, const float *bias) {
    sdb_weight_part part = {values, SDB_F32, rows}, bias_part = {bias, SDB_F32, rows};
    return prepare(d, &(sdb_weight_desc){.kind = kind,
                                         .in = in,
                                         .n_parts = 1,
                                         .parts = &part,
                                         .bias = bias ? &bias_part : NULL,
                                         .compute = d->act});
}

/* ----------------------------------------------------------------------------------------- runs */

static bool more(kt_device *d, int rep) {
    double spent = 0;
    for (int i = 0; i < d->reps; i++)
        spent += d->times[i];
    bool first = rep == 0, enough = spent > BENCH_SECONDS && rep >= 4;
    if (d->status != KT_OK || (!first && (!d->bench || d->planning || rep > 200 || enough)))
        return false;
    d->started_allocations = kt_host_allocations(d->host);
    d->started = kt_now(kt_host_api(d->host)->n_threads);
    return true;
}

/* The first run of a benchmark is not counted: it warms the caches. */
static void ran(kt_device *d, int rep, sd_status status) {
    if (!check(d, status, d->planning ? "planning" : "operation"))
        return;
    if (kt_host_allocations(d->host) != d->started_allocations)
        failed(d, "the operation allocated memory");
    if (d->bench && rep > 0 && check(d, d->api->sync(d->queue), "sync")) {
        kt_time now = kt_now(kt_host_api(d->host)->n_threads);
        d->times[d->reps] = now.wall - d->started.wall;
        d->cpu_times[d->reps++] = now.cpu - d->started.cpu;
    }
}

/* A result lies over operands whose roles let it, and no others: the planner goes by the roles. */
static void check_roles(const sdb_op *op) {
    sdb_op copy = *op;
    const sd_operand *all = sdi_op_operands(op->kind), *y = all;
    while (y->role != SD_ROLE_OUT)
        y++;
    const void *result = sdi_operand_tensor(&copy, y)->data;
    for (const sd_operand *o = all; o->role && result; o++)
        KT_REQUIRE(o->role != SD_ROLE_IN || sdi_operand_tensor(&copy, o)->data != result,
                   "%s: the result lies over an operand of another role", sdi_op_name(op->kind));
}

void kt_run_op(kt_device *d, const sdb_op *op) {
    check_roles(op);
    if (d->status == KT_OK && !d->api->run[op->kind])
        d->status = KT_SKIPPED;
    for (int rep = 0; more(d, rep); rep++)
        ran(d, rep, d->api->run[op->kind](d->queue, op));
}

static void release(kt_device *d) {
    for (int i = 0; i < d->n_weights; i++)
        d->api->weight_free(d->dev, d->weights[i]);
    for (int i = 0; i < d->n_buffers; i++) {
        d->api->buffer_free(d->dev, d->buffers[i].device);
        free(d->buffers[i].before);
    }
    d->n_weights = d->n_buffers = 0;
}

/* Is element `at` of the allocation inside the view? */
static bool inside(const kt_buffer *b, size_t at) {
    const sdb_tensor *t = &b->view;
    size_t start = (size_t)((char *)t->data - (char *)b->device) / sdb_type_size(t->type);
    size_t pixels = (size_t)t->n * (size_t)t->h * (size_t)t->w, ld = (size_t)t->ld;
    return at >= start && (at - start) / ld < pixels && (at - start) % ld < (size_t)t->c;
}

/* Checks what must not have changed, and appends an output's elements to *out. */
static void collect(kt_device *d, int index, double **out, size_t *n) {
    const kt_buffer *b = &d->buffers[index];
    size_t size = sdb_type_size(b->view.type), count = b->size / size;
    char *after = malloc(b->size);
    if (check(d, d->api->download(d->queue, after, b->device, b->size), "download") && b->output)
        *out = realloc(*out, (*n + count) * sizeof **out);
    for (size_t i = 0; d->status == KT_OK && i < count; i++) {
        bool in_view = inside(b, i);
        if (b->output && in_view)
            (*out)[(*n)++] = get(b->view.type, after, i);
        else if (!(b->scratch && in_view) &&
                 memcmp(after + i * size, b->before + i * size, size) != 0)
            failed(d, "tensor %d (%s): element %ld of the allocation, %s the view, was overwritten",
                   index, b->output ? "output" : "input", (long)i - GUARD,
                   in_view ? "inside" : "outside");
    }
    free(after);
}

kt_status kt_run(kt_device *d, kt_run_fn run, const void *test_case, uint64_t seed, double **out,
                 size_t *n) {
    d->status = KT_OK;
    d->message[0] = 0;
    d->reps = 0;
    *out = NULL;
    *n = 0;
    for (int pass = 0; pass < 2 && d->status == KT_OK; pass++) {
        release(d);
        d->planning = pass == 0;
        d->rng.state = seed;
        if (check(d, d->api->queue_plan(d->queue, d->planning), "queue_plan"))
            run(d, test_case);
    }
    if (d->status == KT_OK && check(d, d->api->sync(d->queue), "sync") && !d->bench)
        for (int i = 0; i < d->n_buffers; i++)
            collect(d, i, out, n);
    release(d);
    return d->status;
}

kt_device *kt_open(const sdb_backend *api, int index, int n_threads) {
    kt_device *d = calloc(1, sizeof *d);
    sdb_device_info info;
    d->api = api;
    d->index = index;
    d->host = kt_host_new(n_threads);
    if (api->device_open(kt_host_api(d->host), index, &d->dev) != SD_OK) {
        KT_REQUIRE(kt_host_live(d->host) == 0, "%s:%d: device_open failed and left memory",
                   api->name, index);
        kt_host_free(d->host);
        free(d);
        return NULL;
    }
    api->device_info(d->dev, &info);
    snprintf(d->label, sizeof d->label, "%s", info.name);
    d->act = d->round = SDB_F32;
    KT_REQUIRE(api->queue_new(d->dev, &d->queue) == SD_OK, "%s: queue_new failed", d->label);
    return d;
}

void kt_close(kt_device *d) {
    if (!d)
        return;
    d->api->queue_free(d->queue);
    d->api->device_close(d->dev);
    KT_REQUIRE(kt_host_live(d->host) == 0, "%s: %ld blocks of memory were left", d->label,
               kt_host_live(d->host));
    kt_host_free(d->host);
    free(d);
}

double *kt_reference(kt_run_fn run, const void *test_case, size_t *n) {
    double *out;
    kt_device *d = kt_open(&sdb_reference_backend, 0, 2);
    kt_status status = kt_run(d, run, test_case, 1, &out, n);
    KT_REQUIRE(status == KT_OK, "reference: %s", d->message);
    kt_close(d);
    return out;
}
