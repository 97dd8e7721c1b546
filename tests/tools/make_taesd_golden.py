#!/usr/bin/env python3
"""Writes tests/golden/data/taesd-*.npy: what diffusers' AutoencoderTiny makes of the small one.

  python3 tests/tools/make_taesd_golden.py build/tests/tools/taesd-folder tests/golden/data

Latents of SIZES, some of whose numbers are beyond what tanh(x / 3) leaves alone, to pixels in
[-1, 1], and pixels to latents.
"""

import os
import sys

import numpy as np
import torch
from diffusers import AutoencoderTiny
from make_golden import randn

# Of latents; as in tests/golden/test_taesd.c, as the seeds.
SIZES = [(1, 3), (3, 5)]
LATENT_SEED, PIXEL_SEED = 7, 8


def main(args):
    if len(args) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    vae = AutoencoderTiny.from_pretrained(args[0]).float().eval()
    with torch.no_grad():
        for h, w in SIZES:
            pixels = vae.decode(randn(LATENT_SEED, 2, 4, h, w)).sample
            latent = vae.encode(randn(PIXEL_SEED, 2, 3, 8 * h, 8 * w)).latents
            for name, array in (("decode", pixels), ("encode", latent)):
                path = os.path.join(args[1], f"taesd-{name}-{h}x{w}.npy")
                np.save(path, array.numpy().astype(np.float32))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
