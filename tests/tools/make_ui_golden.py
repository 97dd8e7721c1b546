#!/usr/bin/env python3
"""Writes tests/golden/data/ui-*.npy: the web UIs' spacings and methods on the tiny model.

Made like make_sampler_golden.py's fixtures, with the same arguments, and with k-diffusion's sampling
functions, which need nothing else of that package:

  pip install scipy
  pip install --no-deps k-diffusion    # its requirements are those of training

ui-spacings has for each spacing of SPACINGS two rows, of 10 steps and of 7, which do not divide 1000,
by sample_euler; ui-METHOD has three rows: normal spacing in 9 steps, Karras sigmas in 7, and SGM
uniform with eta 0.5 in 9. ui-tcd is by diffusers. ui-varied has three first noises, and a run of the first
of them with ENSD 31337. ui-given a row each for timesteps and sigmas of the caller's, by diffusers. Sigmas are
by the formulas of A1111's modules/sd_schedulers.py and ComfyUI's comfy/samplers.py, in float64.
"""

import importlib.util
import inspect
import sys
import types

import diffusers
import numpy as np
import torch

from make_golden import SEEDS
from make_sampler_golden import LATENT, SD, Samplers

ODD_STEPS = 7
# research.nvidia.com/labs/toronto-ai/AlignYourSteps/howto.html
AYS = (14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029)
LEADING = dict(timestep_spacing="leading", **SD)
TIMESTEPS = (999, 850, 736, 645, 545, 455, 343, 233, 124, 24)
SIGMAS = (14.6, 5.5, 2.25, 1.0, 0.4, 0.1, 0.0)


def k_diffusion_sampling():
    """k_diffusion/sampling.py, without the package around it."""
    root = importlib.util.find_spec("k_diffusion").submodule_search_locations[0]
    package = types.ModuleType("k_diffusion")
    package.utils = types.ModuleType("k_diffusion.utils")
    package.utils.append_dims = lambda x, n: x[(...,) + (None,) * (n - x.ndim)]
    for module in (package, package.utils, types.ModuleType("torchsde"),
                   types.ModuleType("torchdiffeq")):
        sys.modules.setdefault(module.__name__, module)
    sys.modules["torchdiffeq"].odeint = None
    spec = importlib.util.spec_from_file_location("k_diffusion.sampling", root + "/sampling.py")
    sampling = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(sampling)
    return sampling


