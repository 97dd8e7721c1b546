#!/usr/bin/env python3
"""The configs at full size: libsd against the networks of ldm_networks.py, in float32.

  prove_configs.py BUILD CONFIGS DIR [NAME ...]

For each NAME.yaml of the folder CONFIGS (all of them without names) a checkpoint of random weights
with all of the config's tensors is written to DIR and removed at the end. Each network runs once in
PyTorch and, of the library in the Meson build directory BUILD, through the Python bindings: the text
encoder or class embedder, the UNet on two latents of 16 x 16, and the first stage both ways. Prints
the relative 2-norm errors, and ends with 1 beyond the limit.

Not part of the tests of every day: it takes 5 GB of disk and 8 GB of memory. Needs what
make_ldm_golden.py does.
"""

import ctypes
import gc
import json
import os
import sys
import time

import numpy as np
import torch
import yaml

import ldm_networks as ldm
from make_ldm_golden import values

LIMIT = 1e-4
SIDE = 16  # of the UNet's latents
PIXELS = (64, 128)
TIMES = (951.0, 16.5)
# The text towers of CLIP ViT-L/14 and OpenCLIP ViT-H/14
CLIP = {"text_layers": 12, "vocab": 49408, "mlp": 4}
OPEN_CLIP = {"text_layers": 24, "vocab": 49408}
PROMPTS = [[49406], [49406, 320, 8853, 539, 550, 18376, 6765, 320, 4558]]
END = 49407


def build(config):
    """The config's networks with the weights of their names."""
    open_clip = "FrozenOpenCLIPEmbedder" in json.dumps(config)
    with torch.device("meta"):
        model = ldm.build(config, **(OPEN_CLIP if open_clip else CLIP))
    model = model.to_empty(device="cpu").eval()
    for name, tensor in model.named_buffers():
        if name.endswith("position_ids"):
            tensor.copy_(torch.arange(tensor.shape[-1]))
    for name, tensor in weights_of(model):
        tensor.copy_(values(name, list(tensor.shape)))
    return model


def weights_of(model):
    return [(k, v) for k, v in model.state_dict().items() if not k.endswith("position_ids")]


