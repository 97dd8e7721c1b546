/* Format: numpy.lib.format, version 1.0. */
#include "npy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *descr;
    size_t size;
} types[] = {[NPY_F32] = {"'<f4'", 4}, [NPY_I32] = {"'<i4'", 4}, [NPY_U8] = {"'|u1'", 1}};

static bool parse_type(const char *header, npy *a) {
    for (int i = 0; i < 3; i++) {
        if (strstr(header, types[i].descr)) {
            a->type = (npy_type)i;
            return strstr(header, "'fortran_order': False") != NULL;
        }
    }
    return false;
}

static bool parse_shape(const char *header, npy *a) {
    const char *p = strstr(header, "'shape': (");
    if (!p)
        return false;
    p += strlen("'shape': (");
    a->n = 1;
    while (*p != ')') {
        char *end;
        int64_t dim = strtoll(p, &end, 10);
        if (end == p || a->n_dims == NPY_MAX_DIMS || dim < 0 || dim > 1 << 28)
            return false;
        a->dims[a->n_dims++] = dim;
        a->n *= (size_t)dim;
        p = end + strspn(end, ", ");
    }
    return a->n <= (size_t)1 << 30;
}

static bool load(FILE *f, npy *a) {
    unsigned char start[10];
    char header[4096];

    if (fread(start, 1, 10, f) != 10 || memcmp(start, "\x93NUMPY\x01", 7) != 0)
        return false;
    size_t length = start[8] | (size_t)start[9] << 8;
    if (length >= sizeof(header) || fread(header, 1, length, f) != length)
        return false;
    header[length] = 0;
    if (!parse_type(header, a) || !parse_shape(header, a))
        return false;
    size_t size = types[a->type].size;
    a->data = malloc(a->n * size + 1);
    return a->data && fread(a->data, size, a->n, f) == a->n;
}

bool npy_load(const char *path, npy *a) {
    memset(a, 0, sizeof(*a));
    FILE *f = fopen(path, "rb");
    bool ok = f && load(f, a);
    if (f)
        fclose(f);
    if (!ok) {
        fprintf(stderr, "cannot read the array %s\n", path);
        npy_free(a);
    }
    return ok;
}

void npy_free(npy *a) {
    free(a->data);
    memset(a, 0, sizeof(*a));
}

bool npy_save(const char *path, npy_type type, int n_dims, const int64_t *dims, const void *data) {
    char header[256];
    size_t n = 1;
    int length = snprintf(header, sizeof(header),
                          "{'descr': %s, 'fortran_order': False, 'shape': (", types[type].descr);

    for (int i = 0; i < n_dims; i++) {
        n *= (size_t)dims[i];
        length += snprintf(header + length, sizeof(header) - (size_t)length, "%lld, ",
                           (long long)dims[i]);
    }
    length += snprintf(header + length, sizeof(header) - (size_t)length, "), }");
    while ((length + 11) % 64 != 0)
        header[length++] = ' ';
    header[length++] = '\n';
    const unsigned char start[10] = {
        0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, (unsigned char)length, (unsigned char)(length >> 8)};
    FILE *f = fopen(path, "wb");
    if (!f)
        return false;
    bool ok = fwrite(start, 1, 10, f) == 10 &&
              fwrite(header, 1, (size_t)length, f) == (size_t)length &&
              fwrite(data, types[type].size, n, f) == n;
    return fclose(f) == 0 && ok;
}
