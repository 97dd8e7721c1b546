#!/usr/bin/env python3
"""Writes tests/golden/data/sd2: what diffusers and transformers make of a small Stable Diffusion 2.x.

It is a folder in form as stabilityai/stable-diffusion-2-1's: heads of 64 channels, linear
projections, v-prediction, the text tower without its last layer. Weights are functions of their
names (values of make_ldm_golden.py), so only their lists are kept. The fixtures are committed; to
make them again:

  pip install torch transformers diffusers scipy numpy pyyaml
  python3 tests/tools/make_sd2_golden.py tests/golden/data/sd2
"""

import json
import os
import sys

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

import make_ldm_golden as ldm

STEPS = 4
SCALE = 3.0
LATENT_SCALE = 0.18215
N_TOKENS = 77

INDEX = {
    "_class_name": "StableDiffusionPipeline",
    "_diffusers_version": "0.8.0",
    "feature_extractor": ["transformers", "CLIPFeatureExtractor"],
    "requires_safety_checker": False,
    "safety_checker": [None, None],
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
}


def networks():
    """With the released folder's oddities: its ids of begin and end are not the tokenizer's, and
    attention_head_dim has numbers of heads."""
    text = CLIPTextModel(CLIPTextConfig(
        vocab_size=100, hidden_size=128, intermediate_size=512, num_hidden_layers=3,
        num_attention_heads=2, hidden_act="gelu", projection_dim=64, bos_token_id=0,
        eos_token_id=2, pad_token_id=1))
    unet = UNet2DConditionModel(
        sample_size=12, in_channels=4, out_channels=4, block_out_channels=(64, 128, 128),
        layers_per_block=1, attention_head_dim=[1, 2, 2], cross_attention_dim=128,
        use_linear_projection=True, upcast_attention=True, dual_cross_attention=False,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"))
    vae = AutoencoderKL(
        sample_size=24, latent_channels=4, block_out_channels=(32, 64), layers_per_block=1,
        down_block_types=("DownEncoderBlock2D",) * 2, up_block_types=("UpDecoderBlock2D",) * 2,
        scaling_factor=LATENT_SCALE)
    return {"text_encoder": text, "unet": unet, "vae": vae}


def scheduler():
    return DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear",
                         clip_sample=False, set_alpha_to_one=False, steps_offset=1,
                         prediction_type="v_prediction")


def write_json(folder, name, content):
    path = os.path.join(folder, name)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    content = {k: v for k, v in content.items() if k != "_use_default_values"}
    with open(path, "w") as f:
        json.dump(content, f, indent=1, sort_keys=True)
        f.write("\n")


def kind_of(name, shape):
    if name.endswith(("token_embedding.weight", "position_embedding.weight")):
        return ldm.EMBEDDING
    if name.endswith("bias"):
        return ldm.BIAS
    return ldm.GAMMA if len(shape) < 2 else ldm.WEIGHT


def fill(model, path):
    with open(path, "w") as f:
        for name, tensor in model.state_dict().items():
            if name.endswith("position_ids"):
                continue
            shape = list(tensor.shape)
            kind = kind_of(name, shape)
            f.write(f"{name}\t{kind}\t{','.join(map(str, shape))}\n")
            tensor.copy_(ldm.values(name, shape, kind))


def randn(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


class Fixtures:
    def __init__(self, folder):
        self.folder = folder

    def save(self, name, tensor):
        array = np.ascontiguousarray(tensor.numpy().astype(np.float32))
        np.save(os.path.join(self.folder, name + ".npy"), array)
        print(f"{name:10s} {str(array.shape):18s} {array.nbytes:7d} bytes  "
              f"mean {array.mean():8.4f}  std {array.std():8.4f}")
        return tensor


def guided(unet, context, x):
    steps = scheduler()
    steps.set_timesteps(STEPS)
    for t in steps.timesteps:
        uncond, cond = unet(torch.cat([x, x]), t, context).sample.chunk(2)
        x = steps.step(uncond + SCALE * (cond - uncond), t, x, eta=0.0).prev_sample
    return x


def main(args):
    if len(args) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    folder, out = args[0], Fixtures(args[0])
    torch.set_num_threads(1)
    np.seterr(over="ignore")
    parts = networks()
    write_json(folder, "model_index.json", INDEX)
    write_json(folder, "scheduler/scheduler_config.json", dict(scheduler().config))
    with torch.no_grad():
        for name, model in parts.items():
            config = model.config.to_diff_dict() if name == "text_encoder" else dict(model.config)
            write_json(folder, name + "/config.json", config)
            fill(model.eval(), os.path.join(folder, name + ".tsv"))
        ids = torch.from_numpy(np.arange(2 * N_TOKENS).reshape(2, -1) * 37 % 98)
        ids[:, 0], ids[:, 40] = 98, 99
        ids[:, 41:] = 0  # "!"
        out.save("ids", ids)
        context = out.save("text", parts["text_encoder"](ids).last_hidden_state)
        pixels = out.save("pixels", randn(1, 1, 3, 16, 32).clamp(-1, 1))
        out.save("latent", LATENT_SCALE * parts["vae"].encode(pixels).latent_dist.mean)
        z = out.save("z", LATENT_SCALE * randn(2, 1, 4, 8, 16))
        out.save("decoded", parts["vae"].decode(z / LATENT_SCALE).sample)
        x = out.save("unet-in", randn(3, 2, 4, 8, 16))
        out.save("unet", parts["unet"](x, torch.tensor([951.0, 16.5]), context).sample)
        noise = out.save("noise", randn(4, 1, 4, 8, 8))
        out.save("ddim", guided(parts["unet"], context, noise))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
