/* Checks of structs and handles that callers pass. */
#include "api/check.h"

#include "core/tensor.h"

#include <string.h>

static sd_status check_size(const sd_context *ctx, const char *what, size_t size) {
    SD_REQUIRE(ctx, size >= sizeof(size_t) && size <= 65536,
               "%s.struct_size is %zu; sizeof(%s) was expected", what, size, what);
    return SD_OK;
}

/* Members that a newer header has are 0, and so ask for nothing that is not known here. */
static sd_status check_rest(const sd_context *ctx, const char *what, const void *given, size_t size,
                            size_t known) {
    for (size_t i = known; i < size; i++)
        if (((const unsigned char *)given)[i])
            return sdi_fail(
                ctx, SD_ERROR_UNSUPPORTED,
                "%s.struct_size is %zu, of a newer header; this library knows the first "
                "%zu bytes, and byte %zu was expected to be 0: leave what is new at its "
                "default, or update libsd",
                what, size, known, i);
    return SD_OK;
}

sd_status sdi_read_params(const sd_context *ctx, const char *what, void *full, size_t full_size,
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
    return size > full_size ? check_rest(ctx, what, given, size, full_size) : SD_OK;
}

sd_status sdi_write_struct(const sd_context *ctx, const char *what, void *given, const void *full,
                           size_t full_size) {
    size_t size;
    memcpy(&size, given, sizeof size);
    sd_status status = check_size(ctx, what, size);
    if (status)
        return status;
    memcpy((char *)given + sizeof size, (const char *)full + sizeof size,
           (size < full_size ? size : full_size) - sizeof size);
    if (size > full_size)
        memset((char *)given + full_size, 0, size - full_size);
    return SD_OK;
}

sd_status sdi_check_reserved(const sd_context *ctx, const char *what, int32_t reserved) {
    return reserved == 0 ? SD_OK
                         : sdi_fail(ctx, SD_ERROR_UNSUPPORTED, "%s.reserved is %d; 0 was expected",
                                    what, (int)reserved);
}

sd_status sdi_read_vae(const sd_context *ctx, const sd_vae_params *given, bool encoding,
                       sd_vae_params *p) {
    *p = (sd_vae_params)SD_VAE_PARAMS_INIT;
    sd_status status = sdi_read_params(ctx, "sd_vae_params", p, sizeof *p, given);
    if (status)
        return status;
    sdi_call_use(p->noise);
    sdi_call_heed(p->stop);
    SD_REQUIRE(ctx, encoding || !p->noise,
               "sd_vae_params.noise is given, which is for sd_vae_encode; NULL was expected");
    SD_REQUIRE(ctx, p->tile >= 0 && p->tile <= SD_MAX_IMAGE_SIDE,
               "sd_vae_params.tile is %d; 0 (none) to %d was expected", (int)p->tile,
               SD_MAX_IMAGE_SIDE);
    SD_REQUIRE(ctx, p->overlap <= 0 || p->overlap < p->tile,
               "sd_vae_params.overlap is %d; less than the %d of a tile was expected",
               (int)p->overlap, (int)p->tile);
    p->overlap = p->overlap < 0 ? 0 : p->overlap > 0 ? p->overlap : p->tile / 4;
    return SD_OK;
}
