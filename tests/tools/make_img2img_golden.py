#!/usr/bin/env python3
"""Writes tests/golden/data/img2img-diffusers.npy: diffusers' StableDiffusionImg2ImgPipeline on the
tiny model.

Made like make_golden.py's fixtures, and with the same arguments:

  python3 tests/tools/make_img2img_golden.py build/tests/tools/tiny-diffusers tests/golden/data

The picture is img2img-picture of make_golden.py, cut to 64 x 64. A row of final latents for each of
STRENGTHS by DDIM, then for STRENGTH by each of METHODS. The generator draws for the posterior,
then for the latent.
"""

import sys

import diffusers
import numpy as np
import torch

from make_golden import Golden, PROMPTS, SCALE, SEEDS, STEPS, STRENGTH

SIDE = 64
# int(strength * STEPS) is 1, 2, 6 and 16 of 20.
STRENGTHS = (0.05, 0.1, 1 / 3, 5 / 6)
METHODS = {
    "euler": (diffusers.EulerDiscreteScheduler, {}),
    "dpmpp_2m": (diffusers.DPMSolverMultistepScheduler, {}),
}
DDIM = (diffusers.DDIMScheduler, dict(set_alpha_to_one=False, clip_sample=False))


class Img2img(Golden):
    def sample(self, cls, own, strength):
        scheduler = cls(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012,
                        beta_schedule="scaled_linear", steps_offset=1, timestep_spacing="leading",
                        **own)
        pipe = diffusers.StableDiffusionImg2ImgPipeline(
            vae=self.vae, text_encoder=self.text_model, tokenizer=self.tokenizer, unet=self.unet,
            scheduler=scheduler, safety_checker=None, feature_extractor=None,
            requires_safety_checker=False)
        pipe.set_progress_bar_config(disable=True)
        y, x = np.mgrid[0:SIDE, 0:SIDE]
        picture = np.stack([x * 2, y * 2, (x // 16 + y // 16) % 2 * 255], -1).astype(np.uint8)
        pixels = torch.from_numpy(picture.astype(np.float32) / 255 * 2 - 1).permute(2, 0, 1)[None]
        return pipe(prompt=PROMPTS[1], negative_prompt="", image=pixels, strength=strength,
                    num_inference_steps=STEPS, guidance_scale=SCALE,
                    generator=torch.Generator().manual_seed(SEEDS[0]), output_type="latent").images

    def run(self):
        rows = [self.sample(*DDIM, strength) for strength in STRENGTHS]
        rows += [self.sample(*method, STRENGTH) for method in METHODS.values()]
        self.save("img2img-diffusers", torch.cat(rows))


def main(args):
    if len(args) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    with torch.no_grad():
        Img2img(*args).run()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
