/*
 * A program: what a network does at one shape, as a list of operations over an arena that is
 * planned by lifetimes.
 *
 * Network code is run once for a program, with an executor that builds (exec.h), and never again:
 * tensors are then views of numbered buffers, and operations, concatenations and the ends of
 * segments are noted. Buffers are assigned once: each range of one is written before it is read,
 * and never again. sdi_program_plan decides which of them share memory:
 *
 *   check    each range is written once, before it is read, and only held buffers cross segments;
 *   concat   a half of a concatenation is computed where it will be read, or copied there;
 *   stats    a product makes the statistics that the group norm of its result can use;
 *   alias    a result takes the memory of an operand that is read here for the last time;
 *   place    what is alive at the same time lies apart.
 *
 * A program is immutable then, and shared by the executors and threads that run it (run.h).
 */
#ifndef SD_BACKEND_PROGRAM_H
#define SD_BACKEND_PROGRAM_H

#include "backend/ops.h"
#include "core/context.h"

#define SD_MAX_SEGMENTS 2
#define SD_MAX_IO 10

/* Numbered from 1: sdb_tensor.buffer. A tensor's data is the byte in its buffer, and after planning
 * the byte in the arena. */
typedef struct sd_buffer {
    sdb_type type;
    int64_t pixels;
    int c;
    bool held;       /* the host's: lives always */
    int first, last; /* operations that touch it, or what lies in its memory */
    int into;        /* the concatenation that it is a half of; 0: none */
    int at;          /* its first channel there */
    int over;        /* the buffer whose memory it takes; 0: none */
    size_t place;    /* in the arena, of one that is neither into nor over another */
} sd_buffer;

/* y = [a, b] along the channels, after the first `at` operations. */
typedef struct sd_joint {
    int at;
    sdb_tensor y, halves[2];
} sd_joint;

typedef struct sd_program {
    sd_context *ctx; /* not retained */
    atomic_int refs;
    sdb_op *ops;
    sd_buffer *buffers; /* the first is none */
    sd_joint *joints;
    int n_ops, n_buffers, n_joints;
    int n_segments, ends[SD_MAX_SEGMENTS]; /* operations */
    int n_io;
    sdb_tensor
        io[SD_MAX_IO]; /* what the host puts and gets: held, in the order of sdi_program_hold */
    size_t arena;
} sd_program;

sd_status sdi_program_new(sd_context *ctx, sd_program **out);
void sdi_program_retain(sd_program *p);
void sdi_program_release(sd_program *p); /* NULL is fine */

/* --- building --- */
sd_status sdi_program_tensor(sd_program *p, sdb_type type, int n, int h, int w, int c,
                             sdb_tensor *out);
sd_status sdi_program_add(sd_program *p, const sdb_op *op);
/* *out is a and b, pixel by pixel side by side. */
sd_status sdi_program_join(sd_program *p, sdb_tensor a, sdb_tensor b, sdb_tensor *out);
void sdi_program_hold(sd_program *p, sdb_tensor t);
void sdi_program_end_segment(sd_program *p);

/* --- planning --- */
typedef struct sd_stats_maker {
    const sdb_backend *api;
    const sdb_device *dev;
} sd_stats_maker;

sd_status sdi_program_plan(sd_program *p, sd_stats_maker maker);
/* The planner's passes, for tests. */
sd_status sdi_program_check(const sd_program *p);
sd_status sdi_program_concat(sd_program *p);
sd_status sdi_program_stats(sd_program *p, sd_stats_maker maker);
void sdi_program_alias(sd_program *p);
sd_status sdi_program_place(sd_program *p);
/* Once, after the last pass: tensors get their addresses in the arena. */
void sdi_program_bind(sd_program *p);

/* --- what is known of it --- */
static inline int sdi_segment_begin(const sd_program *p, int segment) {
    return segment > 0 ? p->ends[segment - 1] : 0;
}
double sdi_program_flops(const sd_program *p, int segment);

/* The buffer whose memory this one's is part of. */
static inline int sdi_buffer_root(const sd_program *p, int buffer) {
    while (p->buffers[buffer].into || p->buffers[buffer].over)
        buffer = p->buffers[buffer].into ? p->buffers[buffer].into : p->buffers[buffer].over;
    return buffer;
}

/* Bytes of a pixel. */
static inline size_t sdi_buffer_pitch(const sd_buffer *b) {
    return (size_t)b->c * sdb_type_size(b->type);
}

static inline size_t sdi_buffer_size(const sd_buffer *b) {
    return (size_t)b->pixels * sdi_buffer_pitch(b);
}

/* All of its buffer. */
static inline bool sdi_is_whole(const sd_program *p, sdb_tensor t) {
    const sd_buffer *b = &p->buffers[t.buffer];
    return (uintptr_t)t.data == 0 && t.c == b->c && (int64_t)t.n * t.h * t.w == b->pixels;
}

#endif
