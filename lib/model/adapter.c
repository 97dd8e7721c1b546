/* Opening an adapter: its file, the table of its modules, and what family it is for. */
#include "model/adapter.h"

#include "core/files.h"
#include "core/os.h"
#include "io/folder.h"

#include <math.h>
#include <string.h>

/* ------------------------------------------------------------------------- files */

/* What PEFT and diffusers write into a folder. */
static const sd_stems stems[] = {{"adapter_model", "adapter_model"},
                                 {"pytorch_lora_weights", "pytorch_lora_weights"}};
#define CONFIG "adapter_config.json"

static sd_status find_file(const sd_context *ctx, const char *folder, char **file) {
    sd_status status = SD_OK;
    for (size_t i = 0; i < SD_COUNT(stems) && !status && !*file; i++)
        status = sdi_folder_weights(ctx, folder, &stems[i], file);
    if (!status && !*file)
        status = sdi_folder_has_none(ctx, folder, &stems[0]);
    return status;
}

/* The file of an adapter, and the folder that may have PEFT's config; *folder NULL: none has. */
static sd_status resolve(const sd_context *ctx, const char *path, char **file, char **folder) {
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    sd_status status = SD_OK;
    bool is_folder = sdi_is_directory(path);
    bool of_peft = strncmp(name, stems[0].safetensors, strlen(stems[0].safetensors)) == 0;
    *file = *folder = NULL;
    if (is_folder)
        status = find_file(ctx, path, file);
    else if (!(*file = sdi_strdup(ctx, path)))
        status = SD_ERROR_MEMORY;
    if (!status && (is_folder || of_peft)) {
        *folder = is_folder ? sdi_strdup(ctx, path) : sdi_path_dirname(ctx, path);
        status = *folder ? SD_OK : SD_ERROR_MEMORY;
    }
    return status;
}

static sd_status read_config(sd_adapter *a, const char *given, const char *folder) {
    char *beside = !given && folder ? sdi_path_join(a->ctx, folder, CONFIG) : NULL;
    if (!given && folder && !beside)
        return SD_ERROR_MEMORY;
    const char *path = given ? given : beside && sdi_is_file(beside) ? beside : NULL;
    sd_status status = sdi_adapter_config_read(a->ctx, path, a->weights, &a->config);
    sdi_free(a->ctx, beside);
    return status;
}

/* ------------------------------------------------------------------------- the table */

/* Fowler, Noll and Vo's hash. */
static size_t hash(const char *key) {
    uint64_t h = 14695981039346656037u;
    for (; *key; key++)
        h = (h ^ (uint8_t)*key) * 1099511628211u;
    return (size_t)(h ^ h >> 32);
}

/* The slot of the module, or the free one where it would be. */
static int *slot_of(const sd_adapter *a, unsigned nets, const char *key, bool all) {
    size_t i = hash(key) & (a->n_slots - 1);
    for (;; i = (i + 1) & (a->n_slots - 1)) {
        int *slot = &a->slots[i];
        const sd_adapter_module *m = *slot < 0 ? NULL : &a->modules[*slot];
        bool there = m && (all ? m->nets == nets : (m->nets & nets) != 0);
        if (!m || (there && strcmp(m->key, key) == 0))
            return slot;
    }
}

/* Room for all that n tensors may name: the table is never more than half full. */
static sd_status reserve(sd_adapter *a, size_t n) {
    a->n_slots = 16;
    while (a->n_slots < 2 * n)
        a->n_slots *= 2;
    a->slots = sdi_alloc_array(a->ctx, a->n_slots, sizeof *a->slots);
    a->modules = sdi_alloc_array(a->ctx, n ? n : 1, sizeof *a->modules);
    if (!a->slots || !a->modules)
        return SD_ERROR_MEMORY;
    memset(a->slots, -1, a->n_slots * sizeof *a->slots);
    return SD_OK;
}

