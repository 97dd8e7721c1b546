#!/usr/bin/env python3
"""Writes tests/golden/data/original-*.npy: what DDIMSampler, PLMSSampler and DDPM of the original
give with arguments that diffusers does not know, by their formulas in float64 on the tiny model.

Made as make_sampler_golden.py's fixtures:

  python3 tests/tools/make_original_golden.py build/tests/tools/tiny-diffusers tests/golden/data

Noise is of torch's own generator after manual_seed: x_T (or what stochastic_encode draws), then
what the steps draw.
"""

import sys

import numpy as np
import torch
from torch.nn import functional as F

from make_golden import SEEDS, STEPS
from make_sampler_golden import LATENT, Samplers

DROPOUT, TEMPERATURE = 0.3, 0.8
LOG_EVERY_T = 6
T_ENC, ETA = 12, 0.5
TRAIN = 1000


def correct(e, x, t):
    """A score corrector that tells channels apart."""
    channel = np.arange(1, 5).reshape(1, 4, 1, 1)
    return e + 0.05 * channel * x * t / 1000


def draw(dropout=0.0):
    noise = torch.randn(LATENT)
    return F.dropout(noise, p=dropout) if dropout else noise


class Original(Samplers):
    def begin(self):
        torch.manual_seed(SEEDS[0])
        return draw().double().numpy()

    def tables(self, use_original_steps=False):
        """Timesteps, alphas and alphas_prev, ascending."""
        if not use_original_steps:
            return self.ddim_arrays()
        return np.arange(TRAIN), self.alphas, np.append(1.0, self.alphas[:-1])

    def p_sample_ddim(self, x, i, tables, eta, temperature=1.0, dropout=0.0, corrector=None):
        t, a, a_prev = (table[i] for table in tables)
        e = self.predict(x, t)
        if corrector:
            e = corrector(e, x, t)
        sigma = eta * np.sqrt((1 - a_prev) / (1 - a) * (1 - a / a_prev))
        x0 = (x - np.sqrt(1 - a) * e) / np.sqrt(a)
        direction = np.sqrt(1 - a_prev - sigma ** 2) * e
        noise = 0.0
        if eta > 0:
            noise = sigma * temperature * draw(dropout).double().numpy()
        return np.sqrt(a_prev) * x0 + direction + noise, x0

    def ddim_sampling(self, log_every_t, **options):
        tables, x = self.tables(), self.begin()
        x_inter, pred_x0 = [x], [x]
        for index in range(STEPS - 1, -1, -1):
            x, x0 = self.p_sample_ddim(x, index, tables, **options)
            if index % log_every_t == 0 or index == STEPS - 1:
                x_inter.append(x)
                pred_x0.append(x0)
        return x, np.concatenate(x_inter), np.concatenate(pred_x0)

    def decode(self, x, t_start, eta, use_original_steps=False):
        for index in range(t_start - 1, -1, -1):
            x, _ = self.p_sample_ddim(x, index, self.tables(use_original_steps), eta)
        return x

    def dropout(self):
        x, _, _ = self.ddim_sampling(STEPS, eta=1.0, temperature=TEMPERATURE, dropout=DROPOUT)
        self.save("original-dropout", x)

    def corrected(self):
        x, _, _ = self.ddim_sampling(STEPS, eta=0.0, corrector=correct)
        predict = self.predict
        self.predict = lambda x, t: correct(predict(x, t), x, t)
        plms = self.plms(STEPS - 1, self.begin())
        self.predict = predict
        self.save("original-corrected", np.concatenate([x, plms.numpy()]))

    def intermediates(self):
        _, x_inter, pred_x0 = self.ddim_sampling(LOG_EVERY_T, eta=1.0)
        self.save("original-x-inter", x_inter)
        self.save("original-pred-x0", pred_x0)

    def encode_decode(self):
        """Rows: encoded and decoded; the same with use_original_steps, 6 steps from t = 30."""
        x0, rows = self.z0.double().numpy(), []
        for original, t, t_start, eta in ((False, T_ENC, T_ENC, ETA), (True, 30, 6, 1.0)):
            noise, a = self.begin(), self.tables(original)[1]
            x = np.sqrt(a[t]) * x0 + np.sqrt(1 - a[t]) * noise
            rows += [x, self.decode(x, t_start, eta, original)]
        self.save("original-decode", np.concatenate(rows))

    def p_sample_loop(self):
        """From x_T at t = 6 down, with log_every_t 3: x_T and each x, then each x_0 (the row of
        progressive_denoising)."""
        betas = 1 - self.alphas / np.append(1.0, self.alphas[:-1])
        a, prev = self.alphas, np.append(1.0, self.alphas[:-1])
        variance = np.log(np.maximum(betas * (1 - prev) / (1 - a), 1e-20))
        coef1, coef2 = betas * np.sqrt(prev) / (1 - a), (1 - prev) * np.sqrt(1 - betas) / (1 - a)
        x = self.begin()
        xs, x0s = [x], []
        for t in range(6, -1, -1):
            e = self.predict(x, t)
            x0 = np.sqrt(1 / a[t]) * x - np.sqrt(1 / a[t] - 1) * e
            x = coef1[t] * x0 + coef2[t] * x
            if t > 0:
                noise = TEMPERATURE * draw(DROPOUT).double().numpy()
                x = x + np.exp(0.5 * variance[t]) * noise
            if t % 3 == 0:
                xs.append(x)
                x0s.append(x0)
        self.save("original-p-sample", np.concatenate(xs + x0s))

    def run_all(self):
        self.dropout()
        self.corrected()
        self.intermediates()
        self.encode_decode()
        self.p_sample_loop()


def main(args):
    if len(args) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    with torch.no_grad():
        golden = Original(*args)
        golden.prepare()
        golden.run_all()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
