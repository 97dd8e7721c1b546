"""The context: processor, threads and log."""

import ctypes
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Callable, NamedTuple, Optional, Sequence

import numpy as np

from . import _ffi
from ._call import call, callback
from ._ffi import lib
from ._handle import Handle
from .tensor import MAX_DIMS, call_tensor
from .errors import ArgumentError

if TYPE_CHECKING:
    from .cond import Cond
    from .model import Model


class TensorInfo(NamedTuple):
    """One tensor of a checkpoint."""

    name: str
    type: str
    """"F16" and the like"""
    shape: "tuple[int, ...]"
    n_bytes: int


class Context(Handle):
    """Opens a processor and starts its threads. Any thread may use it at any time.

    backend: "auto", "cpu", "reference", "cuda", "cuda:1".
    threads: CPU threads, the caller's included; 0 is one for each core. The pictures do not depend
        on it.
    log: called with (level, message) from any thread, level one of log_level's words; what it
        raises is ignored.
    log_level: "error", "warn", "info" or "debug": messages above it are not made.
    module_dir: where backend modules are looked for first.
    """

    _free = lib.sd_context_free

    def __init__(
        self,
        backend: "str | None" = None,
        threads: int = 0,
        *,
        log: Optional[Callable[[str, str], None]] = None,
        log_level: str = "warn",
        module_dir: "str | os.PathLike | None" = None,
    ) -> None:
        params = _ffi.ContextParams(
            n_threads=_ffi.c_integer("threads", threads),
            log_level=_ffi.word("log_level", log_level, _ffi.LOG_LEVELS),
        )
        if backend is not None:
            params.backend = _ffi.text_bytes("backend", backend)
        if module_dir is not None:
            params.module_dir = _ffi.path_bytes(module_dir)
        if log is not None:
            params.log = _log_callback(log)
        self._open(params)

    @classmethod
    def _from_params(cls, params: _ffi.ContextParams) -> "Context":
        context = cls.__new__(cls)
        context._open(params)
        return context

    def _open(self, params: _ffi.ContextParams) -> None:
        # The C context outlives close() while a model is open; models keep this object, and with it
        # the callbacks.
        self._params = params
        pointer = ctypes.c_void_p()
        try:
            call(None, lib.sd_context_new, ctypes.byref(params), ctypes.byref(pointer))
        except BaseException:
            lib.sd_context_free(pointer)  # opened all the same where Ctrl-C came late
            raise
        super().__init__(pointer.value)

    @property
    def device(self) -> str:
        """What computes: "cpu (avx512, 2 threads)"."""
        with self._use() as context:
            return lib.sd_context_device(context).decode()

    def cancel(self) -> None:
        """Ends every call that is computing with this context now; each raises CancelledError. Any
        thread may call it, and a signal's handler."""
        with self._use() as context:
            lib.sd_context_cancel(context)

    def load(self, path: "str | os.PathLike", **options) -> "Model":
        """Loads a model; see Model.load for the options."""
        from .model import Model

        return Model.load(path, context=self, **options)

    def cond(self, tensors: "Mapping[str, np.ndarray]") -> "Cond":
        """Conditioning from arrays by name: {"context": float32 [n, tokens, width]}."""
        from .cond import Cond

        return Cond.new(self, tensors)

    def randn(self, shape: Sequence[int], seed: int, rng: str = "cpu") -> np.ndarray:
        """torch.randn(shape) after manual_seed(seed), of the "cpu" or "cuda" generator: float32."""
        if not 1 <= len(shape) <= MAX_DIMS:
            raise ArgumentError(f"shape has {len(shape)} dimensions; 1 to {MAX_DIMS} were expected")
        dims = [_ffi.integer("shape", n, 1, 2**63 - 1) for n in shape]
        with self._use() as context:
            return call_tensor(
                context,
                lib.sd_randn,
                context,
                _ffi.word("rng", rng, _ffi.RNGS),
                _ffi.integer("seed", seed, 0, 2**64 - 1),
                len(dims),
                (_ffi.c_int64 * len(dims))(*dims),
            )

    def list_checkpoint(self, path: "str | os.PathLike") -> "list[TensorInfo]":
        """The tensors of a .safetensors or torch file or a diffusers folder; no network is
        loaded."""
        tensors = []

        def add(_user, tensor):
            def append():
                t = tensor.contents
                shape = tuple(t.dims[i] for i in range(t.n_dims))
                tensors.append(TensorInfo(t.name.decode(), t.type.decode(), shape, t.n_bytes))

            return callback(append)

        each = _ffi.CHECKPOINT_FN(add)
        with self._use() as context:
            call(context, lib.sd_checkpoint_list, context, _ffi.path_bytes(path), each, None)
        return tensors


def _log_callback(log: Callable[[str, str], None]):
    words = {number: name for name, number in _ffi.LOG_LEVELS.items()}

    def tell(_user, level, message):
        try:
            log(words.get(level, str(level)), message.decode("utf-8", "replace"))
        except BaseException:
            pass  # there is nobody to tell: the call that logs may be in any thread

    return _ffi.LOG_FN(tell)
