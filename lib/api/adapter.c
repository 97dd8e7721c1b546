/* Adapters: sd/adapter.h. */
#include "api/check.h"
#include "model/adapter_info.h"

SD_PUBLIC(sd_adapter_load, (ctx, path, params, out), (ctx), sd_context *ctx, const char *path,
          const sd_adapter_params *params, sd_adapter **out) {
    SD_REQUIRE_PTR(ctx, out);
    *out = NULL;
    SD_REQUIRE_PTR(ctx, ctx);
    SD_REQUIRE_PTR(ctx, path);
    sd_adapter_params p = SD_ADAPTER_PARAMS_INIT;
    sd_status status = sdi_read_params(ctx, "sd_adapter_params", &p, sizeof p, params);
    return status ? status : sdi_adapter_load(ctx, path, p.config, out);
}

void sd_adapter_free(sd_adapter *adapter) {
    sdi_handle_free(adapter);
}

SD_PUBLIC(sd_adapter_get_info, (adapter, info), (adapter), const sd_adapter *adapter,
          sd_adapter_info *info) {
    SD_REQUIRE_PTR(NULL, adapter);
    SD_REQUIRE_PTR(adapter->ctx, info);
    sd_adapter_info full = SD_ADAPTER_INFO_INIT;
    sdi_adapter_info(adapter, &full);
    return sdi_write_struct(adapter->ctx, "sd_adapter_info", info, &full, sizeof full);
}
