/* Programs: the passes that decide where buffers lie. */
#include "backend/program.h"

#include <stdlib.h>
#include <string.h>

#define ALIGNMENT 256

/* --------------------------------------------------------------------------- concatenations */

/* The half can be computed where it is read. */
static bool fits(const sd_program *p, const sd_joint *joint, sdb_tensor half) {
    const sd_buffer *b = &p->buffers[half.buffer];
    return sdi_is_whole(p, half) && half.type == joint->y.type && !b->held && !b->into;
}

/* One more operation, the `at`-th, in the same segment as the one that was there. */
static sd_status insert(sd_program *p, int at, const sdb_op *op) {
    sd_status status = sdi_program_add(p, op);
    if (status)
        return status;
    memmove(&p->ops[at + 1], &p->ops[at], (size_t)(p->n_ops - 1 - at) * sizeof *p->ops);
    p->ops[at] = *op;
    for (int i = 0; i < p->n_joints; i++)
        p->joints[i].at += p->joints[i].at >= at;
    for (int i = 0; i < p->n_segments; i++)
        p->ends[i] += p->ends[i] > at;
    return SD_OK;
}

static sd_status copy_half(sd_program *p, const sd_joint *joint, sdb_tensor half, int first) {
    sdb_op copy = {.kind = SDB_OP_combine, .combine = {.n_terms = 1, .x = {half}}};
    sdb_tensor y = joint->y;
    y.data = (void *)((size_t)first * sdb_type_size(y.type));
    y.c = half.c;
    copy.combine.y = y;
    return insert(p, joint->at, &copy);
}

sd_status sdi_program_concat(sd_program *p) {
    sd_status status = SD_OK;
    for (int i = 0; i < p->n_joints && !status; i++) {
        sd_joint *joint = &p->joints[i];
        for (int k = 0, first = 0; k < 2 && !status; first += joint->halves[k++].c) {
            sd_buffer *b = &p->buffers[joint->halves[k].buffer];
            if (fits(p, joint, joint->halves[k])) {
                b->into = joint->y.buffer;
                b->at = first;
            } else {
                status = copy_half(p, joint, joint->halves[k], first);
            }
        }
    }
    return status;
}

/* ------------------------------------------------------------------------------- statistics */

static sdb_tensor *result_of(sdb_op *op) {
    return op->kind == SDB_OP_conv2d   ? &op->conv2d.y
           : op->kind == SDB_OP_linear ? &op->linear.y
                                       : NULL;
}

static sdb_tensor *stats_of(sdb_op *op) {
    return op->kind == SDB_OP_conv2d ? &op->conv2d.stats : &op->linear.stats;
}

/* The product that made all of a buffer, in the segment of operation `at` and before it, or NULL.
 */
static sdb_op *maker_of(sd_program *p, int buffer, int at) {
    int begin = 0;
    for (int i = 0; i < p->n_segments && p->ends[i] <= at; i++)
        begin = p->ends[i];
    for (int i = at - 1; i >= begin; i--) {
        const sdb_tensor *y = result_of(&p->ops[i]);
        if (y && y->buffer == buffer)
            return sdi_is_whole(p, *y) &&
                           !(p->ops[i].kind == SDB_OP_linear && p->ops[i].linear.geglu)
                       ? &p->ops[i]
                       : NULL;
    }
    return NULL;
}

static const sd_joint *joint_of(const sd_program *p, int buffer) {
    for (int i = 0; i < p->n_joints; i++)
        if (p->joints[i].y.buffer == buffer)
            return &p->joints[i];
    return NULL;
}

/* The buffers that make up x: itself, or the halves that are computed in its place. */
static int parts_of(const sd_program *p, sdb_tensor x, int parts[2]) {
    const sd_joint *joint = joint_of(p, x.buffer);
    parts[0] = x.buffer;
    for (int k = 0; k < 2 && joint; k++) {
        parts[k] = joint->halves[k].buffer;
        if (p->buffers[parts[k]].into != x.buffer)
            return 0;
    }
    return joint ? 2 : 1;
}

static sd_status add_stats(sd_program *p, sdb_op *maker, int n_parts) {
    const sdb_tensor *y = result_of(maker);
    if (stats_of(maker)->c > 0)
        return SD_OK;
    return sdi_program_tensor(p, SDB_F32, y->n, n_parts, y->c / 2, 2, stats_of(maker));
}

