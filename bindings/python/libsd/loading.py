"""How models come to be: loaded from files, or made of other models."""

import contextlib
import ctypes
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Callable, Optional, Sequence

from . import _ffi
from ._call import call, callback
from ._ffi import lib
from ._handle import Handle
from .adapter import Adapters, adapter_uses
from .context import Context
from .stop import Stop, use_stop

if TYPE_CHECKING:
    from .model import Model


# Files in memory that the library may still read, by the address of their MemoryFiles.
_in_memory: dict = {}
_forget = _ffi.RELEASE_FN(lambda user: _in_memory.pop(user, None) and None)


def _memory_io(files: "Mapping[str, bytes]") -> _ffi.Io:
    """What is read from `files`, which stay until the library releases them."""
    held = [(_ffi.text_bytes("files", name), bytes(data)) for name, data in files.items()]
    rows = (_ffi.MemoryFile * len(held))()
    for row, (name, data) in zip(rows, held):
        row.name, row.size = name, len(data)
        row.data = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p)
    all_files = _ffi.MemoryFiles(rows, len(held))
    io = _ffi.Io(release=_forget)
    lib.sd_io_memory(ctypes.byref(all_files), ctypes.byref(io))
    _in_memory[io.user] = (all_files, held)
    return io


def _go_on(_done: int, _total: int) -> None:
    """Progress that nobody asked for: Python looks for signals in it."""


@contextlib.contextmanager
def _new_model():
    """Where the library puts a model, which goes if it does not become a handle: it may be there
    all the same where Ctrl-C came late."""
    pointer = ctypes.c_void_p()
    try:
        yield pointer
    except BaseException:
        lib.sd_model_free(pointer)
        raise


class Loaded(Handle):
    """How a model comes to be: from files, or from models."""

    _free = lib.sd_model_free

    def __init__(self, pointer: int, context: Context, address: int) -> None:
        super().__init__(pointer)
        # While the model is in use, so is the C context, whether or not `context` was closed.
        self._context = context
        self._context_address = address

    @classmethod
    def load(
        cls,
        path: "str | os.PathLike",
        *,
        context: Optional[Context] = None,
        vocab: "str | os.PathLike | None" = None,
        precision: str = "auto",
        strict: bool = False,
        embeddings: "Sequence[str | os.PathLike] | Mapping[str, str | os.PathLike]" = (),
        adapters: Adapters = (),
        progress: Optional[Callable[[int, int], Optional[bool]]] = None,
        use_ema: Optional[bool] = None,
        config: "str | os.PathLike | None" = None,
        taesd: "str | os.PathLike | None" = None,
        stop: Optional[Stop] = None,
        unet: "str | os.PathLike | None" = None,
        vae: "str | os.PathLike | None" = None,
        text_encoder: "str | os.PathLike | None" = None,
        text_encoder_2: "str | os.PathLike | None" = None,
        files: "Mapping[str, bytes] | None" = None,
    ) -> "Model":
        """Loads a .safetensors or .ckpt file in the original naming, or a diffusers folder.

        context: None opens one with all defaults.
        vocab: CLIP's vocabulary, bpe_simple_vocab_16e6.txt[.gz], tokenizer.json or a folder with
            that or with vocab.json and merges.txt; None looks beside the checkpoint.
        precision: "auto", "full", "autocast" or "bfloat16".
        strict: a tensor that no network uses, and NaN or infinity in one, is an error.
        embeddings: textual-inversion files; a file's name without extension is its word. Or a
            mapping of words to files.
        adapters: LoRA and its kin: files, or Adapters; or a mapping of these to their strengths, a
            number, or one for the UNet and one for the text encoders.
        progress: called with tensors done and in total; True cancels.
        use_ema: the UNet's averaged weights (model_ema.*), or with False those that training
            ended with. None: what the config says, as the original has it; else the last ones.
        config: a YAML file of the original repositories (v1-inference.yaml) that says what the
            checkpoint holds; None knows Stable Diffusion by its tensors.
        taesd: a small autoencoder (TAESD, AutoencoderTiny) of the model's latents, for previews
            and `tiny`: diffusers' folder or file, or taesd_decoder with taesd_encoder beside it.
            None: the taesd/ of a diffusers folder, if there is one.
        stop: ends the loading while it is set.
        unet, vae, text_encoder, text_encoder_2: files or folders of parts that take the place of
            the model's own, or are there where it has none.
        files: bytes by name, which all of these paths name then in place of files: a folder is
            names with a "/". They are kept until the last model made of them is gone.
        """
        context = context or Context()
        params = _ffi.ModelParams(
            precision=_ffi.word("precision", precision, _ffi.PRECISIONS),
            strict=bool(strict),
            use_ema=0 if use_ema is None else 1 if use_ema else 2,  # sd_ema
            progress=_ffi.PROGRESS_FN(
                lambda _user, at: callback(
                    progress or _go_on, at.contents.step, at.contents.total
                )
            ),
        )
        learned = []
        if embeddings:
            words = embeddings if isinstance(embeddings, Mapping) else [None] * len(embeddings)
            given = embeddings.values() if isinstance(embeddings, Mapping) else embeddings
            learned = [
                _ffi.AdapterUse(
                    path=_ffi.path_bytes(file),
                    word=None if word is None else _ffi.text_bytes("embeddings", word),
                )
                for word, file in zip(words, given)
            ]
        paths = {
            "vocab": vocab,
            "config": config,
            "taesd": taesd,
            "unet": unet,
            "vae": vae,
            "text_encoder": text_encoder,
            "text_encoder_2": text_encoder_2,
        }
        for name, file in paths.items():
            if file is not None:
                setattr(params, name, _ffi.path_bytes(file))
        file = _ffi.path_bytes(path)
        if files is not None:
            params.io = ctypes.pointer(_memory_io(files))
        with contextlib.ExitStack() as stack:
            address = stack.enter_context(context._use())
            params.stop = stack.enter_context(use_stop(stop))
            used = stack.enter_context(adapter_uses(adapters, learned))
            params.adapters, params.n_adapters = used
            pointer = stack.enter_context(_new_model())
            out = ctypes.byref(pointer)
            call(address, lib.sd_model_load, address, file, ctypes.byref(params), out)
            return cls(pointer.value, context, address)

    def adapt(self, adapters: Adapters) -> "Model":
        """This model changed by LoRA and its kin: model.adapt({"style.safetensors": 0.8}). Whatever
        they do not touch is shared, and this model stays as it is.

        adapters: as those of load().
        """
        with self._use() as address, adapter_uses(adapters) as (uses, n), _new_model() as pointer:
            out = ctypes.byref(pointer)
            call(self._context_address, lib.sd_model_adapt, address, uses, n, out)
            return type(self)(pointer.value, self._context, self._context_address)

    def combine(self, **parts: "Model") -> "Model":
        """This model with parts of others: model.combine(vae=other). Memory is shared.

        parts: "unet", "vae", "text_encoder", "text_encoder_2", "class_embedder" or "taesd".
        """
        names = [_ffi.text_bytes("parts", name) for name in parts]
        with contextlib.ExitStack() as stack:
            address = stack.enter_context(self._use())
            donors = [stack.enter_context(model._use()) for model in parts.values()]
            pointer = stack.enter_context(_new_model())
            call(
                self._context_address,
                lib.sd_model_combine,
                address,
                (ctypes.c_char_p * len(names))(*names),
                (ctypes.c_void_p * len(donors))(*donors),
                len(names),
                ctypes.byref(pointer),
            )
            return type(self)(pointer.value, self._context, self._context_address)

    @property
    def context(self) -> Context:
        return self._context
