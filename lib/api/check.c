/* Checks of structs and handles that callers pass. */
#include "api/check.h"

#include "core/tensor.h"

#include <string.h>

static sd_status check_size(const sd_context *ctx, const char *what, size_t size) {
    SD_REQUIRE(ctx, size >= sizeof(size_t) && size <= 65536,
               "%s.struct_size is %zu; sizeof(%s) was expected", what, size, what);
    return SD_OK;
}

sd_status sd_read_params(const sd_context *ctx, const char *what, void *full, size_t full_size,
                         const void *given) {
    if (!given)
        return SD_OK;
    size_t size;
    memcpy(&size, given, sizeof size);
    sd_status status = check_size(ctx, what, size);
    if (status)
        return status;
    memcpy(full, given, size < full_size ? size : full_size);
    memcpy(full, &full_size, sizeof full_size);
    return SD_OK;
}

sd_status sd_write_struct(const sd_context *ctx, const char *what, void *given, const void *full,
                          size_t full_size) {
    size_t size;
    memcpy(&size, given, sizeof size);
    sd_status status = check_size(ctx, what, size);
    if (status)
        return status;
    memcpy((char *)given + sizeof size, (const char *)full + sizeof size,
           (size < full_size ? size : full_size) - sizeof size);
    return SD_OK;
}

sd_status sd_read_tiles(const sd_context *ctx, const sd_tile_params *given, sd_tile_params *p) {
    *p = (sd_tile_params)SD_TILE_PARAMS_INIT;
    sd_status status = sd_read_params(ctx, "sd_tile_params", p, sizeof *p, given);
    if (status)
        return status;
    SD_REQUIRE(ctx, p->tile >= 1 && p->tile <= SD_MAX_IMAGE_SIDE,
               "sd_tile_params.tile is %d; 1 to %d was expected", p->tile, SD_MAX_IMAGE_SIDE);
    SD_REQUIRE(ctx, p->overlap >= 0 && p->overlap < p->tile,
               "sd_tile_params.overlap is %d; 0 to %d was expected", p->overlap, p->tile - 1);
    return SD_OK;
}
