#!/usr/bin/env python3
"""Writes tests/golden/data/loss-*.npy: p_losses of LDM's LatentDiffusion on the tiny model.

Made like make_golden.py's fixtures, and with the same arguments:

  python3 tests/tools/make_loss_golden.py build/tests/tools/tiny-diffusers tests/golden/data

The UNet is diffusers'; the objective is stated here in NumPy, float64, as register_schedule and
p_losses of ldm/models/diffusion/ddpm.py have it. In loss.npy [6, 3 * n + 5] a row is a
parameterization (eps, x0, v) with l2, then with l1: simple, gamma and vlb of each picture, then
the means that are logged: total, simple, gamma, vlb, logvar.
"""

import sys

import numpy as np
import torch

from make_golden import Golden, randn

TIMESTEPS = (0, 1, 500, 999)  # the first and the last, and the special case of lvlb_weights
L_SIMPLE_WEIGHT = 0.75
ORIGINAL_ELBO_WEIGHT = 0.125


class Losses(Golden):
    def schedule(self):
        betas = np.linspace(0.00085 ** 0.5, 0.012 ** 0.5, 1000) ** 2
        alphas = 1 - betas
        self.a = np.cumprod(alphas)
        previous = np.append(1.0, self.a[:-1])
        posterior_variance = betas * (1 - previous) / (1 - self.a)
        with np.errstate(divide="ignore"):
            eps = betas ** 2 / (2 * posterior_variance * alphas * (1 - self.a))
        self.lvlb = {"eps": eps, "x0": 0.5 * np.sqrt(self.a) / (2.0 * 1 - self.a),
                     "v": np.ones(1000)}
        for weights in self.lvlb.values():
            weights[0] = weights[1]

    def inputs(self):
        n = len(TIMESTEPS)
        self.x0, self.noise = 0.8 * randn(11, n, 4, 8, 8), randn(12, n, 4, 8, 8)
        self.logvar = np.sin(np.arange(1000) / 100).astype(np.float32)
        ids = self.tokenizer(["a photograph of an astronaut riding a horse"] * n,
                             padding="max_length", max_length=77, truncation=True,
                             return_tensors="pt").input_ids
        t = torch.tensor(TIMESTEPS)
        a = torch.tensor(self.a)[t].view(-1, 1, 1, 1)
        x = a.sqrt().float() * self.x0 + (1 - a).sqrt().float() * self.noise
        self.y = self.unet(x, t, self.text_model(ids).last_hidden_state).sample.double().numpy()
        self.save("loss-x0", self.x0)
        self.save("loss-noise", self.noise)

    def losses(self, parameterization, loss_type):
        t = np.array(TIMESTEPS)
        x0, noise = self.x0.double().numpy(), self.noise.double().numpy()
        a = self.a[t].reshape(-1, 1, 1, 1)
        target = {"eps": noise, "x0": x0, "v": np.sqrt(a) * noise - np.sqrt(1 - a) * x0}
        d = self.y - target[parameterization]
        simple = (d ** 2 if loss_type == "l2" else np.abs(d)).mean((1, 2, 3))
        logvar = self.logvar.astype(np.float64)
        gamma = simple / np.exp(logvar[t]) + logvar[t]
        vlb = self.lvlb[parameterization][t] * simple
        total = L_SIMPLE_WEIGHT * gamma.mean() + ORIGINAL_ELBO_WEIGHT * vlb.mean()
        means = [total, simple.mean(), gamma.mean(), vlb.mean(), logvar.mean()]
        return np.concatenate([np.stack([simple, gamma, vlb], axis=1).reshape(-1), means])


def main(args):
    if len(args) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    with torch.no_grad():
        golden = Losses(*args)
        golden.schedule()
        golden.inputs()
        rows = [golden.losses(p, kind) for kind in ("l2", "l1") for p in ("eps", "x0", "v")]
        golden.save("loss", np.stack(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
