/* Programs: building, and the check that buffers are assigned once. */
#include "backend/program.h"

#include <string.h>

/* --------------------------------------------------------------------------------- building */

#define SMALLEST 16 /* elements of an array */

/* Room for one more after the n-th, of `size` bytes. */
static sd_status grow(const sd_program *p, void *array, int n, size_t size) {
    void **at = array, *more;
    if (n > 0 && (n < SMALLEST || (n & (n - 1)) != 0)) /* full at SMALLEST and its doubles */
        return SD_OK;
    more = sdi_alloc_array(p->ctx, n > 0 ? 2 * (size_t)n : SMALLEST, size);
    if (!more)
        return SD_ERROR_MEMORY;
    if (n > 0)
        memcpy(more, *at, (size_t)n * size);
    sdi_free(p->ctx, *at);
    *at = more;
    return SD_OK;
}

sd_status sdi_program_new(sd_context *ctx, sd_program **out) {
    sd_program *p = sdi_zalloc(ctx, sizeof *p);
    *out = p;
    if (!p)
        return SD_ERROR_MEMORY;
    p->ctx = ctx;
    atomic_init(&p->refs, 1);
    sdb_tensor none;
    return sdi_program_tensor(p, SDB_F32, 0, 0, 0, 0, &none);
}

void sdi_program_retain(sd_program *p) {
    atomic_fetch_add(&p->refs, 1);
}

void sdi_program_release(sd_program *p) {
    if (!p || atomic_fetch_sub(&p->refs, 1) > 1)
        return;
    sdi_free(p->ctx, p->ops);
    sdi_free(p->ctx, p->buffers);
    sdi_free(p->ctx, p->joints);
    sdi_free(p->ctx, p);
}

sd_status sdi_program_tensor(sd_program *p, sdb_type type, int n, int h, int w, int c,
                             sdb_tensor *out) {
    sd_status status = grow(p, &p->buffers, p->n_buffers, sizeof *p->buffers);
    *out = (sdb_tensor){.type = type, .n = n, .h = h, .w = w, .c = c, .ld = c};
    if (status)
        return status;
    out->buffer = p->n_buffers++;
    p->buffers[out->buffer] = (sd_buffer){.type = type, .pixels = (int64_t)n * h * w, .c = c};
    return SD_OK;
}

sd_status sdi_program_add(sd_program *p, const sdb_op *op) {
    sd_status status = grow(p, &p->ops, p->n_ops, sizeof *p->ops);
    if (!status)
        p->ops[p->n_ops++] = *op;
    return status;
}

sd_status sdi_program_join(sd_program *p, sdb_tensor a, sdb_tensor b, sdb_tensor *out) {
    sd_status status = sdi_program_tensor(p, a.type, a.n, a.h, a.w, a.c + b.c, out);
    if (!status)
        status = grow(p, &p->joints, p->n_joints, sizeof *p->joints);
    if (!status)
        p->joints[p->n_joints++] = (sd_joint){p->n_ops, *out, {a, b}};
    return status;
}

void sdi_program_hold(sd_program *p, sdb_tensor t) {
    p->buffers[t.buffer].held = true;
    p->io[p->n_io++] = t;
}

void sdi_program_end_segment(sd_program *p) {
    p->ends[p->n_segments++] = p->n_ops;
}

double sdi_program_flops(const sd_program *p, int segment) {
    double flops = 0.0;
    for (int i = sdi_segment_begin(p, segment); i < p->ends[segment]; i++)
        flops += sdi_op_flops(&p->ops[i]);
    return flops;
}

/* --------------------------------------------------------------------------------- checking */

/* Pixels and channels of a buffer. */
typedef struct range {
    int64_t pixel, n_pixels;
    int c, n_c;
    int before; /* of the same buffer; -1: none */
} range;

static range range_of(const sd_program *p, sdb_tensor t) {
    const sd_buffer *b = &p->buffers[t.buffer];
    size_t pitch = sdi_buffer_pitch(b), at = (uintptr_t)t.data;
    return (range){(int64_t)(at / pitch), (int64_t)t.n * t.h * t.w,
                   (int)(at % pitch / sdb_type_size(b->type)), t.c};
}

