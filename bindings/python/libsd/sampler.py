"""Sampling: whole runs and single steps."""

import contextlib
import ctypes
import math
import threading
from typing import TYPE_CHECKING, Callable, Iterator, NamedTuple, Optional

import numpy as np

from . import _ffi
from ._call import call, callback
from ._ffi import lib
from ._handle import Handle
from .cond import Cond, use_cond
from .errors import ArgumentError, CancelledError, StateError
from .image import Image, call_image
from .tensor import as_tensor, call_tensor

if TYPE_CHECKING:
    from .model import Model


def sampling_methods() -> "list[str]":
    """Names for Model.sampler's `method`: ["ddim", "plms", ...]."""
    names = []
    while lib.sd_sampler_method(len(names)):
        names.append(lib.sd_sampler_method(len(names)).decode())
    return names


def sampling_spacings() -> "list[str]":
    """Names for Model.sampler's `spacing`: ["auto", "uniform", ...]."""
    return list(_ffi.SPACINGS)


def find_sampler(name: str) -> "tuple[str, str]":
    """Method and spacing of a sampler's name in a web UI or diffusers: ("dpmpp_2m", "karras") of
    "DPM++ 2M Karras". An ArgumentError with what is near it where there is none."""
    method, spacing = ctypes.c_char_p(), ctypes.c_int32()
    out = ctypes.byref(method), ctypes.byref(spacing)
    call(None, lib.sd_sampler_find, _ffi.text_bytes("name", name), *out)
    return method.value.decode(), list(_ffi.SPACINGS)[spacing.value]


def _preview_params(index: int, method: str) -> _ffi.PreviewParams:
    return _ffi.PreviewParams(
        index=_ffi.c_integer("index", index), method=_ffi.word("method", method, _ffi.PREVIEWS)
    )


class Progress:
    """A step that was just done.

    step: steps finished, 1 .. total. timestep: 0 .. train_timesteps - 1, a float, which may
    lie between the trained ones. seconds: wall time of the step. seed: of the run's first picture.
    latent() and preview() work inside the callback only, in its thread.
    """

    def __init__(self, state: _ffi.Progress, context: "int | None", seed: int = 0) -> None:
        self.step: int = state.step
        self.total: int = state.total
        self.timestep: float = state.timestep
        self.seconds: float = state.seconds
        self.seed: int = seed
        self._sampler = state.sampler
        self._thread = threading.get_ident()
        self._context = context

    def __repr__(self) -> str:
        return f"Progress(step={self.step}, total={self.total}, timestep={self.timestep})"

    def _end(self) -> None:
        self._sampler = None

    def _running(self) -> int:
        if not self._sampler or self._thread != threading.get_ident():
            raise StateError("Progress.latent and preview work inside the progress callback only")
        return self._sampler

    def latent(self) -> np.ndarray:
        """The current latent x_t: float32 [batch, channels, h, w]."""
        return call_tensor(self._context, lib.sd_sampler_latent, self._running())

    def preview(self, index: int = 0, method: str = "auto") -> Image:
        """Picture `index` of the predicted x_0: by "vae" or "tiny" (Model.load's taesd) at full
        size, by "matrix" in colours alone, with a pixel for each of the latent. "auto" is
        ModelInfo.default_preview."""
        how = ctypes.byref(_preview_params(index, method))
        return call_image(self._context, lib.sd_sampler_preview, self._running(), how)


ProgressFn = Callable[[Progress], Optional[bool]]
CorrectorFn = Callable[[np.ndarray, np.ndarray, float], np.ndarray]


class Intermediates(NamedTuple):
    """What a run with log_every_t kept: latents [entries, batch, channels, h, w], of which the
    first is what the run began with."""

    x_inter: np.ndarray
    """x_t after each step that was kept"""
    pred_x0: np.ndarray
    """the predicted x_0 of the same steps"""


