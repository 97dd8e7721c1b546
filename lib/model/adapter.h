/*
 * Adapters: files that change the weights of a model (LoRA and its kin), or that bring embeddings
 * of words (textual inversion). One has a table of modules, each with the tensors that tell its
 * change, and knows no model: a model asks it by the paths of its own weights.
 */
#ifndef SD_MODEL_ADAPTER_H
#define SD_MODEL_ADAPTER_H

#include "io/weights.h"
#include "model/names.h"

/* The networks that adapters change, as bits. */
enum { SD_NET_UNET = 1, SD_NET_TEXT = 2, SD_NET_TEXT_2 = 4 };

/* What a module's tensors are, by the ends of their names: adapter_names.c. */
typedef enum sd_adapter_tensor {
    SD_LORA_DOWN, /* [rank, in, ...] */
    SD_LORA_UP,   /* [out, rank, ...] */
    SD_LORA_MID,  /* [rank, rank, ...]: Tucker's core */
    SD_LORA_BIAS, /* [out] */
    SD_HADA_W1_A, /* [out, rank]; with a core [rank, out] */
    SD_HADA_W1_B, /* [rank, in, ...]; with a core [rank, in] */
    SD_HADA_W2_A,
    SD_HADA_W2_B,
    SD_HADA_T1, /* [rank, rank, ...] */
    SD_HADA_T2,
    SD_LOKR_W1, /* [a, b] of a Kronecker product, or its factors */
    SD_LOKR_W1_A,
    SD_LOKR_W1_B,
    SD_LOKR_W2, /* [out / a, in / b, ...], or its factors as those of LoHa */
    SD_LOKR_W2_A,
    SD_LOKR_W2_B,
    SD_LOKR_T2,
    SD_DIFF, /* as the weight */
    SD_DIFF_B,
    SD_W_NORM,
    SD_B_NORM,
    SD_DORA_SCALE, /* [out, 1, ...] or [1, in, 1 ...] */
    SD_MAGNITUDE,  /* PEFT's: out numbers */
    SD_ALPHA,
    SD_N_ADAPTER_TENSORS
} sd_adapter_tensor;

typedef struct sd_adapter_module {
    char *key;     /* sdi_path_key */
    unsigned nets; /* that it may be in */
    const sd_entry *tensors[SD_N_ADAPTER_TENSORS];
    double alpha; /* NaN: the file has none */
} sd_adapter_module;

/* What PEFT's adapter_config.json says, or metadata that has the same. */
typedef struct sd_adapter_config {
    struct json_t *root; /* owned; NULL: there is none */
} sd_adapter_config;

struct sd_adapter {
    sd_handle handle;
    sd_context *ctx; /* retained */
    char *path;      /* of its file, or what stands for it */
    sd_weights *weights;
    sd_adapter_config config;
    sd_adapter_module *modules;
    int n_modules; /* 0: embeddings of a word */
    int *slots;    /* [n_slots], a power of two: the modules by their keys' hashes; -1: free */
    size_t n_slots;
    int n_unknown;      /* tensors whose names say nothing */
    const char *family; /* NULL: it does not tell */
    int context_width;  /* of the cross-attention that it was made for; 0: it does not tell */
};

/* `config` (may be NULL): a PEFT config beside it, else the one in its folder. */
sd_status sdi_adapter_load(sd_context *ctx, const char *path, const char *config, sd_adapter **out);

/* The module of that key in that network; NULL: there is none. */
const sd_adapter_module *sdi_adapter_find(const sd_adapter *a, unsigned net, const char *key);
/* That of a path, in whichever naming. */
const sd_adapter_module *sdi_adapter_find_path(const sd_adapter *a, unsigned net,
                                               const sd_path *path);

/* What its numbers are scaled by where they are a product of that rank. */
double sdi_adapter_scale(const sd_adapter *a, const sd_adapter_module *m, int rank);

/* --- adapter_names.c --- */
/* What a tensor is, and how long the name of its module is; SD_N_ADAPTER_TENSORS: unknown. */
sd_adapter_tensor sdi_adapter_tensor_of(const char *name, size_t *length);
/* The key of a module that is so called, and the networks that it may be in. */
unsigned sdi_adapter_key(char key[SD_MAX_NAME], const char *name, size_t length);
/* A kind of adapter that is not supported, by the tensor's name; NULL: none. */
const char *sdi_adapter_unsupported(const char *name);
/* Families by the key of a module, and by the width of a context; NULL: unknown. */
const char *sdi_adapter_family_of_key(const char *key);
const char *sdi_family_of_context(int width);

/* --- adapter_config.c --- */
/* Of the file at `path`, else of metadata. */
sd_status sdi_adapter_config_read(const sd_context *ctx, const char *path, const sd_weights *w,
                                  sd_adapter_config *config);
void sdi_adapter_config_free(sd_adapter_config *config);
/* The alpha of a module; NaN: it is not said. */
double sdi_adapter_config_alpha(const sd_adapter_config *config, const sd_adapter_module *m);
/* Whether alpha stands over the root of the rank. */
bool sdi_adapter_config_rank_stabilized(const sd_adapter_config *config,
                                        const sd_adapter_module *m);

#endif
