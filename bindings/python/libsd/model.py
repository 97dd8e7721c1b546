"""Models: loading, the stages one by one, and pictures in one call."""

import contextlib
import ctypes
import os
from collections.abc import Mapping
from typing import Callable, Optional, Sequence, Union

import numpy as np

from . import _ffi
from ._ffi import check, lib
from ._handle import Guard, Handle
from .context import Context
from .errors import ArgumentError
from .image import as_image, copy_pixels, load_image, take_image
from .results import Loss, Memory, ModelInfo, Tokens, Work, struct_values
from .sampler import CorrectorFn, ProgressFn, Sampler, Watch, sampler_params
from .tensor import as_tensor, take_tensor


def _tile_params(tile, overlap, **fields) -> _ffi.TileParams:
    side = 64 if tile is None else _ffi.c_integer("tile", tile)
    shared = side // 4 if overlap is None else _ffi.c_integer("overlap", overlap)
    return _ffi.TileParams(tile=side, overlap=shared, **fields)


def _loaded(picture):
    """Pixels, where a picture may be the path of a file."""
    return load_image(picture) if isinstance(picture, (str, os.PathLike)) else picture


def _picture_tiles(tile, overlap):
    """For the `tiles` of a picture in one call: None is none."""
    if tile is None and overlap is None:
        return None
    return ctypes.pointer(_tile_params(tile, overlap))


def _picture_options(weighted_prompts, clip_skip, tile, overlap, clean_prompts) -> dict:
    """The fields that the parameters of txt2img, img2img and inpaint have in common."""
    return {
        "weighted_prompts": bool(weighted_prompts),
        "clip_skip": _ffi.c_integer("clip_skip", clip_skip),
        "tiles": _picture_tiles(tile, overlap),
        "clean_prompts": bool(clean_prompts),
    }


def _int32s(array: np.ndarray):
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_int32))


def _go_on(_done: int, _total: int) -> None:
    """Progress that nobody asked for: the guard looks for Ctrl-C."""


