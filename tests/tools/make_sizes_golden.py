#!/usr/bin/env python3
"""Writes tests/golden/data/sizes-*.npy: pictures whose latents no power of two divides.

  python3 tests/tools/make_sizes_golden.py build/tests/tools/tiny-diffusers tests/golden/data

diffusers' UNet goes, upwards, to the size of each skip (forward_upsample_size). One call of it at
each of SIZES, and STEPS guided steps of DDIM at RUN, decoded. make_golden.py has the rest.
"""

import sys

import torch
from make_golden import SEEDS, STEPS, Golden, randn

# Of latents; as in tests/golden/test_sizes.c.
SIZES = [(1, 6), (2, 3), (3, 17), (9, 13), (10, 7), (15, 12)]
RUN = (9, 13)


def main(args):
    if len(args) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    with torch.no_grad():
        golden = Golden(*args)
        golden.encode()
        for h, w in SIZES:
            y = golden.unet(randn(5, 2, 4, h, w), torch.tensor([951.0, 16.5]),
                            golden.embeddings[1:3]).sample
            golden.save(f"sizes-unet-{h}x{w}", y)
        latent = golden.denoise(randn(SEEDS[0], 1, 4, *RUN), 0.0, None, steps=STEPS)
        golden.save("sizes-ddim", latent)
        golden.save("sizes-ddim-image", golden.image(latent))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
