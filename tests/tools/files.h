/* Folders and files for tests: a temporary tree, JSON with changes, safetensors of given shapes.
 * What fails here ends the test program: the test itself could not be set up. */
#ifndef SD_TESTS_FILES_H
#define SD_TESTS_FILES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FILES_PATH 1024

/* A new folder below TMPDIR or /tmp, and everything in it gone again. */
void files_make_temp(char path[FILES_PATH]);
void files_remove_tree(const char *path);

/* "dir/name", where missing folders of `name` are made. Static: the last four stay valid. */
const char *files_path(const char *dir, const char *name);

void files_write(const char *path, const void *bytes, size_t n);
void files_write_text(const char *path, const char *text);
uint8_t *files_read(const char *path, size_t *n); /* free() it */

/* `base` with the members of `changes` (JSON objects both; changes may be NULL) laid over it. */
void files_write_json(const char *path, const char *base, const char *changes);

/* A safetensors file of tensors that are all zeros; the data takes no space on the disk. */
typedef struct safetensors safetensors;
safetensors *safetensors_new(void);
/* `shape` as JSON: "[320, 4, 3, 3]". */
void safetensors_add(safetensors *s, const char *name, const char *dtype, const char *shape);
void safetensors_metadata(safetensors *s, const char *key, const char *value);
/* Takes a tensor out again; false: it was not there. */
bool safetensors_drop(safetensors *s, const char *name);
/* The header of a file; its data are zeros from here on. */
safetensors *safetensors_open(const char *path);
size_t safetensors_count(const safetensors *s);
const char *safetensors_name(const safetensors *s, size_t i);
/* Adds `more` to the first dimension, and a last dimension of 2 where `longer`. */
bool safetensors_reshape(safetensors *s, const char *name, int more, bool longer);
bool safetensors_retype(safetensors *s, const char *name, const char *dtype);
void safetensors_save(const safetensors *s, const char *path);
void safetensors_free(safetensors *s);

/* 8 bytes of length, `header`, and n_data zeros. */
void safetensors_write_raw(const char *path, uint64_t length, const char *header, size_t n_data);

/* A whole Stable Diffusion 1.x of small sizes: only the tensors that inference looks at, F16.
 * UNet 32, 64, 64 (attention at the first two levels), 2 ResBlocks; VAE 32, 64, 1 ResBlock;
 * text 128 wide, 2 layers, 100 tokens. */
safetensors *safetensors_tiny_original(void);

/* The tiny model as a diffusers folder with one tensor in each weights file. */
void files_make_tiny_diffusers(const char *dir);
extern const char *const tiny_model_index,
    *const tiny_unet_config, *const tiny_vae_config, *const tiny_text_config,
                                                         *const tiny_scheduler_config;

#endif
