#!/usr/bin/env python3
"""Writes tests/golden/data/ldm: what the networks of latent diffusion's YAML configs give.

The networks are those of ldm_networks.py, built from the same YAML files that the library reads.
Weights are functions of their names (as in tests/tools/checkpoint_values.c), so only their list is
kept, NAME.tsv. The fixtures are committed; to make them again:

  pip install torch transformers diffusers scipy numpy pyyaml
  python3 tests/tools/make_ldm_golden.py tests/golden/data/ldm [folder of the original's configs]

With the second folder configs.tsv is written too: number, size and a hash of the names and shapes
of the tensors that each of the original's configs makes.
"""

import math
import os
import sys

import numpy as np
import torch
import yaml
from torch.nn import functional as F

from ldm_networks import N_TOKENS, ClassEmbedder, FirstStage, build
from make_original_golden import Original
from make_sampler_golden import SCHEDULERS, SD, SPACINGS, STEPS as RUN_STEPS

SEED = 5
STEPS = 4
SCALE = 3.0
METHODS = ("ddim", "plms", "ddpm", "ddim_inverse", "euler", "euler_a", "heun", "dpm2", "lms",
           "dpmpp_2m", "dpmpp_2m_sde", "unipc", "lcm", "dpm_solver")

WEIGHT, BIAS, GAMMA, EMBEDDING = range(4)


def kind_of(name, shape):
    if name.endswith("bias"):
        return BIAS
    if "quantize" in name:
        return WEIGHT
    if "embedding" in name:
        return EMBEDDING
    return GAMMA if len(shape) < 2 else WEIGHT


def mix32(x):
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    return x ^ (x >> np.uint32(16))


def fnv(data):
    h = 0xCBF29CE484222325
    for byte in data:
        h = (h ^ byte) * 0x100000001B3 % 2**64
    return h