def write_safetensors(path, tensors):
    header, at = {}, 0
    for name, tensor in tensors:
        n = 4 * tensor.numel()
        header[name] = {"dtype": "F32", "shape": list(tensor.shape), "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(len(text).to_bytes(8, "little") + text)
        for _, tensor in tensors:
            tensor.detach().contiguous().numpy().tofile(f)


def randn(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def vq_latent(vae, shape):
    """Near codes that are far from all others: the nearest is the same in any arithmetic."""
    codes = vae.quantize.embedding.weight
    n, c, h, w = shape
    chosen = []
    for i in torch.randperm(len(codes), generator=torch.Generator().manual_seed(2)).tolist():
        if len(chosen) == n * h * w:
            break
        if (codes - codes[i]).square().sum(-1).topk(2, largest=False).values[1] > 1e-3:
            chosen.append(i)
    z = codes[chosen] + 1e-3 * randn(3, n * h * w, c)
    return z.reshape(n, h, w, c).permute(0, 3, 1, 2)


class Reference:
    """What PyTorch says: inputs in `given`, outputs in `wanted`."""

    def __init__(self, config):
        self.config = config
        self.given, self.wanted = {}, {}

    def run(self, model):
        params = self.config["model"]["params"]
        if isinstance(model, ldm.FirstStage):
            self.first_stage(model, 1.0)
            return
        scale = params.get("scale_factor", 1.0)
        if params.get("scale_by_std"):
            scale = float(model.scale_factor)
        self.first_stage(model.first_stage_model, scale)
        context = self.context(getattr(model, "cond_stage_model", None))
        x = randn(4, 2, params["unet_config"]["params"]["in_channels"], SIDE, SIDE)
        self.given["unet"] = x.numpy()
        self.wanted["unet"] = model.model.diffusion_model(x, torch.tensor(TIMES), context).numpy()

    def first_stage(self, vae, scale):
        x = randn(1, 1, 3, *PIXELS).clamp(-1, 1)
        latent = vae.encode(x)
        self.given["encode"], self.wanted["encode"] = x.numpy(), (scale * latent).numpy()
        z = vq_latent(vae, latent.shape) if vae.vq else randn(2, *latent.shape)
        self.given["decode"], self.wanted["decode"] = (scale * z).numpy(), vae.decode(z).numpy()
        if vae.vq:
            self.wanted["decode, not quantised"] = vae.decode(z, quantize=False).numpy()

    def context(self, embedder):
        if embedder is None:
            return None
        if isinstance(embedder, ldm.ClassEmbedder):
            self.given["class"] = np.array([embedder.embedding.num_embeddings - 1, 3])
            what = "class"
        else:
            rows = [row + [END] * (ldm.N_TOKENS - len(row)) for row in PROMPTS]
            self.given["text"], what = np.array(rows), "text"
        out = embedder(torch.from_numpy(self.given[what]))
        self.wanted[what] = out.numpy()
        return out


def run_libsd(libsd, reference, path, config):
    """The same of the library, and its sentence about the model."""
    given, got = reference.given, {}
    lines = []
    context = libsd.Context(log=lambda level, line: lines.append(line), log_level="info")
    with libsd.Model.load(path, context=context, config=config, precision="full",
                          strict=config is not None) as model:
        embeddings = reference.wanted.get("text", reference.wanted.get("class"))
        if "text" in given:
            got["text"] = model.encode_tokens(given["text"])
        if "class" in given:
            got["class"] = model.encode_class(given["class"])
        if "unet" in given:
            got["unet"] = model.unet_predict(given["unet"], np.array(TIMES), embeddings)
        got["encode"] = model.vae_encode(given["encode"])
        got["decode"] = model.vae_decode(given["decode"])
        if "decode, not quantised" in reference.wanted:
            got["decode, not quantised"] = model.vae_decode(given["decode"], quantize=False)
    return got, next((line for line in lines if "parameters" in line), "")


def report(name, what, want, got):
    want, got = want.astype(np.float64), got.astype(np.float64)
    error = float(np.linalg.norm(got - want) / np.linalg.norm(want))
    shape = " x ".join(map(str, want.shape))
    print(f"{name:28s} {what:22s} {shape:20s} relative error {error:.2e}", flush=True)
    return error <= LIMIT


def prove(libsd, source, path):
    name = os.path.basename(source)
    with open(source) as f:
        reference = Reference(yaml.safe_load(f))
    start = time.time()
    model = build(reference.config)
    write_safetensors(path, weights_of(model))
    reference.run(model)
    del model
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    got, line = run_libsd(libsd, reference, path, source)
    print(f"{name}: {line.split(': ', 1)[-1]}")
    good = set(got) == set(reference.wanted)
    for what, want in reference.wanted.items():
        good &= report(name, what, want, got[what])
    if "text" in got:
        # Stable Diffusion is known by its tensors too.
        bare, _ = run_libsd(libsd, reference, path, None)
        same = all(np.array_equal(bare[what], got[what]) for what in got)
        print(f"{name:28s} without the config: {'the same bits' if same else 'OTHER VALUES'}")
        good &= same
    print(f"{name}: {time.time() - start:.0f} s", flush=True)
    return good


def main(args):
    if len(args) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    folder, configs, out = args[:3]
    here = os.path.dirname(os.path.abspath(__file__))
    os.environ["LIBSD_LIBRARY"] = os.path.join(os.path.abspath(folder), "libsd.so.1")
    sys.path.insert(0, os.path.join(here, "..", "..", "bindings", "python"))
    import libsd

    os.makedirs(out, exist_ok=True)
    np.seterr(over="ignore")
    names = args[3:] or [n[:-5] for n in sorted(os.listdir(configs)) if n.endswith(".yaml")]
    good = True
    with torch.no_grad():
        for name in names:
            path = os.path.join(out, name + ".safetensors")
            try:
                good &= prove(libsd, os.path.join(configs, name + ".yaml"), path)
            finally:
                if os.path.exists(path):
                    os.remove(path)
    print("all within the limit" if good else "BEYOND THE LIMIT")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
