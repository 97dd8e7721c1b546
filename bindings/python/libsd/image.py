"""Pictures: Image, and files of them."""

import contextlib
import ctypes
import functools
import os
from typing import Optional, Union

import numpy as np

from . import _ffi
from ._call import call, callback
from ._ffi import c_void_p, integer, lib, path_bytes, text_bytes
from .context import Context
from .errors import ArgumentError

_MAX_INT = 2**31 - 1
_CHANNELS = {1: _ffi.PIXELS["grey8"], 3: _ffi.PIXELS["rgb8"], 4: _ffi.PIXELS["rgba8"]}


class Image:
    """A picture of 8-bit pixels, rows from the top.

    `source` is an array uint8 [h, w, channels] with 3 channels, 4 (RGBA) or 1 (grey), a picture of
    Pillow's, or another Image; it is not copied where it is such an array already. NumPy and Pillow
    take an Image wherever they take an array: np.asarray(image), PIL.Image.fromarray(image).
    """

    def __init__(self, source) -> None:
        self._pixels = pixels_of("source", source)

    @property
    def width(self) -> int:
        return self._pixels.shape[1]

    @property
    def height(self) -> int:
        return self._pixels.shape[0]

    @property
    def shape(self) -> "tuple[int, int, int]":
        """(height, width, channels)"""
        return self._pixels.shape

    def numpy(self) -> np.ndarray:
        """The pixels, uint8 [h, w, channels]: the image's own, not a copy."""
        return self._pixels

    @property
    def __array_interface__(self) -> dict:
        return self._pixels.__array_interface__

    def __len__(self) -> int:  # with __getitem__, for NumPy to take a list of images as one array
        return self.height

    def __getitem__(self, index):
        return self._pixels[index]

    def __repr__(self) -> str:
        height, width, channels = self.shape
        return f"<libsd.Image {width} x {height}, {('grey', '', 'RGB', 'RGBA')[channels - 1]}>"

    def pil(self):
        """The picture as a PIL.Image.Image."""
        from PIL import Image as pil

        pixels = self._pixels
        return pil.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)

    def resize(self, width: int, height: int) -> "Image":
        """The picture resampled to width x height pixels, as PIL's LANCZOS does."""
        width = integer("width", width, 1, _MAX_INT)
        height = integer("height", height, 1, _MAX_INT)
        with _context()._use() as context, as_image(context, "image", self) as pointer:
            return call_image(context, lib.sd_image_resize, pointer, width, height)

    def save(
        self,
        path: "str | os.PathLike",
        parameters: Optional[str] = None,
        *,
        overwrite: bool = True,
        format: Optional[str] = None,
        quality: int = 95,
    ) -> None:
        """Writes the picture as PNG, or as JPEG where `path` ends in .jpg or .jpeg.

        parameters: kept in a PNG text chunk of that name, as the popular web UIs do, and in a JPEG
            comment.
        overwrite: with False a file of that name is left as it is, and StateError raised.
        format: "png" or "jpeg", whatever the path ends in. quality: of JPEG, 1 to 100.
        """
        params = _save_params(parameters, format or "auto", quality)
        params.only_new = not overwrite
        with _context()._use() as context, as_image(context, "image", self) as pointer:
            call(context, lib.sd_image_save, pointer, path_bytes(path), ctypes.byref(params))

    def encode(
        self, format: str = "png", *, parameters: Optional[str] = None, quality: int = 95
    ) -> bytes:
        """The bytes of the file that save() would write."""
        params, parts = ctypes.byref(_save_params(parameters, format, quality)), []

        def keep(data, size):
            parts.append(ctypes.string_at(data, size))

        write = _ffi.WRITE_FN(lambda _user, data, size: callback(keep, data, size))
        with _context()._use() as context, as_image(context, "image", self) as pointer:
            call(context, lib.sd_image_write, pointer, params, write, None)
        return b"".join(parts)

    def _repr_png_(self) -> bytes:
        """What a notebook shows."""
        return self.encode()


Picture = Union[Image, np.ndarray, str, os.PathLike]
"""What methods of Model take for a picture: also the path of a file, and Pillow's."""


def _save_params(parameters, format, quality) -> _ffi.ImageSaveParams:
    params = _ffi.ImageSaveParams(
        format=_ffi.word("format", format, _ffi.FORMATS),
        quality=_ffi.c_integer("quality", quality),
    )
    if parameters is not None:
        params.parameters = text_bytes("parameters", parameters)
    return params


