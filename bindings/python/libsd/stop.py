"""A token that ends calls."""

import contextlib
import ctypes
from typing import TYPE_CHECKING, Optional

from ._call import call
from ._ffi import lib
from ._handle import Handle

if TYPE_CHECKING:
    from .context import Context


class Stop(Handle):
    """Ends the calls that are given it as `stop`, each with CancelledError: those that compute, and
    until clear() those that begin later too. Any thread may set and clear it, and a signal's
    handler."""

    _free = lib.sd_stop_free

    def __init__(self, context: "Context") -> None:
        pointer = ctypes.c_void_p()
        with context._use() as address:
            try:
                call(address, lib.sd_stop_new, address, ctypes.byref(pointer))
                super().__init__(pointer.value)
            except BaseException:
                lib.sd_stop_free(pointer)  # made all the same where Ctrl-C came late
                raise
        self._context = context  # while this is in use so is the C context, and its callbacks

    def set(self) -> None:
        with self._use() as stop:
            lib.sd_stop_set(stop)

    def clear(self) -> None:
        with self._use() as stop:
            lib.sd_stop_clear(stop)

    @property
    def is_set(self) -> bool:
        with self._use() as stop:
            return bool(lib.sd_stop_is_set(stop))


@contextlib.contextmanager
def use_stop(stop: Optional[Stop]):
    """The address of a token while it is used; None for None."""
    if stop is None:
        yield None
        return
    if not isinstance(stop, Stop):
        raise TypeError(f"stop is {type(stop).__name__}; a libsd.Stop was expected")
    with stop._use() as address:
        yield address
