#!/usr/bin/env python3
"""Writes tests/golden/data/original-*.npy: what DDIMSampler, PLMSSampler, DPMSolverSampler and DDPM
of the original give with arguments that diffusers does not know, by their formulas in float64 on
the tiny model.

Made as make_sampler_golden.py's fixtures; a third argument is a word of PARTS, to make only some:

  python3 tests/tools/make_original_golden.py build/tests/tools/tiny-diffusers tests/golden/data

Noise is of torch's own generator after manual_seed: x_T (or what stochastic_encode draws), then
what the steps draw.
"""

import sys

import numpy as np
import torch
from torch.nn import functional as F

from make_golden import SCALE, SEEDS, STEPS, STRENGTH
from make_sampler_golden import LATENT, PREDICTED_SCALE, Samplers

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

    def masked_ddim(self, eta, dropout):
        """ddim_sampling with a mask: noise_like is drawn in each step, after q_sample's noise,
        and dropped out, whatever it is multiplied by."""
        t, a, a_prev = self.tables()
        mask, x0 = self.mask().astype(np.float64), self.z0.double().numpy()
        x = self.begin()
        for i in range(STEPS - 1, -1, -1):
            known = np.sqrt(a[i]) * x0 + np.sqrt(1 - a[i]) * draw().double().numpy()
            x = mask * known + (1 - mask) * x
            e = self.predict(x, t[i])
            noise = draw(dropout).double().numpy()
            sigma = eta * np.sqrt((1 - a_prev[i]) / (1 - a[i]) * (1 - a[i] / a_prev[i]))
            pred = (x - np.sqrt(1 - a[i]) * e) / np.sqrt(a[i])
            x = np.sqrt(a_prev[i]) * pred + np.sqrt(1 - a_prev[i] - sigma ** 2) * e + sigma * noise
        return x

    def masked_plms(self, dropout):
        """plms_sampling with a mask: get_x_prev_and_pred_x0 draws each time, in the first step
        twice."""
        t, a, a_prev = self.tables()
        mask, x0 = self.mask().astype(np.float64), self.z0.double().numpy()
        x, old = self.begin(), []

        def transfer(e, i):
            draw(dropout)  # times sigma, which is 0
            pred = (x - np.sqrt(1 - a[i]) * e) / np.sqrt(a[i])
            return np.sqrt(a_prev[i]) * pred + np.sqrt(1 - a_prev[i]) * e

        for i in range(STEPS - 1, -1, -1):
            known = np.sqrt(a[i]) * x0 + np.sqrt(1 - a[i]) * draw().double().numpy()
            x = mask * known + (1 - mask) * x
            e = self.predict(x, t[i])
            if not old:
                mixed = (e + self.predict(transfer(e, i), t[max(i - 1, 0)])) / 2
            else:
                weights = {1: (3, -1), 2: (23, -16, 5), 3: (55, -59, 37, -9)}[len(old)]
                mixed = sum(w * v for w, v in zip(weights, [e, *old])) / sum(weights)
            x = transfer(mixed, i)
            old = [e, *old][:3]
        return x

    def masked_streams(self):
        self.save("original-masked", np.concatenate(
            [self.masked_ddim(0.0, 0.0), self.masked_plms(0.0), self.masked_ddim(0.0, DROPOUT),
             self.masked_plms(DROPOUT), self.masked_ddim(ETA, 0.0)]))

    # --- DPMSolverSampler

    def dpm_solver_run(self, steps, x, first=0, network=None, mask=None):
        """DPM_Solver.sample(x, steps, skip_type="time_uniform", method="multistep", order=2,
        lower_order_final=True) with NoiseScheduleVP("discrete", alphas_cumprod), from times[first]
        on. `network` gives the noise from x, the model's time, alpha and sigma."""
        t_array = np.linspace(0, 1, TRAIN + 1)[1:]
        log_alpha = lambda t: np.interp(t, t_array, 0.5 * np.log(self.alphas))
        sigma_of = lambda t: np.sqrt(1 - np.exp(2 * log_alpha(t)))
        lam = lambda t: log_alpha(t) - np.log(sigma_of(t))
        times, prev = np.linspace(1, 1 / TRAIN, steps + 1), None
        network = network or (lambda x, time, alpha, sigma: self.predict(x, time))
        for k in range(first, steps):
            s, t = times[k], times[k + 1]
            alpha, sigma = np.exp(log_alpha(s)), sigma_of(s)
            if mask is not None:
                keep, x0, noise = mask
                x = keep * (alpha * x0 + sigma * noise()) + (1 - keep) * x
            e = network(x, (s - 1 / TRAIN) * 1000, alpha, sigma)
            model = (x - sigma * e) / alpha
            h, d = lam(t) - lam(s), model
            order = min(2, steps - k) if steps < 15 else 2
            if k > first and order == 2:
                r0 = (lam(s) - lam(times[k - 1])) / h
                d = model + (model - prev) / r0 / 2
            x = sigma_of(t) / sigma * x - np.exp(log_alpha(t)) * np.expm1(-h) * d
            prev = model
        return x

    def dpm_solver(self):
        """Rows: 10, 15, 20 and 50 steps with guidance; with a mask, and image to image, both in 20;
        without guidance and the network's output taken as v, in 10 and 20."""
        rows = [self.dpm_solver_run(steps, self.begin()) for steps in (10, 15, 20, 50)]
        held = (self.mask().astype(np.float64), self.z0.double().numpy(),
                lambda: draw().double().numpy())
        rows.append(self.dpm_solver_run(STEPS, self.begin(), mask=held))
        first = STEPS - int(STRENGTH * STEPS)
        t = np.linspace(1, 1 / TRAIN, STEPS + 1)[first]
        alpha = np.exp(np.interp(t, np.arange(1, TRAIN + 1) / TRAIN, 0.5 * np.log(self.alphas)))
        noised = alpha * self.z0.double().numpy() + np.sqrt(1 - alpha ** 2) * self.begin()
        rows.append(self.dpm_solver_run(STEPS, noised, first))
        self.guidance_scale = PREDICTED_SCALE
        v = lambda x, time, alpha, sigma: alpha * self.predict(x, time) + sigma * x
        rows += [self.dpm_solver_run(steps, self.begin(), network=v) for steps in (10, 20)]
        self.guidance_scale = SCALE
        self.save("original-dpm_solver", np.concatenate(rows))

    # --- scripts/img2img.py

    def ddim_from(self, t_enc, above):
        """From z0 noised to index t_enc, or to that of the first step, t_enc - 1."""
        a, noise = self.tables()[1], self.begin()
        i = t_enc if above else t_enc - 1
        x = np.sqrt(a[i]) * self.z0.double().numpy() + np.sqrt(1 - a[i]) * noise
        return x, t_enc

    def img2img_rules(self):
        """DDIM, then PLMS: for t_enc 1, 2 and 6 the original's rule, then that of diffusers."""
        rows = []
        for plms in (False, True):
            for t_enc in (1, 2, 6):
                for above in (True, False):
                    x, start = self.ddim_from(t_enc, above)
                    rows.append(self.plms(start - 1, x).numpy() if plms
                                else self.decode(x, start, 0.0))
        self.save("original-img2img", np.concatenate(rows))


PARTS = ("dropout", "corrected", "intermediates", "encode_decode", "p_sample_loop",
         "masked_streams", "dpm_solver", "img2img_rules")


def main(args):
    if len(args) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    with torch.no_grad():
        golden = Original(*args[:2])
        golden.prepare()
        for part in args[2:] or PARTS:
            getattr(golden, part)()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
