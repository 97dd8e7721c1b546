"""The C interface: the headers in include/sd as ctypes declarations, and the loaded library.

tests/test_header.py compares every declaration here with them.
"""

import ctypes
import ctypes.util
import os
import re
from ctypes import (
    CFUNCTYPE,
    POINTER,
    Structure,
    c_char_p,
    c_double,
    c_float,
    c_int,
    c_int32,
    c_int64,
    c_size_t,
    c_uint8,
    c_uint32,
    c_uint64,
    c_void_p,
)

from . import errors

# Handles are opaque addresses.
c_context = c_model = c_adapter = c_cond = c_stop = c_sampler = c_tensor = c_image = c_void_p

LOG_FN = CFUNCTYPE(None, c_void_p, c_int, c_char_p)
ALLOC_FN = CFUNCTYPE(c_void_p, c_void_p, c_size_t, c_size_t)
FREE_FN = CFUNCTYPE(None, c_void_p, c_void_p, c_size_t)
RELEASE_FN = CFUNCTYPE(None, c_void_p)
IO_SIZE_FN = CFUNCTYPE(c_int64, c_void_p, c_char_p)
IO_READ_FN = CFUNCTYPE(c_int32, c_void_p, c_char_p, c_uint64, c_void_p, c_size_t)
IO_NAME_FN = CFUNCTYPE(c_char_p, c_void_p, c_int32)


class Progress(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("sampler", c_sampler),
        ("seconds", c_double),
        ("timestep", c_double),
        ("stage", c_int32),
        ("step", c_int32),
        ("total", c_int32),
        ("reserved", c_int32),
    ]


PROGRESS_FN = CFUNCTYPE(c_int, c_void_p, POINTER(Progress))


class CheckpointTensor(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("name", c_char_p),
        ("type", c_char_p),
        ("dims", POINTER(c_int64)),
        ("n_bytes", c_uint64),
        ("n_dims", c_int32),
        ("reserved", c_int32),
    ]


CHECKPOINT_FN = CFUNCTYPE(c_int, c_void_p, POINTER(CheckpointTensor))


class SizedStructure(Structure):
    """A struct that begins with struct_size; keywords replace the library's defaults."""

    def __init__(self, **fields):
        super().__init__()
        getattr(lib, initialiser(type(self)))(ctypes.addressof(self), ctypes.sizeof(self))
        for name, value in fields.items():
            setattr(self, name, value)


def initialiser(struct: type) -> str:
    """The function that fills a struct in: "sd_model_params_init" of ModelParams."""
    return "sd_" + re.sub(r"(?<=[a-z])(?=[A-Z])", "_", struct.__name__).lower() + "_init"


class ContextParams(SizedStructure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("backend", c_char_p),
        ("allocate", ALLOC_FN),
        ("deallocate", FREE_FN),
        ("alloc_user", c_void_p),
        ("alloc_release", RELEASE_FN),
        ("log", LOG_FN),
        ("log_user", c_void_p),
        ("log_release", RELEASE_FN),
        ("module_dir", c_char_p),
        ("n_threads", c_int32),
        ("log_level", c_int32),
    ]


class AdapterUse(SizedStructure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("path", c_char_p),
        ("word", c_char_p),
        ("unet_strength", c_double),
        ("text_strength", c_double),
        ("adapter", c_adapter),
        ("config", c_char_p),
    ]


class AdapterParams(SizedStructure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("config", c_char_p),
    ]


class AdapterInfo(SizedStructure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("kind", c_char_p),
        ("family", c_char_p),
        ("title", c_char_p),
        ("base_model", c_char_p),
        ("trigger_words", c_char_p),
        ("alpha", c_double),
        ("min_rank", c_int32),
        ("max_rank", c_int32),
        ("n_unet", c_int32),
        ("n_text", c_int32),
        ("n_text_2", c_int32),
        ("n_unknown", c_int32),
        ("n_tokens", c_int32),
        ("token_width", c_int32),
    ]


class Io(SizedStructure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("user", c_void_p),
        ("size", IO_SIZE_FN),
        ("read", IO_READ_FN),
        ("name", IO_NAME_FN),
        ("release", RELEASE_FN),
    ]


class MemoryFile(Structure):
    _fields_ = [("name", c_char_p), ("data", c_void_p), ("size", c_size_t)]


class MemoryFiles(Structure):
    _fields_ = [("files", POINTER(MemoryFile)), ("n", c_int32), ("reserved", c_int32)]


