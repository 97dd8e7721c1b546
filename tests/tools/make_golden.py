#!/usr/bin/env python3
"""Writes tests/golden/data: what transformers and diffusers give for the tiny random model.

The fixtures are committed, so the tests need no Python. To make them again (they change only with
the tiny model of sd-random-checkpoint or with this file):

  pip install torch transformers diffusers numpy
  ninja -C build tests/tools/tiny-diffusers.stamp
  python3 tests/tools/make_golden.py build/tests/tools/tiny-diffusers tests/golden/data

Everything is float32 on the CPU with one thread. Noise is that of torch's CPU generator. The
prompts and settings here are those of tests/golden/*.c.
"""

import os
import sys

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextModel, CLIPTokenizer

# The first is the empty prompt: the unconditional half of guidance.
PROMPTS = [
    "",
    "a photograph of an astronaut riding a horse",
    "A castle by the lake at sunset, highly detailed oil painting; 2 moons!",
    " ".join(["zebra crossing"] * 40),  # more than 75 tokens: cut
]
STEPS = 20
SCALE = 7.5
LATENT = (4, 16, 16)
SEEDS = (42, 43)
STRENGTH = 0.75


def randn(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Golden:
    def __init__(self, model, out):
        self.out = out
        part = lambda cls, name: cls.from_pretrained(os.path.join(model, name)).float().eval()
        self.tokenizer = CLIPTokenizer.from_pretrained(os.path.join(model, "tokenizer"))
        self.text_model = part(CLIPTextModel, "text_encoder")
        self.unet = part(UNet2DConditionModel, "unet")
        self.vae = part(AutoencoderKL, "vae")
        self.scheduler = DDIMScheduler.from_pretrained(os.path.join(model, "scheduler"))
        self.scale = self.vae.config.scaling_factor

    def save(self, name, array):
        array = np.ascontiguousarray(array)
        if array.dtype not in (np.uint8, np.int32):
            array = array.astype(np.float32)
        np.save(os.path.join(self.out, name + ".npy"), array)
        print(f"{name:22s} {str(array.shape):20s} {array.nbytes:8d} bytes  "
              f"mean {array.mean():9.4f}  std {array.std():8.4f}")

    def encode(self):
        ids = self.tokenizer(PROMPTS, padding="max_length", max_length=77, truncation=True,
                             return_tensors="pt").input_ids
        self.embeddings = self.text_model(ids).last_hidden_state
        return ids

    def text(self):
        self.save("ids", self.encode().numpy().astype(np.int32))
        self.save("text", self.embeddings)

    def unet_calls(self):
        """Batch 2, each its own time step, one of them fractional, on a latent that is not square."""
        x, t = randn(1, 2, 4, 16, 24), torch.tensor([951.0, 16.5])
        self.save("unet-in", x)
        self.save("unet-t", t)
        self.save("unet", self.unet(x, t, self.embeddings[1:3]).sample)

    def vae_calls(self):
        pixels = torch.rand((2, 3, 64, 128), generator=torch.Generator().manual_seed(2)) * 2 - 1
        posterior = self.vae.encode(pixels).latent_dist
        noise = randn(3, *posterior.mean.shape)
        z = randn(4, 2, 4, 8, 16)
        self.save("vae-pixels", pixels)
        self.save("vae-mean", self.scale * posterior.mean)
        self.save("vae-noise", noise)
        self.save("vae-sample", self.scale * (posterior.mean + posterior.std * noise))
        self.save("vae-latent", z)
        self.save("vae-decoded", self.vae.decode(z / self.scale).sample)

    def denoise(self, x, eta, generators, scale=SCALE, steps=STEPS, first=0, keep=None):
        """`keep` names the latent and the predicted x_0 after the first step."""
        n = x.shape[0]
        cond = self.embeddings[1:2].expand(n, -1, -1)
        context = torch.cat([self.embeddings[0:1].expand(n, -1, -1), cond])
        self.scheduler.set_timesteps(steps)
        for i, t in enumerate(self.scheduler.timesteps[first:]):
            if scale == 1:
                e = self.unet(x, t, cond).sample
            else:
                uncond, e = self.unet(torch.cat([x, x]), t, context).sample.chunk(2)
                e = uncond + scale * (e - uncond)
            noise = None
            if eta > 0:  # each picture goes on with its own generator
                noise = torch.cat([torch.randn((1, *x.shape[1:]), generator=g)
                                   for g in generators])
            out = self.scheduler.step(e, t, x, eta=eta, variance_noise=noise)
            x = out.prev_sample
            if keep and i == 0:
                self.save(keep + "-step1", x)
                self.save(keep + "-step1-x0", out.pred_original_sample)
        return x

    def image(self, latent):
        x = (self.vae.decode(latent / self.scale).sample / 2 + 0.5).clamp(0, 1)
        return (x.permute(0, 2, 3, 1).numpy() * 255).round().astype(np.uint8)

    def start(self):
        generators = [torch.Generator().manual_seed(seed) for seed in SEEDS]
        return torch.cat([torch.randn((1, *LATENT), generator=g) for g in generators]), generators

    def txt2img(self):
        for eta in (0.0, 1.0):
            x, generators = self.start()
            name = f"ddim-eta{eta:.0f}"
            latent = self.denoise(x, eta, generators, keep=name)
            self.save(name, latent)
            self.save(name + "-image", self.image(latent))
            if eta == 0:
                self.save("noise", x)
        # One stream for the batch, and no guidance.
        x = randn(SEEDS[0], 2, *LATENT)
        self.save("noise-stream", x)
        self.save("ddim-unguided", self.denoise(x, 0.0, None, scale=1, steps=5))

    def img2img(self):
        """scripts/img2img.py of the original: DDIM index t_enc, then t_enc steps from there."""
        y, x = np.mgrid[0:128, 0:128]
        picture = np.stack([x * 2, y * 2, (x // 16 + y // 16) % 2 * 255], axis=-1).astype(np.uint8)
        pixels = torch.from_numpy(picture.astype(np.float32) / 255 * 2 - 1)
        posterior = self.vae.encode(pixels.permute(2, 0, 1)[None]).latent_dist
        generator = torch.Generator().manual_seed(SEEDS[0])
        encode_noise = torch.randn((1, *LATENT), generator=generator)
        noise = torch.randn((1, *LATENT), generator=generator)
        z = self.scale * (posterior.mean + posterior.std * encode_noise)
        self.scheduler.set_timesteps(STEPS)
        t_enc = int(STRENGTH * STEPS)
        a = self.scheduler.alphas_cumprod[self.scheduler.timesteps.flip(0)[t_enc]]
        latent = self.denoise(a.sqrt() * z + (1 - a).sqrt() * noise, 0.0, None,
                              first=STEPS - t_enc)
        self.save("img2img-picture", picture)
        self.save("img2img-init", z)
        self.save("img2img-noise", noise)
        self.save("img2img", latent)
        self.save("img2img-image", self.image(latent))


def main(args):
    if len(args) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    os.makedirs(args[1], exist_ok=True)
    with torch.no_grad():
        golden = Golden(*args)
        golden.text()
        golden.unet_calls()
        golden.vae_calls()
        golden.txt2img()
        golden.img2img()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
