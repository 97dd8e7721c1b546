#!/usr/bin/env python3
"""Writes tests/golden/data/folders: what diffusers' pipelines paint of a folder by its scheduler.

A small Stable Diffusion as save_pretrained leaves it, and one that is told the guidance scale (LCM);
weights are functions of their names (values of make_ldm_golden.py), so only their lists are kept.
Each case is a scheduler_config.json, the network that it goes with, and two latents: with all
defaults of the pipeline's __call__, and with few steps, whose number does not divide 1000. The
fixtures are committed; to make them again:

  pip install torch transformers diffusers scipy numpy pyyaml
  python3 tests/tools/make_folder_golden.py tests/golden/data/folders

cases.tsv has a line for each: its name, what it is of ("sd", "lcm" or "own"), its few steps, and how near libsd is to come.
More arguments are classes or cases whose latents alone are made ("LCM", "DDIM-v").
"own" is a pipeline that takes the scheduler as it is; StableDiffusionPipeline makes its steps_offset
1 and its clip_sample false.
"""

import json
import os
import sys
import warnings

import diffusers
import numpy as np
import torch
from diffusers import (AutoencoderKL, LatentConsistencyModelPipeline, StableDiffusionPipeline,
                       UNet2DConditionModel)
from transformers import CLIPTextConfig, CLIPTextModel

import make_ldm_golden as ldm
from make_sd2_golden import fill, write_json