class ModelParams(SizedStructure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("vocab", c_char_p),
        ("progress", PROGRESS_FN),
        ("progress_user", c_void_p),
        ("config", c_char_p),
        ("adapters", POINTER(POINTER(AdapterUse))),
        ("stop", c_stop),
        ("precision", c_int32),
        ("strict", c_int32),
        ("use_ema", c_int32),
        ("n_adapters", c_int32),
        ("taesd", c_char_p),
        ("unet", c_char_p),
        ("vae", c_char_p),
        ("text_encoder", c_char_p),
        ("text_encoder_2", c_char_p),
        ("io", POINTER(Io)),
    ]


class ModelInfo(SizedStructure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("family", c_char_p),
        ("layout", c_char_p),
        ("prediction", c_char_p),
        ("default_method", c_char_p),
        ("n_parameters", c_int64),
        ("weight_bytes", c_uint64),
        ("latent_scale", c_double),
        ("default_guidance", c_double),
        ("latent_channels", c_int32),
        ("latent_downscale", c_int32),
        ("size_multiple", c_int32),
        ("default_width", c_int32),
        ("default_height", c_int32),
        ("n_encoders", c_int32),
        ("text_tokens", c_int32),
        ("text_width", c_int32),
        ("train_timesteps", c_int32),
        ("n_unexpected", c_int32),
        ("has_vocabulary", c_int32),
        ("conditioning", c_int32),
        ("n_classes", c_int32),
        ("unet_channels", c_int32),
        ("n_codes", c_int32),
        ("default_spacing", c_int32),
        ("default_steps", c_int32),
        ("guidance_embedding", c_int32),
        ("pooled_width", c_int32),
        ("n_sizes", c_int32),
        ("n_adapters", c_int32),
        ("n_unmatched", c_int32),
        ("has_taesd", c_int32),
        ("default_preview", c_int32),
    ]


class ScoreInfo(Structure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("x", POINTER(c_float)),
        ("e_t", POINTER(c_float)),
        ("timestep", c_double),
        ("batch", c_int),
        ("channels", c_int),
        ("height", c_int),
        ("width", c_int),
    ]


SCORE_CORRECTOR_FN = CFUNCTYPE(c_int, c_void_p, POINTER(ScoreInfo))


AUTO = -1e9  # SD_AUTO


class OriginalParams(SizedStructure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("score_corrector", SCORE_CORRECTOR_FN),
        ("corrector_user", c_void_p),
        ("temperature", c_double),
        ("noise_dropout", c_double),
        ("one_stream", c_int32),
        ("skip_draws", c_int32),
        ("clip_denoised", c_int32),
        ("quantize_denoised", c_int32),
        ("log_every_t", c_int32),
        ("use_original_steps", c_int32),
        ("original_encode", c_int32),
        ("reserved", c_int32),
    ]


class SamplerParams(SizedStructure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("method", c_char_p),
        ("seeds", POINTER(c_uint64)),
        ("progress", PROGRESS_FN),
        ("progress_user", c_void_p),
        ("original", POINTER(OriginalParams)),
        ("seed", c_uint64),
        ("eta", c_double),
        ("guidance_scale", c_double),
        ("guidance_rescale", c_double),
        ("steps", c_int32),
        ("spacing", c_int32),
        ("width", c_int32),
        ("height", c_int32),
        ("batch", c_int32),
        ("rng", c_int32),
        ("timesteps", POINTER(c_double)),
        ("sigmas", POINTER(c_double)),
        ("ancestral_eta", c_double),
        ("n_timesteps", c_int32),
        ("n_sigmas", c_int32),
        ("eta_noise_seed_delta", c_int64),
        ("subseed", c_uint64),
        ("subseed_strength", c_double),
        ("seed_resize_width", c_int32),
        ("seed_resize_height", c_int32),
    ]


class TextParams(SizedStructure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("stop", c_stop),
        ("weighted", c_int32),
        ("clip_skip", c_int32),
        ("clean", c_int32),
        ("steps", c_int32),
        ("aesthetic_score", c_double),
        ("negative_aesthetic_score", c_double),
        ("original_width", c_int32),
        ("original_height", c_int32),
        ("target_width", c_int32),
        ("target_height", c_int32),
        ("crop_top", c_int32),
        ("crop_left", c_int32),
    ]


class VaeParams(SizedStructure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("noise", c_tensor),
        ("stop", c_stop),
        ("tile", c_int32),
        ("overlap", c_int32),
        ("unquantized", c_int32),
        ("tiny", c_int32),
    ]


