/* Tensors of checkpoint files: where they are, and their bytes when they are asked for. */
#ifndef SD_IO_WEIGHTS_H
#define SD_IO_WEIGHTS_H

#include "core/input.h"
#include "core/os.h"
#include "io/entry.h"

/* One .safetensors file, one that torch.save wrote (.ckpt, .pt, .pth, .bin), or the .index.json of
 * a sharded one; what a file is shows in its first bytes. Of a torch file the entries are those of
 * its "state_dict", or of its top where it has none. */
sd_status sdi_weights_open(sd_context *ctx, const char *path, sd_weights **out);
/* sdi_weights_open of an input, which is closed with the weights, or at once where this fails;
 * `name` stands for the path. */
sd_status sdi_weights_open_input(sd_context *ctx, const char *name, sd_input in, sd_weights **out);
/* n files as one table, in which each file's names lie behind its prefix. */
sd_status sdi_weights_open_several(sd_context *ctx, const char *const *paths,
                                   const char *const *prefixes, int n, sd_weights **out);
void sdi_weights_close(sd_weights *w);

const sd_entry *sdi_weights_find(const sd_weights *w, const char *name); /* NULL: not there */
bool sdi_weights_has_prefix(const sd_weights *w, const char *prefix); /* any name that begins so */
size_t sdi_weights_count(const sd_weights *w);
const sd_entry *sdi_weights_at(const sd_weights *w, size_t i); /* in the order of the file */
const char *sdi_weights_path(const sd_weights *w,
                             const sd_entry *entry);    /* entry NULL: as opened */
const char *sdi_entry_type_name(const sd_entry *entry); /* "F16" */
/* The number in an entry of one element, of a type that weights may have; false: it is none. */
sd_status sdi_weights_number(const sd_weights *w, const sd_entry *entry, double *number, bool *is);
/* The value of a string in safetensors' __metadata__, or NULL. */
const char *sdi_weights_metadata(const sd_weights *w, const char *key);
/*
 * Names that are looked up elsewhere: sdi_weights_find and its kin take a name for what `alias`
 * makes of it (in `text`, or NULL: of itself), from now on. `user` lives as long as the weights.
 */
void sdi_weights_redirect(sd_weights *w, sd_alias_fn alias, const void *user);
bool sdi_weights_is_redirected(const sd_weights *w);
/* sdi_weights_find for a network: the entry is marked as taken, and so is one that has the name
 * itself where it was looked up elsewhere. */
const sd_entry *sdi_weights_take(sd_weights *w, const char *name);
/* Marks all whose names begin so; all others. */
void sdi_weights_take_prefix(sd_weights *w, const char *prefix);
void sdi_weights_take_others(sd_weights *w, const char *prefix);
/* n bytes of the entry from `at`, which it must have. Any thread; a failure records no sentence, so
 * that threads which are not the host's can read: sdi_weights_fail records it later. */
sd_status sdi_weights_read(const sd_weights *w, const sd_entry *entry, size_t at, void *dst,
                           size_t n);
sd_status sdi_weights_fail(const sd_weights *w, const sd_entry *entry, sd_status status);
/* SD_ERROR_IO where any of the files was shortened or written to since it was opened. */
sd_status sdi_weights_check(const sd_weights *w);
/* Sizes and times of its files in one number, which is the same as long as they are. */
uint64_t sdi_weights_stamp(const sd_weights *w);
/* The entry, and what comes behind it in the file, will be read soon. One thread. */
void sdi_weights_will_need(sd_weights *w, const sd_entry *entry);

#endif
