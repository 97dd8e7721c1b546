#!/usr/bin/env python3
"""Writes tests/golden/data/adapters: what PEFT and LyCORIS make of the tiny random model.

Each adapter has a few modules of random numbers in float16; FILE.safetensors is it, FILE-unet.npy is
one call of the UNet with it and FILE-text.npy, where it has modules for the text encoder, every 16th
column of an embedding. The fixtures are committed, so the tests need no Python. To make them again:

  pip install torch transformers diffusers peft lycoris-lora safetensors numpy
  build/tests/tools/sd-random-checkpoint --layout diffusers --size tiny --seed 2 --dtype f32 \
      --bits 8 --out tiny
  ninja -C build tests/tools/tiny-xl.stamp
  python3 tests/tools/make_adapter_golden.py tiny tests/golden/data build/tests/tools/tiny-xl
"""

import copy
import json
import os
import sys

import numpy as np
import torch
from diffusers import UNet2DConditionModel
from lycoris.modules.locon import LoConModule
from lycoris.modules.loha import LohaModule
from lycoris.modules.lokr import LokrModule
from peft import LoraConfig, inject_adapter_in_model
from peft.utils import get_peft_model_state_dict
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import CLIPTextModel, CLIPTokenizer

PROMPT = "a photograph of an astronaut riding a horse"
COLUMNS = 16
BLOCK = "down_blocks.0.attentions.0.transformer_blocks.0."
RES = "down_blocks.0.resnets.0."
LAYER = "encoder.layers.1."