class MaskParams(SizedStructure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("blur", c_double),
        ("invert", c_int32),
        ("any_pixel", c_int32),
        ("only_masked", c_int32),
        ("padding", c_int32),
    ]



class GenerateParams(SizedStructure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("prompt", c_char_p),
        ("negative_prompt", c_char_p),
        ("prompts", POINTER(c_char_p)),
        ("cond", c_cond),
        ("uncond", c_cond),
        ("init", c_image),
        ("mask", c_image),
        ("masking", POINTER(MaskParams)),
        ("sampling", POINTER(SamplerParams)),
        ("text", POINTER(TextParams)),
        ("vae", POINTER(VaeParams)),
        ("stop", c_stop),
        ("strength", c_double),
        ("refiner", c_model),
        ("refiner_start", c_double),
    ]


class PreviewParams(SizedStructure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("vae", POINTER(VaeParams)),
        ("index", c_int32),
        ("method", c_int32),
    ]


class EstimateParams(SizedStructure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("sampling", POINTER(SamplerParams)),
        ("vae", POINTER(VaeParams)),
        ("text_tokens", c_int32),
        ("combined", c_int32),
    ]


class Pixels(Structure):
    _fields_ = [
        ("data", c_void_p),
        ("stride", c_int64),
        ("width", c_int32),
        ("height", c_int32),
        ("format", c_int32),
        ("reserved", c_int32),
    ]


WRITE_FN = CFUNCTYPE(c_int32, c_void_p, c_void_p, c_size_t)


class ImageLoadParams(SizedStructure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("keep_alpha", c_int32),
        ("as_stored", c_int32),
    ]


class ImageSaveParams(SizedStructure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("parameters", c_char_p),
        ("only_new", c_int32),
        ("format", c_int32),
        ("quality", c_int32),
        ("reserved", c_int32),
    ]


class RunParams(SizedStructure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("cond", c_cond),
        ("uncond", c_cond),
        ("init", c_tensor),
        ("noise", c_tensor),
        ("mask", c_tensor),
        ("mask_x0", c_tensor),
        ("concat", c_tensor),
        ("stop", c_stop),
        ("strength", c_double),
        ("last_steps", c_int32),
        ("reserved", c_int32),
        ("denoising_start", c_double),
        ("denoising_end", c_double),
    ]


class LossParams(SizedStructure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("logvar", POINTER(c_float)),
        ("concat", c_tensor),
        ("l_simple_weight", c_double),
        ("original_elbo_weight", c_double),
        ("logvar_init", c_double),
        ("type", c_int),
        ("reserved", c_int32),
    ]


class LossInfo(SizedStructure):
    _fields_ = [("struct_size", c_size_t)] + [
        (name, c_double) for name in ("total", "simple", "gamma", "vlb", "logvar")
    ]


class MemoryInfo(SizedStructure):
    _fields_ = [("struct_size", c_size_t)] + [
        (name, c_uint64) for name in ("weights", "text", "unet", "decode", "encode", "host", "peak")
    ]


class WorkInfo(SizedStructure):
    _fields_ = [("struct_size", c_size_t)] + [
        (name, c_double) for name in ("text", "step", "decode", "encode")
    ]


class ProfileRow(SizedStructure):
    _fields_ = [
        ("struct_size", c_size_t),
        ("operation", c_char_p),
        ("calls", c_uint64),
        ("seconds", c_double),
        ("flops", c_double),
        ("bytes", c_double),
    ]


class DeviceMemoryInfo(SizedStructure):
    _fields_ = [("struct_size", c_size_t)] + [
        (name, c_uint64) for name in ("total", "used", "peak")
    ]