class Watch:
    """The progress callback of a run, and the last step that it saw.

    It is there also where the caller gave none, so that Python looks for signals between two steps,
    and a sampler that was closed ends its run.
    """

    def __init__(self, function: Optional[ProgressFn], context: int) -> None:
        self.last = last = [None]
        self.seed = 0
        self.closed = closed = threading.Event()

        def tell(state):
            progress = Progress(state, context, self.seed)
            last[0] = progress
            try:
                stop = function(progress) if function else None
            finally:
                progress._end()
            if closed.is_set():
                raise CancelledError("the Sampler was closed while it sampled")
            return stop

        self.callback = _ffi.PROGRESS_FN(lambda _user, state: callback(tell, state.contents))
        self.corrector = None

    def correct(self, function: CorrectorFn):
        """A score corrector as the library's callback, which lives as long as this."""

        def change(s):
            shape = (s.batch, s.channels, s.height, s.width)
            e_t = np.ctypeslib.as_array(s.e_t, shape=shape)
            x = np.ctypeslib.as_array(s.x, shape=shape)
            e_t[...] = function(e_t.copy(), x.copy(), s.timestep)

        self.corrector = _ffi.SCORE_CORRECTOR_FN(lambda _user, s: callback(change, s.contents))
        return self.corrector


_MAX_BATCH = 65536  # more than the library takes, and little enough for an array of pointers
_INTEGERS = ("steps", "width", "height", "batch", "seed_resize_width", "seed_resize_height")
_FLOATS = ("eta", "ancestral_eta", "guidance_scale", "guidance_rescale", "subseed_strength")
_ORIGINAL_INTEGERS = ("skip_draws", "log_every_t")
_ORIGINAL_FLOATS = ("temperature", "noise_dropout")
_ORIGINAL_SWITCHES = (
    "one_stream",
    "clip_denoised",
    "quantize_denoised",
    "use_original_steps",
    "original_encode",
)


def _take_numbers(params, integers, floats, options: dict) -> None:
    for name in integers:
        if name in options:
            setattr(params, name, _ffi.c_integer(name, options.pop(name)))
    for name in floats:
        if name in options:
            setattr(params, name, float(options.pop(name)))


def _original_params(watch: "Optional[Watch]", options: dict) -> _ffi.OriginalParams:
    """What of the options reproduces the original."""
    params = _ffi.OriginalParams()
    _take_numbers(params, _ORIGINAL_INTEGERS, _ORIGINAL_FLOATS, options)
    for name in _ORIGINAL_SWITCHES:
        setattr(params, name, bool(options.pop(name, False)))
    corrector = options.pop("score_corrector", None)
    if watch and corrector:
        params.score_corrector = watch.correct(corrector)
    return params


def sampler_params(watch: Optional[Watch], options: dict) -> _ffi.SamplerParams:
    """Keywords of Model.sampler as the library's struct."""
    options = {name: value for name, value in options.items() if value is not None}
    params = _ffi.SamplerParams()
    _take_numbers(params, _INTEGERS, _FLOATS, options)
    _ffi.integer("batch", params.batch, 1, _MAX_BATCH)
    if "method" in options:
        params.method = _ffi.text_bytes("method", options.pop("method"))
    if "seed" in options:
        params.seed = _ffi.integer("seed", options.pop("seed"), 0, 2**64 - 1)
    if "subseed" in options:
        params.subseed = _ffi.integer("subseed", options.pop("subseed"), 0, 2**64 - 1)
    if "eta_noise_seed_delta" in options:
        delta = _ffi.integer(
            "eta_noise_seed_delta", options.pop("eta_noise_seed_delta"), -(2**63), 2**63 - 1
        )
        params.eta_noise_seed_delta = delta
    if "seeds" in options:
        seeds = [_ffi.integer("seeds", seed, 0, 2**64 - 1) for seed in options.pop("seeds")]
        if len(seeds) != params.batch:
            raise ArgumentError(f"seeds has {len(seeds)} entries; batch is {params.batch}")
        params.seeds = (ctypes.c_uint64 * len(seeds))(*seeds)
    for name in ("timesteps", "sigmas"):
        if name in options:
            numbers = [float(number) for number in options.pop(name)]
            setattr(params, name, (ctypes.c_double * max(len(numbers), 1))(*numbers))
            setattr(params, f"n_{name}", len(numbers))
    if "spacing" in options:
        params.spacing = _ffi.word("spacing", options.pop("spacing"), _ffi.SPACINGS)
    if "rng" in options:
        params.rng = _ffi.word("rng", options.pop("rng"), _ffi.RNGS)
    params.original = ctypes.pointer(_original_params(watch, options))
    if options:
        raise TypeError(f"unknown sampling option: {', '.join(options)}")
    if watch:
        watch.seed = params.seeds[0] if params.seeds else params.seed
        params.progress = watch.callback
    return params


