/*
 * Names and shapes of an AutoencoderTiny: the layers of nn.Sequential, as TAESD's files number them
 * and as diffusers does, whose decoder has no Clamp among them.
 */
#include "checkpoint.h"

#include <string.h>

static const tiny_size sizes[] = {
    {"taesd", 64, {1, 3, 3, 3}, {3, 3, 3, 1}},
    {"taesd-tiny", 12, {1, 2, 0, 1}, {2, 1, 0, 1}},
};

const tiny_size *tiny_size_find(const char *name) {
    for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
        if (strcmp(sizes[i].name, name) == 0)
            return &sizes[i];
    return NULL;
}

typedef struct half {
    tensor_list *list;
    component network;
    const char *name;
    int clamp; /* layers that diffusers does not count */
} half;

static void put(const half *h, int layer, const char *rest, tensor_kind kind, int n_dims, int out,
                int in) {
    tensor_spec *t = tensor_list_add(h->list);
    const int64_t dims[4] = {out, in, 3, 3};
    if (!t)
        return;
    t->network = h->network;
    t->kind = kind;
    t->n_dims = n_dims;
    memcpy(t->dims, dims, (size_t)n_dims * sizeof(dims[0]));
    snprintf(t->original, NAME_SIZE, "%s.%d.%s", h->name, layer + h->clamp, rest);
    snprintf(t->diffusers, NAME_SIZE, "%s.layers.%d.%s", h->name, layer, rest);
}

static void put_conv(const half *h, int layer, int out, int in, bool bias) {
    put(h, layer, "weight", KIND_WEIGHT, 4, out, in);
    if (bias)
        put(h, layer, "bias", KIND_BIAS, 1, out, 0);
}

static void put_block(const half *h, int layer, int width) {
    char name[32];
    for (int i = 0; i < 3; i++) {
        snprintf(name, sizeof(name), "conv.%d.weight", 2 * i);
        put(h, layer, name, KIND_WEIGHT, 4, width, width);
        snprintf(name, sizeof(name), "conv.%d.bias", 2 * i);
        put(h, layer, name, KIND_BIAS, 1, width, 0);
    }
}

static void put_half(const half *h, int width, const int *blocks, int in, int out) {
    bool decoder = h->network == TINY_DECODER;
    int layer = 0;
    put_conv(h, layer++, width, in, true);
    layer += decoder; /* ReLU */
    for (int level = 0; level < N_LEVELS; level++) {
        if (level > 0) {
            layer += decoder; /* Upsample */
            put_conv(h, layer++, width, width, false);
        }
        for (int i = 0; i < blocks[level]; i++)
            put_block(h, layer++, width);
    }
    put_conv(h, layer, out, width, true);
}

bool tensor_list_add_tiny(const tiny_size *size, tensor_list *list) {
    const half encoder = {list, TINY_ENCODER, "encoder", 0};
    const half decoder = {list, TINY_DECODER, "decoder", 1};
    put_half(&encoder, size->width, size->encoder_blocks, 3, LATENT_CHANNELS);
    put_half(&decoder, size->width, size->decoder_blocks, LATENT_CHANNELS, 3);
    return !list->failed;
}