# name: (result, arguments). A result of c_int is an sd_status, or a plain number.
FUNCTIONS = {
    "sd_library_version": (c_uint32, []),
    "sd_library_version_string": (c_char_p, []),
    "sd_build_info": (c_char_p, []),
    "sd_status_string": (c_char_p, [c_int]),
    "sd_last_error": (c_char_p, []),
    "sd_context_new": (c_int, [POINTER(ContextParams), POINTER(c_context)]),
    "sd_context_free": (None, [c_context]),
    "sd_context_device": (c_char_p, [c_context]),
    "sd_context_cancel": (None, [c_context]),
    "sd_model_load": (c_int, [c_context, c_char_p, POINTER(ModelParams), POINTER(c_model)]),
    "sd_adapter_load": (
        c_int,
        [c_context, c_char_p, POINTER(AdapterParams), POINTER(c_adapter)],
    ),
    "sd_adapter_free": (None, [c_adapter]),
    "sd_adapter_get_info": (c_int, [c_adapter, POINTER(AdapterInfo)]),
    "sd_model_adapt": (
        c_int,
        [c_model, POINTER(POINTER(AdapterUse)), c_int32, POINTER(c_model)],
    ),
    "sd_model_combine": (
        c_int,
        [c_model, POINTER(c_char_p), POINTER(c_model), c_int32, POINTER(c_model)],
    ),
    "sd_io_memory": (None, [POINTER(MemoryFiles), POINTER(Io)]),
    "sd_model_free": (None, [c_model]),
    "sd_model_get_info": (c_int, [c_model, POINTER(ModelInfo)]),
    "sd_model_unexpected": (c_char_p, [c_model, c_int]),
    "sd_checkpoint_list": (c_int, [c_context, c_char_p, CHECKPOINT_FN, c_void_p]),
    "sd_generate": (c_int, [c_model, POINTER(GenerateParams), POINTER(c_image), c_int32]),
    "sd_inpaint_concat": (
        c_int,
        [c_model, c_tensor, c_tensor, POINTER(VaeParams), POINTER(c_tensor)],
    ),
    "sd_image_new": (c_int, [c_context, POINTER(Pixels), POINTER(c_image)]),
    "sd_image_free": (None, [c_image]),
    "sd_image_width": (c_int32, [c_image]),
    "sd_image_height": (c_int32, [c_image]),
    "sd_image_format": (c_int, [c_image]),
    "sd_image_pixels": (POINTER(c_uint8), [c_image]),
    "sd_image_pixels_mut": (POINTER(c_uint8), [c_image]),
    "sd_image_read": (c_int, [c_image, POINTER(Pixels)]),
    "sd_image_load": (
        c_int,
        [c_context, c_char_p, POINTER(ImageLoadParams), POINTER(c_image)],
    ),
    "sd_image_load_memory": (
        c_int,
        [c_context, c_void_p, c_size_t, POINTER(ImageLoadParams), POINTER(c_image)],
    ),
    "sd_image_save": (c_int, [c_image, c_char_p, POINTER(ImageSaveParams)]),
    "sd_image_write": (c_int, [c_image, POINTER(ImageSaveParams), WRITE_FN, c_void_p]),
    "sd_image_resize": (c_int, [c_image, c_int, c_int, POINTER(c_image)]),
    "sd_stop_new": (c_int, [c_context, POINTER(c_stop)]),
    "sd_stop_free": (None, [c_stop]),
    "sd_stop_set": (None, [c_stop]),
    "sd_stop_clear": (None, [c_stop]),
    "sd_stop_is_set": (c_int, [c_stop]),
    "sd_tensor_new": (
        c_int,
        [c_context, c_int, POINTER(c_int64), POINTER(c_float), POINTER(c_tensor)],
    ),
    "sd_tensor_free": (None, [c_tensor]),
    "sd_tensor_n_dims": (c_int, [c_tensor]),
    "sd_tensor_dims": (POINTER(c_int64), [c_tensor]),
    "sd_tensor_n_elements": (c_int64, [c_tensor]),
    "sd_tensor_data": (POINTER(c_float), [c_tensor]),
    "sd_tensor_data_mut": (POINTER(c_float), [c_tensor]),
    "sd_tokenize": (
        c_int,
        [c_model, c_int32, c_char_p, POINTER(c_int32), c_int32, POINTER(c_int32)],
    ),
    "sd_token_text": (c_char_p, [c_model, c_int32, c_int32]),
    "sd_encode_class": (c_int, [c_model, POINTER(c_int32), c_int32, POINTER(c_cond)]),
    "sd_encode_text": (
        c_int,
        [c_model, POINTER(c_char_p), c_int32, POINTER(TextParams), POINTER(c_cond)],
    ),
    "sd_encode_tokens": (
        c_int,
        [
            c_model,
            POINTER(POINTER(c_int32)),
            c_int32,
            c_int32,
            POINTER(TextParams),
            POINTER(c_cond),
        ],
    ),
    "sd_cond_new": (
        c_int,
        [c_context, POINTER(c_char_p), POINTER(c_tensor), c_int32, POINTER(c_cond)],
    ),
    "sd_cond_combine": (c_int, [POINTER(c_cond), POINTER(c_double), c_int32, POINTER(c_cond)]),
    "sd_cond_schedule": (c_int, [POINTER(c_cond), POINTER(c_double), c_int32, POINTER(c_cond)]),
    "sd_cond_free": (None, [c_cond]),
    "sd_cond_get": (c_int, [c_cond, c_char_p, POINTER(c_tensor)]),
    "sd_cond_rows": (c_int, [c_cond, c_int32, c_int32, POINTER(c_cond)]),
    "sd_vae_encode": (c_int, [c_model, c_tensor, POINTER(VaeParams), POINTER(c_tensor)]),
    "sd_vae_decode": (c_int, [c_model, c_tensor, POINTER(VaeParams), POINTER(c_tensor)]),
    "sd_vae_quantize": (
        c_int,
        [c_model, c_tensor, POINTER(c_int32), c_int64, POINTER(c_tensor)],
    ),
    "sd_vae_encode_ids": (
        c_int,
        [c_model, c_tensor, POINTER(VaeParams), POINTER(c_int32), c_int64],
    ),
    "sd_vae_decode_ids": (
        c_int,
        [
            c_model,
            POINTER(c_int32),
            c_int32,
            c_int32,
            c_int32,
            POINTER(VaeParams),
            POINTER(c_tensor),
        ],
    ),
    "sd_image_from_tensor": (c_int, [c_tensor, c_int, POINTER(c_image)]),
    "sd_image_to_tensor": (c_int, [c_image, POINTER(c_tensor)]),
    "sd_sampler_method": (c_char_p, [c_int]),
    "sd_sampler_spacing": (c_char_p, [c_int]),
    "sd_sampler_label": (c_char_p, [c_int]),
    "sd_sampler_find": (c_int, [c_char_p, POINTER(c_char_p), POINTER(c_int32)]),
    "sd_sampler_new": (c_int, [c_model, POINTER(SamplerParams), POINTER(c_sampler)]),
    "sd_sampler_free": (None, [c_sampler]),
    "sd_sample": (c_int, [c_sampler, POINTER(RunParams), POINTER(c_tensor)]),
    "sd_sampler_begin": (c_int, [c_sampler, POINTER(RunParams)]),
    "sd_sampler_step": (c_int, [c_sampler]),
    "sd_sampler_remaining": (c_int, [c_sampler]),
    "sd_sampler_latent": (c_int, [c_sampler, POINTER(c_tensor)]),
    "sd_sampler_pred_x0": (c_int, [c_sampler, POINTER(c_tensor)]),
    "sd_sampler_set_concat": (c_int, [c_sampler, c_tensor]),
    "sd_sampler_timestep": (c_double, [c_sampler, c_int]),
    "sd_sampler_stochastic_encode": (
        c_int,
        [c_sampler, c_tensor, c_int, c_tensor, POINTER(c_tensor)],
    ),
    "sd_sampler_n_intermediates": (c_int, [c_sampler]),
    "sd_sampler_x_inter": (c_int, [c_sampler, c_int, POINTER(c_tensor)]),
    "sd_sampler_pred_x0_inter": (c_int, [c_sampler, c_int, POINTER(c_tensor)]),
    "sd_sampler_set_latent": (c_int, [c_sampler, c_tensor]),
    "sd_sampler_set_mask": (c_int, [c_sampler, c_tensor, c_tensor]),
    "sd_sampler_preview": (c_int, [c_sampler, POINTER(PreviewParams), POINTER(c_image)]),
    "sd_randn": (
        c_int,
        [c_context, c_int, c_uint64, c_int, POINTER(c_int64), POINTER(c_tensor)],
    ),
    "sd_alphas_cumprod": (c_double, [c_model, c_int]),
    "sd_add_noise": (c_int, [c_model, c_tensor, c_tensor, c_int, POINTER(c_tensor)]),
    "sd_unet_predict": (c_int, [c_model, c_tensor, POINTER(c_double), c_cond, POINTER(c_tensor)]),
    "sd_training_loss": (
        c_int,
        [
            c_model,
            c_tensor,
            c_tensor,
            POINTER(c_int32),
            c_cond,
            POINTER(LossParams),
            POINTER(LossInfo),
            POINTER(c_tensor),
        ],
    ),
    "sd_memory_estimate": (c_int, [c_model, POINTER(EstimateParams), POINTER(MemoryInfo)]),
    "sd_work_estimate": (c_int, [c_model, POINTER(EstimateParams), POINTER(WorkInfo)]),
    "sd_profile_begin": (c_int, [c_context]),
    "sd_profile_end": (c_int, [c_context]),
    "sd_profile_get": (c_int, [c_context, c_int, POINTER(ProfileRow)]),
    "sd_context_device_memory": (c_int, [c_context, POINTER(DeviceMemoryInfo)]),
}

