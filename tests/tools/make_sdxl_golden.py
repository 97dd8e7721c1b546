#!/usr/bin/env python3
"""Writes tests/golden/data/sdxl: what diffusers' SDXL pipelines give for the tiny random models.

The fixtures are committed, so the tests need no Python. To make them again:

  pip install torch transformers diffusers numpy
  ninja -C build tests/tools/tiny-xl.stamp tests/tools/tiny-xl-inpaint.stamp \
    tests/tools/tiny-xl-refiner.stamp
  python3 tests/tools/make_sdxl_golden.py build/tests/tools tests/golden/data/sdxl

Everything is float32 on the CPU with one thread. Latents are as the pipelines give them, but for
handed-over.npy: what the base leaves for the refiner is scaled as libsd's latents are.
"""

import os
import sys

import diffusers
import numpy as np
import torch

from make_golden import randn
from safetensors.torch import save_file

PROMPTS = ["a red boat on a lake", "A castle at sunset, oil painting; 2 moons"]
NEGATIVE = "blurry, ugly"
SEED = 42
SIDE = 128
# original height and width, crop top and left, target height and width
SIZES = [[200, 300, 16, 8, 128, 192], [128, 192, 0, 0, 128, 192]]
SCORES = [6.5, 2.0]
STEPS = 6
HANDED_OVER = 0.6


# Textual inversion: a word of two rows, for both text encoders.
WORD, WORD_PROMPT = "zzlake", "a photograph of zzlake, at sunset"


def generator():
    return torch.Generator().manual_seed(SEED)


