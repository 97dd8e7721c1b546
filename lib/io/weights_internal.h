/* Shared by weights.c, weights_open.c and the readers of each format. */
#ifndef SD_IO_WEIGHTS_INTERNAL_H
#define SD_IO_WEIGHTS_INTERNAL_H

#include "core/input.h"
#include "io/entry.h"

/* A name in the sorted table that sdi_weights_find searches. */
typedef struct sd_name_row {
    const char *name;
    size_t index;
} sd_name_row;

typedef struct sd_shard {
    char *path;
    sd_input input;
    uint8_t *needed; /* a flag for each sdi_weights_will_need unit */
} sd_shard;

typedef struct sd_metadata_row {
    char *key, *value;
} sd_metadata_row;

struct sd_weights {
    sd_context *ctx;
    char *path;
    sd_shard *shards;
    size_t n_shards;
    sd_entry *entries; /* shard after shard; names are owned */
    size_t n_entries, room;
    sd_name_row *by_name; /* [n_entries], sorted */
    sd_metadata_row *metadata;
    size_t n_metadata;
    void **blocks; /* data that is not as the file has it: unpacked, gathered or converted */
    size_t n_blocks;
    sd_alias_fn alias; /* NULL: names are what they are */
    const void *alias_user;
};

/* For sentences about a file that is none. */
#define SD_WEIGHTS_EXPECTED "a safetensors file or what torch.save writes"

/* Each unit of a file is asked for once: that costs a look at each of its pages. */
#define SD_NEED_UNIT ((uint64_t)16 << 20)
uint64_t sdi_weights_units(const sd_input *in);

/* Room for n_more entries behind those there are. */
sd_status sdi_weights_reserve(sd_weights *w, size_t n_more);
sd_status sdi_weights_add_metadata(sd_weights *w, const char *key, const char *value);
/* Memory that lives as long as `w`; not initialised; NULL: none. */
void *sdi_weights_block(sd_weights *w, size_t size);

/* Memory for what a file does not have as it is needed (unpacked, gathered, a pickle): all of it
 * together is limited by the file's size. `what` is for the sentence. */
typedef struct sd_budget {
    const char *path;
    uint64_t file_size, used;
} sd_budget;

sd_status sdi_budget_block(sd_weights *w, sd_budget *b, uint64_t size, const char *what,
                           uint8_t **block); /* of `w` */
/* Counts memory of the caller's own among it. */
sd_status sdi_budget_charge(const sd_weights *w, sd_budget *b, uint64_t size, const char *what);

/* Bytes of torch's files: a window of the input, or in memory of the weights where `data` is not
 * NULL. */
typedef struct sd_window {
    bool found;
    uint64_t offset;
    const uint8_t *data;
    size_t size;
} sd_window;

/* Each adds the tensors of an opened shard: a safetensors file, torch.save's zip archive, or the
 * pickles one after the other that it wrote before torch 1.6. */
sd_status sdi_safetensors_read(sd_weights *w, int file);
sd_status sdi_torch_read(sd_weights *w, int file);
sd_status sdi_torch_read_legacy(sd_weights *w, int file);
/* Whether a file of these first bytes is of the last kind. */
bool sdi_torch_is_legacy(const uint8_t *bytes, size_t n);
#define SD_TORCH_LEGACY_HEAD 32 /* as many tell */

#endif