FUNCTIONS.update(
    {initialiser(s): (None, [c_void_p, c_size_t]) for s in SizedStructure.__subclasses__()}
)


def _candidates():
    """Where the library is looked for, best first."""
    chosen = os.environ.get("LIBSD_LIBRARY")
    if chosen:
        return [chosen]
    here = os.path.dirname(os.path.abspath(__file__))
    names = ["libsd.so.1", "libsd.so", "libsd.1.dylib", "libsd.dylib", "sd.dll"]
    paths = [os.path.join(here, name) for name in names]
    candidates = [path for path in paths if os.path.exists(path)] or ["libsd.so.1"]
    found = ctypes.util.find_library("sd")
    return candidates + [found] if found else candidates


def _open():
    failures = []
    for path in _candidates():
        try:
            library = ctypes.CDLL(path)
            for name, (result, arguments) in FUNCTIONS.items():
                function = getattr(library, name)
                function.restype = result
                function.argtypes = arguments
            return library
        except (OSError, AttributeError) as error:
            failures.append(f"{path}: {error}")
    raise ImportError(
        "the library libsd was not found beside the package or by the system's loader; the "
        "environment variable LIBSD_LIBRARY may name its file (" + "; ".join(failures) + ")"
    )


lib = _open()


def library_path() -> str:
    """The file name that the library was loaded by."""
    return lib._name


