#!/usr/bin/env python3
"""Writes tests/golden/data/tiles-*.npy: diffusers' tiled VAE on the tiny model.

Made like make_golden.py's fixtures, and with the same arguments:

  python3 tests/tools/make_tiles_golden.py build/tests/tools/tiny-diffusers tests/golden/data

Tiles of 4 latents that overlap by 1, on sides where diffusers has no tile that its neighbour
covers whole.
"""

import sys

import torch

from make_golden import Golden, randn

TILE = 4


def main(args):
    if len(args) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    with torch.no_grad():
        golden = Golden(*args)
        vae = golden.vae
        vae.enable_tiling()
        scale = 2 ** (len(vae.config.block_out_channels) - 1)
        vae.tile_latent_min_size, vae.tile_sample_min_size = TILE, TILE * scale
        z = randn(21, 1, 4, 5, 9)
        pixels = vae.decode(z / golden.scale).sample
        posterior = vae.encode(pixels).latent_dist
        noise = randn(22, 1, 4, 5, 9)
        golden.save("tiles-latent", z)
        golden.save("tiles-decoded", pixels)
        golden.save("tiles-mean", golden.scale * posterior.mean)
        golden.save("tiles-noise", noise)
        golden.save("tiles-sample", golden.scale * (posterior.mean + posterior.std * noise))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
