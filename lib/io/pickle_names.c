/* The names that pickles of checkpoints use. Nothing behind them is ever run. */
#include "io/pickle_internal.h"

#include <string.h>

/* torch's functions, the storages of each type, the types; float8 and unsigned integers come with
 * _rebuild_tensor_v3 and an untyped storage. torch/_utils.py */
static const sd_pickle_name meaningful[] = {
    {"torch._utils", "_rebuild_tensor_v2", SD_PICKLE_REBUILD_TENSOR},
    {"torch._utils", "_rebuild_tensor", SD_PICKLE_REBUILD_TENSOR},
    {"torch._utils", "_rebuild_tensor_v3", SD_PICKLE_REBUILD_TYPED},
    {"torch._utils", "_rebuild_parameter", SD_PICKLE_REBUILD_PARAMETER},
    {"torch._utils", "_rebuild_parameter_with_state", SD_PICKLE_REBUILD_PARAMETER},
    {"torch.nn.parameter", "Parameter", SD_PICKLE_REBUILD_PARAMETER},
    {"torch._tensor", "_rebuild_from_type_v2", SD_PICKLE_REBUILD_SUBCLASS},
    {"collections", "OrderedDict", SD_PICKLE_ORDERED_DICT},
    {"torch.storage", "UntypedStorage", SD_PICKLE_STORAGE_TYPE, SD_DTYPE_U8},
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
    {"torch", "ComplexDoubleStorage", SD_PICKLE_STORAGE_TYPE, SD_DTYPE_C128},
    {"torch", "ComplexFloatStorage", SD_PICKLE_STORAGE_TYPE, SD_DTYPE_C64},
    {"torch", "float64", SD_PICKLE_DTYPE, SD_DTYPE_F64},
    {"torch", "float32", SD_PICKLE_DTYPE, SD_DTYPE_F32},
    {"torch", "float16", SD_PICKLE_DTYPE, SD_DTYPE_F16},
    {"torch", "bfloat16", SD_PICKLE_DTYPE, SD_DTYPE_BF16},
    {"torch", "int64", SD_PICKLE_DTYPE, SD_DTYPE_I64},
    {"torch", "int32", SD_PICKLE_DTYPE, SD_DTYPE_I32},
    {"torch", "int16", SD_PICKLE_DTYPE, SD_DTYPE_I16},
    {"torch", "int8", SD_PICKLE_DTYPE, SD_DTYPE_I8},
    {"torch", "uint8", SD_PICKLE_DTYPE, SD_DTYPE_U8},
    {"torch", "bool", SD_PICKLE_DTYPE, SD_DTYPE_BOOL},
    {"torch", "float8_e4m3fn", SD_PICKLE_DTYPE, SD_DTYPE_F8_E4M3},
    {"torch", "float8_e5m2", SD_PICKLE_DTYPE, SD_DTYPE_F8_E5M2},
    {"torch", "float8_e4m3fnuz", SD_PICKLE_DTYPE, SD_DTYPE_F8_E4M3FNUZ},
    {"torch", "float8_e5m2fnuz", SD_PICKLE_DTYPE, SD_DTYPE_F8_E5M2FNUZ},
    {"torch", "float8_e8m0fnu", SD_PICKLE_DTYPE, SD_DTYPE_F8_E8M0},
    {"torch", "uint64", SD_PICKLE_DTYPE, SD_DTYPE_U64},
    {"torch", "uint32", SD_PICKLE_DTYPE, SD_DTYPE_U32},
    {"torch", "uint16", SD_PICKLE_DTYPE, SD_DTYPE_U16},
    {"torch", "complex32", SD_PICKLE_DTYPE, SD_DTYPE_C32},
};

typedef struct name_rule {
    const char *module;
    bool below;       /* and the modules below it */
    const char *name; /* NULL: any */
} name_rule;

/* Ways into the system that are known from pickles made to do harm, as scanners of such files list
 * them. Since nothing is run here, a name that is missing does no harm either. */