class UI(Samplers):
    def prepare(self):
        super().prepare()
        self.kd = k_diffusion_sampling()
        self.sigmas = np.sqrt((1 - self.alphas) / self.alphas)
        self.log_sigmas = np.log(self.sigmas)

    def time_of(self, sigma):
        return np.interp(np.log(sigma), self.log_sigmas, np.arange(1000))

    def sigma_of(self, time):
        return np.exp(np.interp(time, np.arange(1000), self.log_sigmas))

    def denoise(self, x, sigma):
        """CompVisDenoiser."""
        sigma = float(sigma[0])
        e = self.guided((x / np.sqrt(sigma ** 2 + 1)).float(), self.time_of(sigma)).double()
        return x - sigma * e

    def sample(self, function, sigmas, wide=False, **options):
        """`wide`: x_T is as diffusers' leading spacing has it, sqrt(sigma^2 + 1) of noise."""
        generator = torch.Generator().manual_seed(SEEDS[0])
        draw = lambda *_: torch.randn(LATENT, generator=generator).double()
        sigmas = torch.as_tensor(np.append(sigmas, 0.0))
        if "noise_sampler" in inspect.signature(function).parameters:
            options["noise_sampler"] = draw
        x = draw() * (np.sqrt(sigmas[0] ** 2 + 1) if wide else sigmas[0])
        return function(self.denoise, x, sigmas, disable=True, **options)

    # --- spacings

    def sgm_uniform(self, n):
        return self.sigma_of(np.linspace(999, 0, n + 1)[:-1])

    def simple(self, n):
        return self.sigmas[[999 - int(x * (1000 / n)) for x in range(n)]]

    def normal(self, n):
        return self.sigma_of(np.linspace(999, 0, n))

    def ddim_uniform(self, n):
        return self.sigmas[1 :: 1000 // n][::-1]

    def ays(self, n):
        points = np.interp(np.linspace(0, 1, n + 1), np.linspace(0, 1, len(AYS)), np.log(AYS))
        return np.exp(points)[:-1]

    def kl_optimal(self, n):
        i = np.arange(n) / (n - 1)
        return np.tan(i * np.arctan(self.sigmas[0]) + (1 - i) * np.arctan(self.sigmas[-1]))

    def spacings(self):
        rows = [self.sample(self.kd.sample_euler, getattr(self, spacing)(steps))
                for spacing in SPACINGS for steps in (10, ODD_STEPS)]
        self.save("ui-spacings", torch.cat(rows))
        exponential = self.kd.get_sigmas_exponential(10, self.sigmas[0], self.sigmas[-1])[:10]
        self.save("ui-exponential", self.sample(self.kd.sample_euler, exponential.numpy()))

    def methods(self):
        for name, function, options in METHODS:
            rows = [self.sample(getattr(self.kd, function), getattr(self, spacing)(steps), **more,
                                **options)
                    for spacing, steps, more in (("normal", 9, {}), ("karras", ODD_STEPS, dict(wide=True)),
                                                 ("sgm_uniform", 9, dict(eta=0.5)))]
            self.save("ui-" + name, torch.cat(rows))

    def karras(self, n):
        return self.kd.get_sigmas_karras(n, self.sigmas[0], self.sigmas[-1])[:n].double().numpy()

    def tcd(self):
        """eta 0.3 and 0, and of one step."""
        rows = [self.distilled(steps, eta) for steps, eta in ((4, 0.3), (8, 0.0), (4, 1.0), (1, 0.3))]
        self.save("ui-tcd", torch.cat(rows))

    def distilled(self, steps, eta):
        scheduler, generator = diffusers.TCDScheduler(), torch.Generator().manual_seed(SEEDS[0])
        x = torch.randn(LATENT, generator=generator)
        scheduler.set_timesteps(steps)
        for t in scheduler.timesteps:
            x = scheduler.step(self.guided(x, t), t, x, eta=eta, generator=generator).prev_sample
        return x

    def varied(self):
        """ImageRNG of A1111's modules/rng.py, on the CPU: subseed, seed resize and ENSD."""
        def slerp(val, low, high):
            low_norm = low / torch.norm(low, dim=1, keepdim=True)
            high_norm = high / torch.norm(high, dim=1, keepdim=True)
            omega = torch.acos((low_norm * high_norm).sum(1))
            so = torch.sin(omega)
            return (torch.sin((1.0 - val) * omega) / so).unsqueeze(1) * low + \
                (torch.sin(val * omega) / so).unsqueeze(1) * high

        seeded = lambda seed: torch.Generator().manual_seed(seed)
        shape = LATENT[1:]
        rows = []
        for strength, size in ((0.3, shape), (0.3, (4, 6, 12)), (0.0, (4, 16, 4))):
            generator = seeded(SEEDS[0])
            noise = x = torch.randn(shape, generator=generator)
            if size != shape:
                noise = torch.randn(size, generator=seeded(SEEDS[0]))
            if strength:
                noise = slerp(strength, noise, torch.randn(size, generator=seeded(777)))
            if size != shape:
                inside = [(abs(s - f) // 2, min(s, f)) for s, f in zip(shape[1:], size[1:])]
                to = [slice(d, d + n) if s >= f else slice(0, s)
                      for (d, n), s, f in zip(inside, shape[1:], size[1:])]
                of = [slice(d, d + n) if s < f else slice(0, f)
                      for (d, n), s, f in zip(inside, shape[1:], size[1:])]
                x[:, to[0], to[1]] = noise[:, of[0], of[1]]
                noise = x
            rows.append(noise[None])
        generator = seeded(SEEDS[0] + 31337)
        sigmas = torch.as_tensor(np.append(self.normal(ODD_STEPS), 0.0))
        draw = lambda *_: torch.randn(LATENT, generator=generator).double()
        rows.append(self.kd.sample_euler_ancestral(
            self.denoise, rows[0].double() * sigmas[0], sigmas, disable=True, noise_sampler=draw))
        self.save("ui-varied", torch.cat([row.float() for row in rows]))

    def given(self):
        rows = [self.run(diffusers.EulerDiscreteScheduler(**LEADING), timesteps=list(TIMESTEPS)),
                self.run(diffusers.DPMSolverMultistepScheduler(**LEADING), timesteps=list(TIMESTEPS)),
                self.run(diffusers.EulerDiscreteScheduler(**LEADING), sigmas=list(SIGMAS)),
                self.run(diffusers.LCMScheduler(**SD), timesteps=[999, 759, 499, 259])]
        self.save("ui-given", torch.cat(rows))


SPACINGS = ("sgm_uniform", "simple", "normal", "ddim_uniform", "ays", "kl_optimal")
METHODS = (
    ("euler_a", "sample_euler_ancestral", {}),
    ("dpm2_a", "sample_dpm_2_ancestral", {}),
    ("dpmpp_2s_a", "sample_dpmpp_2s_ancestral", {}),
    ("dpmpp_sde", "sample_dpmpp_sde", {}),
    ("dpmpp_2m_sde", "sample_dpmpp_2m_sde", {}),
    ("dpmpp_3m_sde", "sample_dpmpp_3m_sde", {}),
)
PARTS = ("spacings", "given", "methods", "tcd", "varied")


def main(args):
    if len(args) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    torch.set_num_threads(1)
    with torch.no_grad():
        golden = UI(*args[:2])
        golden.prepare()
        for part in args[2:] or PARTS:
            getattr(golden, part)()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