class Model(Handle):
    """A loaded model. It never changes; any number of threads may use it at once."""

    _free = lib.sd_model_free

    def __init__(self, pointer: int, context: Context) -> None:
        super().__init__(pointer)
        # While the model is open, so is the C context, whether or not `context` was closed.
        self._context = context
        self._context_address = context._address

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
        progress: Optional[Callable[[int, int], Optional[bool]]] = None,
        use_ema: bool = False,
        config: "str | os.PathLike | None" = None,
    ) -> "Model":
        """Loads a .safetensors or .ckpt file in the original naming, or a diffusers folder.

        context: None opens one with all defaults.
        vocab: CLIP's vocabulary, bpe_simple_vocab_16e6.txt[.gz], tokenizer.json or a folder with
            that or with vocab.json and merges.txt; None looks beside the checkpoint.
        precision: "auto", "full", "autocast" or "bfloat16".
        strict: a tensor that no network uses is an error.
        embeddings: textual-inversion files; a file's name without extension is its word. Or a
            mapping of words to files.
        progress: called with tensors done and in total; True cancels.
        use_ema: the UNet's averaged weights (model_ema.*).
        config: a YAML file of the original repositories (v1-inference.yaml) that says what the
            checkpoint holds; None knows Stable Diffusion by its tensors.
        """
        context = context or Context()
        guard = Guard()
        params = _ffi.ModelParams(
            precision=_ffi.word("precision", precision, _ffi.PRECISIONS),
            strict=bool(strict),
            use_ema=bool(use_ema),
            progress=_ffi.LOAD_PROGRESS_FN(
                lambda _user, done, total: guard.call(progress or _go_on, done, total)
            ),
        )
        if embeddings:
            files = embeddings.values() if isinstance(embeddings, Mapping) else embeddings
            paths = [_ffi.path_bytes(path) for path in files]
            params.embeddings = (ctypes.c_char_p * len(paths))(*paths)
            params.n_embeddings = len(paths)
            if isinstance(embeddings, Mapping):
                words = [_ffi.text_bytes("embeddings", word) for word in embeddings]
                params.embedding_names = (ctypes.c_char_p * len(words))(*words)
        if vocab is not None:
            params.vocab = _ffi.path_bytes(vocab)
        if config is not None:
            params.config = _ffi.path_bytes(config)
        address, pointer = context._address, ctypes.c_void_p()
        with guard.interruptible():
            status = lib.sd_model_load(
                address, _ffi.path_bytes(path), ctypes.byref(params), ctypes.byref(pointer)
            )
        try:
            guard.leave(status, address)
        except BaseException:
            lib.sd_model_free(pointer)  # loaded all the same where Ctrl-C came late
            raise
        return cls(pointer.value, context)

    @property
    def context(self) -> Context:
        return self._context

    @property
    def info(self) -> ModelInfo:
        info = _ffi.ModelInfo()
        check(lib.sd_model_get_info(self._address, ctypes.byref(info)), self._context_address)
        values = dict(zip(ModelInfo.__dataclass_fields__, struct_values(info, ModelInfo)))
        values["has_vocabulary"] = bool(values["has_vocabulary"])
        values["conditioning"] = ("text", "class", "none")[values["conditioning"]]
        return ModelInfo(**values)

    @property
    def unexpected(self) -> "list[str]":
        """Names of tensors in the checkpoint that no network uses."""
        n = self.info.n_unexpected
        return [lib.sd_model_unexpected(self._address, i).decode() for i in range(n)]

    # --- text

    def tokenize(self, text: str) -> Tokens:
        """Token ids as transformers' CLIPTokenizer gives them."""
        ids = np.empty(self.info.text_tokens, dtype=np.int32)
        n_used = ctypes.c_int()
        data = _int32s(ids)
        status = lib.sd_tokenize(
            self._address, _ffi.text_bytes("text", text), data, len(ids), ctypes.byref(n_used)
        )
        check(status, self._context_address)
        return Tokens(ids, n_used.value)

    def token_text(self, token: int) -> Optional[str]:
        """The text of a token id, "cat</w>"; None when there is none."""
        text = lib.sd_token_text(self._address, _ffi.c_integer("token", token))
        return None if text is None else text.decode()

    def encode_text(
        self,
        texts: Union[str, Sequence[str]],
        *,
        weighted: bool = False,
        clip_skip: int = 0,
        clean: bool = False,
    ) -> np.ndarray:
        """Prompts to embeddings: float32 [n, text_tokens, text_width], the last hidden state after
        the final LayerNorm.

        weighted: the prompt syntax of the popular web UIs, (word:1.2), [word], BREAK; a long prompt
            has k times text_tokens rows, for which a sampler needs text_tokens=k * 77.
        clip_skip: n > 1 ends n - 1 layers before the last.
        clean: texts first become what ftfy's fix_text and html.unescape make of them, as in the
            original's environment: straight quotes, plain letters, characters for entities.
        """
        model = self._address
        texts = [texts] if isinstance(texts, str) else list(texts)
        data = [_ffi.text_bytes("a text", text) for text in texts]
        pointer = ctypes.c_void_p()
        array = (ctypes.c_char_p * len(data))(*data)
        params = _ffi.TextParams(
            weighted_syntax=bool(weighted),
            clip_skip=_ffi.c_integer("clip_skip", clip_skip),
            clean=bool(clean),
        )
        check(
            lib.sd_encode_text_with(
                model, array, len(data), ctypes.byref(params), ctypes.byref(pointer)
            ),
            self._context_address,
        )
        return take_tensor(pointer)

    def encode_tokens(self, ids: np.ndarray) -> np.ndarray:
        """The same from token ids [text_tokens] or [n, text_tokens]; needs no vocabulary."""
        model, tokens = self._address, self.info.text_tokens
        given = np.asarray(ids)
        if given.dtype.kind not in "iu" or given.ndim not in (1, 2) or given.shape[-1] != tokens:
            raise ArgumentError(
                f"ids is {given.dtype} {list(given.shape)}; integers [n, {tokens}] were expected"
            )
        if given.size and (given.min() < -(2**31) or given.max() >= 2**31):
            raise ArgumentError("ids has a number that is no token id")
        values = np.ascontiguousarray(given, dtype=np.int32)
        pointer = ctypes.c_void_p()
        data = _int32s(values)
        status = lib.sd_encode_tokens(model, data, values.size // tokens, ctypes.byref(pointer))
        check(status, self._context_address)
        return take_tensor(pointer)

    def encode_class(self, classes: Union[int, Sequence[int]]) -> np.ndarray:
        """Class ids to embeddings: float32 [n, 1, text_width]."""
        model = self._address
        ids = [classes] if isinstance(classes, int) else [int(i) for i in classes]
        pointer = ctypes.c_void_p()
        array = (ctypes.c_int32 * len(ids))(*ids)
        status = lib.sd_encode_class(model, array, len(ids), ctypes.byref(pointer))
        check(status, self._context_address)
        return take_tensor(pointer)

    # --- VAE

    def vae_encode(
        self,
        pixels: np.ndarray,
        noise: Optional[np.ndarray] = None,
        *,
        tile: Optional[int] = None,
        overlap: Optional[int] = None,
    ) -> np.ndarray:
        """Pixels float32 [n, 3, h, w] in [-1, 1] to a latent [n, channels, h / 8, w / 8], times
        latent_scale. With `noise` of the latent's shape the posterior is sampled; without, the
        latent is its mean. With `tile` latents a side it takes the memory of one tile; tiles fade
        into each other over `overlap` latents (a quarter of a tile)."""
        model, pointer = self._address, ctypes.c_void_p()
        with as_tensor(self._context_address, "pixels", pixels) as x:
            with as_tensor(self._context_address, "noise", noise) as n:
                if tile is None and overlap is None:
                    status = lib.sd_vae_encode(model, x, n, ctypes.byref(pointer))
                else:
                    params = _tile_params(tile, overlap)
                    status = lib.sd_vae_encode_tiled(
                        model, x, n, ctypes.byref(params), ctypes.byref(pointer)
                    )
        check(status, self._context_address)
        return take_tensor(pointer)

    def vae_decode(
        self,
        latent: np.ndarray,
        *,
        quantize: bool = True,
        tile: Optional[int] = None,
        overlap: Optional[int] = None,
    ) -> np.ndarray:
        """A latent, as a sampler leaves it, to pixels float32 [n, 3, 8 h, 8 w], about [-1, 1] and
        not clamped. A VQ model takes the nearest row of its codebook first, where `quantize`.
        `tile` and `overlap` are as in vae_encode."""
        model, pointer = self._address, ctypes.c_void_p()
        decode = lib.sd_vae_decode if quantize else lib.sd_vae_decode_unquantized
        with as_tensor(self._context_address, "latent", latent) as z:
            if tile is None and overlap is None:
                status = decode(model, z, ctypes.byref(pointer))
            else:
                params = _tile_params(tile, overlap, unquantized=not quantize)
                status = lib.sd_vae_decode_tiled(
                    model, z, ctypes.byref(params), ctypes.byref(pointer)
                )
        check(status, self._context_address)
        return take_tensor(pointer)

    def vae_quantize(self, latent: np.ndarray) -> "tuple[np.ndarray, np.ndarray]":
        """With a VQ model: the nearest row of the codebook to each pixel of a latent
        [n, channels, h, w], as indices int32 [n, h, w] and as a latent."""
        model, pointer = self._address, ctypes.c_void_p()
        shape = np.shape(latent)
        ids = np.empty(shape[:1] + shape[2:], dtype=np.int32)
        with as_tensor(self._context_address, "latent", latent) as z:
            status = lib.sd_vae_quantize(model, z, _int32s(ids), ids.size, ctypes.byref(pointer))
        check(status, self._context_address)
        return ids, take_tensor(pointer)

    def vae_encode_ids(self, pixels: np.ndarray) -> np.ndarray:
        """vae_encode, as indices of a VQ model's codebook: int32 [n, h, w] of the latent."""
        model, scale, shape = self._address, self.info.latent_downscale, np.shape(pixels)
        ids = np.empty(shape[:1] + tuple(side // scale for side in shape[2:]), dtype=np.int32)
        with as_tensor(self._context_address, "pixels", pixels) as x:
            status = lib.sd_vae_encode_ids(model, x, _int32s(ids), ids.size)
        check(status, self._context_address)
        return ids

    def vae_decode_ids(self, ids: np.ndarray) -> np.ndarray:
        """Indices [n, h, w] of a VQ model's codebook to pixels float32 [n, 3, 8 h, 8 w]."""
        model, pointer, given = self._address, ctypes.c_void_p(), np.asarray(ids)
        if given.dtype.kind not in "iu" or given.ndim != 3:
            raise ArgumentError(
                f"ids is {given.dtype} {list(given.shape)}; integers [n, h, w] were expected"
            )
        if given.size and (given.min() < -(2**31) or given.max() >= 2**31):
            raise ArgumentError("ids has a number that is no index")
        values = np.ascontiguousarray(given, dtype=np.int32)
        status = lib.sd_vae_decode_ids(
            model, _int32s(values), *values.shape, ctypes.byref(pointer)
        )
        check(status, self._context_address)
        return take_tensor(pointer)

    def to_images(self, pixels: np.ndarray) -> np.ndarray:
        """Pixels float32 [n, 3, h, w] as uint8 [n, h, w, 3]: round((x + 1) / 2 * 255), clamped."""
        self._address  # the context lives as long as the model
        images = []
        with as_tensor(self._context_address, "pixels", pixels) as x:
            for i in range(max(1, np.shape(pixels)[0])):
                pointer = ctypes.c_void_p()
                status = lib.sd_image_from_tensor(x, i, ctypes.byref(pointer))
                check(status, self._context_address)
                images.append(take_image(pointer))
        return np.stack(images)

    def to_pixels(self, images: np.ndarray) -> np.ndarray:
        """uint8 [h, w, 3] or [n, h, w, 3] as pixels float32 [n, 3, h, w]: 2 x / 255 - 1."""
        self._address
        given = np.asarray(images)
        out = []
        for image in given if given.ndim == 4 else [given]:
            pointer = ctypes.c_void_p()
            with as_image(self._context_address, "images", image) as source:
                check(lib.sd_image_to_tensor(source, ctypes.byref(pointer)), self._context_address)
            out.append(take_tensor(pointer))
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
        strength: Optional[float] = None,
        method: Optional[str] = None,
        spacing: Optional[str] = None,
        temperature: Optional[float] = None,
        rng: Optional[str] = None,
        seeds: Optional[Sequence[int]] = None,
        one_stream: bool = False,
        text_tokens: Optional[int] = None,
        guidance_rescale: Optional[float] = None,
        clip_denoised: bool = False,
        skip_draws: Optional[int] = None,
        noise_dropout: Optional[float] = None,
        quantize_denoised: bool = False,
        score_corrector: Optional[CorrectorFn] = None,
        log_every_t: Optional[int] = None,
        use_original_steps: bool = False,
        progress: Optional[ProgressFn] = None,
    ) -> Sampler:
        """A sampler for pictures of one size; None takes the library's default.

        steps: 1 .. train_timesteps (50). seed: picture i of a batch draws from seed + i (42).
        guidance_scale: s of e_u + s (e_c - e_u); 1 evaluates once (7.5).
        width, height: pixels, multiples of info.size_multiple (the model's). batch: pictures (1).
        eta: DDIM's eta (0). strength: image to image, share of the steps that is run (0.75).
        method: one of sampling_methods() ("ddim"). spacing: "uniform", "quad", "linspace",
            "trailing", or "karras" for methods on sigmas.
        temperature: factor of the noise that steps add (1). rng: torch's "cpu" or "cuda" generator.
        seeds: one for each picture. one_stream: the whole batch draws from `seed`.
        text_tokens: of the embeddings, where prompts are long (the model's).
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

    def txt2img(
        self,
        prompt: str,
        negative_prompt: str = "",
        *,
        weighted_prompts: bool = False,
        clip_skip: int = 0,
        tile: Optional[int] = None,
        overlap: Optional[int] = None,
        clean_prompts: bool = False,
        progress: Optional[ProgressFn] = None,
        **sampling,
    ) -> np.ndarray:
        """A prompt becomes pictures: uint8 [batch, h, w, 3]. `sampling` is Model.sampler's,
        weighted_prompts, clip_skip and clean_prompts are Model.encode_text's weighted, clip_skip and
        clean, tile and overlap vae_decode's."""
        params = _ffi.Txt2imgParams(
            **_picture_options(weighted_prompts, clip_skip, tile, overlap, clean_prompts)
        )
        return self._pictures(lib.sd_txt2img, params, prompt, negative_prompt, progress, sampling)

    def img2img(
        self,
        prompt: str,
        init: "np.ndarray | str | os.PathLike",
        negative_prompt: str = "",
        *,
        weighted_prompts: bool = False,
        clip_skip: int = 0,
        tile: Optional[int] = None,
        overlap: Optional[int] = None,
        clean_prompts: bool = False,
        progress: Optional[ProgressFn] = None,
        **sampling,
    ) -> np.ndarray:
        """A picture, uint8 [h, w, 3] or the path of a file, becomes others: uint8 [batch, h, w, 3].

        It is resized to width x height; where these are not given, to its own size cut down to a
        multiple of 64. `sampling` is Model.sampler's; `strength` says how much may change.
        """
        self._address
        with as_image(self._context_address, "init", _loaded(init)) as image:
            params = _ffi.Img2imgParams(
                init=image,
                **_picture_options(weighted_prompts, clip_skip, tile, overlap, clean_prompts),
            )
            return self._pictures(
                lib.sd_img2img, params, prompt, negative_prompt, progress, sampling
            )

    def inpaint(
        self,
        prompt: str,
        init: "np.ndarray | str | os.PathLike",
        mask: "np.ndarray | str | os.PathLike",
        negative_prompt: str = "",
        *,
        strength: float = 1.0,
        weighted_prompts: bool = False,
        clip_skip: int = 0,
        tile: Optional[int] = None,
        overlap: Optional[int] = None,
        clean_prompts: bool = False,
        progress: Optional[ProgressFn] = None,
        **sampling,
    ) -> np.ndarray:
        """A part of a picture painted anew: uint8 [batch, h, w, 3].

        init and mask: uint8 [h, w, 3], or paths of files; white in the mask is painted, black kept.
        strength: how much of what is painted may change; at 1 nothing of it is seen.
        Inpainting models see the mask, others keep their latents outside of it. The rest is as in
        img2img.
        """
        self._address
        context = self._context_address
        init, mask = _loaded(init), _loaded(mask)
        with as_image(context, "init", init) as image, as_image(context, "mask", mask) as white:
            params = _ffi.InpaintParams(
                init=image,
                mask=white,
                strength=float(strength),
                **_picture_options(weighted_prompts, clip_skip, tile, overlap, clean_prompts),
            )
            return self._pictures(
                lib.sd_inpaint, params, prompt, negative_prompt, progress, sampling
            )

    def inpaint_concat(
        self, pixels: np.ndarray, mask: np.ndarray, noise: Optional[np.ndarray] = None
    ) -> np.ndarray:
        """What an inpainting model takes beside the latent, for Sampler.set_concat: pixels
        [n, 3, h, w] in [-1, 1] and mask [n or 1, 1, h, w], 1 where to paint, to float32
        [n, channels + 1, h / 8, w / 8]. `noise` is vae_encode's."""
        model, pointer = self._address, ctypes.c_void_p()
        with as_tensor(self._context_address, "pixels", pixels) as x:
            with as_tensor(self._context_address, "mask", mask) as m:
                with as_tensor(self._context_address, "noise", noise) as n:
                    status = lib.sd_inpaint_concat(model, x, m, n, ctypes.byref(pointer))
        check(status, self._context_address)
        return take_tensor(pointer)

    def _pictures(self, function, params, prompt, negative, progress, sampling) -> np.ndarray:
        model, context = self._address, self._context_address
        watch = Watch(progress, context)
        options = sampler_params(watch, sampling)
        params.prompt = _ffi.text_bytes("prompt", prompt)
        params.negative_prompt = _ffi.text_bytes("negative_prompt", negative)
        params.sampling = ctypes.pointer(options)
        images = (ctypes.c_void_p * max(1, options.batch))()
        with watch.guard.interruptible():
            status = function(model, ctypes.byref(params), images)
        try:
            watch.guard.leave(status, context)
            return np.stack([copy_pixels(image) for image in images])
        finally:
            for image in images:
                lib.sd_image_free(image)

    def memory_estimate(
        self, *, tile: Optional[int] = None, overlap: Optional[int] = None, **sampling
    ) -> Memory:
        """What a run with Model.sampler's options will take, before it takes it; with the VAE in
        tiles where `tile` or `overlap` is given (as in vae_decode)."""
        if tile is None and overlap is None:
            return self._estimate(lib.sd_memory_estimate, _ffi.Memory(), Memory, sampling)
        tiles = _tile_params(tile, overlap)
        address, params, memory = self._address, sampler_params(None, sampling), _ffi.Memory()
        status = lib.sd_memory_estimate_tiled(
            address, ctypes.byref(params), ctypes.byref(tiles), ctypes.byref(memory)
        )
        check(status, self._context_address)
        return Memory(*struct_values(memory, Memory))

    def work_estimate(self, **sampling) -> Work:
        """How much arithmetic a run with Model.sampler's options is."""
        return self._estimate(lib.sd_work_estimate, _ffi.Work(), Work, sampling)

    def _estimate(self, function, struct, cls, sampling):
        params = sampler_params(None, sampling)
        status = function(self._address, ctypes.byref(params), ctypes.byref(struct))
        check(status, self._context_address)
        return cls(*struct_values(struct, cls))

    # --- building blocks

    @property
    def alphas_cumprod(self) -> np.ndarray:
        """The schedule (DDPM eq. 4): float64 [train_timesteps]."""
        model, n = self._address, self.info.train_timesteps
        return np.array([lib.sd_alphas_cumprod(model, t) for t in range(n)])

    def add_noise(self, x0: np.ndarray, noise: np.ndarray, timestep: int) -> np.ndarray:
        """q_sample: sqrt(a_t) x0 + sqrt(1 - a_t) noise (DDPM eq. 4)."""
        model, pointer = self._address, ctypes.c_void_p()
        timestep = _ffi.c_integer("timestep", timestep)
        with as_tensor(self._context_address, "x0", x0) as x:
            with as_tensor(self._context_address, "noise", noise) as n:
                status = lib.sd_add_noise(model, x, n, timestep, ctypes.byref(pointer))
        check(status, self._context_address)
        return take_tensor(pointer)

    def unet_predict(
        self, x: np.ndarray, timesteps: "float | np.ndarray", embeddings: np.ndarray
    ) -> np.ndarray:
        """One evaluation of the UNet: x [n, channels, h, w], timesteps [n] or one for all, and
        embeddings [n, tokens, width] to its output [n, channels, h, w]."""
        model, pointer = self._address, ctypes.c_void_p()
        x = np.asarray(x, dtype=np.float32)
        n = x.shape[0] if x.ndim else 1
        times = np.asarray(timesteps, dtype=np.float32)
        if times.shape not in ((), (n,)):
            raise ArgumentError(f"timesteps has the shape {list(times.shape)}; [{n}] was expected")
        times = np.ascontiguousarray(np.broadcast_to(times, (n,)))
        data = times.ctypes.data_as(ctypes.POINTER(ctypes.c_float))
        with as_tensor(self._context_address, "x", x) as x_tensor:
            with as_tensor(self._context_address, "embeddings", embeddings) as e:
                status = lib.sd_unet_predict(model, x_tensor, data, e, ctypes.byref(pointer))
        check(status, self._context_address)
        return take_tensor(pointer)

    def training_loss(
        self,
        x0: np.ndarray,
        noise: np.ndarray,
        timesteps: "int | np.ndarray",
        embeddings: Optional[np.ndarray] = None,
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
        model, pointer, loss = self._address, ctypes.c_void_p(), _ffi.Loss()
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
            x, e, z, c = (
                stack.enter_context(as_tensor(self._context_address, name, array))
                for name, array in (
                    ("x0", x0),
                    ("noise", noise),
                    ("embeddings", embeddings),
                    ("concat", concat),
                )
            )
            params.concat = c
            status = lib.sd_training_loss(
                model,
                x,
                e,
                (ctypes.c_int32 * n)(*times),
                z,
                ctypes.byref(params),
                ctypes.byref(loss),
                ctypes.byref(pointer),
            )
        check(status, self._context_address)
        return Loss(
            loss.total, loss.simple, loss.gamma, loss.vlb, loss.logvar, take_tensor(pointer)
        )
