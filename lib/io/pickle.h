/*
 * Python pickles as torch.save writes them, read by a machine that builds tensors' descriptions,
 * containers, strings and numbers, and calls nothing. A name outside a short list gives an opaque
 * value, whatever is called with it or set in it; names that do harm where Python loads the file
 * are refused. https://github.com/python/cpython/blob/main/Lib/pickletools.py
 */
#ifndef SD_IO_PICKLE_H
#define SD_IO_PICKLE_H

#include "io/pickle_value.h"

/* Reads one pickle. The values point into `bytes` and live until sdi_pickle_free. Sentences name
 * `path` and the offset of the opcode. */
sd_status sdi_pickle_read(const sd_context *ctx, const char *path, const uint8_t *bytes,
                          size_t size, sd_pickle **out);
/* The bytes of the pickle that begins there, to its STOP or its first unknown opcode; 0: it goes on
 * behind `size`. */
size_t sdi_pickle_length(const uint8_t *bytes, size_t size);
void sdi_pickle_free(sd_pickle *pickle);
const sd_pickle_value *sdi_pickle_root(const sd_pickle *pickle);
/* The value of a text key in a DICT (the last one given), or NULL. */
const sd_pickle_value *sdi_pickle_get(const sd_pickle_value *dict, const char *key);
const char *sdi_pickle_kind_name(sd_pickle_kind kind); /* "a list" */
/* All storages that its persistent ids name, a LIST of STORAGE; some more than once. */
const sd_pickle_value *sdi_pickle_storages(const sd_pickle *pickle);

#endif