class Sampler(Handle):
    """Made by Model.sampler; all memory of a run is taken then.

    One thread at a time: where another one is using it, a call raises StateError.
    """

    _free = lib.sd_sampler_free

    def __init__(self, model: "Model", progress: Optional[ProgressFn], options: dict) -> None:
        self._model = model
        self._error_context = context = model._context_address
        self._watch = Watch(progress, context)
        params = sampler_params(self._watch, options)
        pointer = ctypes.c_void_p()
        with model._use() as address:
            try:
                out = ctypes.byref(pointer)
                call(context, lib.sd_sampler_new, address, ctypes.byref(params), out)
                super().__init__(pointer.value)
            except BaseException:
                lib.sd_sampler_free(pointer)  # made all the same where Ctrl-C came late
                raise

    def close(self) -> None:
        """Gives the sampler back. A run that is going on, in this thread's callback or in another
        thread, ends after its step with CancelledError. Closing twice does nothing."""
        if not self.closed:
            self._watch.closed.set()
            super().close()

    def sample(
        self,
        cond: Optional[Cond] = None,
        uncond: Optional[Cond] = None,
        init: Optional[np.ndarray] = None,
        noise: Optional[np.ndarray] = None,
        *,
        mask: Optional[np.ndarray] = None,
        mask_x0: Optional[np.ndarray] = None,
        concat: Optional[np.ndarray] = None,
        strength: float = 0.75,
        last_steps: int = 0,
        denoising_start: float = 0.0,
        denoising_end: float = 0.0,
    ) -> np.ndarray:
        """A whole run: float32 [batch, channels, h, w].

        cond, uncond: of batch rows or one (Model.encode_text), and of as many tokens; uncond may be
            None where guidance_scale is 1, and both where the model is unconditional.
        init: a latent [batch or 1, channels, h, w] that is noised to `strength` first, of the steps
            int(strength * steps) being run (0.75); None starts from noise.
        noise: [batch, channels, h, w] in place of the seed's first draw.
        mask, mask_x0: see set_mask. concat: see set_concat.
        last_steps: DDIMSampler.decode, the last so many steps from init as it is; 0 is by strength.
        denoising_start, denoising_end: shares of the train timesteps between which steps are made, as
            diffusers has them: the one goes on from init as it is, the other leaves noise for it.

        Each run starts the seeds afresh.
        """
        inputs, context = locals(), self._error_context
        with self._use() as sampler, _run_params(context, inputs) as params:
            return call_tensor(context, lib.sd_sample, sampler, ctypes.byref(params))

    def begin(
        self,
        cond: Optional[Cond] = None,
        uncond: Optional[Cond] = None,
        init: Optional[np.ndarray] = None,
        noise: Optional[np.ndarray] = None,
        *,
        mask: Optional[np.ndarray] = None,
        mask_x0: Optional[np.ndarray] = None,
        concat: Optional[np.ndarray] = None,
        strength: float = 0.75,
        last_steps: int = 0,
        denoising_start: float = 0.0,
        denoising_end: float = 0.0,
    ) -> None:
        """Begins a run to be made a step() at a time, with the arguments of sample()."""
        inputs, context = locals(), self._error_context
        with self._use() as sampler, _run_params(context, inputs) as params:
            call(context, lib.sd_sampler_begin, sampler, ctypes.byref(params))

    def step(self) -> Progress:
        """Makes one step of the run that begin() began."""
        with self._use() as sampler:
            call(self._error_context, lib.sd_sampler_step, sampler)
            return self._watch.last[0]

    @property
    def timesteps(self) -> np.ndarray:
        """The train timesteps of the steps, ascending (ddim_timesteps): float64."""
        found = []
        with self._use() as sampler:
            while not math.isnan(time := lib.sd_sampler_timestep(sampler, len(found))):
                found.append(time)
        return np.array(found)

    def stochastic_encode(
        self, x0: np.ndarray, t: int, noise: Optional[np.ndarray] = None
    ) -> np.ndarray:
        """DDIMSampler.stochastic_encode: x0 [batch or 1, channels, h, w] noised to timesteps[t],
        with `noise` or the seeds' first draw."""
        index, context = _ffi.c_integer("t", t), self._error_context
        with self._use() as sampler:
            with as_tensor(context, "x0", x0) as z, as_tensor(context, "noise", noise) as n:
                encode = lib.sd_sampler_stochastic_encode
                return call_tensor(context, encode, sampler, z, index, n)

    @property
    def intermediates(self) -> Intermediates:
        """What the last run kept; a StateError without log_every_t, and before a run."""
        context = self._error_context
        with self._use() as sampler:
            entries = range(max(1, lib.sd_sampler_n_intermediates(sampler)))
            return Intermediates(
                *(
                    np.stack([call_tensor(context, function, sampler, i) for i in entries])
                    for function in (lib.sd_sampler_x_inter, lib.sd_sampler_pred_x0_inter)
                )
            )

    @property
    def remaining(self) -> int:
        """Steps left; 0 before begin()."""
        with self._use() as sampler:
            return lib.sd_sampler_remaining(sampler)

    def steps(
        self,
        cond: Optional[Cond] = None,
        uncond: Optional[Cond] = None,
        init: Optional[np.ndarray] = None,
        noise: Optional[np.ndarray] = None,
        *,
        mask: Optional[np.ndarray] = None,
        mask_x0: Optional[np.ndarray] = None,
        concat: Optional[np.ndarray] = None,
        strength: float = 0.75,
        last_steps: int = 0,
        denoising_start: float = 0.0,
        denoising_end: float = 0.0,
    ) -> Iterator[Progress]:
        """begin(), then one step for each turn of a loop. Between two turns the latent may be read
        and replaced; leaving the loop early is fine."""
        self.begin(
            cond,
            uncond,
            init,
            noise,
            mask=mask,
            mask_x0=mask_x0,
            concat=concat,
            strength=strength,
            last_steps=last_steps,
        )
        while self.remaining:
            yield self.step()

    @property
    def latent(self) -> np.ndarray:
        """A copy of the current latent x_t, float32 [batch, channels, h, w]. Assigning replaces it,
        e.g. to mask it."""
        with self._use() as sampler:
            return call_tensor(self._error_context, lib.sd_sampler_latent, sampler)

    @latent.setter
    def latent(self, value: np.ndarray) -> None:
        with self._use() as sampler:
            with as_tensor(self._error_context, "latent", value) as tensor:
                call(self._error_context, lib.sd_sampler_set_latent, sampler, tensor)

    @property
    def pred_x0(self) -> np.ndarray:
        """A copy of the last predicted x_0 (DDIM eq. 12), float32 [batch, channels, h, w]."""
        with self._use() as sampler:
            return call_tensor(self._error_context, lib.sd_sampler_pred_x0, sampler)

    def set_mask(self, mask: Optional[np.ndarray], x0: Optional[np.ndarray] = None) -> None:
        """Keeps `x0` [batch or 1, channels, h, w] where `mask` [batch or 1, 1, h, w] is 1, from the
        next step of a run on: each begins from it there, noised to the step's time. None takes the
        mask away."""
        context = self._error_context
        with self._use() as sampler:
            with as_tensor(context, "mask", mask) as m, as_tensor(context, "x0", x0) as known:
                call(context, lib.sd_sampler_set_mask, sampler, m, known)

    def set_concat(self, concat: np.ndarray) -> None:
        """What an inpainting model takes beside the latent from the next step of a run on, in
        place of what it was given: [batch or 1, unet_channels - latent_channels, h, w]."""
        with self._use() as sampler:
            with as_tensor(self._error_context, "concat", concat) as c:
                call(self._error_context, lib.sd_sampler_set_concat, sampler, c)

    def preview(self, index: int = 0, method: str = "auto") -> Image:
        """Picture `index` of the predicted x_0, as Progress.preview makes it."""
        how = ctypes.byref(_preview_params(index, method))
        with self._use() as sampler:
            return call_image(self._error_context, lib.sd_sampler_preview, sampler, how)


@contextlib.contextmanager
def _run_params(context: int, inputs: dict):
    """The arguments of Sampler.sample as the library's struct, whose tensors are freed on
    leaving."""
    params = _ffi.RunParams(
        strength=float(inputs["strength"]),
        last_steps=_ffi.c_integer("last_steps", inputs["last_steps"]),
        denoising_start=float(inputs["denoising_start"]),
        denoising_end=float(inputs["denoising_end"]),
    )
    with contextlib.ExitStack() as stack:
        for name in ("cond", "uncond"):
            setattr(params, name, stack.enter_context(use_cond(name, inputs[name])))
        for name in ("init", "noise", "mask", "mask_x0", "concat"):
            setattr(params, name, stack.enter_context(as_tensor(context, name, inputs[name])))
        yield params
