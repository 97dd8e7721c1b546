"""Models: loading, the stages one by one, and pictures in one call."""

import contextlib
import ctypes
import os
import secrets
from collections.abc import Mapping
from typing import Optional, Sequence, Union

import numpy as np

from . import _ffi
from ._call import call
from ._ffi import lib
from .cond import Cond, call_cond, use_cond
from .errors import ArgumentError
from .image import Image, Picture, as_image, call_image, load_image, take_image
from .loading import Loaded
from .results import Loss, Memory, ModelInfo, Tokens, Work, struct_values
from .sampler import CorrectorFn, ProgressFn, Sampler, Watch, sampler_params
from .stop import Stop, use_stop
from .tensor import as_tensor, call_tensor


def _vae_params(tile: int, overlap: Optional[int], **fields) -> _ffi.VaeParams:
    """An overlap of None is a quarter of a tile, which the library calls 0."""
    shared = None if overlap is None else _ffi.c_integer("overlap", overlap)
    return _ffi.VaeParams(
        tile=_ffi.c_integer("tile", tile),
        overlap=0 if shared is None else shared or -1,
        **fields,
    )


SCORES = ("aesthetic_score", "negative_aesthetic_score")
SIZES = (
    "original_width",
    "original_height",
    "target_width",
    "target_height",
    "crop_top",
    "crop_left",
)


def _text_params(sizes: "Mapping[str, float]", **fields) -> _ffi.TextParams:
    """`sizes` is what SDXL is told of a picture."""
    params = _ffi.TextParams(**fields)
    for name, value in sizes.items():
        if name in SCORES:
            setattr(params, name, float(value))
        elif name in SIZES:
            setattr(params, name, _ffi.c_integer(name, value))
        else:
            raise TypeError(f"{name}: one of {', '.join(SIZES + SCORES)} was expected")
    return params


def _how(weighted, clip_skip, clean) -> "dict[str, int]":
    return {
        "weighted": bool(weighted),
        "clip_skip": _ffi.c_integer("clip_skip", clip_skip),
        "clean": bool(clean),
    }


def _loaded(picture, **options):
    """Pixels, where a picture may be the path of a file."""
    return load_image(picture, **options) if isinstance(picture, (str, os.PathLike)) else picture


def _int32s(array: np.ndarray):
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))


