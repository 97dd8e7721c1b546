/* The whole input is a .safetensors file: its entries, then a checkpoint's sizes from them. */
#include "fuzz.h"

#include "model/source.h"

#include <string.h>

/* Every byte that an entry claims must be there, and names must find their entries. */
static void walk(const sd_weights *w) {
    unsigned sum = 0;
    uint8_t bytes[8192];
    for (size_t i = 0; i < sdi_weights_count(w); i++) {
        const sd_entry *e = sdi_weights_at(w, i);
        uint64_t n = 1;
        FUZZ_REQUIRE(e->n_dims >= 0 && e->n_dims <= SD_ENTRY_MAX_DIMS);
        for (int k = 0; k < e->n_dims; k++) {
            FUZZ_REQUIRE(e->dims[k] >= 0);
            n *= (uint64_t)e->dims[k];
        }
        if (e->type != SD_DTYPE_OTHER) /* whose elements are of any size */
            FUZZ_REQUIRE(n * sdi_dtype_bits(e->type) == (uint64_t)e->size * 8);
        FUZZ_REQUIRE(*sdi_entry_type_name(e));
        for (size_t k = 0; k < e->size; k += sizeof bytes) {
            size_t left = e->size - k, part = left < sizeof bytes ? left : sizeof bytes;
            FUZZ_REQUIRE(sdi_weights_read(w, e, k, bytes, part) == SD_OK);
            for (size_t j = 0; j < part; j += 61)
                sum += bytes[j];
        }
        FUZZ_REQUIRE(sdi_weights_find(w, e->name) == e);
        FUZZ_REQUIRE(sdi_weights_has_prefix(w, e->name));
        FUZZ_REQUIRE(*sdi_weights_path(w, e));
    }
    const char *value = sdi_weights_metadata(w, "format");
    FUZZ_REQUIRE(sum != 1 || !value || strlen(value) < SIZE_MAX); /* all was read */
}

sd_status fuzz_safetensors(const uint8_t *data, size_t size) {
    const char *path = fuzz_file("model.safetensors", data, size);
    sd_weights *w;
    sd_source *source;
    sd_status status = sdi_weights_open(fuzz_ctx, path, &w);
    if (status)
        return status;
    walk(w);
    sdi_weights_close(w);
    if (!sdi_source_open(fuzz_ctx, path, &source)) /* most are no model */
        sdi_source_close(source);
    return SD_OK;
}
