/* The whole input is a YAML config of the original repositories. */
#include "fuzz.h"

#include "describe/config.h"
#include "io/yaml.h"

#include <string.h>

sd_status fuzz_yaml(const uint8_t *data, size_t size) {
    const char *path = fuzz_file("config.yaml", data, size);
    json_t *root;
    sd_description s;
    memset(&s, 0, sizeof s);
    s.path = (char *)path;
    sd_status status = sdi_yaml_parse(fuzz_ctx, path, data, size, &root);
    if (status)
        return status;
    FUZZ_REQUIRE(json_is_object(root));
    json_decref(root);
    if (!sdi_ldm_config(fuzz_ctx, path, &s)) { /* most are no model */
        FUZZ_REQUIRE(s.family);
        (void)sdi_check_description(fuzz_ctx, &s); /* without the sizes of a text encoder */
    }
    return SD_OK;
}
