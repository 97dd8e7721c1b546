"""Reads networks back: from the exported diffusers folder, or from a checkpoint of train_*.py."""
import json
import os

from safetensors.torch import load_file

import common
import networks


def floats_of(folder, name, device):
    return common.floats(load_file(os.path.join(folder, name), device=str(device)))


def vae(path, device):
    """Weights (float32) and the latents' standard deviation; path: a folder or a checkpoint."""
    if not os.path.isdir(path):
        saved = common.load(path, device)
        return common.floats(saved["model"]), saved["std"]
    folder = os.path.join(path, "vae")
    with open(os.path.join(folder, "config.json"), encoding="utf-8") as f:
        std = 1 / json.load(f)["scaling_factor"]
    return floats_of(folder, "diffusion_pytorch_model.safetensors", device), std


def load_vae(path, device):
    weights, std = vae(path, device)
    model = networks.Vae().to(device).eval()
    model.load_state_dict(weights)
    return model, std


def ldm(path, device):
    """Weights (float32) of train_ldm.Model, and its steps (0 of a folder)."""
    if not os.path.isdir(path):
        saved = common.load(path, device)
        return common.floats(saved["model"]), saved["step"]
    parts = {"text": ("text_encoder", "model.safetensors"),
             "unet": ("unet", "diffusion_pytorch_model.safetensors")}
    return {f"{part}.{k}": v for part, (folder, name) in parts.items()
            for k, v in floats_of(os.path.join(path, folder), name, device).items()}, 0
