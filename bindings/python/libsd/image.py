"""Pictures: uint8 arrays [h, w, channels] with 1, 3 or 4 channels, rows from the top."""

import contextlib
import ctypes
import functools
import os

import numpy as np

from ._call import call
from ._ffi import (
    ImageLoadParams,
    ImageSaveParams,
    c_uint8,
    c_void_p,
    integer,
    lib,
    path_bytes,
    text_bytes,
)
from .context import Context
from .errors import ArgumentError

_MAX_INT = 2**31 - 1


@contextlib.contextmanager
def as_image(context: int, name: str, array):
    """An image of the library with an array's pixels, freed on leaving."""
    pixels = np.asarray(array)
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise ArgumentError(
            f"{name} is {pixels.dtype} {list(pixels.shape)}; uint8 [h, w, 3] was expected"
        )
    pixels = np.ascontiguousarray(pixels)
    height, width = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    for side in (height, width, channels):
        integer(f"a side of {name}", side, 1, _MAX_INT)
    pointer = c_void_p()
    data = pixels.ctypes.data_as(ctypes.POINTER(c_uint8))
    try:
        call(
            context,
            lib.sd_image_new,
            context,
            width,
            height,
            channels,
            data,
            ctypes.byref(pointer),
        )
        yield pointer
    finally:
        lib.sd_image_free(pointer)


def copy_pixels(pointer) -> np.ndarray:
    shape = (
        lib.sd_image_height(pointer),
        lib.sd_image_width(pointer),
        lib.sd_image_channels(pointer),
    )
    return np.ctypeslib.as_array(lib.sd_image_pixels(pointer), shape=shape).copy()


def call_image(context: int, function, *arguments) -> np.ndarray:
    """Calls a function whose last parameter gets an image: the pixels of that."""
    pointer = c_void_p()
    try:
        call(context, function, *arguments, ctypes.byref(pointer))
        return copy_pixels(pointer)
    finally:
        lib.sd_image_free(pointer)


@functools.lru_cache(maxsize=None)
def _context() -> Context:
    """For the files of pictures, which need no model: one for the process."""
    return Context("cpu", threads=1)


def load_image(
    source: "str | bytes | os.PathLike", *, keep_alpha: bool = False, as_stored: bool = False
) -> np.ndarray:
    """Reads a PNG or JPEG as uint8 [h, w, 3], upright as its EXIF data say. `source` is a path, or
    the bytes of such a file.

    keep_alpha: [h, w, 4] where the file has transparency. as_stored: EXIF is not looked at.
    """
    params = ImageLoadParams(keep_alpha=bool(keep_alpha), as_stored=bool(as_stored))
    how = ctypes.byref(params)
    with _context()._use() as context:
        if isinstance(source, (bytes, bytearray, memoryview)):
            data = bytes(source)
            load = lib.sd_image_load_memory_with
            return call_image(context, load, context, data, len(data), how)
        return call_image(context, lib.sd_image_load_with, context, path_bytes(source), how)


def save_image(
    path: "str | os.PathLike",
    image,
    parameters: "str | None" = None,
    *,
    overwrite: bool = True,
) -> None:
    """Writes uint8 [h, w, 3] as PNG, or as JPEG where `path` ends in .jpg or .jpeg.

    `parameters` is kept in a PNG text chunk of that name, as the popular web UIs do. Without
    `overwrite` a file of that name is left as it is, and StateError raised.
    """
    params = ImageSaveParams(only_new=not overwrite)
    if parameters is not None:
        params.parameters = text_bytes("parameters", parameters)
    with _context()._use() as context, as_image(context, "image", image) as pointer:
        call(context, lib.sd_image_save_with, pointer, path_bytes(path), ctypes.byref(params))


def resize_image(image, width: int, height: int) -> np.ndarray:
    """uint8 [h, w, 3] resampled to width x height pixels, as PIL's LANCZOS does."""
    width = integer("width", width, 1, _MAX_INT)
    height = integer("height", height, 1, _MAX_INT)
    with _context()._use() as context, as_image(context, "image", image) as pointer:
        return call_image(context, lib.sd_image_resize, pointer, width, height)