SEED = 42
FEW = {"sd": 7, "lcm": 3, "own": 7, "layers": 7, "pruned": 7, "hollow": 7}  # kinds, and their few steps
GUIDANCE_DIM = 32
SD = dict(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
V = dict(prediction_type="v_prediction")
ZERO = dict(rescale_betas_zero_snr=True, timestep_spacing="trailing")
SIGMA_MIN = dict(final_sigmas_type="sigma_min")
KARRAS = dict(use_karras_sigmas=True)
EXPONENTIAL = dict(use_exponential_sigmas=True)
BETA = dict(use_beta_sigmas=True)
LEADING = dict(timestep_spacing="leading", steps_offset=1)
LINSPACE = dict(timestep_spacing="linspace")
TRAILING = dict(timestep_spacing="trailing")
BETAS = (0.002 + 0.018 * (np.arange(100) / 99) ** 1.5).round(6).tolist()

# Clipping makes what is random grow: 1e-6 in the noise is 4e-5 of the result.
LIMITS = {"DDIM-own-clipped": 2e-3}

# class: (settings of all its cases, {case: settings})
CASES = {
    "DDIM": (dict(clip_sample=False), {
        "leading": dict(set_alpha_to_one=False, **LEADING),
        "leading-one": dict(set_alpha_to_one=True, **LEADING),
        "offset-0": dict(set_alpha_to_one=False, steps_offset=0),
        "linspace": dict(set_alpha_to_one=False, **LINSPACE),
        "linspace-one": dict(set_alpha_to_one=True, **LINSPACE),
        "trailing": dict(set_alpha_to_one=False, **TRAILING),
        "trailing-one": dict(set_alpha_to_one=True, **TRAILING),
        "v": dict(set_alpha_to_one=False, **LEADING, **V),
        "zero-snr": dict(**ZERO, **V),
        "zero-snr-sample": dict(**ZERO, prediction_type="sample"),
        "trained": dict(num_train_timesteps=100, trained_betas=BETAS, **LEADING),
        "own-offset-0": dict(steps_offset=0, set_alpha_to_one=False),
        "own-offset-3": dict(steps_offset=3, set_alpha_to_one=False),
        "own-clipped": dict(clip_sample=True, clip_sample_range=20.0, **LEADING),
        "clipped": dict(clip_sample=True, **LEADING),
        "layers": dict(set_alpha_to_one=False, **LEADING),
        "pruned": dict(set_alpha_to_one=False, **LEADING),
        "hollow": dict(set_alpha_to_one=False, **LEADING),
    }),
    "PNDM": (dict(skip_prk_steps=True), {
        "leading": LEADING,
        "leading-one": dict(set_alpha_to_one=True, **LEADING),
        "linspace": LINSPACE,
        "trailing": TRAILING,
        "v": dict(**LEADING, **V),
    }),
    "DDPM": (dict(clip_sample=False), {
        "leading": LEADING,
        "linspace": LINSPACE,
        "trailing": TRAILING,
        "own-clipped": dict(clip_sample=True, **LEADING),
        "zero-snr": dict(**ZERO, **V),
    }),
    "EulerDiscrete": ({}, {
        "linspace": LINSPACE,
        "leading": LEADING,
        "turbo": dict(timestep_spacing="trailing", steps_offset=1),
        "karras": KARRAS,
        "karras-leading": dict(**KARRAS, **LEADING),
        "exponential": EXPONENTIAL,
        "beta": BETA,
        "sigma-min": dict(**SIGMA_MIN, **LEADING),
        "v": dict(**LEADING, **V),
        "zero-snr": dict(**ZERO, **V),
        "cosine": dict(beta_schedule="squaredcos_cap_v2", **LEADING),
    }),
    "EulerAncestralDiscrete": ({}, {
        "linspace": LINSPACE, "leading": LEADING, "trailing": TRAILING,
        "zero-snr": dict(**ZERO, **V),
    }),
    "HeunDiscrete": ({}, {
        "linspace": LINSPACE, "leading": LEADING, "trailing": TRAILING, "karras": KARRAS,
        "exponential": EXPONENTIAL,
    }),
    "KDPM2Discrete": ({}, {
        "linspace": LINSPACE, "leading": LEADING, "karras": KARRAS, "beta": BETA,
    }),
    "LMSDiscrete": ({}, {
        "linspace": LINSPACE, "leading": LEADING, "karras": dict(**KARRAS, **TRAILING),
    }),
    "DPMSolverMultistep": ({}, {
        "linspace": LINSPACE, "leading": LEADING, "trailing": TRAILING, "karras": KARRAS,
        "exponential": EXPONENTIAL,
        "sigma-min": SIGMA_MIN,
        "euler-at-final": dict(euler_at_final=True, **SIGMA_MIN),
        "not-lower": dict(lower_order_final=False, **SIGMA_MIN),
        "order-1": dict(solver_order=1),
        "heun": dict(solver_type="heun"),
        "sde": dict(algorithm_type="sde-dpmsolver++"),
        "sde-karras": dict(algorithm_type="sde-dpmsolver++", **KARRAS),
        "sde-heun": dict(algorithm_type="sde-dpmsolver++", solver_type="heun", **SIGMA_MIN),
        "zero-snr": dict(**ZERO, **V),
    }),
    "UniPCMultistep": ({}, {
        "linspace": LINSPACE, "leading": LEADING, "karras": KARRAS, "exponential": EXPONENTIAL,
        "sigma-min": SIGMA_MIN,
        "bh1": dict(solver_type="bh1", **SIGMA_MIN),
        "order-1": dict(solver_order=1),
        "not-lower": dict(lower_order_final=False, **SIGMA_MIN),
        "zero-snr": dict(**ZERO, **V),
    }),
    "KDPM2AncestralDiscrete": ({}, {"linspace": LINSPACE, "karras": KARRAS}),
    "DPMSolverSinglestep": ({}, {
        "linspace": {}, "karras": KARRAS,
        "heun": dict(solver_type="heun"),
        "sigma-min": SIGMA_MIN,
    }),
    "DEISMultistep": ({}, {
        "linspace": LINSPACE, "leading": LEADING, "karras": KARRAS,
        "order-3": dict(solver_order=3, **TRAILING),
        "not-lower": dict(lower_order_final=False, **LEADING),
    }),
    "TCD": ({}, {"sd": {}, "settings": dict(original_inference_steps=100, **V)}),
    "LCM": ({}, {
        "sd": {},
        "lcm": {},
        "lcm-settings": dict(original_inference_steps=40, timestep_scaling=3.0),
        "lcm-clipped": dict(clip_sample=True, clip_sample_range=2.0),
        "lcm-zero-snr": dict(rescale_betas_zero_snr=True, **V),
    }),
}


def networks(kind):
    """"layers" has what is not the same for all levels, and pictures that are not square. "pruned" is
    as SSD-1B is: a number for each block, the way up its own, one ResBlock in the middle; "hollow" has
    no middle."""
    lists = dict(layers_per_block=(2, 1), transformer_layers_per_block=(1, 2),
                 sample_size=(8, 12)) if kind == "layers" else {}
    if kind == "pruned":
        lists = dict(layers_per_block=2, transformer_layers_per_block=[[2, 1], [0, 0]],
                     reverse_transformer_layers_per_block=[1, [1, 3, 2]],
                     mid_block_type="UNetMidBlock2D")
    if kind == "hollow":
        lists = dict(mid_block_type=None)
    text = CLIPTextModel(CLIPTextConfig(
        vocab_size=100, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=2, projection_dim=64))
    unet = UNet2DConditionModel(
        **{**dict(sample_size=8, layers_per_block=1), **lists}, block_out_channels=(32, 64),
        attention_head_dim=2, cross_attention_dim=64, norm_num_groups=16,
        time_cond_proj_dim=GUIDANCE_DIM if kind == "lcm" else None,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"))
    stats = dict(latents_mean=[0.5, -1.0, 0.25, 2.0], latents_std=[1.5, 0.5, 3.0, 0.75])
    vae = AutoencoderKL(
        **(stats if kind == "layers" else {}),
        sample_size=32, block_out_channels=(32, 32, 32), layers_per_block=1, norm_num_groups=16,
        down_block_types=("DownEncoderBlock2D",) * 3, up_block_types=("UpDecoderBlock2D",) * 3)
    return dict(text_encoder=text, unet=unet, vae=vae)


def kind_of_case(name):
    return next((kind for kind in FEW if "-" + kind in name), "sd")


class Painter:
    """The pipeline of a kind, and the files of its folder but for the scheduler."""

    def __init__(self, folder, kind):
        self.cls = LatentConsistencyModelPipeline if kind == "lcm" else StableDiffusionPipeline
        self.kind = kind
        self.parts = networks(kind)
        for name, model in self.parts.items():
            fill(model.eval(), os.path.join(folder, f"{kind}-{name}.tsv"))
            config = model.config.to_diff_dict() if name == "text_encoder" else dict(model.config)
            write_json(folder, f"{kind}-{name}.json", config)
        index = json.loads(self.pipe(diffusers.LCMScheduler()).to_json_string())
        del index["scheduler"]  # as the case has it
        if kind == "own":
            index["_class_name"] = "TinyPipeline"
        write_json(folder, f"{kind}-model_index.json", index)

    def pipe(self, scheduler):
        config = dict(scheduler.config)
        pipe = self.cls(**self.parts, tokenizer=None, scheduler=scheduler, safety_checker=None,
                        feature_extractor=None, requires_safety_checker=False)
        if self.kind == "own":
            pipe.scheduler = type(scheduler).from_config(config)
        pipe.set_progress_bar_config(disable=True)
        return pipe

    def paint(self, scheduler, embeds, **call):
        if self.kind != "lcm":
            call["negative_prompt_embeds"] = embeds[:1]
        return self.pipe(scheduler)(
            prompt_embeds=embeds[1:], generator=torch.Generator().manual_seed(SEED),
            output_type="latent", **call).images


def statistics(folder, vae):
    """latents_mean and latents_std as StableDiffusionXLPipeline and its img2img have them."""
    mean, std = (torch.tensor(vae.config[k]).view(1, 4, 1, 1)
                 for k in ("latents_mean", "latents_std"))
    scale = vae.config.scaling_factor
    draw = lambda seed, *shape: torch.randn(shape, generator=torch.Generator().manual_seed(seed))
    pixels, latent = draw(1, 1, 3, 16, 24).clamp(-1, 1), scale * draw(2, 1, 4, 4, 6)
    encoded = (vae.encode(pixels).latent_dist.mean - mean) * scale / std
    decoded = vae.decode(latent * std / scale + mean).sample
    for name, array in (("pixels", pixels), ("encoded", encoded), ("latent", latent),
                        ("decoded", decoded)):
        np.save(os.path.join(folder, f"layers-{name}.npy"), array.numpy())


def main(args):
    if not args:
        print(__doc__, file=sys.stderr)
        return 2
    folder = args[0]
    torch.set_num_threads(1)
    np.seterr(over="ignore")
    warnings.simplefilter("ignore")
    diffusers.utils.logging.set_verbosity_error()
    ids = torch.arange(2 * 77).reshape(2, -1) * 37 % 98
    ids[:, 0], ids[:, 40:] = 98, 99
    lines = []
    with torch.no_grad():
        painters = {kind: Painter(folder, kind) for kind in FEW}
        embeds = painters["sd"].parts["text_encoder"](ids).last_hidden_state
        for name, (common, cases) in CASES.items():
            for case, settings in cases.items():
                label = f"{name}-{case}"
                kind = kind_of_case(label)
                make = lambda: getattr(diffusers, name + "Scheduler")(**{**SD, **common, **settings})
                with open(os.path.join(folder, label + ".json"), "w") as f:
                    f.write(make().to_json_string())  # with -Infinity, as it is
                lines.append(f"{label}\t{kind}\t{FEW[kind]}\t{LIMITS.get(label, 1e-4)}\n")
                if len(args) > 1 and name not in args[1:] and label not in args[1:]:
                    continue
                few = dict(num_inference_steps=FEW[kind], guidance_scale=2.0)
                rows = [painters[kind].paint(make(), embeds, **call) for call in ({}, few)]
                np.save(os.path.join(folder, label + ".npy"), torch.cat(rows).numpy())
                print(f"{label:36s} std {rows[0].std():7.3f} {rows[1].std():7.3f}", flush=True)
        statistics(folder, painters["layers"].parts["vae"])
    np.save(os.path.join(folder, "embeds.npy"), embeds.numpy())
    with open(os.path.join(folder, "cases.tsv"), "w") as f:
        f.writelines(lines)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
