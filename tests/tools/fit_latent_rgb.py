#!/usr/bin/env python3
"""Fits the factors of SD_PREVIEW_MATRIX for a model's latents, by libsd's own Python binding.

  PYTHONPATH=bindings/python LIBSD_LIBRARY=build/libsd.so \\
      python3 tests/tools/fit_latent_rgb.py [--write] [--sheet FILE] FOLDER PROMPTS

PROMPTS is a text file with a prompt a line. The model paints each; of some of its steps the predicted
x_0 is decoded by the VAE, and the mean of the pixels that a latent stands for is what the latent's
channels are fitted to, by least squares with a bias. --write puts the rows into the folder's
vae/config.json as "_latent_rgb", which diffusers passes over. --sheet FILE writes a PNG: decoded
pictures above what the factors make of their latents.
"""

import argparse
import json
import os
import sys

import libsd
import numpy as np

STEPS, KEPT, GUIDANCE = 20, (5, 10, 15, 20), 5.0


def latents_of(model, prompts):
    """The predicted x_0 of KEPT steps of a run for each prompt: [n, c, h, w]."""
    kept = []
    with model.sampler(steps=STEPS, guidance_scale=GUIDANCE, method="ddim", seed=1) as sampler:
        uncond = model.encode_text([""])
        for prompt in prompts:
            sampler.begin(model.encode_text([prompt]), uncond)
            for step in range(1, STEPS + 1):
                sampler.step()
                if step in KEPT:
                    kept.append(sampler.pred_x0)
    return np.concatenate(kept)


def means(pixels, side):
    n, c, h, w = pixels.shape
    return pixels.reshape(n, c, h // side, side, w // side, side).mean(axis=(3, 5))


def rows_of(images):
    """[n, c, h, w] as [n h w, c]."""
    return images.transpose(0, 2, 3, 1).reshape(-1, images.shape[1]).astype(np.float64)


def fit(latents, pixels, side):
    """[channels + 1, 3], the bias last, and the root of the mean square error."""
    x = rows_of(latents)
    x = np.hstack([x, np.ones((len(x), 1))])
    y = rows_of(means(np.clip(pixels, -1, 1), side))
    factors = np.linalg.lstsq(x, y, rcond=None)[0]
    return factors, np.sqrt(np.mean((x @ factors - y) ** 2))


def write(folder, factors):
    path = os.path.join(folder, "vae", "config.json")
    with open(path, encoding="utf-8") as file:
        config = json.load(file)
    config["_latent_rgb"] = [[round(float(x), 4) for x in row] for row in factors]
    with open(path, "w", encoding="utf-8") as file:
        json.dump(config, file, indent=2)
        file.write("\n")


def sheet(path, latents, pixels, factors, side, columns=8):
    """Every picture's last step, and below it the preview, a square for each latent."""
    last = slice(len(KEPT) - 1, len(KEPT) * columns, len(KEPT))
    flat = np.tensordot(factors[:-1].T, latents[last].swapaxes(0, 1), 1) + factors[-1][:, None, None, None]
    preview = flat.swapaxes(0, 1).repeat(side, 2).repeat(side, 3)
    both = np.concatenate([pixels[last], preview], axis=2)
    picture = np.concatenate(list(both), axis=2).transpose(1, 2, 0)
    image = np.clip(np.rint((picture + 1) / 2 * 255), 0, 255).astype(np.uint8)
    libsd.Image(np.ascontiguousarray(image)).save(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--sheet")
    parser.add_argument("folder")
    parser.add_argument("prompts")
    args = parser.parse_args()
    with open(args.prompts, encoding="utf-8") as file:
        prompts = file.read().splitlines()
    with libsd.Model.load(args.folder) as model:
        side = model.info.latent_downscale
        latents = latents_of(model, prompts)
        pixels = np.concatenate([model.vae_decode(z[None]) for z in latents])
    factors, error = fit(latents, pixels, side)
    print(f"{len(latents)} latents, root mean square error {error:.4f} of [-1, 1]")
    for row in factors:
        print("[" + ", ".join(f"{x:.4f}" for x in row) + "]")
    if args.sheet:
        sheet(args.sheet, latents, pixels, factors, side)
    if args.write:
        write(args.folder, factors)
    return 0


if __name__ == "__main__":
    sys.exit(main())