class Model(Loaded):
    """A loaded model. It never changes; any number of threads may use it at once."""

    @property
    def info(self) -> ModelInfo:
        info = _ffi.ModelInfo()
        with self._use() as model:
            call(self._context_address, lib.sd_model_get_info, model, ctypes.byref(info))
            values = dict(zip(ModelInfo.__dataclass_fields__, struct_values(info, ModelInfo)))
        values["has_vocabulary"] = bool(values["has_vocabulary"])
        values["default_preview"] = list(_ffi.PREVIEWS)[values["default_preview"]]
        values["conditioning"] = ("text", "class", "none")[values["conditioning"]]
        values["default_spacing"] = list(_ffi.SPACINGS)[values["default_spacing"]]
        for name in ("guidance_embedding", "has_taesd"):
            values[name] = bool(values[name])
        return ModelInfo(**values)

    @property
    def unexpected(self) -> "list[str]":
        """Names of tensors in the checkpoint that no network uses."""
        with self._use() as model:
            n = self.info.n_unexpected
            return [lib.sd_model_unexpected(model, i).decode() for i in range(n)]

    # --- text

    def tokenize(self, text: str, *, encoder: int = 0) -> Tokens:
        """Token ids for one of the model's text encoders, as transformers' CLIPTokenizer gives
        them."""
        n_used = ctypes.c_int32()
        with self._use() as model:
            ids = np.empty(self.info.text_tokens, dtype=np.int32)
            call(
                self._context_address,
                lib.sd_tokenize,
                model,
                _ffi.c_integer("encoder", encoder),
                _ffi.text_bytes("text", text),
                _int32s(ids),
                len(ids),
                ctypes.byref(n_used),
            )
        return Tokens(ids, n_used.value)

    def token_text(self, token: int, *, encoder: int = 0) -> Optional[str]:
        """The text of a token id, "cat</w>"; None when there is none."""
        with self._use() as model:
            which = _ffi.c_integer("encoder", encoder)
            text = lib.sd_token_text(model, which, _ffi.c_integer("token", token))
            return None if text is None else text.decode()

    def encode_text(
        self,
        texts: Union[str, Sequence[str]],
        *,
        weighted: bool = False,
        clip_skip: int = 0,
        clean: bool = False,
        steps: int = 0,
        stop: Optional[Stop] = None,
        **sizes: float,
    ) -> Cond:
        """Prompts to conditioning, whose tensor("context") is float32 [n, text_tokens, text_width],
        the last hidden state after the final LayerNorm. That of SDXL, whose encoders' states before
        the last layer lie side by side, has tensor("pooled") and tensor("sizes") too.

        weighted: the prompt syntax of the popular web UIs, (word:1.2), [word], BREAK; a long prompt
            has k times text_tokens, and so have those that are encoded with it. Its programs,
            [a:b:0.5], [a|b] and a AND b :0.7, become what Cond.schedule and Cond.combine give.
        clip_skip: n > 1 ends n - 1 layers before the last.
        clean: texts first become what ftfy's fix_text and html.unescape make of them, as in the
            original's environment: straight quotes, plain letters, characters for entities.
        steps: of the run that programs are for, twice as many for methods that evaluate twice a
            step (heun, dpm2, dpm2_a, dpmpp_2s_a, dpmpp_sde); 0: the model's default ones.
        sizes: what SDXL is told of a picture, original_width, original_height, target_width and
            target_height (those of the run), crop_top and crop_left (0), and its refiner
            aesthetic_score (6).
        """
        texts = [texts] if isinstance(texts, str) else list(texts)
        data = [_ffi.text_bytes("a text", text) for text in texts]
        array = (ctypes.c_char_p * len(data))(*data)
        with self._use() as model, use_stop(stop) as token:
            how = _how(weighted, clip_skip, clean)
            params = _text_params(sizes, **how, steps=_ffi.c_integer("steps", steps), stop=token)
            return call_cond(
                self._context,
                self._context_address,
                lib.sd_encode_text,
                model,
                array,
                len(data),
                ctypes.byref(params),
            )

    def encode_tokens(self, ids: np.ndarray, *, clip_skip: int = 0, **sizes: float) -> Cond:
        """encode_text from token ids [text_tokens] or [n, text_tokens], of two text encoders
        [2, n, text_tokens]; needs no vocabulary."""
        info, given = self.info, np.asarray(ids)
        tokens, encoders = info.text_tokens, max(info.n_encoders, 1)
        dims = (1, 2) if encoders == 1 else (3,)
        fits = given.ndim in dims and given.shape[-1] == tokens
        if given.dtype.kind not in "iu" or not fits or (encoders > 1 and len(given) != encoders):
            shape = f"[n, {tokens}]" if encoders == 1 else f"[{encoders}, n, {tokens}]"
            raise ArgumentError(
                f"ids is {given.dtype} {list(given.shape)}; integers {shape} were expected"
            )
        if given.size and (given.min() < -(2**31) or given.max() >= 2**31):
            raise ArgumentError("ids has a number that is no token id")
        values = np.ascontiguousarray(given, dtype=np.int32).reshape(encoders, -1, tokens)
        of_encoders = (ctypes.POINTER(ctypes.c_int32) * encoders)(*map(_int32s, values))
        params = _text_params(sizes, clip_skip=_ffi.c_integer("clip_skip", clip_skip))
        with self._use() as model:
            return call_cond(
                self._context,
                self._context_address,
                lib.sd_encode_tokens,
                model,
                of_encoders,
                encoders,
                values.shape[1],
                ctypes.byref(params),
            )

    def encode_class(self, classes: Union[int, Sequence[int]]) -> Cond:
        """Class ids to conditioning, whose tensor("context") is float32 [n, 1, text_width]."""
        ids = [classes] if isinstance(classes, int) else [int(i) for i in classes]
        array = (ctypes.c_int32 * len(ids))(*ids)
        with self._use() as model:
            owner, address = self._context, self._context_address
            return call_cond(owner, address, lib.sd_encode_class, model, array, len(ids))

    # --- VAE

    def vae_encode(
        self,
        pixels: np.ndarray,
        noise: Optional[np.ndarray] = None,
        *,
        tile: int = 0,
        overlap: Optional[int] = None,
        tiny: bool = False,
        stop: Optional[Stop] = None,
    ) -> np.ndarray:
        """Pixels float32 [n, 3, h, w] in [-1, 1] to a latent [n, channels, h / 8, w / 8], times
        latent_scale. With `noise` of the latent's shape the posterior is sampled; without, the
        latent is its mean. With `tile` latents a side it takes the memory of one tile; tiles fade
        into each other over `overlap` latents (a quarter of a tile). tiny: by the model's small
        autoencoder (`taesd` of load)."""
        context = self._context_address
        with self._use() as model, as_tensor(context, "pixels", pixels) as x:
            with as_tensor(context, "noise", noise) as n, use_stop(stop) as token:
                how = ctypes.byref(_vae_params(tile, overlap, tiny=bool(tiny), noise=n, stop=token))
                return call_tensor(context, lib.sd_vae_encode, model, x, how)

    def vae_decode(
        self,
        latent: np.ndarray,
        *,
        quantize: bool = True,
        tile: int = 0,
        overlap: Optional[int] = None,
        tiny: bool = False,
        stop: Optional[Stop] = None,
    ) -> np.ndarray:
        """A latent, as a sampler leaves it, to pixels float32 [n, 3, 8 h, 8 w], about [-1, 1] and
        not clamped. A VQ model takes the nearest row of its codebook first, where `quantize`.
        `tile`, `overlap` and `tiny` are as in vae_encode."""
        context = self._context_address
        with self._use() as model, as_tensor(context, "latent", latent) as z:
            with use_stop(stop) as token:
                params = _vae_params(
                    tile, overlap, tiny=bool(tiny), unquantized=not quantize, stop=token
                )
                how = ctypes.byref(params)
                return call_tensor(context, lib.sd_vae_decode, model, z, how)

    def vae_quantize(self, latent: np.ndarray) -> "tuple[np.ndarray, np.ndarray]":
        """With a VQ model: the nearest row of the codebook to each pixel of a latent
        [n, channels, h, w], as indices int32 [n, h, w] and as a latent."""
        shape = np.shape(latent)
        ids = np.empty(shape[:1] + shape[2:], dtype=np.int32)
        with self._use() as model:
            context = self._context_address
            with as_tensor(context, "latent", latent) as z:
                rows = call_tensor(context, lib.sd_vae_quantize, model, z, _int32s(ids), ids.size)
        return ids, rows

    def vae_encode_ids(self, pixels: np.ndarray) -> np.ndarray:
        """vae_encode, as indices of a VQ model's codebook: int32 [n, h, w] of the latent."""
        scale, shape = self.info.latent_downscale, np.shape(pixels)
        ids = np.empty(shape[:1] + tuple(side // scale for side in shape[2:]), dtype=np.int32)
        with self._use() as model:
            context = self._context_address
            with as_tensor(context, "pixels", pixels) as x:
                call(context, lib.sd_vae_encode_ids, model, x, None, _int32s(ids), ids.size)
        return ids

    def vae_decode_ids(self, ids: np.ndarray) -> np.ndarray:
        """Indices [n, h, w] of a VQ model's codebook to pixels float32 [n, 3, 8 h, 8 w]."""
        given = np.asarray(ids)
        if given.dtype.kind not in "iu" or given.ndim != 3:
            raise ArgumentError(
                f"ids is {given.dtype} {list(given.shape)}; integers [n, h, w] were expected"
            )
        if given.size and (given.min() < -(2**31) or given.max() >= 2**31):
            raise ArgumentError("ids has a number that is no index")
        values = np.ascontiguousarray(given, dtype=np.int32)
        arguments = (_int32s(values), *values.shape, None)
        with self._use() as model:
            return call_tensor(self._context_address, lib.sd_vae_decode_ids, model, *arguments)

    def to_images(self, pixels: np.ndarray) -> "list[Image]":
        """Pixels float32 [n, 3, h, w] as pictures: round((x + 1) / 2 * 255), clamped."""
        with self._use():
            context = self._context_address
            with as_tensor(context, "pixels", pixels) as x:
                count = range(max(1, np.shape(pixels)[0]))
                return [call_image(context, lib.sd_image_from_tensor, x, i) for i in count]

    def to_pixels(self, images) -> np.ndarray:
        """A picture, or some of one size, as pixels float32 [n, 3, h, w]: 2 x / 255 - 1."""
        several = isinstance(images, (list, tuple)) or np.ndim(images) == 4
        out = []
        with self._use():
            context = self._context_address
            for image in images if several else [images]:
                with as_image(context, "images", image) as source:
                    out.append(call_tensor(context, lib.sd_image_to_tensor, source))
        if not out:
            raise ArgumentError("images is empty; at least one picture was expected")
        return np.concatenate(out)

    # --- sampling

    def sampler(
        self,
        *,
        steps: Optional[int] = None,
        seed: Optional[int] = None,
        guidance_scale: Optional[float] = None,
        width: Optional[int] = None,
        height: Optional[int] = None,
        batch: Optional[int] = None,
        eta: Optional[float] = None,
        method: Optional[str] = None,
        spacing: Optional[str] = None,
        timesteps: Optional[Sequence[float]] = None,
        sigmas: Optional[Sequence[float]] = None,
        ancestral_eta: Optional[float] = None,
        subseed: Optional[int] = None,
        subseed_strength: Optional[float] = None,
        eta_noise_seed_delta: Optional[int] = None,
        seed_resize_width: Optional[int] = None,
        seed_resize_height: Optional[int] = None,
        temperature: Optional[float] = None,
        rng: Optional[str] = None,
        seeds: Optional[Sequence[int]] = None,
        one_stream: bool = False,
        guidance_rescale: Optional[float] = None,
        clip_denoised: bool = False,
        skip_draws: Optional[int] = None,
        noise_dropout: Optional[float] = None,
        quantize_denoised: bool = False,
        score_corrector: Optional[CorrectorFn] = None,
        log_every_t: Optional[int] = None,
        use_original_steps: bool = False,
        original_encode: bool = False,
        progress: Optional[ProgressFn] = None,
    ) -> Sampler:
        """A sampler for pictures of one size; None takes the library's default.

        steps: 1 .. train_timesteps (info.default_steps). seed: picture i of a batch draws from seed + i (42).
        guidance_scale: s of e_u + s (e_c - e_u); 1 evaluates once
            (info.default_guidance).
        width, height: pixels, multiples of info.size_multiple (the model's). batch: pictures (1).
        eta: DDIM's eta, and tcd's gamma (0). ancestral_eta: eta of the methods that draw noise in
            any case, the ancestral and the SDE ones (1).
        original_encode: with ddim and plms the latent is noised one step above the first that is
            run, as the original's img2img.py does.
        method: one of sampling_methods(), or any name that find_sampler() knows, with its spacing
            (info.default_method). spacing: one of
            sampling_spacings() (info.default_spacing); "karras", "exponential", "beta", "ays" and
            "kl_optimal" are for methods on sigmas.
        subseed, subseed_strength: A1111's variation seed and strength (0): the first noise goes so
            far to that of subseed + i, from that of `seed` for all pictures.
        eta_noise_seed_delta: A1111's ENSD (0). seed_resize_width, seed_resize_height: A1111's seed
            resize: the noise of a picture of that size, in the middle.
        timesteps, sigmas: times of your own in place of steps and spacing, one of the two, as
            diffusers' set_timesteps takes them: downward; sigmas are one more, of which the last
            is 0.
        temperature: factor of the noise that steps add (1). rng: torch's "cpu" or "cuda" generator.
        seeds: one for each picture. one_stream: the whole batch draws from `seed`.
        guidance_rescale: phi of Lin et al. 2024 (0). clip_denoised: ddpm clamps its x_0.
        skip_draws: batches of noise that are drawn from the seeds and dropped before the first (0).
        noise_dropout: F.dropout of the noise that steps add (0). quantize_denoised: x_0 as rows of
            a VQ model's codebook. use_original_steps: a step for each train timestep; both are for
            ddim, plms and ddpm.
        score_corrector: called with e_t and x [batch, channels, h, w] and the timestep after each
            evaluation; what it returns takes e_t's place. Raising ends the run.
        log_every_t: how often Sampler.intermediates keeps a step (0: never).
        progress: called with a Progress after each step; returning True, or raising, ends the run.
        """
        options = dict(locals())
        del options["self"], options["progress"]
        return Sampler(self, progress, options)

    def generate(
        self,
        prompt: "str | Sequence[str] | None" = None,
        negative_prompt: Optional[str] = None,
        *,
        cond: Optional[Cond] = None,
        uncond: Optional[Cond] = None,
        init: Optional[Picture] = None,
        mask: Optional[Picture] = None,
        strength: Optional[float] = None,
        refiner: "Optional[Model]" = None,
        refiner_start: float = 0.0,
        mask_blur: float = 0.0,
        mask_invert: bool = False,
        mask_any_pixel: bool = False,
        only_masked: bool = False,
        mask_padding: int = 32,
        weighted_prompts: bool = False,
        clip_skip: int = 0,
        clean_prompts: bool = False,
        tile: int = 0,
        overlap: Optional[int] = None,
        tiny: bool = False,
        steps: Optional[int] = None,
        seed: Optional[int] = None,
        seeds: Optional[Sequence[int]] = None,
        batch: Optional[int] = None,
        width: Optional[int] = None,
        height: Optional[int] = None,
        guidance_scale: Optional[float] = None,
        method: Optional[str] = None,
        stop: Optional[Stop] = None,
        progress: Optional[ProgressFn] = None,
        **sampling,
    ) -> "list[Image]":
        """Pictures in one call. What is given says what is done: text to image; with `init` image
        to image; with `init` and `mask` inpainting.

        prompt: of a list each becomes one picture. cond, uncond: what encode_text gives, in place
            of prompt and negative_prompt.
        init, mask: pictures, or paths of files. init is resized to width x height; where these are
            not given, to its own size cut down to a multiple of 64. White in the mask is painted,
            black kept, grey blends the two; where it has one colour and an alpha channel, that is
            the mask.
        strength: 0 to 1, how much may change (0.75, with a mask 1, where nothing of it is seen).
        refiner: a model that paints the last steps, from the share refiner_start of the train
            timesteps on (0.8).
        mask_blur: sigma of a Gaussian blur, in pixels. mask_invert: black is painted.
        mask_any_pixel: a latent is painted where any pixel of its square is white, else where the
            first one is. only_masked: the masked part, with mask_padding pixels around it, is
            painted at width x height (the model's own) and put back; pictures have init's size.
        weighted_prompts, clip_skip, clean_prompts: encode_text's weighted, clip_skip and clean, and
            so are original_width and its like; negative_aesthetic_score (2.5) is of negative_prompt.
            Without a negative_prompt SDXL's base has zeros in its place.
        tile, overlap, tiny: vae_decode's.
        seed: -1 is a random one, which Progress.seed tells. seeds: one for each picture.
        stop: ends the call while it is set.
        The others, and those of `sampling`, are Model.sampler's.
        """
        context = self._context_address
        sizes = {name: sampling.pop(name) for name in SIZES + SCORES if name in sampling}
        watch = Watch(progress, context)
        if seed == -1:
            seed = secrets.randbelow(2**32)
        several = isinstance(prompt, (list, tuple))
        if several and batch not in (None, len(prompt)):
            raise ArgumentError(f"prompt has {len(prompt)} texts; batch is {batch}")
        of_list = len(prompt) if several else len(seeds) if seeds is not None else None
        options = sampler_params(
            watch,
            {
                "steps": steps,
                "seed": seed,
                "seeds": seeds,
                "batch": of_list if batch is None else batch,
                "width": width,
                "height": height,
                "guidance_scale": guidance_scale,
                "method": method,
                **sampling,
            },
        )
        masking = _ffi.MaskParams(
            blur=float(mask_blur),
            invert=bool(mask_invert),
            any_pixel=bool(mask_any_pixel),
            only_masked=bool(only_masked),
            padding=_ffi.c_integer("mask_padding", mask_padding),
        )
        params = _ffi.GenerateParams(
            masking=ctypes.pointer(masking),
            sampling=ctypes.pointer(options),
            text=ctypes.pointer(
                _text_params(sizes, **_how(weighted_prompts, clip_skip, clean_prompts))
            ),
            vae=ctypes.pointer(_vae_params(tile, overlap, tiny=bool(tiny))),
        )
        if strength is not None:
            params.strength = float(strength)
        params.refiner_start = float(refiner_start)
        if several:
            texts = [_ffi.text_bytes("prompt", text) for text in prompt]
            params.prompts = (ctypes.c_char_p * len(texts))(*texts)
        elif prompt is not None:
            params.prompt = _ffi.text_bytes("prompt", prompt)
        if negative_prompt is not None:
            params.negative_prompt = _ffi.text_bytes("negative_prompt", negative_prompt)
        images = (ctypes.c_void_p * options.batch)()
        with contextlib.ExitStack() as stack:
            model = stack.enter_context(self._use())
            if refiner is not None:
                params.refiner = stack.enter_context(refiner._use())
            params.cond = stack.enter_context(use_cond("cond", cond))
            params.uncond = stack.enter_context(use_cond("uncond", uncond))
            params.init = stack.enter_context(as_image(context, "init", _loaded(init)))
            white = _loaded(mask, keep_alpha=True)
            params.mask = stack.enter_context(as_image(context, "mask", white))
            params.stop = stack.enter_context(use_stop(stop))
            try:
                call(context, lib.sd_generate, model, ctypes.byref(params), images, options.batch)
                return [take_image(image) for image in images]
            finally:
                for image in images:
                    lib.sd_image_free(image)

    def txt2img(
        self, prompt: "str | Sequence[str]", negative_prompt: str = "", **options
    ) -> "list[Image]":
        """A prompt becomes pictures: generate() of it, with generate's options."""
        return self.generate(prompt, negative_prompt, **options)

    def img2img(
        self,
        prompt: "str | Sequence[str]",
        init: Picture,
        negative_prompt: str = "",
        **options,
    ) -> "list[Image]":
        """A picture, or the path of a file, becomes others: generate() with `init`."""
        return self.generate(prompt, negative_prompt, init=init, **options)

    def inpaint(
        self,
        prompt: "str | Sequence[str]",
        init: Picture,
        mask: Picture,
        negative_prompt: str = "",
        **options,
    ) -> "list[Image]":
        """A part of a picture painted anew: generate() with `init` and `mask`. Inpainting models
        see the mask, others keep their latents outside of it."""
        return self.generate(prompt, negative_prompt, init=init, mask=mask, **options)

    def inpaint_concat(
        self, pixels: np.ndarray, mask: np.ndarray, noise: Optional[np.ndarray] = None
    ) -> np.ndarray:
        """What an inpainting model takes beside the latent, the `concat` of Sampler.sample: pixels
        [n, 3, h, w] in [-1, 1] and mask [n or 1, 1, h, w], 1 where to paint, to float32
        [n, channels + 1, h / 8, w / 8]. `noise` is vae_encode's."""
        with self._use() as model:
            context = self._context_address
            with as_tensor(context, "pixels", pixels) as x, as_tensor(context, "mask", mask) as m:
                with as_tensor(context, "noise", noise) as n:
                    how = ctypes.byref(_ffi.VaeParams(noise=n))
                    return call_tensor(context, lib.sd_inpaint_concat, model, x, m, how)

    def memory_estimate(
        self,
        *,
        tile: int = 0,
        overlap: Optional[int] = None,
        tiny: bool = False,
        text_tokens: Optional[int] = None,
        combined: int = 1,
        **sampling,
    ) -> Memory:
        """What a run with Model.sampler's options will take, before it takes it; with the VAE in
        tiles and tiny as vae_decode has them, conditioning of text_tokens (the model's), and so
        many that are combined (Cond.combine)."""
        how, struct = _vae_params(tile, overlap, tiny=bool(tiny)), _ffi.MemoryInfo()
        self._estimate(lib.sd_memory_estimate, struct, sampling, how, text_tokens, combined)
        return Memory(*struct_values(struct, Memory))

    def work_estimate(
        self, *, text_tokens: Optional[int] = None, combined: int = 1, **sampling
    ) -> Work:
        """How much arithmetic a run with Model.sampler's options is."""
        struct = _ffi.WorkInfo()
        self._estimate(lib.sd_work_estimate, struct, sampling, None, text_tokens, combined)
        return Work(*struct_values(struct, Work))

    def _estimate(self, function, struct, sampling, vae, text_tokens, combined) -> None:
        params = _ffi.EstimateParams(
            sampling=ctypes.pointer(sampler_params(None, sampling)),
            text_tokens=_ffi.c_integer("text_tokens", text_tokens or 0),
            combined=_ffi.c_integer("combined", combined),
        )
        if vae is not None:
            params.vae = ctypes.pointer(vae)
        with self._use() as model:
            out = ctypes.byref(struct)
            call(self._context_address, function, model, ctypes.byref(params), out)

    # --- building blocks

    @property
    def alphas_cumprod(self) -> np.ndarray:
        """The schedule (DDPM eq. 4): float64 [train_timesteps]."""
        with self._use() as model:
            n = self.info.train_timesteps
            return np.array([lib.sd_alphas_cumprod(model, t) for t in range(n)])

    def add_noise(self, x0: np.ndarray, noise: np.ndarray, timestep: int) -> np.ndarray:
        """q_sample: sqrt(a_t) x0 + sqrt(1 - a_t) noise (DDPM eq. 4)."""
        timestep = _ffi.c_integer("timestep", timestep)
        with self._use() as model:
            context = self._context_address
            with as_tensor(context, "x0", x0) as x, as_tensor(context, "noise", noise) as n:
                return call_tensor(context, lib.sd_add_noise, model, x, n, timestep)

    def unet_predict(
        self, x: np.ndarray, timesteps: "float | np.ndarray", cond: Optional[Cond]
    ) -> np.ndarray:
        """One evaluation of the UNet: x [n, channels, h, w], timesteps [n] or one for all, and
        conditioning of n rows to its output [n, channels, h, w]."""
        x = np.asarray(x, dtype=np.float32)
        n = x.shape[0] if x.ndim else 1
        times = np.asarray(timesteps, dtype=np.float64)
        if times.shape not in ((), (n,)):
            raise ArgumentError(f"timesteps has the shape {list(times.shape)}; [{n}] was expected")
        times = np.ascontiguousarray(np.broadcast_to(times, (n,)))
        data = times.ctypes.data_as(ctypes.POINTER(ctypes.c_double))
        with self._use() as model:
            context = self._context_address
            with as_tensor(context, "x", x) as z, use_cond("cond", cond) as c:
                return call_tensor(context, lib.sd_unet_predict, model, z, data, c)

    def training_loss(
        self,
        x0: np.ndarray,
        noise: np.ndarray,
        timesteps: "int | np.ndarray",
        cond: Optional[Cond] = None,
        *,
        loss_type: str = "l2",
        l_simple_weight: float = 1.0,
        original_elbo_weight: float = 0.0,
        logvar: "float | np.ndarray" = 0.0,
        concat: Optional[np.ndarray] = None,
    ) -> Loss:
        """The training objective, forward (p_losses of LatentDiffusion): x0 and noise
        [n, channels, h, w], timesteps [n] or one for all. `logvar` is one for all timesteps or
        [train_timesteps]; `concat` is what an inpainting model takes beside the latent."""
        loss = _ffi.LossInfo()
        x0 = np.asarray(x0, dtype=np.float32)
        n = x0.shape[0] if x0.ndim else 1
        given = np.asarray(timesteps).reshape(-1)
        times = [_ffi.c_integer("timesteps", t) for t in given]
        if len(times) == 1:
            times *= n
        if np.ndim(timesteps) > 1 or len(times) != n:
            shape = list(np.shape(timesteps))
            raise ArgumentError(f"timesteps has the shape {shape}; [{n}] was expected")
        params = _ffi.LossParams(
            type=_ffi.word("loss_type", loss_type, _ffi.LOSS_TYPES),
            l_simple_weight=l_simple_weight,
            original_elbo_weight=original_elbo_weight,
        )
        logvars = np.ascontiguousarray(logvar, dtype=np.float32)
        if np.ndim(logvar) == 0:
            params.logvar_init = logvar
        elif logvars.shape == (self.info.train_timesteps,):
            params.logvar = logvars.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        else:
            raise ArgumentError(
                f"logvar has the shape {list(logvars.shape)}; a number or "
                f"[{self.info.train_timesteps}] was expected"
            )
        with contextlib.ExitStack() as stack:
            model = stack.enter_context(self._use())
            x, e, beside = (
                stack.enter_context(as_tensor(self._context_address, name, array))
                for name, array in (("x0", x0), ("noise", noise), ("concat", concat))
            )
            z = stack.enter_context(use_cond("cond", cond))
            params.concat = beside
            samples = call_tensor(
                self._context_address,
                lib.sd_training_loss,
                model,
                x,
                e,
                (ctypes.c_int32 * n)(*times),
                z,
                ctypes.byref(params),
                ctypes.byref(loss),
            )
        return Loss(loss.total, loss.simple, loss.gamma, loss.vlb, loss.logvar, samples)
