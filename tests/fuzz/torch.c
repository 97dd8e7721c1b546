/* torch.save's files: a whole archive, and the pickle alone, which mutations of an archive reach
 * less often. */
#include "fuzz.h"

#include "io/pickle.h"

/* First bytes tell what kind of file it is; of the entries of each kind the same must hold. */
sd_status fuzz_torch(const uint8_t *data, size_t size) {
    return fuzz_safetensors(data, size);
}

/* A tensor must have a storage, which has a key. */
static void check_tensor(const sd_pickle_tensor *t) {
    FUZZ_REQUIRE(t->n_dims >= 0 && t->n_dims <= SD_ENTRY_MAX_DIMS && t->offset >= 0);
    for (int i = 0; i < t->n_dims; i++)
        FUZZ_REQUIRE(t->dims[i] >= 0 && t->strides[i] >= 0);
    const sd_pickle_storage *s = t->storage;
    FUZZ_REQUIRE(s->numel >= 0 && s->offset >= 0 && s->offset <= s->numel);
    FUZZ_REQUIRE(s->count >= 0 && s->count <= s->numel - s->offset);
    FUZZ_REQUIRE(s->key->kind == SD_PICKLE_TEXT);
}

sd_status fuzz_pickle(const uint8_t *data, size_t size) {
    sd_pickle *pickle;
    sd_status status = sdi_pickle_read(fuzz_ctx, "data.pkl", data, size, &pickle);
    if (status)
        return status;
    const sd_pickle_value *root = sdi_pickle_root(pickle);
    bool is_list = root->kind == SD_PICKLE_DICT || root->kind == SD_PICKLE_LIST;
    FUZZ_REQUIRE(root->kind != SD_PICKLE_DICT || root->list.n % 2 == 0);
    for (size_t i = 0; is_list && i < root->list.n; i++)
        if (root->list.items[i]->kind == SD_PICKLE_TENSOR)
            check_tensor(root->list.items[i]->tensor);
    sdi_pickle_free(pickle);
    return SD_OK;
}
