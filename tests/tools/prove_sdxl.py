#!/usr/bin/env python3
"""The full-size proof of SDXL: what diffusers makes of a random checkpoint, and how near libsd is.

  sd-random-checkpoint --size sdxl --layout diffusers --out DIR/sdxl
  python3 tests/tools/prove_sdxl.py reference DIR [SIDE]   # torch, transformers, diffusers
  PYTHONPATH=bindings/python LIBSD_LIBRARY=build/libsd.so.1 \
    python3 tests/tools/prove_sdxl.py compare DIR [BACKEND]  # NumPy; the exit status says it all

Both text encoders with the pooled vector, one call of the UNet at SIDE x SIDE pixels (1024), and a
decode, all in float32. Each network is loaded alone: torch needs 11 GB, libsd 8.
"""

import gc
import os
import sys
import time

import numpy as np

TOKENS, TIMESTEP, SCALE = 77, 601.0, 0.13025
SIZES = [[1024.0, 768.0, 16.0, 8.0, 1024.0, 1024.0]]
LIMIT = 1e-4


def token_ids():
    """Of two texts, for both encoders: the second pads with 0."""
    ids = np.arange(2 * TOKENS).reshape(2, TOKENS) * 631 % 49000
    ids[:, 0], ids[:, 40:] = 49406, 49407
    second = ids.copy()
    second[:, 41:] = 0
    return np.stack([ids, second])


def reference(folder, side):
    import torch
    from diffusers import AutoencoderKL, UNet2DConditionModel
    from transformers import CLIPTextModel, CLIPTextModelWithProjection

    def load(cls, name):
        gc.collect()
        return cls.from_pretrained(os.path.join(folder, "sdxl", name), dtype=torch.float32).eval()

    randn = lambda seed, *shape: torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    out, ids = {}, torch.from_numpy(token_ids())
    first = load(CLIPTextModel, "text_encoder")(ids[0], output_hidden_states=True)
    second = load(CLIPTextModelWithProjection, "text_encoder_2")(ids[1], output_hidden_states=True)
    out["context"] = torch.cat([first.hidden_states[-2], second.hidden_states[-2]], -1)
    out["pooled"] = second.text_embeds
    out["z"] = randn(2, 1, 4, 32, 24)
    out["decoded"] = load(AutoencoderKL, "vae").decode(out["z"] / SCALE).sample
    out["x"] = randn(1, 1, 4, side // 8, side // 8)
    unet = load(UNet2DConditionModel, "unet")
    start = time.time()
    out["unet"] = unet(out["x"], torch.tensor([TIMESTEP]), out["context"][:1], added_cond_kwargs=dict(
        text_embeds=out["pooled"][:1], time_ids=torch.tensor(SIZES))).sample
    print(f"UNet at {side} x {side}: {time.time() - start:.1f} s")
    np.savez(os.path.join(folder, "sdxl.npz"), **{k: v.numpy() for k, v in out.items()})


def compare(folder, backend):
    import libsd

    want = np.load(os.path.join(folder, "sdxl.npz"))
    good = True

    def check(name, got):
        nonlocal good
        error = np.linalg.norm(got - want[name]) / np.linalg.norm(want[name])
        good = good and error <= LIMIT
        print(f"{name:8s} relative error {error:.2e}")

    with libsd.Context(backend) as ctx, ctx.load(
        os.path.join(folder, "sdxl"), precision="full"
    ) as model:
        cond = model.encode_tokens(token_ids())
        check("context", cond.tensor())
        check("pooled", cond.tensor("pooled"))
        check("decoded", model.vae_decode(want["z"]))
        told = ctx.cond({"context": want["context"][:1], "pooled": want["pooled"][:1],
                         "sizes": np.array(SIZES, np.float32)})
        start = time.time()
        check("unet", model.unet_predict(want["x"], TIMESTEP, told))
        print(f"UNet: {time.time() - start:.1f} s")
    return 0 if good else 1


def main(args):
    if len(args) in (2, 3) and args[0] == "compare":
        return compare(args[1], args[2] if len(args) == 3 else "cpu")
    if len(args) in (2, 3) and args[0] == "reference":
        import torch

        with torch.no_grad():
            reference(args[1], int(args[2]) if len(args) == 3 else 1024)
        return 0
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
