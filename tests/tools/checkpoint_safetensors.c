/*
 * Writes the safetensors format: 8 bytes of header length, a JSON header, the tensors. Blocks of a
 * few hundred kilobytes go out one after the other, so memory stays small at any size of model.
 */
#include "checkpoint.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define BLOCK_ELEMENTS (1 << 17)

typedef struct selection {
    component network; /* N_COMPONENTS: all */
    bool diffusers;
    dtype type;
} selection;

static const char *selected_name(const selection *s, const tensor_spec *t) {
    bool half = s->network == TINY_ENCODER || s->network == TINY_DECODER;
    bool within = s->network == VAE && t->network > VAE; /* AutoencoderTiny as the VAE */
    if (s->network != N_COMPONENTS && s->network != t->network && !within)
        return NULL;
    if (!s->diffusers)
        return half ? strchr(t->original, '.') + 1 : t->original;
    return t->diffusers[0] ? t->diffusers : NULL;
}

static dtype stored_type(const selection *s, const tensor_spec *t) {
    return t->kind == KIND_POSITIONS ? DTYPE_I64 : s->type;
}

/* The VAE's attention is made of 1x1 convolutions in the original and linear in diffusers. */
static int stored_dims(const selection *s, const tensor_spec *t) {
    bool linear = s->diffusers && t->network == VAE && strstr(t->diffusers, ".attentions.");
    return linear && t->n_dims == 4 ? 2 : t->n_dims;
}

static json_t *shape_of(const selection *s, const tensor_spec *t) {
    json_t *shape = json_array();
    int n_dims = stored_dims(s, t);
    for (int i = 0; i < n_dims; i++) {
        bool turned = s->diffusers && t->transposed && n_dims == 2;
        int64_t rows = !s->diffusers && i == 0 && t->stack > 1 ? t->stack : 1;
        json_array_append_new(shape, json_integer(rows * t->dims[turned ? 1 - i : i]));
    }
    return shape;
}

/* Metadata: a thing that cannot be read off the tensors' shapes is said where it differs from
 * SD 1.5. */
static json_t *metadata_of(const selection *s, const model_size *size) {
    json_t *metadata = json_pack("{s:s}", "format", "pt");
    if (!s->diffusers && size && size->sample_size != 64) {
        char text[16];
        snprintf(text, sizeof(text), "%d", size->sample_size);
        json_object_set_new(metadata, "sd.sample_size", json_string(text));
    }
    return metadata;
}

static char *header_text(const tensor_list *list, const selection *s, const model_size *size) {
    json_t *header = json_pack("{s:o}", "__metadata__", metadata_of(s, size));
    int64_t offset = 0;
    for (size_t i = 0; i < list->n; i++) {
        const tensor_spec *t = &list->items[i];
        const char *name = selected_name(s, t);
        if (!name || (!s->diffusers && t->stack == 1))
            continue;
        dtype type = stored_type(s, t);
        int64_t rows = !s->diffusers && t->stack > 1 ? t->stack : 1;
        int64_t end = offset + rows * tensor_elements(t) * (int64_t)dtype_size(type);
        json_object_set_new(header, name,
                            json_pack("{s:s, s:o, s:[I, I]}", "dtype", dtype_names[type], "shape",
                                      shape_of(s, t), "data_offsets", (json_int_t)offset,
                                      (json_int_t)end));
        offset = end;
    }
    char *text = json_dumps(header, JSON_COMPACT);
    json_decref(header);
    return text;
}

static bool write_header(FILE *f, const char *text) {
    size_t length = strlen(text), padded = (length + 7) / 8 * 8;
    unsigned char bytes[8];
    for (int i = 0; i < 8; i++)
        bytes[i] = (unsigned char)((uint64_t)padded >> (8 * i));
    return fwrite(bytes, 1, 8, f) == 8 && fwrite(text, 1, length, f) == length &&
           fwrite("       ", 1, padded - length, f) == padded - length;
}

/* The columns of a matrix [rows, columns] one after the other. */
static bool write_transposed(FILE *f, const tensor_spec *t, const value_options *o, dtype type) {
    unsigned char value[8];
    bool ok = true;
    for (int64_t j = 0; ok && j < t->dims[1]; j++)
        for (int64_t i = 0; ok && i < t->dims[0]; i++) {
            random_values(t, o, type, i * t->dims[1] + j, 1, value);
            ok = fwrite(value, dtype_size(type), 1, f) == 1;
        }
    return ok;
}

static bool write_tensor(FILE *f, const tensor_spec *t, const value_options *o, dtype type,
                         void *block) {
    int64_t n = tensor_elements(t);
    for (int64_t done = 0; done < n;) {
        size_t m = n - done < BLOCK_ELEMENTS ? (size_t)(n - done) : BLOCK_ELEMENTS;
        random_values(t, o, type, done, m, block);
        if (fwrite(block, dtype_size(type), m, f) != m)
            return false;
        done += (int64_t)m;
    }
    return true;
}

bool safetensors_write(const char *path, const tensor_list *list, const value_options *o,
                       component network, bool diffusers_names, const model_size *size) {
    selection s = {network, diffusers_names, o->type};
    FILE *f = fopen(path, "wb");
    char *text = header_text(list, &s, size);
    void *block = malloc(BLOCK_ELEMENTS * 8);
    bool ok = f && text && block && write_header(f, text);

    for (size_t i = 0; ok && i < list->n; i++) {
        const tensor_spec *t = &list->items[i];
        if (selected_name(&s, t) && s.diffusers && t->transposed)
            ok = write_transposed(f, t, o, stored_type(&s, t));
        else if (selected_name(&s, t))
            ok = write_tensor(f, t, o, stored_type(&s, t), block);
    }
    if (f && fclose(f) != 0)
        ok = false;
    free(block);
    free(text);
    if (!ok)
        fprintf(stderr, "cannot write %s\n", path);
    return ok;
}