static sd_adapter_module *module_of(sd_adapter *a, unsigned nets, const char *key) {
    int *slot = slot_of(a, nets, key, true);
    if (*slot >= 0)
        return &a->modules[*slot];
    sd_adapter_module *m = &a->modules[a->n_modules];
    *m = (sd_adapter_module){.key = sdi_strdup(a->ctx, key), .nets = nets, .alpha = (double)NAN};
    if (!m->key)
        return NULL;
    *slot = a->n_modules++;
    return m;
}

static sd_status put_alpha(const sd_adapter *a, sd_adapter_module *m, const sd_entry *entry) {
    bool is;
    sd_status status = sdi_weights_number(a->weights, entry, &m->alpha, &is);
    if (!status && (!is || !isfinite(m->alpha)))
        status = sdi_fail(a->ctx, SD_ERROR_MODEL, "%s: tensor '%s' is no finite number", a->path,
                          entry->name);
    return status;
}

static sd_status put_tensor(sd_adapter *a, const sd_entry *entry) {
    char key[SD_MAX_NAME];
    size_t length;
    const char *kind = sdi_adapter_unsupported(entry->name);
    sd_adapter_tensor tensor = sdi_adapter_tensor_of(entry->name, &length);
    if (kind)
        return sdi_fail(a->ctx, SD_ERROR_UNSUPPORTED,
                        "%s: tensor '%s' is of %s, which libsd does not know; LoRA, LoHa, LoKr, "
                        "DoRA and full differences were expected",
                        a->path, entry->name, kind);
    if (tensor == SD_N_ADAPTER_TENSORS) {
        a->n_unknown++;
        return SD_OK;
    }
    unsigned nets = sdi_adapter_key(key, entry->name, length);
    sd_adapter_module *m = module_of(a, nets, key);
    if (!m)
        return SD_ERROR_MEMORY;
    m->tensors[tensor] = entry;
    return tensor == SD_ALPHA ? put_alpha(a, m, entry) : SD_OK;
}

static sd_status fill_table(sd_adapter *a) {
    size_t n = sdi_weights_count(a->weights);
    sd_status status = reserve(a, n);
    for (size_t i = 0; i < n && !status; i++)
        status = put_tensor(a, sdi_weights_at(a->weights, i));
    return status;
}

const sd_adapter_module *sdi_adapter_find(const sd_adapter *a, unsigned net, const char *key) {
    int slot = *slot_of(a, net, key, false);
    return slot < 0 ? NULL : &a->modules[slot];
}

const sd_adapter_module *sdi_adapter_find_path(const sd_adapter *a, unsigned net,
                                               const sd_path *path) {
    char key[SD_MAX_NAME];
    const sd_adapter_module *m = NULL;
    for (int i = 0; i < SD_N_NAMINGS && !m && a->n_modules; i++)
        m = sdi_adapter_find(a, net, sdi_path_key(key, path, i));
    return m;
}

double sdi_adapter_scale(const sd_adapter *a, const sd_adapter_module *m, int rank) {
    double alpha = isnan(m->alpha) ? sdi_adapter_config_alpha(&a->config, m) : m->alpha;
    bool root = isnan(m->alpha) && sdi_adapter_config_rank_stabilized(&a->config, m);
    return isnan(alpha) ? 1.0 : alpha / (root ? sqrt(rank) : rank);
}

/* ------------------------------------------------------------------------- its family */

