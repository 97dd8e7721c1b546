/* Shared by the two containers of torch.save: tensors as windows on storages (torch_file.c). */
#ifndef SD_IO_TORCH_READER_H
#define SD_IO_TORCH_READER_H

#include "io/pickle.h"
#include "io/weights_internal.h"

#define SD_TORCH_MAX_PICKLE ((size_t)64 << 20)

typedef struct sd_torch_reader {
    sd_weights *w;
    int file;
    const char *path;
    sd_budget budget;
    /* The bytes of a storage, by its key; `found` false: there is none. */
    sd_status (*find)(void *container, const sd_pickle_storage *storage, sd_window *window);
    void *container;
    const char *name; /* of the tensor that is being read */
    size_t n_tensors;
    int n_opaque;                      /* members that are no tensors of ours */
    const char *opaque, *opaque_maker; /* the first of them, and what made it */
} sd_torch_reader;

sd_torch_reader sdi_torch_reader_of(sd_weights *w, int file);
/* Adds the tensors of the file's object. */
sd_status sdi_torch_add_root(sd_torch_reader *r, const sd_pickle_value *root);
sd_status sdi_torch_fail_big_endian(const sd_torch_reader *r);

#endif
