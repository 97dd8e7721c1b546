"""Conditioning: what a network is conditioned on, in one handle."""

import contextlib
import ctypes
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Optional

import numpy as np

from . import _ffi
from ._call import call
from ._ffi import lib
from ._handle import Handle
from .tensor import as_tensor, call_tensor

if TYPE_CHECKING:
    from .context import Context


class Cond(Handle):
    """What Model.encode_text, encode_tokens and encode_class give, and runs are given. It never
    changes; any number of threads may use it at once. It has a row for each text: len(cond) of
    them, and cond[i] or cond[i:j] is conditioning of its own."""

    _free = lib.sd_cond_free

    def __init__(self, pointer: int, context: "Context", address: int) -> None:
        super().__init__(pointer)
        # As with a model: while this is in use so is the C context, and its callbacks.
        self._context = context
        self._context_address = address

    @classmethod
    def new(cls, context: "Context", tensors: "Mapping[str, np.ndarray]") -> "Cond":
        """From arrays by name: "context", [n, tokens, width], and of SDXL "pooled",
        [n, pooled_width], and "sizes", [n, n_sizes]."""
        names = [_ffi.text_bytes("a name", name) for name in tensors]
        with contextlib.ExitStack() as stack:
            address = stack.enter_context(context._use())
            values = [
                stack.enter_context(as_tensor(address, name, value))
                for name, value in tensors.items()
            ]
            return call_cond(
                context,
                address,
                lib.sd_cond_new,
                address,
                (ctypes.c_char_p * len(names))(*names),
                (ctypes.c_void_p * len(values))(*values),
                len(names),
            )

    @classmethod
    def schedule(cls, parts: "Iterable[tuple[Cond, float]]") -> "Cond":
        """Conditioning that changes in the course of a run: pairs of a conditioning and the share
        of the run, above 0 up to 1, until which it is looked at; the last one's is 1."""
        return _together(lib.sd_cond_schedule, parts)

    @classmethod
    def combine(cls, parts: "Iterable[tuple[Cond, float]]") -> "Cond":
        """Several that are looked at together, in pairs with their weights: composable diffusion,
        AND of the web UIs."""
        return _together(lib.sd_cond_combine, parts)

    def tensor(self, name: str = "context") -> np.ndarray:
        """A copy of the tensor of that name: float32."""
        text = _ffi.text_bytes("name", name)
        with self._use() as cond:
            return call_tensor(self._context_address, lib.sd_cond_get, cond, text)

    def __len__(self) -> int:
        return len(self.tensor())

    def __getitem__(self, rows: "int | slice") -> "Cond":
        some = rows if isinstance(rows, slice) else slice(rows, rows + 1 or None)
        first, end, step = some.indices(len(self))
        if step != 1 or end <= first:
            raise IndexError(f"{rows} is not one row or more of {len(self)}, side by side")
        with self._use() as cond:
            owner, address = self._context, self._context_address
            return call_cond(owner, address, lib.sd_cond_rows, cond, first, end - first)


def _together(function, parts: "Iterable[tuple[Cond, float]]") -> Cond:
    """Calls a function that makes one of several with their numbers."""
    pairs = list(parts)
    if not pairs:
        raise ValueError("no conditioning; pairs of a Cond and a number were expected")
    with contextlib.ExitStack() as stack:
        addresses = [stack.enter_context(use_cond("cond", cond)) for cond, _ in pairs]
        if None in addresses:
            raise TypeError("a cond is None; a Cond was expected")
        first = pairs[0][0]
        return call_cond(
            first._context,
            first._context_address,
            function,
            (_ffi.c_cond * len(pairs))(*addresses),
            (ctypes.c_double * len(pairs))(*(number for _, number in pairs)),
            len(pairs),
        )


def call_cond(context: "Context", address: int, function, *arguments) -> Cond:
    """Calls a function whose last parameter gets conditioning."""
    pointer = ctypes.c_void_p()
    try:
        call(address, function, *arguments, ctypes.byref(pointer))
        return Cond(pointer.value, context, address)
    except BaseException:
        lib.sd_cond_free(pointer)  # made all the same where Ctrl-C came late
        raise


@contextlib.contextmanager
def use_cond(name: str, cond: "Optional[Cond]"):
    """The address of conditioning while it is used; None for None."""
    if cond is None:
        yield None
        return
    if not isinstance(cond, Cond):
        raise TypeError(
            f"{name} is {type(cond).__name__}; what encode_text gives was expected, or "
            'Context.cond({"context": array})'
        )
    with cond._use() as address:
        yield address