/* For the group norm that is operation `at`: all of x's statistics, or none. */
static sd_status stats_for(sd_program *p, int at, sd_stats_maker maker) {
    sdb_group_norm *norm = &p->ops[at].group_norm;
    int parts[2], n = sdi_is_whole(p, norm->x) ? parts_of(p, norm->x, parts) : 0;
    int each = maker.api->stats_parts(maker.dev, norm->x.type, norm->x.h, norm->x.w);
    sdb_op *makers[2];
    for (int i = 0; i < n; i++) {
        makers[i] = each > 0 ? maker_of(p, parts[i], at) : NULL;
        if (!makers[i] || result_of(makers[i])->c % 2 != 0)
            return SD_OK;
    }
    sd_status status = SD_OK;
    for (int i = 0; i < n && !status; i++) {
        status = add_stats(p, makers[i], each);
        norm->stats[i] = *stats_of(makers[i]);
    }
    return status;
}

sd_status sdi_program_stats(sd_program *p, sd_stats_maker maker) {
    sd_status status = SD_OK;
    for (int i = 0; i < p->n_ops && maker.api->stats_parts && !status; i++)
        if (p->ops[i].kind == SDB_OP_group_norm)
            status = stats_for(p, i, maker);
    return status;
}

/* -------------------------------------------------------------------------------- lifetimes */

static void touch(sd_program *p, int at, sdb_tensor t) {
    sd_buffer *b = &p->buffers[sdi_buffer_root(p, t.buffer)];
    if (t.c == 0 || b->held)
        return;
    b->first = at < b->first ? at : b->first;
    b->last = at > b->last ? at : b->last;
}

static void find_lifetimes(sd_program *p) {
    for (int i = 0; i < p->n_buffers; i++) {
        p->buffers[i].first = p->buffers[i].held ? 0 : p->n_ops;
        p->buffers[i].last = p->buffers[i].held ? p->n_ops : -1;
    }
    for (int i = 0; i < p->n_ops; i++)
        for (const sd_operand *o = sdi_op_operands(p->ops[i].kind); o->role; o++)
            if (o->role != SD_ROLE_WEIGHT)
                touch(p, i, *sdi_operand_tensor(&p->ops[i], o));
}

/* The first result, which is what an operation is for. */
static sdb_tensor first_result(sdb_op *op) {
    const sd_operand *o = sdi_op_operands(op->kind);
    while (o->role != SD_ROLE_OUT)
        o++;
    return *sdi_operand_tensor(op, o);
}

/* How many of an operation's inputs lie in the memory of buffer `root`. */
static int count_inputs_in(const sd_program *p, sdb_op *op, int root) {
    int n = 0;
    for (const sd_operand *o = sdi_op_operands(op->kind); o->role; o++)
        if (o->role == SD_ROLE_IN || o->role == SD_ROLE_OVER)
            n += sdi_buffer_root(p, sdi_operand_tensor(op, o)->buffer) == root;
    return n;
}

/* x, an operand of operation `at`, can give its memory to y. */
static bool gives(sd_program *p, int at, sdb_tensor x, sdb_tensor y) {
    const sd_buffer *bx = &p->buffers[x.buffer], *by = &p->buffers[y.buffer];
    int root = sdi_buffer_root(p, x.buffer);
    return x.c > 0 && sdi_is_whole(p, x) && !bx->into && !p->buffers[root].held &&
           p->buffers[root].last == at && bx->type == by->type && bx->c == by->c &&
           bx->pixels == by->pixels && count_inputs_in(p, &p->ops[at], root) == 1;
}

/* A half of a concatenation stays where it is: there the memory of both would live longer. */
static void alias_result(sd_program *p, int at) {
    sdb_tensor y = first_result(&p->ops[at]);
    sd_buffer *b = &p->buffers[y.buffer];
    bool can = sdi_is_whole(p, y) && !b->held && !b->into;
    for (const sd_operand *o = sdi_op_operands(p->ops[at].kind); o->role && can; o++) {
        sdb_tensor x = *sdi_operand_tensor(&p->ops[at], o);
        if (o->role != SD_ROLE_OVER || !gives(p, at, x, y))
            continue;
        b->over = x.buffer;
        p->buffers[sdi_buffer_root(p, x.buffer)].last = b->last;
        return;
    }
}