def randn(seed, *shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def randomise(tensors, scale=0.5):
    """Numbers that float16 holds, so that files and networks have the same."""
    for i, t in enumerate(tensors):
        with torch.no_grad():
            t.copy_((scale * randn(100 + i, *t.shape)).half().float())


class Golden:
    def __init__(self, model, data):
        load = lambda cls, name: cls.from_pretrained(os.path.join(model, name)).float().eval()
        self.unet = load(UNet2DConditionModel, "unet")
        self.text = load(CLIPTextModel, "text_encoder")
        tokenizer = CLIPTokenizer.from_pretrained(os.path.join(model, "tokenizer"))
        self.ids = tokenizer([PROMPT], padding="max_length", max_length=77, return_tensors="pt").input_ids
        self.context = torch.from_numpy(np.load(os.path.join(data, "text.npy"))[1:2])
        self.x = torch.from_numpy(np.load(os.path.join(data, "unet-in.npy"))[:1, :, :8, :8])
        self.out = os.path.join(data, "adapters")
        os.makedirs(self.out, exist_ok=True)

    def save(self, name, unet, text=None):
        with torch.no_grad():
            np.save(os.path.join(self.out, name + "-unet.npy"),
                    unet(self.x, torch.tensor([500.0]), self.context).sample.numpy())
            if text is not None:
                y = text(self.ids).last_hidden_state[..., ::COLUMNS]
                np.save(os.path.join(self.out, name + "-text.npy"), np.ascontiguousarray(y))

    def file(self, name, tensors, metadata=None):
        tensors = {k: v.detach().half().contiguous() for k, v in tensors.items()}
        save_file(tensors, os.path.join(self.out, name + ".safetensors"), metadata)

    # --------------------------------------------------------------------------- LyCORIS

    def lycoris(self, name, rows):
        """rows: module, class, arguments. Files in LyCORIS' own naming."""
        unet, tensors, kept = copy.deepcopy(self.unet), {}, []
        for path, cls, kw in rows:
            module = unet.get_submodule(path)
            dim = kw.pop("dim", 2)
            alpha = kw.pop("alpha", 1)
            key = "lycoris_" + path.replace(".", "_")
            a = cls(key, module, 1.0, dim, alpha, **kw)
            scales = [p for n, p in a.named_parameters() if "dora" in n]
            randomise([p for n, p in a.named_parameters() if "dora" not in n and n != "scalar"])
            for p in scales:
                with torch.no_grad():
                    p.copy_((p * (1 + 0.25 * randn(7, *p.shape))).half().float())
            a.eval()
            a.apply_to()
            kept.append(a)
            for k, v in a.custom_state_dict().items():
                tensors[key + "." + k] = v
        self.file(name, tensors)
        self.save(name, unet)

    def full(self, name, rows):
        """rows: module, and what its differences are called."""
        unet, tensors = copy.deepcopy(self.unet), {}
        for path, keys in rows:
            module = unet.get_submodule(path)
            for i, (attribute, key) in enumerate(zip(("weight", "bias"), keys)):
                p = getattr(module, attribute)
                if p is not None:
                    d = (0.05 * randn(200 + i, *p.shape)).half().float()
                    tensors["lora_unet_" + path.replace(".", "_") + "." + key] = d
                    with torch.no_grad():
                        p.add_(d)
        self.file(name, tensors)
        self.save(name, unet)

    # --------------------------------------------------------------------------- PEFT

    def peft(self, name, targets, text_targets=(), **kw):
        unet, text = copy.deepcopy(self.unet), copy.deepcopy(self.text)
        parts = [("unet", unet, targets)]
        if text_targets:
            parts.append(("text_encoder", text, text_targets))
        tensors = {}
        for prefix, net, modules in parts:
            inject_adapter_in_model(
                LoraConfig(target_modules=list(modules), init_lora_weights=False, **kw), net)
            named = sorted((n, p) for n, p in net.named_parameters() if "lora_" in n)
            randomise([p for n, p in named if "magnitude" not in n], 0.25)
            for n, p in named:
                if "magnitude" in n:
                    with torch.no_grad():
                        p.copy_((p * (1 + 0.25 * randn(7, *p.shape))).half().float())
            for k, v in get_peft_model_state_dict(net).items():
                tensors[prefix + "." + k] = v
        self.save(name, unet.eval(), text.eval() if text_targets else None)
        return tensors


def kohya(tensors, alpha):
    out = {}
    for key, value in tensors.items():
        net, path = key.split(".", 1)
        path, ab = path.split(".lora_")
        prefix = "lora_unet_" if net == "unet" else "lora_te_text_model_"
        base = prefix + path.replace(".", "_")
        out[base + (".lora_down.weight" if ab.startswith("A") else ".lora_up.weight")] = value
        out[base + ".alpha"] = torch.tensor(float(alpha))
    return out


def old_diffusers(tensors, alpha, rank):
    """As diffusers wrote them before PEFT; without alpha, so that it is in the numbers."""
    out = {}
    for key, value in tensors.items():
        net, path = key.split(".", 1)
        path, ab = path.split(".lora_")
        down = ab.startswith("A")
        if net == "text_encoder":
            path = "text_model." + path + ".lora_linear_layer."
        elif ".attn" in path:
            head, tail = path.rsplit(".to_", 1)
            path = head + ".processor.to_" + tail.replace("out.0", "out") + "_lora."
        else:
            path += ".lora."
        out[net + "." + path + ("down" if down else "up") + ".weight"] = \
            value if down else value * (alpha / rank)
    return out


# Modules of the tiny SDXL: network, diffusers' path, the original's where kohya's scripts use it.
XL = [
    ("unet", "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q",
     "input_blocks_4_1_transformer_blocks_0_attn1_to_q"),
    ("unet", "mid_block.attentions.0.transformer_blocks.1.ff.net.2",
     "middle_block_1_transformer_blocks_1_ff_net_2"),
    ("unet", "up_blocks.0.attentions.1.proj_in", "output_blocks_1_1_proj_in"),
    ("unet", "down_blocks.1.resnets.0.conv1", "input_blocks_4_0_in_layers_2"),
    ("text_encoder", "encoder.layers.0.mlp.fc1", None),
    ("text_encoder_2", "encoder.layers.1.self_attn.q_proj", None),
    ("text_encoder_2", "encoder.layers.1.self_attn.v_proj", None),
    ("text_encoder_2", "encoder.layers.0.self_attn.out_proj", None),
]


def xl_shape(folder, net, path):
    name = path if net == "unet" else "text_model." + path
    file = "diffusion_pytorch_model" if net == "unet" else "model"
    with safe_open(os.path.join(folder, net, file + ".safetensors"), "pt") as f:
        return tuple(f.get_slice(name + ".weight").get_shape())


def xl(g, folder):
    """The same numbers as kohya's scripts name them and as diffusers does."""
    kohya_file, peft_file = {}, {}
    places = {"unet": "lora_unet_", "text_encoder": "lora_te1_text_model_",
              "text_encoder_2": "lora_te2_text_model_"}
    for i, (net, path, original) in enumerate(XL):
        shape = xl_shape(folder, net, path)
        down = 0.25 * randn(300 + i, 2, *shape[1:])
        up = 0.25 * randn(400 + i, shape[0], 2, *(1,) * (len(shape) - 2))
        key = places[net] + (original or path.replace(".", "_"))
        kohya_file.update({key + ".lora_down.weight": down, key + ".lora_up.weight": up,
                           key + ".alpha": torch.tensor(2.0)})
        peft_file.update({f"{net}.{path}.lora_A.weight": down, f"{net}.{path}.lora_B.weight": up})
    g.file("xl-kohya", kohya_file)
    g.file("xl-peft", peft_file)


def main():
    g = Golden(sys.argv[1], sys.argv[2])
    xl(g, sys.argv[3])
    attn, conv = BLOCK + "attn1.to_q", RES + "conv1"
    g.lycoris("lora-tucker", [
        (attn, LoConModule, {"alpha": 3, "dim": 4}), (conv, LoConModule, {"use_tucker": True}),
        ("mid_block.attentions.0.proj_in", LoConModule, {}), (RES + "conv2", LoConModule, {})])
    g.lycoris("loha", [
        (BLOCK + "attn2.to_k", LohaModule, {}), (conv, LohaModule, {"use_tucker": True}),
        (RES + "conv2", LohaModule, {}), (BLOCK + "ff.net.0.proj", LohaModule, {"alpha": 2})])
    g.lycoris("lokr", [
        (BLOCK + "attn2.to_v", LokrModule, {"alpha": 2, "dim": 4, "factor": 4}),
        (BLOCK + "ff.net.2", LokrModule, {"dim": 10000, "full_matrix": True, "factor": 8}),
        (attn, LokrModule, {"alpha": 2, "dim": 2, "factor": 8, "decompose_both": True}),
        (conv, LokrModule, {"alpha": 2, "use_tucker": True, "factor": 4}),
        (RES + "conv2", LokrModule, {"alpha": 2, "factor": 4})])
    g.lycoris("dora-out", [
        (BLOCK + "attn2.to_k", LoConModule, {"weight_decompose": True, "wd_on_out": True}),
        (conv, LoConModule, {"weight_decompose": True, "wd_on_out": True}),
        (BLOCK + "attn1.to_v", LohaModule, {"weight_decompose": True, "wd_on_out": True})])
    g.lycoris("dora-in", [
        (BLOCK + "attn2.to_k", LoConModule, {"weight_decompose": True, "wd_on_out": False}),
        (conv, LoConModule, {"weight_decompose": True, "wd_on_out": False})])
    diff, norm = ("diff", "diff_b"), ("w_norm", "b_norm")
    g.full("full", [(BLOCK + "attn1.to_out.0", diff), ("conv_in", diff),
                    (RES + "norm1", norm), (BLOCK + "norm2", norm)])

    targets = [BLOCK + "attn1.to_q", BLOCK + "attn1.to_out.0", BLOCK + "attn2.to_k",
               RES + "conv1", "mid_block.attentions.0.proj_in"]
    text = [LAYER + "self_attn.q_proj", LAYER + "self_attn.v_proj", LAYER + "mlp.fc1"]
    tensors = g.peft("lora", targets, text, r=2, lora_alpha=4)
    meta = {"format": "pt", "modelspec.title": "Golden", "ss_sd_model_name": "tiny",
            "modelspec.trigger_phrase": "golden style"}
    config = {net + "." + k: v for net in ("unet", "text_encoder")
              for k, v in (("r", 2), ("lora_alpha", 4))}
    g.file("lora-peft", tensors, {"format": "pt", "lora_adapter_metadata": json.dumps(config)})
    g.file("lora-kohya", kohya(tensors, 4), meta)
    g.file("lora-diffusers", old_diffusers(tensors, 4, 2))
    tensors = g.peft("dora-peft", targets[:4], r=2, lora_alpha=2, use_dora=True)
    g.file("dora-peft", tensors)
    folder = os.path.join(g.out, "peft")
    os.makedirs(folder, exist_ok=True)
    tensors = g.peft("peft/lora", targets[:3], r=2, lora_alpha=4, use_rslora=True,
                     alpha_pattern={"attn2.to_k": 3})
    g.file("peft/adapter_model",
           {k.replace("unet.", "base_model.model.", 1): v for k, v in tensors.items()})
    with open(os.path.join(folder, "adapter_config.json"), "w") as f:
        json.dump({"peft_type": "LORA", "r": 2, "lora_alpha": 4, "use_rslora": True,
                   "alpha_pattern": {"attn2.to_k": 3},
                   "base_model_name_or_path": "tiny"}, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    torch.manual_seed(0)  # of what is not set here, and DoRA's magnitudes follow
    main()
