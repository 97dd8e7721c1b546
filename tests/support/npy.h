/* NumPy's .npy files of C-ordered float32, int32 and uint8 arrays: the tests' fixtures. */
#ifndef SD_SUPPORT_NPY_H
#define SD_SUPPORT_NPY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define NPY_MAX_DIMS 5

typedef enum npy_type { NPY_F32, NPY_I32, NPY_U8 } npy_type;

typedef struct npy {
    npy_type type;
    int n_dims;
    int64_t dims[NPY_MAX_DIMS];
    size_t n; /* elements */
    union {
        void *data;
        float *f32;
        int32_t *i32;
        uint8_t *u8;
    };
} npy;

/* False, with a message on stderr: no such file, or not such an array. */
bool npy_load(const char *path, npy *a);
void npy_free(npy *a);

bool npy_save(const char *path, npy_type type, int n_dims, const int64_t *dims, const void *data);

#endif
