"""Adapters: LoRA and its kin, and the embeddings of words."""

import contextlib
import ctypes
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Sequence, Tuple, Union

from . import _ffi
from ._call import call
from ._ffi import lib
from ._handle import Handle
from .results import AdapterInfo, struct_values

if TYPE_CHECKING:
    from .context import Context


class Adapter(Handle):
    """A file that changes a model's weights (LoRA, LoHa, LoKr, DoRA, full differences), or that has
    embeddings of a word. It never changes; any number of threads may use it at once."""

    _free = lib.sd_adapter_free

    def __init__(
        self,
        context: "Context",
        path: "str | os.PathLike",
        *,
        config: "str | os.PathLike | None" = None,
    ) -> None:
        """config: PEFT's adapter_config.json; None: the one in its folder."""
        params = _ffi.AdapterParams()
        if config is not None:
            params.config = _ffi.path_bytes(config)
        file, pointer = _ffi.path_bytes(path), ctypes.c_void_p()
        with context._use() as address:
            try:
                out = ctypes.byref(pointer)
                call(address, lib.sd_adapter_load, address, file, ctypes.byref(params), out)
                super().__init__(pointer.value)
            except BaseException:
                lib.sd_adapter_free(pointer)
                raise
            self._context_address = address
        self._context = context  # while this is in use so is the C context, and its callbacks

    @property
    def info(self) -> AdapterInfo:
        info = _ffi.AdapterInfo()
        with self._use() as adapter:
            call(self._context_address, lib.sd_adapter_get_info, adapter, ctypes.byref(info))
            return AdapterInfo(*struct_values(info, AdapterInfo))


Which = Union[str, os.PathLike, Adapter]
Strength = Union[float, Tuple[float, float]]
Adapters = Union["Mapping[Which, Strength]", "Sequence[Which]"]


def _strengths(strength: Strength) -> "tuple[float, float]":
    """Of the UNet and of the text encoders: one number is both."""
    if isinstance(strength, (tuple, list)):
        unet, text = strength
        return float(unet), float(text)
    return float(strength), float(strength)


@contextlib.contextmanager
def adapter_uses(adapters: Adapters, words: "Sequence[_ffi.AdapterUse]" = ()):
    """The C array of uses and their number, while they are used."""
    rows = adapters.items() if isinstance(adapters, Mapping) else ((a, 1.0) for a in adapters)
    uses = list(words)
    with contextlib.ExitStack() as stack:
        for which, strength in rows:
            unet, text = _strengths(strength)
            use = _ffi.AdapterUse(unet_strength=unet, text_strength=text)
            if isinstance(which, Adapter):
                use.adapter = stack.enter_context(which._use())
            else:
                use.path = _ffi.path_bytes(which)
            uses.append(use)
        kind = ctypes.POINTER(_ffi.AdapterUse)
        yield (kind * len(uses))(*(ctypes.pointer(use) for use in uses)), len(uses)
