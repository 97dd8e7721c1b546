#!/usr/bin/env python3
"""The full-size proof: libsd against transformers and diffusers on a whole SD 1.5 model.

Not part of the tests of every day: it takes 2 x 2.1 GB of disk, 8 GB of memory and some minutes.
tests/tools/prove_sd15.sh runs all of it; by hand:

  sd-random-checkpoint --size sd15 --layout diffusers --out DIR/sd15-diffusers
  sd-random-checkpoint --size sd15 --layout original  --out DIR/sd15.safetensors
  prove_sd15.py reference DIR IMAGE     what PyTorch says, in float32; writes DIR/ref-*.npy
  sd-prove DIR/sd15.safetensors DIR     what libsd says; reads ref inputs, writes DIR/sd-*.npy
  prove_sd15.py compare DIR             relative 2-norm errors and PSNR; fails beyond the limits

What sd-txt2img and sd-img2img wrote to DIR/program-txt2img and DIR/program-img2img, from seed 42
and the prompt "a photograph of an astronaut riding a horse", is compared too where it is there.

`reference` skips what is there already, so a run that was ended goes on where it was.
Needs torch, transformers, diffusers, numpy and pillow.
"""

import glob
import math
import os
import sys
import time

import numpy as np

STEPS = 20
SCALE = 7.5
STRENGTH = 0.75
LATENT_SCALE = 0.18215
SIZE = 512
SEED = 42
# "a photograph of an astronaut riding a horse", and the empty prompt, as CLIP's tokenizer has it.
PROMPT = [49406, 320, 8853, 539, 550, 18376, 6765, 320, 4558]
END = 49407

# name: (largest relative error allowed, what it is)
LIMITS = {
    "text": (1e-4, "text encoder, 2 prompts"),
    "unet": (1e-4, "UNet, one call, batch 2, t = 981"),
    "moments": (1e-4, "VAE encoder, posterior mean"),
    "decode": (1e-4, "VAE decoder"),
    "txt2img-latent": (1e-3, "20 guided DDIM steps, final latent"),
    "img2img-latent": (1e-3, "image to image, strength 0.75, final latent"),
}
PSNR_LIMIT = 50.0


class Store:
    """Arrays kept as DIR/ref-NAME.npy, computed once."""

    def __init__(self, folder):
        self.folder = folder

    def path(self, name):
        return os.path.join(self.folder, f"ref-{name}.npy")

    def get(self, name, compute):
        if not os.path.exists(self.path(name)):
            start = time.time()
            array = np.ascontiguousarray(compute())
            np.save(self.path(name) + ".tmp.npy", array)
            os.replace(self.path(name) + ".tmp.npy", self.path(name))
            print(f"{name} {array.shape} std {array.std():.4f} ({time.time() - start:.1f} s)",
                  flush=True)
        return np.load(self.path(name))


