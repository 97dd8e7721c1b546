#!/usr/bin/env python3
"""Writes tests/golden/data/inpaint-*.npy: diffusers' StableDiffusionInpaintPipeline with the tiny
model of 9 channels.

Made like make_golden.py's fixtures, with the folder of that model:

  python3 tests/tools/make_inpaint_golden.py build/tests/tools/tiny-inpaint tests/golden/data

x_T is given to the pipeline; the first noise of its generator is that of the masked picture's
posterior. Its result is the latent, then the picture outside of the mask and inside, as
scripts/inpaint.py puts them together.
"""

import sys

import diffusers
import numpy as np
import torch

from make_golden import Golden, PROMPTS, SCALE, SEEDS, STEPS, randn

SIDE = 64
METHODS = {
    "ddim": (diffusers.DDIMScheduler, dict(set_alpha_to_one=False, clip_sample=False)),
    "euler": (diffusers.EulerDiscreteScheduler, {}),
    "dpmpp_2m": (diffusers.DPMSolverMultistepScheduler, {}),
}


class Inpaint(Golden):
    def pipeline(self, cls, own):
        scheduler = cls(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012,
                        beta_schedule="scaled_linear", steps_offset=1, timestep_spacing="leading",
                        **own)
        pipe = diffusers.StableDiffusionInpaintPipeline(
            vae=self.vae, text_encoder=self.text_model, tokenizer=self.tokenizer, unet=self.unet,
            scheduler=scheduler, safety_checker=None, feature_extractor=None,
            requires_safety_checker=False)
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def run(self):
        y, x = np.mgrid[0:SIDE, 0:SIDE]
        picture = np.stack([x * 4, y * 4, (x // 8 + y // 8) % 2 * 255], -1).astype(np.uint8)
        mask = ((x - 20) ** 2 + (y - 40) ** 2 < 23 ** 2).astype(np.float32)  # cuts 8 x 8 squares
        pixels = torch.from_numpy(picture.astype(np.float32) / 255 * 2 - 1).permute(2, 0, 1)[None]
        noise = randn(11, 1, 4, SIDE // 8, SIDE // 8)
        self.save("inpaint-picture", picture)
        self.save("inpaint-mask", mask[None, None])
        self.save("inpaint-noise", noise)
        rows = []
        for cls, own in METHODS.values():
            pipe = self.pipeline(cls, own)
            out = pipe(prompt=PROMPTS[1], negative_prompt="", image=pixels,
                       mask_image=torch.from_numpy(mask)[None, None], height=SIDE, width=SIDE,
                       strength=1.0, num_inference_steps=STEPS, guidance_scale=SCALE,
                       generator=torch.Generator().manual_seed(SEEDS[0]), latents=noise,
                       output_type="latent")
            rows.append(out.images)
        self.save("inpaint-latents", torch.cat(rows))
        painted = self.image(rows[0])[0]
        self.save("inpaint-image", np.where(mask[..., None] > 0.5, painted, picture))


def main(args):
    if len(args) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    with torch.no_grad():
        Inpaint(*args).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
