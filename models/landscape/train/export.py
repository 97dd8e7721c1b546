"""Writes the trained networks as a diffusers folder in float16.

    python export.py --vae runs/vae/vae --ldm runs/ldm/ldm --out ..
    python export.py --ldm runs/tune/ldm --out ..       text encoder and UNet alone
"""
import argparse
import json
import os

import torch
from safetensors.torch import save_file

import common
import exported
import networks

TEXT = {"architectures": ["CLIPTextModel"], "model_type": "clip_text_model",
        "hidden_act": "quick_gelu", "layer_norm_eps": 1e-5, "attention_dropout": 0.0,
        "bos_token_id": 1022, "eos_token_id": 1023, "pad_token_id": 1023, "projection_dim": 128,
        "torch_dtype": "float16"}
UNET = {"_class_name": "UNet2DConditionModel", "act_fn": "silu", "center_input_sample": False,
        "downsample_padding": 1, "flip_sin_to_cos": True, "freq_shift": 0, "in_channels": 4,
        "out_channels": 4, "mid_block_scale_factor": 1, "norm_eps": 1e-5}
VAE = {"_class_name": "AutoencoderKL", "act_fn": "silu", "in_channels": 3, "out_channels": 3}
SCHEDULER = {"_class_name": "DDIMScheduler", "beta_start": 0.00085, "beta_end": 0.012,
             "beta_schedule": "scaled_linear", "num_train_timesteps": 1000,
             "prediction_type": "epsilon", "clip_sample": False, "set_alpha_to_one": False,
             "steps_offset": 1, "timestep_spacing": "leading"}
INDEX = {"_class_name": "StableDiffusionPipeline", "feature_extractor": [None, None],
         "requires_safety_checker": False, "safety_checker": [None, None],
         "scheduler": ["diffusers", "DDIMScheduler"],
         "text_encoder": ["transformers", "CLIPTextModel"],
         "tokenizer": ["transformers", "CLIPTokenizer"],
         "unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}


def write_json(folder, name, value):
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        json.dump(value, f, indent=2)
        f.write("\n")


def write(folder, name, config, state):
    write_json(folder, "config.json", config)
    tensors = {k: v.to(torch.float16).contiguous() for k, v in state.items()}
    assert all(bool(v.isfinite().all()) for v in tensors.values())
    save_file(tensors, os.path.join(folder, name), metadata={"format": "pt"})


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--vae", help="left out: the folder's stays")
    a.add_argument("--ldm", required=True)
    a.add_argument("--out", required=True)
    a = a.parse_args()
    ldm = common.load(a.ldm)["model"]
    part = {name: {k[len(name) + 1:]: v for k, v in ldm.items() if k.startswith(name + ".")}
            for name in ("text", "unet")}
    n = len(networks.UNET["block_out_channels"])
    write(os.path.join(a.out, "unet"), "diffusion_pytorch_model.safetensors",
          {**UNET, **networks.UNET, "down_block_types": ["CrossAttnDownBlock2D"] * n,
           "up_block_types": ["CrossAttnUpBlock2D"] * n}, part["unet"])
    if a.vae:
        vae, std = exported.vae(a.vae, "cpu")
        n = len(networks.VAE["block_out_channels"])
        write(os.path.join(a.out, "vae"), "diffusion_pytorch_model.safetensors",
              {**VAE, **networks.VAE, "down_block_types": ["DownEncoderBlock2D"] * n,
               "up_block_types": ["UpDecoderBlock2D"] * n, "scaling_factor": 1 / std}, vae)
    write(os.path.join(a.out, "text_encoder"), "model.safetensors", {**TEXT, **networks.TEXT},
          part["text"])
    write_json(os.path.join(a.out, "scheduler"), "scheduler_config.json", SCHEDULER)
    write_json(a.out, "model_index.json", INDEX)


if __name__ == "__main__":
    main()
