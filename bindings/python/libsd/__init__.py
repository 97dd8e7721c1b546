"""Stable Diffusion from Python, on the C library libsd.

    import libsd

    with libsd.Context() as ctx, ctx.load("model.safetensors") as model:
        images = model.txt2img("a lighthouse in a storm", steps=20)
        images[0].save("lighthouse.png")

The stages are there one by one too: Model.tokenize, Model.encode_text, Model.sampler (whole runs or
single steps), Model.vae_encode, Model.vae_decode. Latents, embeddings and pixels are NumPy float32
arrays in PyTorch's order, [n, channels, h, w] and [n, tokens, width]; pictures are Images, which
NumPy and Pillow take as they are.

Failures are exceptions: Error and its subclasses, with the library's sentence. Any thread and any
callback may close() anything at any time. Ctrl-C ends a call of the main thread in each of its
stages with KeyboardInterrupt.
"""

from ._ffi import build_info, library_path, version
from .adapter import Adapter
from .cond import Cond
from .context import Context, TensorInfo
from .errors import (
    ArgumentError,
    BackendError,
    CancelledError,
    Error,
    FileError,
    FormatError,
    InternalError,
    ModelError,
    OutOfMemoryError,
    StateError,
    Status,
    UnsupportedError,
)
from .image import Image, load_image, resize_image, save_image
from .model import Model
from .results import AdapterInfo, Loss, Memory, ModelInfo, Tokens, Work
from .sampler import (
    Intermediates,
    Progress,
    Sampler,
    find_sampler,
    sampling_methods,
    sampling_spacings,
)
from .stop import Stop

__version__ = version()

__all__ = [
    "Adapter",
    "AdapterInfo",
    "ArgumentError",
    "BackendError",
    "CancelledError",
    "Cond",
    "Context",
    "Error",
    "FileError",
    "FormatError",
    "Image",
    "Intermediates",
    "InternalError",
    "Loss",
    "Memory",
    "Model",
    "ModelError",
    "ModelInfo",
    "OutOfMemoryError",
    "Progress",
    "Sampler",
    "StateError",
    "Status",
    "Stop",
    "TensorInfo",
    "Tokens",
    "UnsupportedError",
    "Work",
    "build_info",
    "find_sampler",
    "library_path",
    "load_image",
    "resize_image",
    "sampling_methods",
    "sampling_spacings",
    "save_image",
    "version",
]
