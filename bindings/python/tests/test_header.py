"""_ffi.py against the headers in include/sd."""

import ctypes
import pathlib
import re
import unittest

from tiny import main  # first: may skip

import libsd
from libsd import _ffi

HEADERS = pathlib.Path(__file__).resolve().parents[3] / "include" / "sd"


class HeaderTest(unittest.TestCase):
    """_ffi.py says what the headers say."""

    STRUCTS = {
        "sd_context_params": _ffi.ContextParams,
        "sd_model_params": _ffi.ModelParams,
        "sd_io": _ffi.Io,
        "sd_memory_file": _ffi.MemoryFile,
        "sd_memory_files": _ffi.MemoryFiles,
        "sd_adapter_use": _ffi.AdapterUse,
        "sd_adapter_params": _ffi.AdapterParams,
        "sd_adapter_info": _ffi.AdapterInfo,
        "sd_model_info": _ffi.ModelInfo,
        "sd_progress": _ffi.Progress,
        "sd_score_info": _ffi.ScoreInfo,
        "sd_checkpoint_tensor": _ffi.CheckpointTensor,
        "sd_sampler_params": _ffi.SamplerParams,
        "sd_original_params": _ffi.OriginalParams,
        "sd_generate_params": _ffi.GenerateParams,
        "sd_mask_params": _ffi.MaskParams,
        "sd_preview_params": _ffi.PreviewParams,
        "sd_estimate_params": _ffi.EstimateParams,
        "sd_pixels": _ffi.Pixels,
        "sd_image_load_params": _ffi.ImageLoadParams,
        "sd_image_save_params": _ffi.ImageSaveParams,
        "sd_text_params": _ffi.TextParams,
        "sd_run_params": _ffi.RunParams,
        "sd_vae_params": _ffi.VaeParams,
        "sd_loss_params": _ffi.LossParams,
        "sd_loss_info": _ffi.LossInfo,
        "sd_memory_info": _ffi.MemoryInfo,
        "sd_work_info": _ffi.WorkInfo,
        "sd_profile_row": _ffi.ProfileRow,
        "sd_device_memory_info": _ffi.DeviceMemoryInfo,
    }
    SCALARS = {
        "int": ctypes.c_int,
        "float": ctypes.c_float,
        "double": ctypes.c_double,
        "size_t": ctypes.c_size_t,
        "int32_t": ctypes.c_int32,
        "int64_t": ctypes.c_int64,
        "uint8_t": ctypes.c_uint8,
        "uint32_t": ctypes.c_uint32,
        "uint64_t": ctypes.c_uint64,
        "sd_status": ctypes.c_int,
        "sd_rng": ctypes.c_int,
        "sd_precision": ctypes.c_int,
        "sd_progress_stage": ctypes.c_int,
        "sd_ema": ctypes.c_int,
        "sd_log_level": ctypes.c_int,
        "sd_timestep_spacing": ctypes.c_int,
        "sd_conditioning": ctypes.c_int,
        "sd_loss_type": ctypes.c_int,
        "sd_pixel_format": ctypes.c_int,
        "sd_file_format": ctypes.c_int,
        "sd_preview_method": ctypes.c_int,
        "sd_log_fn": _ffi.LOG_FN,
        "sd_alloc_fn": _ffi.ALLOC_FN,
        "sd_free_fn": _ffi.FREE_FN,
        "sd_release_fn": _ffi.RELEASE_FN,
        "sd_io_size_fn": _ffi.IO_SIZE_FN,
        "sd_io_read_fn": _ffi.IO_READ_FN,
        "sd_io_name_fn": _ffi.IO_NAME_FN,
        "sd_checkpoint_fn": _ffi.CHECKPOINT_FN,
        "sd_progress_fn": _ffi.PROGRESS_FN,
        "sd_write_fn": _ffi.WRITE_FN,
        "sd_score_corrector_fn": _ffi.SCORE_CORRECTOR_FN,
    }
    HANDLES = ("sd_context", "sd_model", "sd_adapter", "sd_cond", "sd_stop", "sd_sampler", "sd_tensor", "sd_image")

    @classmethod
    def setUpClass(cls):
        text = "\n".join(path.read_text() for path in sorted(HEADERS.glob("*.h")))
        text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S).replace("\\\n", " ")
        cls.numbers = dict(re.findall(r"#define (SD_\w+) \((-?[\d.e]+)f?\)", text))
        cls.macros = dict(re.findall(r"#define (SD_\w+_INIT)\s+(\{.*?\})\s*\n", text))
        cls.text = re.sub(r"^#.*$", "", text, flags=re.M)

    def ctype(self, declaration):
        """The ctypes type of "const char *name"."""
        words = re.sub(r"\bconst\b", " ", declaration)
        stars = words.count("*") + words.count("[")
        base = re.findall(r"\w+", words)[0]
        if base in self.HANDLES:
            kind, stars = ctypes.c_void_p, stars - 1
        elif base == "char" and stars:
            kind, stars = ctypes.c_char_p, stars - 1
        elif base == "void":
            kind, stars = (ctypes.c_void_p, stars - 1) if stars else (None, 0)
        else:
            kind = self.STRUCTS.get(base) or self.SCALARS[base]
        for _ in range(stars):
            kind = ctypes.POINTER(kind)
        return kind

    def test_structs(self):
        pattern = r"\bstruct (\w+) \{(.*?)\}(?: \1)?;"
        found = [(body, name) for name, body in re.findall(pattern, self.text, flags=re.S)]
        self.assertEqual({name for _, name in found}, set(self.STRUCTS))
        for body, name in found:
            fields = [line.strip() for line in body.split(";") if line.strip()]
            expected = [(re.findall(r"\w+", f)[-1], self.ctype(f)) for f in fields]
            struct = self.STRUCTS[name]
            self.assertEqual(list(struct._fields_), expected, name)
            last = getattr(struct, expected[-1][0])
            self.assertEqual(last.offset + last.size, ctypes.sizeof(struct), name)

    def test_defaults(self):
        """The macros say what the functions do, from which ours come."""
        constants = {**self.enumerators(), **{n: float(v) for n, v in self.numbers.items()}}
        seen = 0
        for name, struct in self.STRUCTS.items():
            if name in ("sd_progress", "sd_checkpoint_tensor", "sd_score_info", "sd_pixels",
                        "sd_memory_file", "sd_memory_files"):
                continue
            values = dict(re.findall(r"\.(\w+) = ([^,}]+?)\s*[,}]", self.macros[name.upper() + "_INIT"]))
            made = struct()
            self.assertEqual(made.struct_size, ctypes.sizeof(struct))
            self.assertEqual(values.pop("struct_size"), f"sizeof({name})")
            for field, _ in struct._fields_[1:]:
                ours, value = getattr(made, field), values.pop(field, None)
                if value is None:
                    self.assertFalse(ours, f"{name}.{field}")
                else:
                    number = constants[value] if value in constants else float(value)
                    self.assertEqual(ours, number, f"{name}.{field}")
                    seen += 1
            self.assertEqual(values, {})
        self.assertGreater(seen, 10)

    def enumerators(self):
        out = {}
        for body in re.findall(r"\benum \{(.*?)\}", self.text, flags=re.S):
            out.update({n: int(v) for n, v in re.findall(r"(\w+) = (\d+)", body)})
        return out

    def test_enumerations(self):
        values = self.enumerators()
        self.assertEqual(_ffi.AUTO, float(self.numbers["SD_AUTO"]))
        for prefix, words in (
            ("SD_PRECISION_", _ffi.PRECISIONS),
            ("SD_RNG_", _ffi.RNGS),
            ("SD_SPACING_", _ffi.SPACINGS),
            ("SD_LOG_LEVEL_", _ffi.LOG_LEVELS),
            ("SD_LOSS_", _ffi.LOSS_TYPES),
            ("SD_PIXELS_", _ffi.PIXELS),
            ("SD_FORMAT_", _ffi.FORMATS),
            ("SD_PREVIEW_", _ffi.PREVIEWS),
        ):
            of_kind = [n for n in values if n.startswith(prefix)]
            self.assertEqual(words, {n[len(prefix) :].lower(): values[n] for n in of_kind})
        header = {n[len("SD_ERROR_") :]: v for n, v in values.items() if n.startswith("SD_ERROR_")}
        self.assertEqual({s.name: int(s) for s in libsd.Status if s}, header)
        for status in list(libsd.Status)[1:]:
            error = libsd.errors.from_status(int(status), "why")
            self.assertEqual((error.status, str(error)), (status, "why"))
            self.assertIsNot(type(error), libsd.Error)
        self.assertEqual(libsd.errors.from_status(99, "new").status, 99)

    def test_functions(self):
        found = re.findall(r"LIBSD_API ([\w\s*]+?)(\w+)\(([^;]*?)\);", self.text, flags=re.S)
        self.assertEqual({name for _, name, _ in found}, set(_ffi.FUNCTIONS))
        for result, name, arguments in found:
            listed = [] if arguments.strip() == "void" else arguments.split(",")
            expected = (self.ctype(result), [self.ctype(a) for a in listed])
            if name.endswith("_init"):
                self.assertIs(expected[1][0]._type_, self.STRUCTS[name[: -len("_init")]])
                expected[1][0] = ctypes.c_void_p
            ours = _ffi.FUNCTIONS[name]
            self.assertEqual((ours[0], list(ours[1])), expected, name)

    def test_callbacks(self):
        for name in (n[: -len("_fn")] for n in self.SCALARS if n.endswith("_fn")):
            pattern = r"typedef ([\w\s*]+?)\(SD_CALL \*" + name + r"_fn\)\((.*?)\);"
            result, arguments = re.search(pattern, self.text, flags=re.S).groups()
            ours = self.SCALARS[name + "_fn"]
            self.assertEqual(ours._restype_, self.ctype(result), name)
            self.assertEqual(list(ours._argtypes_), [self.ctype(a) for a in arguments.split(",")])


if __name__ == "__main__":
    main()
