/* Reads lists of names and shapes and writes checkpoints of them. */
#include "listed.h"

#include <stdlib.h>
#include <string.h>

#define SEED 5
#define MAX_TENSORS 1024

static bool read_row(char *line, tensor_spec *t) {
    const char *kind = strchr(line, '\t');
    if (!kind || kind - line >= NAME_SIZE || !strchr(kind + 1, '\t'))
        return false;
    memcpy(t->original, line, (size_t)(kind - line));
    t->kind = (tensor_kind)(kind[1] - '0');
    for (char *at = strchr(kind + 1, '\t') + 1; *at >= '0' && t->n_dims < 4;) {
        t->dims[t->n_dims++] = strtoll(at, &at, 10);
        at += *at == ',';
    }
    return true;
}

bool listed_write(const char *list_path, const char *path) {
    static tensor_spec items[MAX_TENSORS];
    static const model_size size = {.sample_size = 64}; /* says nothing in the metadata */
    const value_options options = {SEED, DTYPE_F32, 24};
    tensor_list list = {.items = items};
    char line[256];
    FILE *f = fopen(list_path, "rb");
    if (!f)
        return false;
    bool ok = true;
    memset(items, 0, sizeof items);
    while (ok && list.n < MAX_TENSORS && fgets(line, sizeof line, f))
        ok = read_row(line, &items[list.n++]);
    fclose(f);
    return ok && safetensors_write(path, &list, &options, N_COMPONENTS, false, &size);
}