def version() -> str:
    """The version of the library that is running: "0.1.0"."""
    return lib.sd_library_version_string().decode()


def build_info() -> str:
    """One line for each feature of the library's build: "openblas: opened at run time"."""
    return lib.sd_build_info().decode()


def failure(status: int) -> "errors.Error | None":
    """The exception of what the calling thread's last call returned; None where it succeeded."""
    if status == 0:
        return None
    sentence = lib.sd_last_error() or lib.sd_status_string(status)
    return errors.from_status(status, sentence.decode("utf-8", "replace"))


def text_bytes(name: str, text: str) -> bytes:
    """A string for the library, which ends strings at a zero."""
    if not isinstance(text, str):
        raise TypeError(f"{name} is {type(text).__name__}; a string was expected")
    data = text.encode()
    if b"\0" in data:
        raise errors.ArgumentError(f"{name} has a zero character; text without one was expected")
    return data


def path_bytes(path: "str | bytes | os.PathLike") -> bytes:
    data = os.fsencode(path)
    if b"\0" in data:
        raise errors.ArgumentError("a path has a zero character; a path without one was expected")
    return data


def integer(name: str, value, low: int, high: int) -> int:
    """`value` as an integer that fits its C type; ctypes itself would cut it off silently."""
    try:
        number = value.__index__()
    except AttributeError:
        raise TypeError(f"{name} is {type(value).__name__}; an integer was expected") from None
    if not low <= number <= high:
        raise errors.ArgumentError(f"{name} is {number}; {low} to {high} was expected")
    return number


def c_integer(name: str, value) -> int:
    return integer(name, value, -(2**31), 2**31 - 1)


def word(name: str, value: str, words: "dict[str, int]") -> int:
    """The number of an enumeration's word."""
    if value not in words:
        raise errors.ArgumentError(
            f"{name} is {value!r}; one of these was expected: {', '.join(words)}"
        )
    return words[value]


def _numbered(name_of) -> "dict[str, int]":
    """The words of an enumeration whose names the library has."""
    words = {}
    while name := name_of(len(words)):
        words[name.decode()] = len(words)
    return words


PRECISIONS = {"auto": 0, "full": 1, "autocast": 2, "bfloat16": 3}
PREVIEWS = {"auto": 0, "vae": 1, "matrix": 2, "tiny": 3}
RNGS = {"cpu": 0, "cuda": 1}
SPACINGS = _numbered(lib.sd_sampler_spacing)
PIXELS = {"rgb8": 0, "rgba8": 1, "bgra8": 2, "grey8": 3}
FORMATS = {"auto": 0, "png": 1, "jpeg": 2}
LOSS_TYPES = {"l2": 0, "l1": 1}
LOG_LEVELS = {"error": 0, "warn": 1, "info": 2, "debug": 3}
