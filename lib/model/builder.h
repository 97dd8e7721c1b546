/*
 * How a network gets its weights. A builder remembers its first failure, so that code which builds
 * a network asks for one weight after the other with no check between, as forward code does with
 * sdi_op_*; after a failure, or when only listing names, the weights are NULL.
 */
#ifndef SD_MODEL_BUILDER_H
#define SD_MODEL_BUILDER_H

#include "backend/exec.h"
#include "model/load.h"
#include "model/names.h"
#include "model/networks.h"

/* The widest layer that is believed: products of a few widths and counts then fit an int. */
#define SD_MAX_WIDTH 65536

/* Zeroed memory that lives as long as the network; NULL after a failure. */
void *sdi_builder_alloc(sd_builder *b, size_t n, size_t size);
/* Records a failure unless low <= value <= high: "... is 0; it must be in 1 .. 8". */
bool sdi_builder_range(sd_builder *b, const char *what, int value, int low, int high);
/* Records a failure unless the channels divide evenly: "10 channels cannot be divided into 4
 * heads". */
bool sdi_builder_divides(sd_builder *b, const char *what, int channels, int by);

/* Tensors below `path` that the network does not compute with are none too many. */
void sdi_builder_pass_over(sd_builder *b, const sd_path *path);

/* One weight each, of the tensors path.key.weight and, where the function does not say otherwise,
 * path.key.bias. An embedding has none. */
const sdb_weight *sdi_get_linear(sd_builder *b, const sd_path *path, sd_key key, int out, int in);
const sdb_weight *sdi_get_linear_no_bias(sd_builder *b, const sd_path *path, sd_key key, int out,
                                         int in);
const sdb_weight *sdi_get_geglu(sd_builder *b, const sd_path *path, sd_key key, int out, int in);
const sdb_weight *sdi_get_conv3x3(sd_builder *b, const sd_path *path, sd_key key, int out, int in);
const sdb_weight *sdi_get_conv3x3_no_bias(sd_builder *b, const sd_path *path, sd_key key, int out,
                                          int in);
/* From c channels to c, of the picture doubled by nearest neighbours and no other. */
const sdb_weight *sdi_get_conv3x3_up(sd_builder *b, const sd_path *path, sd_key key, int c);
const sdb_weight *sdi_get_conv3x3_up_no_bias(sd_builder *b, const sd_path *path, sd_key key, int c);
const sdb_weight *sdi_get_norm(sd_builder *b, const sd_path *path, sd_key key, int channels);
const sdb_weight *sdi_get_embedding(sd_builder *b, const sd_path *path, sd_key key, int n,
                                    int width);
/* The vocabulary's table, and below it the rows of build->words. */
const sdb_weight *sdi_get_token_embedding(sd_builder *b, const sd_path *path, sd_key key, int n,
                                          int width);
/* Query, key and value of width c as one Linear from c to 3c. */
const sdb_weight *sdi_get_qkv(sd_builder *b, const sd_path *path, const sd_key keys[3], int c,
                              bool bias);

/*
 * Many Linear layers that read the same input, as few matrices as possible: the projections of the
 * time embedding of all ResBlocks, or all layers' keys and values. Their outputs lie side by side
 * in one tensor of `width` channels.
 */
typedef struct sd_wide_slice {
    const sdb_weight *weight;
    int first, width; /* channels */
} sd_wide_slice;

typedef struct sd_wide_linear {
    int in, width;
    int n_slices;
    sd_wide_slice *slices;
} sd_wide_linear;

#define SD_WIDE_PARAMS 64 /* of a slice at most */

typedef struct sd_wide_builder {
    sd_builder *b;
    sd_wide_linear *wide;
    int n, rows; /* that wait to become a slice */
    sd_param params[SD_WIDE_PARAMS];
} sd_wide_builder;

void sdi_wide_begin(sd_wide_builder *w, sd_builder *b, sd_wide_linear *wide, int in);
/* Adds a layer of `rows` outputs and returns the first of its channels. */
int sdi_wide_add(sd_wide_builder *w, const sd_path *path, sd_key key, int rows, bool bias);
/* One tensor [3c, c] whose rows are q, k and v of each head in turn, with bias, becomes outputs [q
 * of all heads, k of all, v of all]. */
void sdi_wide_add_heads(sd_wide_builder *w, const sd_path *path, sd_key key, int c, int heads);
void sdi_wide_end(sd_wide_builder *w);

#endif