static const name_rule harmful[] = {
    {"os", false, NULL},
    {"posix", false, NULL},
    {"nt", false, NULL},
    {"subprocess", true, NULL},
    {"_posixsubprocess", false, NULL},
    {"pty", false, NULL},
    {"commands", false, NULL},
    {"platform", false, "popen"},
    {"sys", false, NULL},
    {"shutil", false, NULL},
    {"socket", true, NULL},
    {"runpy", false, NULL},
    {"importlib", true, NULL},
    {"imp", false, NULL},
    {"pkgutil", false, NULL},
    {"pip", true, NULL},
    {"webbrowser", false, NULL},
    {"ctypes", true, NULL},
    {"code", false, NULL},
    {"bdb", false, NULL},
    {"pdb", false, NULL},
    {"timeit", false, NULL},
    {"cProfile", false, NULL},
    {"profile", false, NULL},
    {"doctest", false, NULL},
    {"trace", false, NULL},
    {"operator", false, "attrgetter"},
    {"operator", false, "methodcaller"},
    {"_operator", false, "attrgetter"},
    {"_operator", false, "methodcaller"},
    {"pickle", false, "load"},
    {"pickle", false, "loads"},
    {"_pickle", false, "load"},
    {"_pickle", false, "loads"},
    {"marshal", false, NULL},
    {"http", true, NULL},
    {"urllib", true, NULL},
    {"requests", true, NULL},
    {"aiohttp", true, NULL},
    {"httplib", false, NULL},
    {"ftplib", false, NULL},
    {"smtplib", false, NULL},
    {"asyncio", true, NULL},
    {"multiprocessing", true, NULL},
    {"numpy", false, "load"},
    {"numpy.testing", true, NULL},
    {"numpy.f2py", true, NULL},
    {"torch", false, "load"},
    {"torch.serialization", false, "load"},
    {"torch.storage", false, "_load_from_bytes"},
    {"torch.hub", false, NULL},
    {"torch.jit", true, NULL},
    {"torch.utils.cpp_extension", false, NULL},
    {"torch.utils.bottleneck", true, NULL},
    {"torch.utils.collect_env", false, NULL},
    {"torch._dynamo", true, NULL},
    {"torch._inductor", true, NULL},
};

/* Names of `builtins` and Python 2's `__builtin__`. Pickles of classes within classes use getattr.
 */
static const char *const harmful_builtins[] = {
    "__build_class__", "__import__", "apply",  "breakpoint", "compile",
    "delattr",         "eval",       "exec",   "execfile",   "file",
    "globals",         "input",      "locals", "open",       "raw_input",
    "reload",          "setattr",    "vars",
};

/* Names that training, Lightning, omegaconf, numpy and Python leave beside the weights. */
static const name_rule usual[] = {
    {"pytorch_lightning", true, NULL},
    {"lightning", true, NULL},
    {"lightning_fabric", true, NULL},
    {"omegaconf", true, NULL},
    {"numpy", true, NULL},
    {"torch", true, NULL},
    {"typing", false, NULL},
    {"collections", true, NULL},
    {"argparse", false, NULL},
    {"types", false, "SimpleNamespace"},
    {"pathlib", true, NULL},
    {"datetime", false, NULL},
    {"_strptime", false, NULL},
    {"decimal", false, NULL},
    {"fractions", false, NULL},
    {"enum", false, NULL},
    {"uuid", false, NULL},
    {"copyreg", false, NULL},
    {"copy_reg", false, NULL},
    {"_codecs", false, "encode"}, /* the bytes of numpy's scalars, in protocol 2 */
    {"builtins", false, NULL},
    {"__builtin__", false, NULL},
};

static bool equal(const char *text, const char *bytes, size_t n) {
    return strlen(text) == n && memcmp(text, bytes, n) == 0;
}

static bool any_rule(const name_rule *rules, size_t n_rules, const char *module, size_t n_module,
                     const char *name, size_t n_name) {
    for (size_t i = 0; i < n_rules; i++) {
        size_t n = strlen(rules[i].module);
        bool same = equal(rules[i].module, module, n_module) ||
                    (rules[i].below && n_module > n && module[n] == '.' &&
                     memcmp(rules[i].module, module, n) == 0);
        if (same && (!rules[i].name || equal(rules[i].name, name, n_name)))
            return true;
    }
    return false;
}

static bool is_harmful_builtin(const char *module, size_t n_module, const char *name,
                               size_t n_name) {
    if (!equal("builtins", module, n_module) && !equal("__builtin__", module, n_module))
        return false;
    for (size_t i = 0; i < SD_COUNT(harmful_builtins); i++)
        if (equal(harmful_builtins[i], name, n_name))
            return true;
    return false;
}

sd_pickle_repute sdi_pickle_repute_of(const char *module, size_t n_module, const char *name,
                                      size_t n_name) {
    if (is_harmful_builtin(module, n_module, name, n_name) ||
        any_rule(harmful, SD_COUNT(harmful), module, n_module, name, n_name))
        return SD_PICKLE_HARMFUL;
    bool known = any_rule(usual, SD_COUNT(usual), module, n_module, name, n_name);
    return known ? SD_PICKLE_USUAL : SD_PICKLE_ODD;
}

const sd_pickle_name *sdi_pickle_find_name(const char *module, size_t n_module, const char *name,
                                           size_t n_name) {
    for (size_t i = 0; i < SD_COUNT(meaningful); i++)
        if (equal(meaningful[i].module, module, n_module) &&
            equal(meaningful[i].name, name, n_name))
            return &meaningful[i];
    return NULL;
}