class Reference:
    def __init__(self, folder, image):
        import torch

        self.torch = torch
        self.image = image
        self.model = os.path.join(folder, "sd15-diffusers")
        self.store = Store(folder)
        self.networks = {}

    def load(self, cls, part):
        if part not in self.networks:
            self.networks = {}  # one at a time: memory
            name = os.path.join(self.model, part)
            self.networks[part] = cls.from_pretrained(name).float().eval()
        return self.networks[part]

    def vae(self):
        from diffusers import AutoencoderKL

        return self.load(AutoencoderKL, "vae")

    def unet(self):
        from diffusers import UNet2DConditionModel

        return self.load(UNet2DConditionModel, "unet")

    def noise(self, seed, shape):
        generator = self.torch.Generator().manual_seed(seed)
        return self.torch.randn(shape, generator=generator)

    def tensor(self, array):
        return self.torch.from_numpy(array)

    def ids(self):
        rows = [[PROMPT[0]], PROMPT]
        return np.array([row + [END] * (77 - len(row)) for row in rows], dtype=np.int32)

    def text(self):
        from transformers import CLIPTextModel

        ids = self.tensor(self.store.get("ids", self.ids)).long()
        return self.load(CLIPTextModel, "text_encoder")(ids).last_hidden_state.numpy()

    def schedule(self):
        from diffusers import DDIMScheduler

        scheduler = DDIMScheduler.from_pretrained(os.path.join(self.model, "scheduler"))
        scheduler.set_timesteps(STEPS)
        return scheduler

    def denoise(self, name, x, first):
        """Steps `first`, `first` + 1, ... of the guided run from latent x."""
        torch, scheduler = self.torch, self.schedule()
        context = self.tensor(self.store.get("text", self.text))  # uncond first
        for i, t in enumerate(scheduler.timesteps):
            if i < first:
                continue

            def step(x=x, t=t):
                out = self.unet()(torch.cat([x, x]), t, context).sample
                uncond, cond = out.chunk(2)
                e = uncond + SCALE * (cond - uncond)
                return scheduler.step(e, t, x, eta=0.0).prev_sample.numpy()

            x = self.tensor(self.store.get(f"{name}-step{i:02d}", step))
        return x.numpy()

    def decode(self, latent):
        return self.vae().decode(self.tensor(latent) / LATENT_SCALE).sample.numpy()

    def pixels(self):
        from PIL import Image

        image = Image.open(self.image).convert("RGB").resize((SIZE, SIZE), Image.LANCZOS)
        x = np.asarray(image, dtype=np.float32) / np.float32(255) * 2 - 1
        return x.transpose(2, 0, 1)[None]

    def encode(self):
        x = self.tensor(self.store.get("pixels", self.pixels))
        return self.vae().encode(x).latent_dist.parameters.numpy()

    def img2img_start(self):
        """stochastic_encode of the original: DDIM index t_enc, then t_enc steps."""
        torch = self.torch
        moments = self.tensor(self.store.get("moments", self.encode))
        mean, logvar = moments.chunk(2, dim=1)
        noise = self.tensor(self.store.get("encode-noise", lambda: self.noise(SEED, mean.shape)))
        z = LATENT_SCALE * (mean + torch.exp(0.5 * logvar.clamp(-30, 20)) * noise)
        self.store.get("init-latent", lambda: z.numpy())
        scheduler = self.schedule()
        t_enc = int(STRENGTH * STEPS)
        a = scheduler.alphas_cumprod[scheduler.timesteps.flip(0)[t_enc]]
        # The second draw of the same generator.
        start = self.tensor(self.store.get(
            "img2img-noise", lambda: self.noise(SEED, (2, *mean.shape[1:]))[1:]))
        return (a.sqrt() * z + (1 - a).sqrt() * start).numpy()

    def run(self):
        get, n = self.store.get, SIZE // 8
        with self.torch.no_grad():
            text = get("text", self.text)
            get("moments", self.encode)
            x = get("img2img-start", self.img2img_start)
            z = get("decode-in", lambda: self.noise(3, (1, 4, n, n)))
            get("decode", lambda: self.decode(z))
            pair = get("unet-in", lambda: self.noise(5, (2, 4, n, n)))
            get("unet", lambda: self.unet()(self.tensor(pair), 981, self.tensor(text)).sample)
            noise = get("noise", lambda: self.noise(SEED, (1, 4, n, n)))
            first = get("txt2img-latent", lambda: self.denoise("txt2img", self.tensor(noise), 0))
            second = get("img2img-latent", lambda: self.denoise(
                "img2img", self.tensor(x), STEPS - int(STRENGTH * STEPS)))
            get("txt2img-image", lambda: to_bytes(self.decode(first)))
            get("img2img-image", lambda: to_bytes(self.decode(second)))


def to_bytes(pixels):
    """[1, 3, h, w] to [h, w, 3], as diffusers' VaeImageProcessor does."""
    x = np.clip(pixels[0] / 2 + 0.5, 0, 1).transpose(1, 2, 0)
    return (x * 255).round().astype(np.uint8)


def load(folder, side, name):
    array = np.load(os.path.join(folder, f"{side}-{name}.npy"))
    return array.astype(np.float64)


def compare_images(what, want, got):
    mse = np.mean((want - got) ** 2)
    psnr = math.inf if mse == 0 else 10 * math.log10(255 ** 2 / mse)
    differ = int(np.count_nonzero(want != got))
    print(f"{what:45s} PSNR {psnr:.2f} dB (limit {PSNR_LIMIT:.0f}), "
          f"{differ} of {want.size} bytes differ")
    return psnr >= PSNR_LIMIT


def compare(folder):
    good = True
    for name, (limit, what) in LIMITS.items():
        want, got = load(folder, "ref", name), load(folder, "sd", name)
        if name == "moments":
            want = want[:, :4]
        error = np.linalg.norm(got - want) / np.linalg.norm(want)
        good &= bool(error <= limit)
        print(f"{what:45s} relative error {error:.3e} (limit {limit:.0e})")
    if os.path.exists(os.path.join(folder, "sd-pixels.npy")):
        want, got = load(folder, "ref", "pixels"), load(folder, "sd", "pixels")
        print(f"{'picture read and resized, against PIL':45s} "
              f"largest difference {np.abs(got - want).max() * 127.5:.2f} of 255")
    for name in ("txt2img", "img2img"):
        want, got = load(folder, "ref", name + "-image"), load(folder, "sd", name + "-image")
        good &= compare_images(name + ", stage by stage", want, got)
        pictures = sorted(glob.glob(os.path.join(folder, "program-" + name, "samples", "*.png")))
        for path in pictures[-1:]:
            from PIL import Image

            got = np.asarray(Image.open(path)).astype(np.float64)
            good &= compare_images("sd-" + name + ", the program's file", want, got)
    print("all within the limits" if good else "BEYOND THE LIMITS")
    return 0 if good else 1


def main(args):
    if len(args) == 3 and args[0] == "reference":
        Reference(args[1], args[2]).run()
        return 0
    if len(args) == 2 and args[0] == "compare":
        return compare(args[1])
    print(__doc__, file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
