"""What calls of a Model give besides arrays."""

import dataclasses
from typing import NamedTuple, Optional

import numpy as np


@dataclasses.dataclass(frozen=True)
class ModelInfo:
    """What was loaded."""

    family: str
    """"Stable Diffusion 1.x\""""
    layout: str
    """"original" or "diffusers\""""
    n_parameters: int
    """of all networks"""
    weight_bytes: int
    """memory that the weights take on the device"""
    latent_channels: int
    latent_downscale: int
    """pixels per latent"""
    size_multiple: int
    """width and height of a sampler are multiples of this"""
    default_width: int
    default_height: int
    n_encoders: int
    text_tokens: int
    text_width: int
    latent_scale: float
    train_timesteps: int
    n_unexpected: int
    """tensors that no network uses: Model.unexpected"""
    has_vocabulary: bool
    conditioning: str
    """"text", "class" or "none\""""
    n_classes: int
    """of a model that is conditioned on classes, else 0"""
    unet_channels: int
    """that the UNet takes; 0: a first stage alone"""
    prediction: Optional[str]
    """what the UNet gives: "epsilon", "v" or "sample"; None: no UNet"""
    n_codes: int
    """rows of a VQ model's codebook; 0: there is none"""
    default_method: Optional[str]
    """what a sampler does that is not told: a diffusers folder's scheduler says it"""
    default_spacing: str
    default_steps: int
    default_guidance: float
    guidance_embedding: bool
    """the UNet is told the guidance scale: a step evaluates once, and there is no uncond"""
    pooled_width: int
    """of a text as one vector, which SDXL's UNet takes too; 0: none"""
    n_sizes: int
    """numbers that the UNet is told of a picture: 6 of SDXL, 5 of its refiner; 0: none"""
    n_adapters: int
    """that it was made with"""
    n_unmatched: int
    """of their modules fit nothing"""
    has_taesd: bool
    """a small autoencoder beside the VAE: Model.load's taesd"""
    default_preview: str
    """"vae", "matrix" or "tiny": what preview's method "auto" is"""


@dataclasses.dataclass(frozen=True)
class AdapterInfo:
    """What an adapter is; None is what its file does not say."""

    kind: str
    """"LoRA", "LoHa + DoRA", "textual inversion", ..."""
    family: Optional[str]
    """that it was made for: "Stable Diffusion XL\""""
    title: Optional[str]
    base_model: Optional[str]
    trigger_words: Optional[str]
    alpha: float
    """of the first module; 0: none, which is as the rank"""
    min_rank: int
    max_rank: int
    n_unet: int
    """modules for the UNet, and below for the text encoders"""
    n_text: int
    n_text_2: int
    n_unknown: int
    """tensors that are passed over, since nothing here knows their names"""
    n_tokens: int
    """of embeddings: how many, and how wide"""
    token_width: int


class Loss(NamedTuple):
    """The training objective's terms: means over the batch, and `samples` of each picture."""

    total: float
    """l_simple_weight gamma + original_elbo_weight vlb"""
    simple: float
    gamma: float
    """simple / exp(logvar_t) + logvar_t"""
    vlb: float
    logvar: float
    """over all train timesteps"""
    samples: np.ndarray
    """float32 [n, 3]: simple, gamma and vlb"""


class Memory(NamedTuple):
    """Bytes that a run takes."""

    weights: int
    text: int
    """activations of the text encoder"""
    unet: int
    """activations of a sampler"""
    decode: int
    """of vae_decode for the batch"""
    encode: int
    """of vae_encode for one image"""
    host: int
    """what else a process has: vocabulary, pictures, code, stacks; about"""
    peak: int
    """weights and the most that lives at once in txt2img; with `host` where the device computes in
    the host's memory"""


class Work(NamedTuple):
    """Floating-point operations, two for each multiply-add."""

    text: float
    """encode_text of one prompt"""
    step: float
    """one sampler step of the batch"""
    decode: float
    """vae_decode of the batch"""
    encode: float
    """vae_encode of one image"""


class Tokens(NamedTuple):
    """Token ids of a text."""

    ids: np.ndarray
    """int32 [text_tokens]: start, text, end, padding"""
    n_used: int
    """start, text and end before cutting: more than text_tokens says that the text was cut"""


def struct_values(struct, cls) -> list:
    """The fields of a result from the library's struct of the same names."""
    out = []
    for name in cls._fields if issubclass(cls, tuple) else cls.__dataclass_fields__:
        value = getattr(struct, name)
        out.append(value.decode() if isinstance(value, bytes) else value)
    return out
