/*
 * What an adapter adds to a weight or a bias, each kind a row of a table: which tensors tell it,
 * how they are read, and how rows of it are made. No delta is ever whole in memory but a full
 * difference, of one tensor at a time.
 */
#ifndef SD_MODEL_DELTA_H
#define SD_MODEL_DELTA_H

#include "model/adapter.h"

/* A module of a network, as the model has it. */
typedef struct sd_delta_shape {
    int rows, in, taps; /* a weight [rows, in, taps]; of a bias in and taps are 1 */
    bool bias;
} sd_delta_shape;

/* Float32 numbers of rows and columns of a module, `ld` apart. */
typedef struct sd_tile {
    float *y;
    const float *base; /* what the base model has there, for DoRA alone */
    size_t ld;
    int row, rows;
    size_t column, columns;
} sd_tile;

#define SD_TILE_ROWS 8
#define SD_TILE_COLUMNS 128

/* left [rows, rank] times right [rank, columns]. */
typedef struct sd_low_rank {
    float *left, *right; /* owned */
    int rank;
    size_t columns;
} sd_low_rank;

struct sd_delta;

typedef struct sd_delta_kind {
    const char *name; /* for people; NULL: goes along with others */
    bool bias;
    sd_adapter_tensor tells, other; /* one of them has to be there */
    sd_status (*read)(struct sd_delta *d, float scale);
    void (*add)(const struct sd_delta *d, const sd_tile *tile); /* y += delta */
} sd_delta_kind;

typedef struct sd_delta {
    sd_context *ctx;
    const sd_adapter *adapter;
    const sd_adapter_module *module;
    const sd_delta_kind *kind;
    sd_delta_shape shape;
    sd_low_rank pairs[2];
    float *numbers;           /* of a full difference, or the right side of LoKr [c, d * taps] */
    float *small;             /* LoKr's left side [a, b] */
    int small_rows, small_in; /* a and b */
} sd_delta;

/* The kind of change that a module has for its weight or its bias; NULL: none. */
const sd_delta_kind *sdi_delta_kind(const sd_adapter_module *m, bool bias);
/* The rank that its tensors have; 0: it has none. */
int sdi_delta_rank(const sd_adapter_module *m);

/* Reads what is needed, times `strength`; sdi_delta_free also after a failure. */
sd_status sdi_delta_read(sd_delta *d, sd_context *ctx, const sd_adapter *adapter,
                         const sd_adapter_module *m, const sd_delta_shape *shape, double strength);
void sdi_delta_free(sd_delta *d);
void sdi_delta_add(const sd_delta *d, const sd_tile *tile);

/* All numbers of an entry as float32, allocated. */
sd_status sdi_adapter_numbers(sd_context *ctx, const sd_adapter *a, const sd_entry *entry,
                              float **out);

#endif
