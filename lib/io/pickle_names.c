/* The names that a checkpoint's pickle may use. Nothing behind them is ever run. */
#include "io/pickle_internal.h"

#include <string.h>

/* torch's legacy storages, each of one type. */
static const sd_pickle_name meaningful[] = {
    {"torch._utils", "_rebuild_tensor_v2", SD_PICKLE_REBUILD_TENSOR},
    {"torch._utils", "_rebuild_parameter", SD_PICKLE_REBUILD_PARAMETER},
    {"collections", "OrderedDict", SD_PICKLE_ORDERED_DICT},
    {"torch", "DoubleStorage", SD_PICKLE_STORAGE_TYPE, SD_DTYPE_F64},
    {"torch", "FloatStorage", SD_PICKLE_STORAGE_TYPE, SD_DTYPE_F32},
    {"torch", "HalfStorage", SD_PICKLE_STORAGE_TYPE, SD_DTYPE_F16},
    {"torch", "BFloat16Storage", SD_PICKLE_STORAGE_TYPE, SD_DTYPE_BF16},
    {"torch", "LongStorage", SD_PICKLE_STORAGE_TYPE, SD_DTYPE_I64},
    {"torch", "IntStorage", SD_PICKLE_STORAGE_TYPE, SD_DTYPE_I32},
    {"torch", "ShortStorage", SD_PICKLE_STORAGE_TYPE, SD_DTYPE_I16},
    {"torch", "CharStorage", SD_PICKLE_STORAGE_TYPE, SD_DTYPE_I8},
    {"torch", "ByteStorage", SD_PICKLE_STORAGE_TYPE, SD_DTYPE_U8},
    {"torch", "BoolStorage", SD_PICKLE_STORAGE_TYPE, SD_DTYPE_BOOL},
};

/* What Lightning, omegaconf and numpy leave beside the weights: inert. */
static const struct {
    const char *module;
    bool below;       /* and the modules below it */
    const char *name; /* NULL: any */
} opaque[] = {
    {"pytorch_lightning", true, NULL},
    {"lightning", true, NULL},
    {"lightning_fabric", true, NULL},
    {"omegaconf", true, NULL},
    {"typing", false, NULL},
    {"collections", false, NULL},
    {"argparse", false, "Namespace"},
    {"numpy", false, "dtype"},
    {"numpy.core.multiarray", false, "scalar"},
    {"numpy._core.multiarray", false, "scalar"},
    {"_codecs", false, "encode"}, /* the bytes of numpy's scalars, in protocol 2 */
    {"torch", false, "Size"},
    {"torch", false, "device"},
};

/* Types alone: as the values of omegaconf's and Lightning's settings. */
static const char *const builtin_types[] = {
    "bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int",     "list",
    "long", "object",    "set",   "slice",   "str",  "tuple", "type",      "unicode",
};

static bool equal(const char *text, const char *bytes, size_t n) {
    return strlen(text) == n && memcmp(text, bytes, n) == 0;
}

static bool is_builtin_type(const char *module, size_t n_module, const char *name, size_t n_name) {
    if (!equal("builtins", module, n_module) && !equal("__builtin__", module, n_module))
        return false;
    for (size_t i = 0; i < SD_COUNT(builtin_types); i++)
        if (equal(builtin_types[i], name, n_name))
            return true;
    return false;
}

bool sd_pickle_is_harmless(const char *module, size_t n_module, const char *name, size_t n_name) {
    for (size_t i = 0; i < SD_COUNT(opaque); i++) {
        size_t n = strlen(opaque[i].module);
        bool same = equal(opaque[i].module, module, n_module) ||
                    (opaque[i].below && n_module > n && module[n] == '.' &&
                     memcmp(opaque[i].module, module, n) == 0);
        if (same && (!opaque[i].name || equal(opaque[i].name, name, n_name)))
            return true;
    }
    return is_builtin_type(module, n_module, name, n_name);
}

const sd_pickle_name *sd_pickle_find_name(const char *module, size_t n_module, const char *name,
                                          size_t n_name) {
    for (size_t i = 0; i < SD_COUNT(meaningful); i++)
        if (equal(meaningful[i].module, module, n_module) &&
            equal(meaningful[i].name, name, n_name))
            return &meaningful[i];
    return NULL;
}
