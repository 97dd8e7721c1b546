/* What weights.c shares with the readers of each format. */
#ifndef SD_IO_WEIGHTS_INTERNAL_H
#define SD_IO_WEIGHTS_INTERNAL_H

#include "io/weights.h"

/* A name in the sorted table that sd_weights_find searches. */
typedef struct sd_name_row {
    const char *name;
    size_t index;
} sd_name_row;

typedef struct sd_shard {
    char *path;
    sd_input input;
    uint8_t *needed; /* a flag for each sd_weights_will_need unit; NULL: none yet */
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
};

/* For sentences about a file that is none. */
#define SD_WEIGHTS_EXPECTED "a safetensors file or what torch.save writes"

/* Room for n_more entries behind those there are. */
sd_status sd_weights_reserve(sd_weights *w, size_t n_more);
sd_status sd_weights_add_metadata(sd_weights *w, const char *key, const char *value);
/* Memory that lives as long as `w`; not initialised; NULL: none. */
void *sd_weights_block(sd_weights *w, size_t size);

/* Each adds the tensors of an opened shard: a safetensors file, or torch.save's zip archive. */
sd_status sd_safetensors_read(sd_weights *w, int file);
sd_status sd_torch_read(sd_weights *w, int file);

#endif