static int64_t shared(int64_t a, int64_t n, int64_t b, int64_t m) {
    int64_t from = a > b ? a : b, to = a + n < b + m ? a + n : b + m;
    return to > from ? to - from : 0;
}

typedef struct checker {
    const sd_program *p;
    range *written; /* in the order of operations */
    int *last;      /* of each buffer */
    int n, begin;   /* ranges of all, and of the segments before */
    sd_status status;
} checker;

/* Elements of `r` that were written so far, by the first `n` writes. */
static int64_t count_written(const checker *k, int buffer, range r, int n) {
    int64_t count = 0;
    for (int i = k->last[buffer]; i >= 0; i = k->written[i].before) {
        const range *w = &k->written[i];
        if (i < n)
            count += shared(w->pixel, w->n_pixels, r.pixel, r.n_pixels) *
                     shared(w->c, w->n_c, r.c, r.n_c);
    }
    return count;
}

static void fail(checker *k, int at, const char *what) {
    const sd_program *p = k->p;
    if (!k->status)
        k->status = sdi_fail(p->ctx, SD_ERROR_INTERNAL, "operation %d of a program, %s, %s", at,
                             at < p->n_ops ? sdi_op_name(p->ops[at].kind) : "the last", what);
}

static void check_read(checker *k, int at, sdb_tensor t) {
    if (t.c == 0 || k->p->buffers[t.buffer].held)
        return;
    range r = range_of(k->p, t);
    if (count_written(k, t.buffer, r, k->n) < r.n_pixels * r.n_c)
        fail(k, at, "reads what was not written");
    else if (count_written(k, t.buffer, r, k->begin) > 0)
        fail(k, at, "reads what another segment wrote and nobody holds");
}

static void check_write(checker *k, int at, sdb_tensor t) {
    if (t.c == 0)
        return;
    range r = range_of(k->p, t);
    if (count_written(k, t.buffer, r, k->n) > 0)
        fail(k, at, "writes what was written before");
    r.before = k->last[t.buffer];
    k->last[t.buffer] = k->n;
    k->written[k->n++] = r;
}

static void check_op(checker *k, int at) {
    sdb_op op = k->p->ops[at];
    const sd_operand *operands = sdi_op_operands(op.kind);
    for (const sd_operand *o = operands; o->role; o++)
        if (o->role == SD_ROLE_IN || o->role == SD_ROLE_OVER)
            check_read(k, at, *sdi_operand_tensor(&op, o));
    for (const sd_operand *o = operands; o->role; o++)
        if (o->role == SD_ROLE_OUT)
            check_write(k, at, *sdi_operand_tensor(&op, o));
}

static void check_joint(checker *k, const sd_joint *joint) {
    for (int i = 0; i < 2; i++)
        check_read(k, joint->at, joint->halves[i]);
    check_write(k, joint->at, joint->y);
}

static void check_all(checker *k) {
    const sd_program *p = k->p;
    int segment = 0, joint = 0;
    for (int i = 0; i < p->n_ops && !k->status; i++) {
        for (; joint < p->n_joints && p->joints[joint].at <= i; joint++)
            check_joint(k, &p->joints[joint]);
        for (; segment < p->n_segments && p->ends[segment] <= i; segment++)
            k->begin = k->n;
        check_op(k, i);
    }
}

sd_status sdi_program_check(const sd_program *p) {
    size_t writes = 2 * (size_t)p->n_ops + (size_t)p->n_joints + 1; /* at most */
    checker k = {.p = p};
    k.written = sdi_alloc_array(p->ctx, writes, sizeof *k.written);
    k.last = sdi_alloc_array(p->ctx, (size_t)p->n_buffers, sizeof *k.last);
    if (!k.written || !k.last)
        k.status = SD_ERROR_MEMORY;
    for (int i = 0; i < p->n_buffers && !k.status; i++)
        k.last[i] = -1;
    check_all(&k);
    sdi_free(p->ctx, k.written);
    sdi_free(p->ctx, k.last);
    return k.status;
}