def _plain(picture):
    """A picture of Pillow's in a mode whose array has our channels."""
    if not hasattr(picture, "getbands") or picture.mode in ("L", "RGB", "RGBA"):
        return picture
    clear = "A" in picture.getbands() or "transparency" in picture.info
    return picture.convert("RGBA" if clear else "RGB")


def pixels_of(name: str, picture) -> np.ndarray:
    """uint8 [h, w, channels] of anything that is a picture."""
    if isinstance(picture, Image):
        return picture._pixels
    pixels = np.asarray(_plain(picture))
    if pixels.dtype != np.uint8 or pixels.ndim not in (2, 3):
        raise ArgumentError(
            f"{name} is {pixels.dtype} {list(pixels.shape)}; uint8 [h, w, 3] was expected"
        )
    if pixels.ndim == 2:
        pixels = pixels[..., None]
    for side in pixels.shape:
        integer(f"a side of {name}", side, 1, _MAX_INT)
    if pixels.shape[2] not in _CHANNELS:
        raise ArgumentError(f"{name} has {pixels.shape[2]} channels; 1, 3 or 4 were expected")
    return pixels


def _host_pixels(pixels: np.ndarray) -> _ffi.Pixels:
    """An array that has its pixels whole, and its rows at any distance."""
    height, width, channels = pixels.shape
    return _ffi.Pixels(
        data=pixels.ctypes.data,
        stride=pixels.strides[0] if height > 1 else 0,
        width=width,
        height=height,
        format=_CHANNELS[channels],
    )


@contextlib.contextmanager
def as_image(context: int, name: str, picture):
    """An image of the library with a picture's pixels, freed on leaving; None for None."""
    if picture is None:
        yield None
        return
    pixels = pixels_of(name, picture)
    height, width, channels = pixels.shape
    whole = pixels.strides[1:] == (channels, 1) and abs(pixels.strides[0]) >= width * channels
    pixels = pixels if whole else np.ascontiguousarray(pixels)
    pointer = c_void_p()
    try:
        host = ctypes.byref(_host_pixels(pixels))
        call(context, lib.sd_image_new, context, host, ctypes.byref(pointer))
        yield pointer
    finally:
        lib.sd_image_free(pointer)


def take_image(pointer) -> Image:
    """The picture of an image of the library's, which stays the caller's."""
    channels = {number: n for n, number in _CHANNELS.items()}[lib.sd_image_format(pointer)]
    shape = (lib.sd_image_height(pointer), lib.sd_image_width(pointer), channels)
    return Image(np.ctypeslib.as_array(lib.sd_image_pixels(pointer), shape=shape).copy())


def call_image(context: int, function, *arguments) -> Image:
    """Calls a function whose last parameter gets an image."""
    pointer = c_void_p()
    try:
        call(context, function, *arguments, ctypes.byref(pointer))
        return take_image(pointer)
    finally:
        lib.sd_image_free(pointer)


@functools.lru_cache(maxsize=None)
def _context() -> Context:
    """For the files of pictures, which need no model: one for the process."""
    return Context("cpu", threads=1)


def load_image(
    source: "str | bytes | os.PathLike", *, keep_alpha: bool = False, as_stored: bool = False
) -> Image:
    """Reads a PNG or JPEG, upright as its EXIF data say. `source` is a path, or the bytes of such a
    file.

    keep_alpha: 4 channels where the file has transparency, else 3. as_stored: EXIF is not looked
    at.
    """
    params = _ffi.ImageLoadParams(keep_alpha=bool(keep_alpha), as_stored=bool(as_stored))
    how = ctypes.byref(params)
    with _context()._use() as context:
        if isinstance(source, (bytes, bytearray, memoryview)):
            data = bytes(source)
            return call_image(context, lib.sd_image_load_memory, context, data, len(data), how)
        return call_image(context, lib.sd_image_load, context, path_bytes(source), how)


def save_image(path: "str | os.PathLike", image, parameters: Optional[str] = None, **how) -> None:
    """Image(image).save(path, parameters, ...), for anything that is a picture."""
    Image(image).save(path, parameters, **how)


def resize_image(image, width: int, height: int) -> Image:
    """Image(image).resize(width, height), for anything that is a picture."""
    return Image(image).resize(width, height)