class Golden:
    def __init__(self, tools, out):
        self.tools, self.out = tools, out

    def load(self, name, cls):
        pipe = cls.from_pretrained(os.path.join(self.tools, name), dtype=torch.float32)
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def save(self, name, array):
        array = np.ascontiguousarray(array)
        if array.dtype != np.int32:
            array = array.astype(np.float32)
        np.save(os.path.join(self.out, name + ".npy"), array)
        print(f"{name:22s} {str(array.shape):20s} {array.nbytes:8d} bytes  "
              f"mean {array.mean():9.4f}  std {array.std():8.4f}")

    def text(self, name, pipe):
        pair = [t for t in (pipe.tokenizer, pipe.tokenizer_2) if t]
        ids = [t(PROMPTS, padding="max_length", max_length=77, truncation=True).input_ids
               for t in pair]
        self.save(name + "-ids", np.array(ids, dtype=np.int32))
        encode = lambda prompts, **k: pipe.encode_prompt(
            prompts, device="cpu", do_classifier_free_guidance=False, **k)
        embeds, _, pooled, _ = encode(PROMPTS)
        self.save(name + "-text", embeds[:, ::7])  # of each seventh token
        self.save(name + "-pooled", pooled)
        self.save(name + "-skip", encode(PROMPTS[0], clip_skip=1)[0][:, ::7])
        return embeds, pooled

    def unet(self, name, pipe, embeds, pooled, sizes):
        """Batch 2, each its own time step, one of them fractional, on a latent that is not square."""
        x, t = randn(1, 2, pipe.unet.config.in_channels, 16, 24), torch.tensor([951.0, 16.5])
        added = dict(text_embeds=pooled, time_ids=torch.tensor(sizes))
        self.save(name + "-unet-in", x)
        self.save(name + "-unet", pipe.unet(x, t, embeds, added_cond_kwargs=added).sample)

    def word(self, pipe):
        rows = dict(clip_l=0.1 * randn(21, 2, 64), clip_g=0.1 * randn(22, 2, 128))
        save_file(rows, os.path.join(self.out, WORD + ".safetensors"))
        for key, encoder, tokenizer in (("clip_l", pipe.text_encoder, pipe.tokenizer),
                                        ("clip_g", pipe.text_encoder_2, pipe.tokenizer_2)):
            pipe.load_textual_inversion(rows[key], token=WORD, text_encoder=encoder,
                                        tokenizer=tokenizer)
        embeds = pipe.encode_prompt(WORD_PROMPT, device="cpu", do_classifier_free_guidance=False)[0]
        self.save("word-text", embeds[:, ::7])

    def vae(self, pipe):
        z = randn(2, 1, 4, 4, 6)
        self.save("latent", z)
        self.save("decoded", pipe.vae.decode(z / pipe.vae.config.scaling_factor).sample)

    def paint(self, pipe, **call):
        call = dict(num_inference_steps=STEPS, generator=generator(), output_type="latent") | call
        return pipe(**call).images

    def base(self):
        """Each row is a run: the defaults, whose negative half is zeros; all that can be said; few
        steps as SDXL Turbo's folder has them."""
        pipe = self.load("tiny-xl", diffusers.StableDiffusionXLPipeline)
        embeds, pooled = self.text("base", pipe)
        self.unet("base", pipe, embeds, pooled, SIZES)
        self.vae(pipe)
        square = dict(height=SIDE, width=SIDE)
        rows = [
            self.paint(pipe, prompt=PROMPTS[0], **square),
            self.paint(pipe, prompt=PROMPTS[0], negative_prompt=NEGATIVE, guidance_scale=3.0,
                       original_size=(200, 300), crops_coords_top_left=(16, 8),
                       target_size=(256, 512), **square),
        ]
        config = pipe.scheduler.config
        pipe.scheduler = diffusers.EulerAncestralDiscreteScheduler.from_config(
            config, timestep_spacing="trailing")
        rows.append(self.paint(pipe, prompt=PROMPTS[0], guidance_scale=0.0, num_inference_steps=2,
                               **square))
        pipe.scheduler = diffusers.EulerDiscreteScheduler.from_config(config)
        self.save("runs", torch.cat(rows))
        return pipe

    def img2img(self, base):
        pipe = diffusers.StableDiffusionXLImg2ImgPipeline(**base.components)
        pipe.set_progress_bar_config(disable=True)
        init = randn(3, 1, 4, SIDE // 8, SIDE // 8)
        self.save("init", init)
        self.save("img2img", self.paint(pipe, prompt=PROMPTS[0], image=init, strength=0.7))

    def refine(self, base):
        """Base and refiner share a run (Mixture of Denoisers); the refiner alone, from a latent."""
        refiner = self.load("tiny-xl-refiner", diffusers.StableDiffusionXLImg2ImgPipeline)
        embeds, pooled = self.text("refiner", refiner)
        self.unet("refiner", refiner, embeds, pooled,
                  [s[:4] + [score] for s, score in zip(SIZES, SCORES)])
        latent = self.paint(base, prompt=PROMPTS[0], height=SIDE, width=SIDE,
                            denoising_end=HANDED_OVER)
        sigma = base.scheduler.sigmas[base.scheduler.step_index]
        self.save("handed-over", latent / (sigma**2 + 1) ** 0.5)
        self.save("refined", self.paint(refiner, prompt=PROMPTS[0], image=latent,
                                        denoising_start=HANDED_OVER))

    def inpaint(self):
        pipe = self.load("tiny-xl-inpaint", diffusers.StableDiffusionXLInpaintPipeline)
        y, x = np.mgrid[0:SIDE, 0:SIDE]
        pixels = np.stack([x / 64 - 1, y / 64 - 1, (x // 16 + y // 16) % 2 * 2.0 - 1])
        mask = ((x - 40) ** 2 + (y - 80) ** 2 < 45 ** 2).astype(np.float32)
        noise = randn(11, 1, 4, SIDE // 8, SIDE // 8)
        self.save("inpaint-noise", noise)
        self.save("inpaint", self.paint(
            pipe, prompt=PROMPTS[0], image=torch.from_numpy(pixels.astype(np.float32))[None],
            mask_image=torch.from_numpy(mask)[None, None], height=SIDE, width=SIDE, strength=1.0,
            latents=noise))


def main(args):
    if len(args) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    os.makedirs(args[1], exist_ok=True)
    with torch.no_grad():
        golden = Golden(*args)
        base = golden.base()
        golden.img2img(base)
        golden.refine(base)
        golden.inpaint()
        golden.word(base)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
