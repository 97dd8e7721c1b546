/* The host's files in memory. */
#include <sd/sd.h>

#include <string.h>

static const sd_memory_file *find(const void *user, const char *name) {
    const sd_memory_files *all = user;
    for (int32_t i = 0; i < all->n; i++)
        if (strcmp(all->files[i].name, name) == 0)
            return &all->files[i];
    return NULL;
}

static int64_t size_of(void *user, const char *name) {
    const sd_memory_file *file = find(user, name);
    return file ? (int64_t)file->size : -1;
}

static int32_t read_bytes(void *user, const char *name, uint64_t at, void *to, size_t n) {
    const sd_memory_file *file = find(user, name);
    if (!file || at > file->size || n > file->size - at)
        return 1;
    memcpy(to, (const char *)file->data + at, n);
    return 0;
}

static const char *name_of(void *user, int32_t i) {
    const sd_memory_files *all = user;
    return i < all->n ? all->files[i].name : NULL;
}

void sd_io_memory(const sd_memory_files *files, sd_io *io) {
    io->user = (void *)files;
    io->size = size_of;
    io->read = read_bytes;
    io->name = name_of;
}