def values(name, shape, kind=None):
    """As random_values of checkpoint_values.c, with float32 and 24 bits."""
    n, key = int(np.prod(shape)), fnv(SEED.to_bytes(8, "little") + name.encode())
    i = np.arange(n, dtype=np.uint32) + np.uint32(key & 0xFFFFFFFF)
    h = mix32(mix32(i) ^ np.uint32(key >> 32)).view(np.int32).astype(np.float32)
    kind = kind_of(name, shape) if kind is None else kind
    spread = np.float32(math.sqrt(3.0 / (n // shape[0]))) if kind == WEIGHT else np.float32(
        {BIAS: 0.05, GAMMA: 0.1, EMBEDDING: 0.035}[kind])
    center = np.float32(1.0 if kind == GAMMA else 0.0)
    return torch.from_numpy((center + h * (spread * np.float32(2.0**-31))).reshape(shape))


def alphas(p):
    n, kind = p.get("timesteps", 1000), p.get("beta_schedule", "linear")
    start, end = p.get("linear_start", 1e-4), p.get("linear_end", 2e-2)
    if kind == "cosine":
        s = p.get("cosine_s", 8e-3)
        t = np.arange(n + 1) / n + s
        a = np.cos(t / (1 + s) * np.pi / 2) ** 2
        betas = np.clip(1 - a[1:] / a[:-1], 0, 0.999)
    else:
        betas = {"linear": lambda: np.linspace(start**0.5, end**0.5, n) ** 2,
                 "sqrt_linear": lambda: np.linspace(start, end, n),
                 "sqrt": lambda: np.linspace(start, end, n) ** 0.5}[kind]()
    return np.cumprod(1 - betas)


class Case:
    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        with open(os.path.join(folder, name + ".yaml")) as f:
            self.config = yaml.safe_load(f)
        self.model = build(self.config).eval()
        state = self.model.state_dict()
        for key in [k for k in state if k.endswith("position_ids")]:
            del state[key]
        with open(os.path.join(folder, name + ".tsv"), "w") as f:
            for key, tensor in state.items():
                shape = list(tensor.shape)
                f.write(f"{key}\t{kind_of(key, shape)}\t{','.join(map(str, shape))}\n")
                tensor.copy_(values(key, shape))

    def save(self, what, tensor):
        array = np.ascontiguousarray(tensor.numpy().astype(np.float32))
        np.save(os.path.join(self.folder, f"{self.name}-{what}.npy"), array)
        print(f"{self.name + '-' + what:22s} {str(array.shape):20s} {array.nbytes:8d} bytes  "
              f"mean {array.mean():9.4f}  std {array.std():8.4f}")

    def randn(self, seed, *shape):
        return torch.randn(shape, generator=torch.Generator().manual_seed(seed))

    def first_stage(self, vae, scale):
        pixels = self.randn(1, 1, 3, 16, 32).clamp(-1, 1)
        latent = vae.encode(pixels)
        self.save("pixels", pixels)
        self.save("latent", scale * latent)
        z = self.randn(2, *latent.shape)
        self.save("z", scale * z)
        self.save("decoded", vae.decode(z))
        if vae.vq:
            self.save("unquantized", vae.decode(z, quantize=False))
            self.save("codes", vae.codes(z))
            self.save("quantized", scale * vae.quantized(z))
            self.save("pixel-codes", vae.codes(latent))

    def context(self):
        """Unconditional and conditional; None: there are none."""
        cond = getattr(self.model, "cond_stage_model", None)
        if cond is None:
            return None
        if isinstance(cond, ClassEmbedder):
            ids = torch.tensor([9, 3])
        else:
            ids = torch.from_numpy(np.arange(2 * N_TOKENS).reshape(2, -1) * 37 % 98)
            ids[:, 0], ids[:, 40:] = 98, 99
        self.save("ids", ids)
        out = cond(ids)
        self.save("context", out)
        return out

    def guided(self, unet, x, t, context, concat):
        """DiffusionWrapper with `concat` and `hybrid` too; concat may have no channels."""
        x = torch.cat([x, concat], dim=1)
        if context is None:
            return unet(x, torch.full((1,), float(t)))
        u, c = unet(torch.cat([x, x]), torch.full((2,), float(t)), context).chunk(2)
        return u + SCALE * (c - u)

    def ddim(self, unet, x, context, params, concat, quantized=None):
        """`quantized`: of x_0, for quantize_denoised."""
        a = alphas(params)
        times = np.arange(0, len(a), len(a) // STEPS) + 1
        for i in reversed(range(len(times))):
            t, a_t, a_prev = int(times[i]), a[times[i]], a[times[i - 1]] if i else a[0]
            e = self.guided(unet, x, t, context, concat)
            kind = params.get("parameterization", "eps")
            if kind == "v":
                e = math.sqrt(a_t) * e + math.sqrt(1 - a_t) * x
            elif kind == "x0":
                e = (x - math.sqrt(a_t) * e) / math.sqrt(1 - a_t)
            x0 = (x - math.sqrt(1 - a_t) * e) / math.sqrt(a_t)
            x0 = quantized(x0) if quantized else x0
            x = math.sqrt(a_prev) * x0 + math.sqrt(1 - a_prev) * e
        return x

    def run(self):
        params = self.config["model"]["params"]
        if isinstance(self.model, FirstStage):
            self.first_stage(self.model, 1.0)
            return
        unet = self.model.model.diffusion_model
        scale = params.get("scale_factor", 1.0)
        if params.get("scale_by_std"):
            scale = float(self.model.scale_factor)
        self.first_stage(self.model.first_stage_model, scale)
        context = self.context()
        u = params["unet_config"]["params"]
        x, t = self.randn(3, 2, u["in_channels"], 8, 16), torch.tensor([951.0, 16.5])
        self.save("unet-in", x)
        self.save("unet", unet(x, t, context))
        noise = self.randn(4, 1, u["out_channels"], 8, 8)
        concat = self.randn(6, 1, u["in_channels"] - u["out_channels"], 8, 8)
        self.save("noise", noise)
        if concat.shape[1]:
            self.save("concat", concat)
        self.save("ddim", self.ddim(unet, noise, context, params, concat))
        vae = self.model.first_stage_model
        if getattr(vae, "vq", False):
            self.save("ddim-quantized",
                      self.ddim(unet, noise, context, params, concat, vae.quantized))
        if concat.shape[1]:
            self.beside(vae, scale, context is not None)
        if self.name == "masked":
            self.script(unet, vae, params)
        if self.name == "inpaint":
            self.methods(lambda x, t: self.guided(unet, x, t, context, concat))

    def beside(self, vae, scale, hybrid):
        """What stands beside the latent: make_batch_sd of inpaint_st.py (hybrid), or make_batch of
        inpaint.py. The mask is cut at 0.5."""
        pixels = self.randn(1, 1, 3, 16, 32).clamp(-1, 1)
        mask = torch.rand((1, 1, 16, 32), generator=torch.Generator().manual_seed(10))
        self.save("mask", mask)
        mask = (mask >= 0.5).float()
        if hybrid:
            z = scale * vae.encode(pixels * (mask < 0.5))
            parts = [F.interpolate(mask, size=z.shape[-2:]), z]
        else:
            z = vae.encode(((1 - mask) * (pixels + 1) / 2) * 2 - 1)
            parts = [z, F.interpolate(mask * 2 - 1, size=z.shape[-2:])]
        self.save("beside", torch.cat(parts, dim=1))

    def script(self, unet, vae, params):
        """scripts/inpaint.py from seed 42, but for the bytes: rounded, where it cuts them off."""
        y, x = np.mgrid[0:32, 0:32]
        picture = np.stack([8 * x, 8 * y, (x + y) % 256], -1).astype(np.uint8)
        white = ((x > 9) & (y > 13)).astype(np.uint8)
        image = torch.from_numpy(picture.astype(np.float32) / 255).permute(2, 0, 1)[None]
        mask = torch.from_numpy(white.astype(np.float32))[None, None]
        z = vae.encode((1 - mask) * image * 2 - 1)
        c = torch.cat([z, F.interpolate(mask * 2 - 1, size=z.shape[-2:])], dim=1)
        sample = self.ddim(unet, self.randn(42, *z.shape), None, params, c)
        predicted = ((vae.decode(sample) + 1) / 2).clamp(0, 1)
        out = (1 - mask) * image + mask * predicted
        self.save("picture", torch.from_numpy(picture))
        self.save("white", torch.from_numpy(white))
        self.save("painted", (out[0].permute(1, 2, 0) * 255).round())

    def methods(self, guided):
        """Every sampling method's last latent, in METHODS' order, by the judges of
        make_sampler_golden.py and make_original_golden.py. (The config has the schedule of SD 1.5.)"""
        rows = {}
        judge = Original.__new__(Original)
        judge.guided = lambda x, t, rescale=0.0: guided(x, t)
        judge.save = lambda name, out: rows.setdefault(name.removeprefix("sampler-"), out[:1])
        judge.z0, judge.alphas = 0.8 * self.randn(7, 1, 4, 8, 8), alphas({
            "linear_start": 0.00085, "linear_end": 0.012})
        for name, (scheduler, own, _) in SCHEDULERS.items():
            rows[name] = judge.run(scheduler(**SD, **own, **SPACINGS["uniform"]))
        judge.ddim()
        judge.plms_runs()
        judge.inverse()
        rows["dpm_solver"] = judge.dpm_solver_run(RUN_STEPS, judge.begin())
        self.save("init", judge.z0)
        self.save("methods", torch.cat([torch.as_tensor(rows[name]).float() for name in METHODS]))


def list_configs(folder, out):
    with open(os.path.join(out, "configs.tsv"), "w") as f:
        for name in sorted(os.listdir(folder)):
            with open(os.path.join(folder, name)) as source, torch.device("meta"):
                state = build(yaml.safe_load(source), text_layers=0).state_dict()
            total = sum(fnv(f"{k} {','.join(map(str, v.shape))}".encode())
                        for k, v in state.items() if k != "scale_factor") % 2**64
            f.write(f"{name}\t{sum(k != 'scale_factor' for k in state)}\t"
                    f"{sum(v.numel() for k, v in state.items() if k != 'scale_factor')}\t"
                    f"{total:016x}\n")


def main(args):
    if len(args) not in (1, 2):
        print(__doc__, file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    np.seterr(over="ignore")
    with torch.no_grad():
        for name in sorted(os.listdir(args[0])):
            if name.endswith(".yaml"):
                Case(args[0], name[:-5]).run()
        if len(args) == 2:
            list_configs(args[1], args[0])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
