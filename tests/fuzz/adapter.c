/* The whole input is an adapter's file: its modules, and what each would add to some weights. */
#include "fuzz.h"

#include "model/adapter_info.h"
#include "model/delta.h"

#include <string.h>

#define ROWS 8
#define COLUMNS 8

/* One tile of the first rows and columns; most modules do not fit the shape. */
static void add(const sd_adapter *a, const sd_adapter_module *m, sd_delta_shape shape) {
    float y[ROWS * COLUMNS] = {0};
    const sd_tile tile = {
        .y = y, .base = y, .ld = COLUMNS, .rows = shape.rows, .columns = (size_t)shape.in};
    sd_delta d;
    if (!sdi_delta_kind(m, shape.bias))
        return;
    sd_status status = sdi_delta_read(&d, fuzz_ctx, a, m, &shape, 0.5);
    if (!status)
        sdi_delta_add(&d, &tile);
    FUZZ_REQUIRE(!status || *sdi_error_get());
    sdi_delta_free(&d);
}

sd_status fuzz_adapter(const uint8_t *data, size_t size) {
    static const sd_delta_shape shapes[] = {
        {ROWS, COLUMNS, 1, false}, {4, 4, 1, false}, {4, 4, 9, false}, {ROWS, 1, 1, true}};
    sd_adapter *a;
    sd_adapter_info info = SD_ADAPTER_INFO_INIT;
    sd_status status =
        sdi_adapter_load(fuzz_ctx, fuzz_file("adapter.safetensors", data, size), NULL, &a);
    if (status)
        return status;
    sdi_adapter_info(a, &info);
    FUZZ_REQUIRE(info.kind && info.max_rank >= info.min_rank);
    for (int i = 0; i < a->n_modules; i++) {
        const sd_adapter_module *m = &a->modules[i];
        FUZZ_REQUIRE(sdi_adapter_find(a, m->nets, m->key) != NULL);
        for (size_t k = 0; k < SD_COUNT(shapes); k++)
            add(a, m, shapes[k]);
    }
    sdi_handle_release(a);
    return SD_OK;
}