/* Numbers of a context, by a projection of keys or values of it; 0: it does not tell. */
static int64_t context_of(const sd_adapter_module *m) {
    static const sd_adapter_tensor rows[] = {SD_LORA_DOWN, SD_HADA_W1_B, SD_DIFF};
    const sd_entry *const *t = m->tensors;
    bool reads = strstr(m->key, "attn2_to_k") || strstr(m->key, "attn2_to_v") ||
                 strstr(m->key, "attn2_processor_to_k");
    for (size_t i = 0; i < SD_COUNT(rows) && reads; i++)
        if (t[rows[i]] && t[rows[i]]->n_dims >= 2)
            return t[rows[i]]->dims[1];
    const sd_entry *a = t[SD_LOKR_W1] ? t[SD_LOKR_W1] : t[SD_LOKR_W1_B];
    const sd_entry *b = t[SD_LOKR_W2] ? t[SD_LOKR_W2] : t[SD_LOKR_W2_B];
    bool kron = reads && a && b && a->n_dims >= 2 && b->n_dims >= 2 && a->dims[1] < 65536 &&
                b->dims[1] < 65536;
    return kron ? a->dims[1] * b->dims[1] : 0;
}

static void find_family(sd_adapter *a) {
    for (int i = 0; i < a->n_modules; i++) {
        const sd_adapter_module *m = &a->modules[i];
        int64_t width = a->context_width ? 0 : context_of(m);
        if (width > 0 && width < INT32_MAX)
            a->context_width = (int)width;
        if (!a->family)
            a->family = sdi_adapter_family_of_key(m->key);
        if (!a->family && m->nets == SD_NET_TEXT_2)
            a->family = sdi_family_of_context(2048);
    }
    if (!a->family)
        a->family = sdi_family_of_context(a->context_width);
}

/* ------------------------------------------------------------------------- life */

static void free_adapter(void *handle) {
    sd_adapter *a = handle;
    sd_context *ctx = a->ctx;
    for (int i = 0; i < a->n_modules; i++)
        sdi_free(ctx, a->modules[i].key);
    sdi_free(ctx, a->modules);
    sdi_free(ctx, a->slots);
    sdi_adapter_config_free(&a->config);
    sdi_weights_close(a->weights);
    sdi_free(ctx, a->path);
    sdi_free(ctx, a);
    sdi_context_release(ctx);
}

/* Files of textual inversion have one tensor, or names of their own. */
static bool has_words(const sd_weights *w) {
    return sdi_weights_count(w) == 1 || sdi_weights_find(w, "emb_params") ||
           sdi_weights_find(w, "clip_l") || sdi_weights_find(w, "clip_g");
}

static sd_status check_kind(const sd_adapter *a) {
    const sd_entry *first = sdi_weights_at(a->weights, 0);
    if (a->n_modules || has_words(a->weights))
        return SD_OK;
    return sdi_fail(
        a->ctx, SD_ERROR_MODEL,
        "%s: no adapter: of its %zu tensors%s%.100s%s none is called as LoRA and its kin "
        "call theirs, and there is no \"emb_params\" of textual inversion",
        a->path, sdi_weights_count(a->weights), first ? " ('" : "", first ? first->name : "",
        first ? "', ...)" : "");
}

static sd_status open_adapter(sd_adapter *a, const char *path, const char *config) {
    char *file, *folder;
    sd_status status = resolve(a->ctx, path, &file, &folder);
    if (!status)
        status = sdi_weights_open(a->ctx, file, &a->weights);
    if (!status)
        status = read_config(a, config, folder);
    if (!status)
        status = fill_table(a);
    if (!status)
        status = check_kind(a);
    if (!status)
        find_family(a);
    sdi_free(a->ctx, file);
    sdi_free(a->ctx, folder);
    return status;
}

sd_status sdi_adapter_load(sd_context *ctx, const char *path, const char *config,
                           sd_adapter **out) {
    *out = NULL;
    sd_adapter *a = sdi_zalloc(ctx, sizeof *a);
    if (!a)
        return SD_ERROR_MEMORY;
    sdi_context_retain(ctx);
    a->ctx = ctx;
    sdi_handle_init(&a->handle, ctx, free_adapter);
    a->path = sdi_strdup(ctx, path);
    sd_status status = a->path ? open_adapter(a, path, config) : SD_ERROR_MEMORY;
    if (status)
        sdi_handle_release(a);
    else
        *out = a;
    return status;
}
