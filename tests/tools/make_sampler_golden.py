#!/usr/bin/env python3
"""Writes tests/golden/data/sampler-*.npy: the sampling methods' final latents on the tiny model.

Made like make_golden.py's fixtures, and with the same arguments; a third
one is a word of PARTS, to make only some:

  pip install scipy    # diffusers' LMS integrates with it
  python3 tests/tools/make_sampler_golden.py build/tests/tools/tiny-diffusers tests/golden/data

A method's file has a row for each spacing it knows, in the order of SPACINGS, then one of image to
image with uniform spacing. sampler-quad has a row for each method of QUAD; sampler-v and sampler-x0,
the network's output taken as v and as x_0, a row for each of PREDICTED. The judges are diffusers' schedulers with the settings of SD 1.5; where
diffusers has none, or another rule (PLMS as in CompVis' plms.py, masks, DDPM's full loop, DDIM's
spacings), the formulas in float64.
Noise is of one torch generator: first x_T, then what the steps draw.
"""

import importlib
import sys
from unittest import mock

import diffusers
import numpy as np
import torch

from make_golden import Golden, SCALE, SEEDS, STEPS, STRENGTH, randn

LATENT = (1, 4, 8, 8)
SD = dict(num_train_timesteps=1000, beta_start=0.00085, beta_end=0.012,
          beta_schedule="scaled_linear", steps_offset=1)
SPACINGS = {
    "uniform": dict(timestep_spacing="leading"),
    "linspace": dict(timestep_spacing="linspace"),
    "trailing": dict(timestep_spacing="trailing"),
    "karras": dict(timestep_spacing="linspace", use_karras_sigmas=True),
}
TIMES = ("uniform", "linspace", "trailing")
ALL = tuple(SPACINGS)

# name: (scheduler, its own settings, spacings)
SCHEDULERS = {
    "euler": (diffusers.EulerDiscreteScheduler, {}, ALL),
    "euler_a": (diffusers.EulerAncestralDiscreteScheduler, {}, TIMES),
    "heun": (diffusers.HeunDiscreteScheduler, {}, ALL),
    "dpm2": (diffusers.KDPM2DiscreteScheduler, {}, ALL),
    "lms": (diffusers.LMSDiscreteScheduler, {}, ALL),
    "dpmpp_2m": (diffusers.DPMSolverMultistepScheduler, {}, ALL),
    "dpmpp_2m_sde": (diffusers.DPMSolverMultistepScheduler,
                     dict(algorithm_type="sde-dpmsolver++"), ALL),
    "unipc": (diffusers.UniPCMultistepScheduler, {}, ALL),
    "ddpm": (diffusers.DDPMScheduler, dict(clip_sample=False), TIMES),
    "lcm": (diffusers.LCMScheduler, {}, ("uniform",)),
}
PREDICTED = ("euler", "euler_a", "heun", "dpm2", "lms", "dpmpp_2m", "dpmpp_2m_sde", "unipc", "lcm",
             "ddpm")
PREDICTED_SCALE = 1.0
QUAD = ("ddim", "plms", *PREDICTED)
# Of diffusers, these do not know what they name "sample".
NO_SAMPLE = ("euler_a", "dpm2")


