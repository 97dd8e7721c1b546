"""What diffusers makes of the model, for tests/landscape/test_golden.c: picture.png.

    python golden.py --out ../../../tests/landscape/data     needs diffusers and transformers
"""
import argparse
import os

import diffusers
import numpy as np
import torch
from PIL import Image

PROMPT = "a red boat on the sea at dawn"
STEPS, SCALE, SEED = 20, 5.0, 42
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--out", required=True)
    a = a.parse_args()
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(FOLDER, torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    noise = torch.randn(1, 4, 32, 32, generator=torch.Generator().manual_seed(SEED))
    picture = pipe(PROMPT, num_inference_steps=STEPS, guidance_scale=SCALE, latents=noise, eta=0.0,
                   output_type="np").images[0]
    os.makedirs(a.out, exist_ok=True)
    Image.fromarray((picture * 255).round().astype(np.uint8)).save(
        os.path.join(a.out, "picture.png"), optimize=True)


if __name__ == "__main__":
    main()