void sdi_program_alias(sd_program *p) {
    find_lifetimes(p);
    for (int i = 0; i < p->n_ops; i++)
        alias_result(p, i);
}

/* ---------------------------------------------------------------------------------- placing */

static size_t align(size_t size) {
    return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* Buffers by size, then by their first operation, then by number: one order for equal programs. */
static int compare_buffers(const void *a, const void *b) {
    const sd_buffer *x = *(sd_buffer *const *)a, *y = *(sd_buffer *const *)b;
    size_t m = sdi_buffer_size(x), n = sdi_buffer_size(y);
    return m != n                 ? (m > n ? -1 : 1)
           : x->first != y->first ? (x->first < y->first ? -1 : 1)
                                  : (x < y ? -1 : x > y);
}

/* The smallest gap that is wide enough between those of `placed`, which lie in order, that live at
 * the same time. */
static size_t find_gap(sd_buffer *const *placed, int n, const sd_buffer *b) {
    size_t size = align(sdi_buffer_size(b)), end = 0, best = SIZE_MAX, at = 0;
    for (int i = 0; i < n; i++) {
        const sd_buffer *other = placed[i];
        if (other->first > b->last || other->last < b->first)
            continue;
        if (other->place > end && other->place - end >= size && other->place - end < best) {
            best = other->place - end;
            at = end;
        }
        size_t after = other->place + align(sdi_buffer_size(other));
        end = after > end ? after : end;
    }
    return best < SIZE_MAX ? at : end;
}

/* Into the list that is in the order of places. */
static void put_in_order(sd_buffer **placed, int n, sd_buffer *b) {
    for (; n > 0 && placed[n - 1]->place > b->place; n--)
        placed[n] = placed[n - 1];
    placed[n] = b;
}

sd_status sdi_program_place(sd_program *p) {
    sd_buffer **all = sdi_alloc_array(p->ctx, 2 * (size_t)p->n_buffers, sizeof *all);
    int n = 0;
    if (!all)
        return SD_ERROR_MEMORY;
    sd_buffer **placed = all + p->n_buffers;
    for (int i = 1; i < p->n_buffers; i++)
        if (sdi_buffer_root(p, i) == i && p->buffers[i].last >= 0)
            all[n++] = &p->buffers[i];
    qsort(all, (size_t)n, sizeof *all, compare_buffers);
    p->arena = 0;
    for (int i = 0; i < n; i++) {
        all[i]->place = find_gap(placed, i, all[i]);
        put_in_order(placed, i, all[i]);
        size_t end = all[i]->place + align(sdi_buffer_size(all[i]));
        p->arena = end > p->arena ? end : p->arena;
    }
    sdi_free(p->ctx, all);
    return SD_OK;
}

/* A half's pixels are as far apart as those of the whole that it lies in. */
static void bind(const sd_program *p, sdb_tensor *t) {
    if (t->c == 0)
        return;
    const sd_buffer *b = &p->buffers[t->buffer], *root = &p->buffers[sdi_buffer_root(p, t->buffer)];
    size_t pitch = sdi_buffer_pitch(b), at = (uintptr_t)t->data, channel = 0;
    for (const sd_buffer *i = b; i != root; i = &p->buffers[i->into ? i->into : i->over])
        channel += (size_t)i->at;
    t->data = (void *)(root->place + at / pitch * sdi_buffer_pitch(root) + at % pitch +
                       channel * sdb_type_size(b->type));
    t->ld = root->c;
}

void sdi_program_bind(sd_program *p) {
    for (int i = 0; i < p->n_ops; i++)
        for (const sd_operand *o = sdi_op_operands(p->ops[i].kind); o->role; o++)
            if (o->role != SD_ROLE_WEIGHT)
                bind(p, sdi_operand_tensor(&p->ops[i], o));
    for (int i = 0; i < p->n_io; i++)
        bind(p, &p->io[i]);
}

sd_status sdi_program_plan(sd_program *p, sd_stats_maker maker) {
    sd_status status = sdi_program_check(p);
    if (!status)
        status = sdi_program_concat(p);
    if (!status)
        status = sdi_program_stats(p, maker);
    if (!status) {
        sdi_program_alias(p);
        status = sdi_program_place(p);
    }
    if (!status)
        sdi_program_bind(p);
    return status;
}