class QuadNumpy:
    """numpy for the schedulers, which know no quad spacing: the steps of their leading spacing come
    from arange, and are the quad ones here."""

    times = ((np.linspace(0, np.sqrt(1000 * 0.8), STEPS)) ** 2).astype(int)

    def __getattr__(self, name):
        return getattr(np, name)

    def arange(self, start, stop=None, *args, **options):
        if start == 0 and stop in (STEPS, STEPS + 1):
            more = stop - STEPS  # a point below the first, that is left out
            return np.append([0] * more, self.times) / (1000 // stop)
        return np.arange(start, stop, *args, **options)


class Samplers(Golden):
    guidance_scale = SCALE

    def prepare(self):
        ids = self.tokenizer(["", "a photograph of an astronaut riding a horse"],
                             padding="max_length", max_length=77, truncation=True,
                             return_tensors="pt").input_ids
        self.context = self.text_model(ids).last_hidden_state
        self.z0 = 0.8 * randn(7, *LATENT)
        self.save("sampler-init", self.z0)
        betas = np.linspace(0.00085 ** 0.5, 0.012 ** 0.5, 1000) ** 2
        self.alphas = np.cumprod(1 - betas)

    def guided(self, x, t, rescale=0.0):
        t = torch.as_tensor(t, dtype=torch.float32)
        uncond, cond = self.unet(torch.cat([x, x]), t, self.context).sample.chunk(2)
        e = uncond + self.guidance_scale * (cond - uncond)
        if rescale > 0:
            return diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion \
                .rescale_noise_cfg(e, cond, rescale)
        return e

    def run(self, scheduler, steps=STEPS, img2img=False, rescale=0.0, output=lambda e, x, ratio: e,
            **times):
        """`output` makes of the network's output, its input x and x / x_sigma what the scheduler
        takes."""
        generator = torch.Generator().manual_seed(SEEDS[0])
        noise = torch.randn(LATENT, generator=generator)
        scheduler.set_timesteps(**(times or {"num_inference_steps": steps}))
        timesteps = scheduler.timesteps
        if img2img:
            first = (steps - int(STRENGTH * steps)) * scheduler.order
            timesteps = timesteps[first:]
            if isinstance(scheduler, diffusers.LMSDiscreteScheduler):
                # Its order goes by the index in the whole list and takes predictions that an
                # image-to-image run never made; k-diffusion's sample_lms gets the list cut.
                scheduler.timesteps, scheduler.sigmas = timesteps, scheduler.sigmas[first:]
            elif hasattr(scheduler, "set_begin_index"):
                scheduler.set_begin_index(first)
            x = scheduler.add_noise(self.z0, noise, timesteps[:1])
        else:
            x = noise * scheduler.init_noise_sigma
        options = {}
        if "generator" in scheduler.step.__code__.co_varnames:
            options["generator"] = generator
        for t in timesteps:
            x_in = scheduler.scale_model_input(x, t)
            e = output(self.guided(x_in, t, rescale), x_in, (x_in / x).median())
            x = scheduler.step(e, t, x, **options).prev_sample
        return x

    def schedulers(self):
        for name, (cls, own, spacings) in SCHEDULERS.items():
            make = lambda spacing: cls(**SD, **own, **SPACINGS[spacing])
            rows = [self.run(make(spacing)) for spacing in spacings]
            rows.append(self.run(make("uniform"), img2img=True))
            self.save("sampler-" + name, torch.cat(rows))
        few = self.run(diffusers.LCMScheduler(**SD), steps=4)
        self.save("sampler-lcm-4", few)
        odd = diffusers.DPMSolverMultistepScheduler(**SD, **SPACINGS["uniform"])
        self.save("sampler-dpmpp_2m-7", self.run(odd, steps=7))
        clipped = diffusers.DDPMScheduler(**SD, clip_sample=True, **SPACINGS["uniform"])
        self.save("sampler-ddpm-clipped", self.run(clipped))
        euler = diffusers.EulerDiscreteScheduler(**SD, **SPACINGS["uniform"])
        self.save("sampler-rescaled", self.run(euler, rescale=0.7))

    def predicted(self):
        """Without guidance: with it these steps magnify rounding errors of the network a
        thousandfold (3e-3 between torch in float32 and in float64, for lcm and x_0)."""
        self.guidance_scale = PREDICTED_SCALE

        def epsilon(x0, x, ratio):
            """Of the schedulers on sigmas: ratio^2 = 1 / (sigma^2 + 1) = alphas_cumprod."""
            a = ratio.double() ** 2
            return ((x.double() - a.sqrt() * x0.double()) / (1 - a).sqrt()).float()

        for kind, name in (("v_prediction", "v"), ("sample", "x0")):
            rows = []
            for method in PREDICTED:
                cls, own, _ = SCHEDULERS[method]
                options = {**SD, **own, **SPACINGS["uniform"]}
                if name == "x0" and method in NO_SAMPLE:
                    rows.append(self.run(cls(**options), output=epsilon))
                else:
                    rows.append(self.run(cls(**options, prediction_type=kind)))
            self.save("sampler-" + name, torch.cat(rows))
        self.guidance_scale = SCALE

    def quad(self):
        times = QuadNumpy.times + 1
        self.ddim_arrays = lambda: (times, self.alphas[times],
                                    np.append(self.alphas[0], self.alphas[times[:-1]]))
        x = randn(SEEDS[0], *LATENT).double().numpy()
        rows = [self.plms(STEPS - 1, x)]
        for t, a, a_prev in list(zip(*self.ddim_arrays()))[::-1]:
            e = self.predict(x, t)
            x = np.sqrt(a_prev / a) * (x - np.sqrt(1 - a) * e) + np.sqrt(1 - a_prev) * e
        rows.insert(0, torch.from_numpy(x))
        for method in QUAD[2:]:
            cls, own, _ = SCHEDULERS[method]
            scheduler = cls(**SD, **own, **SPACINGS["uniform"])
            if method in ("lcm", "ddpm"):
                rows.append(self.run(scheduler, timesteps=times[::-1].tolist()))
                continue
            with mock.patch.object(importlib.import_module(cls.__module__), "np", QuadNumpy()):
                rows.append(self.run(scheduler))
            near = np.abs(scheduler.timesteps.numpy()[:, None] - times).min(0)
            assert near.max() < 0.01, f"{method} does not go by the quad times"
        del self.ddim_arrays
        self.save("sampler-quad", torch.cat([row.float() for row in rows]))

    def inverse(self):
        """All steps, and after the first int(STRENGTH * STEPS)."""
        scheduler = diffusers.DDIMInverseScheduler(**SD, set_alpha_to_one=False, clip_sample=False)
        scheduler.set_timesteps(STEPS)
        x, rows = self.z0, []
        for i, t in enumerate(scheduler.timesteps):
            x = scheduler.step(self.guided(x, t), t, x).prev_sample
            if i + 1 in (STEPS, int(STRENGTH * STEPS)):
                rows.insert(0, x)
        self.save("sampler-ddim_inverse", torch.cat(rows))

    # --- in float64, by the formulas

    def predict(self, x, t):
        return self.guided(torch.from_numpy(x).float(), t).double().numpy()

    def ddim_arrays(self):
        t = np.arange(0, 1000, 1000 // STEPS) + 1
        a = self.alphas[t]
        return t, a, np.concatenate([self.alphas[:1], a[:-1]])

    def plms(self, first, x):
        t, a, a_prev = self.ddim_arrays()

        def transfer(e, i):
            x0 = (x - np.sqrt(1 - a[i]) * e) / np.sqrt(a[i])
            return np.sqrt(a_prev[i]) * x0 + np.sqrt(1 - a_prev[i]) * e

        old = []
        for i in range(first, -1, -1):
            e = self.predict(x, t[i])
            if not old:
                e_prime = (e + self.predict(transfer(e, i), t[max(i - 1, 0)])) / 2
            elif len(old) == 1:
                e_prime = (3 * e - old[-1]) / 2
            elif len(old) == 2:
                e_prime = (23 * e - 16 * old[-1] + 5 * old[-2]) / 12
            else:
                e_prime = (55 * e - 59 * old[-1] + 37 * old[-2] - 9 * old[-3]) / 24
            x = transfer(e_prime, i)
            old = (old + [e])[-3:]
        return torch.from_numpy(x)

    def ddim(self):
        """diffusers' DDIMScheduler takes t - 1000 // steps for the end of a step, which in linspace
        is not the next of its times; here a step ends at the next."""
        rows = []
        for spacing in TIMES:
            judge = diffusers.DDIMScheduler(**SD, set_alpha_to_one=False, **SPACINGS[spacing])
            judge.set_timesteps(STEPS)
            a = self.alphas[judge.timesteps]
            x = randn(SEEDS[0], *LATENT).double().numpy()
            for t, a_t, a_prev in zip(judge.timesteps, a, np.append(a[1:], self.alphas[0])):
                e = self.predict(x, t)
                x0 = (x - np.sqrt(1 - a_t) * e) / np.sqrt(a_t)
                x = np.sqrt(a_prev) * x0 + np.sqrt(1 - a_prev) * e
            rows.append(torch.from_numpy(x))
        self.save("sampler-ddim", torch.cat(rows))

    def plms_runs(self):
        """From noise, and image to image as DDIM in the original's img2img.py."""
        _, a, _ = self.ddim_arrays()
        noise = randn(SEEDS[0], *LATENT).double().numpy()
        t_enc = int(STRENGTH * STEPS)
        x = np.sqrt(a[t_enc]) * self.z0.double().numpy() + np.sqrt(1 - a[t_enc]) * noise
        self.save("sampler-plms", torch.cat([self.plms(STEPS - 1, noise),
                                             self.plms(t_enc - 1, x)]))

    def mask(self):
        y = (np.arange(8) / 7)[:, None] * np.ones((1, 8))
        return np.where(y < 0.3, 0.0, y).astype(np.float32)[None, None]

    def masked(self):
        """p_sample_ddim with a mask and eta 1: q_sample's noise is drawn first, then the step's."""
        t, a, a_prev = self.ddim_arrays()
        generator = torch.Generator().manual_seed(SEEDS[0])
        draw = lambda: torch.randn(LATENT, generator=generator).double().numpy()
        mask, x0 = self.mask().astype(np.float64), self.z0.double().numpy()
        x = draw()
        for i in range(STEPS - 1, -1, -1):
            known = np.sqrt(a[i]) * x0 + np.sqrt(1 - a[i]) * draw()
            x = known * mask + (1 - mask) * x
            e = self.predict(x, t[i])
            sigma = np.sqrt((1 - a_prev[i]) / (1 - a[i]) * (1 - a[i] / a_prev[i]))
            pred = (x - np.sqrt(1 - a[i]) * e) / np.sqrt(a[i])
            x = np.sqrt(a_prev[i]) * pred + np.sqrt(1 - a_prev[i] - sigma ** 2) * e + sigma * draw()
        self.save("sampler-mask", self.mask())
        self.save("sampler-masked", x)

    def ddpm_original(self):
        """p_sample at the first 5 of all train timesteps, by the original's buffers."""
        betas = np.linspace(0.00085 ** 0.5, 0.012 ** 0.5, 1000) ** 2
        a = self.alphas
        prev = np.append(1.0, a[:-1])
        variance = np.log(np.maximum(betas * (1 - prev) / (1 - a), 1e-20))
        coef1, coef2 = betas * np.sqrt(prev) / (1 - a), (1 - prev) * np.sqrt(1 - betas) / (1 - a)
        generator = torch.Generator().manual_seed(SEEDS[0])
        draw = lambda: torch.randn(LATENT, generator=generator).double().numpy()
        x = draw()
        for t in range(999, 994, -1):
            e = self.predict(x, t)
            x0 = np.sqrt(1 / a[t]) * x - np.sqrt(1 / a[t] - 1) * e
            x = coef1[t] * x0 + coef2[t] * x + np.exp(0.5 * variance[t]) * draw()
        self.save("sampler-ddpm-original", x)

    def euler_a_karras(self):
        """diffusers' ancestral scheduler knows no Karras sigmas; k-diffusion's formulas do."""
        judge = diffusers.EulerDiscreteScheduler(**SD, **SPACINGS["karras"])
        judge.set_timesteps(STEPS)
        sigmas, times = judge.sigmas.double().numpy(), judge.timesteps.double().numpy()
        generator = torch.Generator().manual_seed(SEEDS[0])
        draw = lambda: torch.randn(LATENT, generator=generator).double().numpy()
        x = draw() * sigmas[0]
        for s, to, t in zip(sigmas, sigmas[1:], times):
            e = self.predict(x / np.sqrt(s * s + 1), t)
            up = np.sqrt(to ** 2 * (s ** 2 - to ** 2) / s ** 2)
            x = x + e * (np.sqrt(to ** 2 - up ** 2) - s) + up * draw()
        self.save("sampler-euler_a-karras", x)


PARTS = ("schedulers", "inverse", "ddim", "plms_runs", "masked", "ddpm_original", "euler_a_karras",
         "predicted", "quad")


def main(args):
    if len(args) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    with torch.no_grad():
        golden = Samplers(*args[:2])
        golden.prepare()
        for part in args[2:] or PARTS:
            getattr(golden, part)()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
