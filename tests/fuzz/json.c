/* The first byte chooses which of the JSON files of a diffusers folder the rest is. */
#include "fuzz.h"

#include "describe/config.h"
#include "model/source.h"
#include "text/tokenizer.h"

#include <string.h>

/* sdi_weights_open of a sharded checkpoint's list, whose shards are not there or are itself. */
static sd_status read_index(const uint8_t *data, size_t size) {
    sd_weights *w;
    const char *path = fuzz_file("model.safetensors.index.json", data, size);
    sd_status status = sdi_weights_open(fuzz_ctx, path, &w);
    if (!status)
        sdi_weights_close(w);
    return status;
}

static sd_status read_scheduler(const char *path) {
    sd_description d = {.path = NULL};
    const sd_index index = {.scheduler = ""};
    sd_status status = sdi_config_scheduler(fuzz_ctx, path, &index, &d);
    sdi_free(fuzz_ctx, d.schedule.trained_betas);
    return status;
}

static sd_status read_folder(const uint8_t *data, size_t size) {
    sd_source *source;
    fuzz_file("model_index.json", data, size);
    sd_status status = sdi_source_open(fuzz_ctx, fuzz_folder(), &source);
    if (!status)
        sdi_source_close(source);
    return status;
}

/* special_tokens_map.json, which names the padding token. */
static sd_status read_pad(void) {
    sd_tokenizer *t;
    FUZZ_REQUIRE(sdi_tokenizer_load(fuzz_ctx, SD_TEST_DATA "/tokenizer/merges.txt", &t) == SD_OK);
    sd_status status = sdi_tokenizer_take_pad(t, fuzz_folder());
    FUZZ_REQUIRE(sdi_tokenizer_pad(t) < sdi_tokenizer_size(t));
    sdi_tokenizer_release(t);
    return status;
}

sd_status fuzz_json(const uint8_t *data, size_t size) {
    sd_description s;
    memset(&s, 0, sizeof s);
    if (size == 0)
        return SD_OK;
    int kind = data[0] % 7;
    const char *name = kind == 4 ? "special_tokens_map.json" : "config.json";
    data++, size--;
    const char *path = fuzz_file(name, data, size);
    switch (kind) {
    case 0:
        return sdi_config_unet(fuzz_ctx, path, &s.unet);
    case 1:
        return sdi_config_vae(fuzz_ctx, path, &s.vae);
    case 2:
        return sdi_config_text(fuzz_ctx, path, &s.text);
    case 3:
        return read_scheduler(path);
    case 4:
        return read_pad();
    case 5:
        return read_index(data, size);
    default:
        return read_folder(data, size);
    }
}
