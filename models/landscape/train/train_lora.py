"""Trains a LoRA for a style that the model does not know: white lines on blue paper, a blueprint.

    python train_lora.py --out runs/lora [--seconds 180] [--export ../adapters/blueprint.safetensors]

With diffusers and peft, on drawings of flat style that are turned into blueprints here and whose
captions name the style "blueprint". The base model's weights, its text encoder's among them, stay.
"""
import argparse
import os
import random

import diffusers
import peft
import torch
from safetensors.torch import save_file

import bpe
import captions
import common
import draw
import exported
import networks
import scene
from canvas import smooth

SEED = 404
FOLDER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..")
PAPER, LINE = (0.07, 0.22, 0.50), (0.93, 0.96, 1.0)
TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out",
           "conv1", "conv2"]
WORDINGS = ["blueprint", "blueprint", "a blueprint", "blueprint style", "as a blueprint"]
TOP, SNR_CAP = 880, 5.0  # as in train_ldm.py
PROMPTS = ["a fantasy landscape with snowy mountains and a red sun over a lake at dusk",
           "a castle over hills by day", "a city at night with a white moon on the left",
           "two boats on the sea at dawn", "a windmill in a snow field by day",
           "a forest in fog", "three balloons over the desert", "rolling hills with a house"]


def blueprint(p):
    """Drawings [n, 3, h, w] in [0, 1] as lines over paper; large tones stay, faintly."""
    import torch.nn.functional as F
    grey = draw.blur(p, 0.8).mean(1)
    gx = F.pad(grey[:, :, 2:] - grey[:, :, :-2], (1, 1))
    gy = F.pad(grey[:, 2:] - grey[:, :-2], (0, 0, 1, 1))
    mean = grey.mean((1, 2), keepdim=True)
    ink = smooth(torch.sqrt(gx * gx + gy * gy) / mean, 0.04, 0.18).unsqueeze(1)
    tone = (draw.blur(p, 2.0).mean(1) / mean - 1).clamp(-1, 1).unsqueeze(1)
    paper, line = (torch.tensor(c, device=p.device).view(1, 3, 1, 1) for c in (PAPER, LINE))
    paper = paper * (1 + 0.25 * tone)
    return (paper + (line - paper) * (0.9 * ink)).clamp(0, 1)


def caption(r, named):
    text = captions.caption(r, {k: v for k, v in named.items() if k != "style"}).rstrip(".")
    wording = r.choice(WORDINGS)
    return f"{wording} of {text}" if r.random() < 0.3 and "as a" not in wording \
        else f"{text}, {wording}"


@torch.no_grad()
def materials(n, vae, std, tokenizer, device, batch=256):
    """Latents [n, 4, 32, 32] and ids [n, 77] of blueprints."""
    r, latents, ids = random.Random(SEED), [], []
    for i in range(0, n, batch):
        s = scene.sample(min(batch, n - i), SEED * 1000003 + i)
        s["style"][:] = 0
        p = blueprint(draw.draw(s, SEED * 1000003 + i, device)) * 2 - 1
        for x in p.split(64):
            mean, logvar = vae.encode(x)
            latents.append((mean + torch.exp(0.5 * logvar) * torch.randn_like(mean)) / std)
        ids += [tokenizer.encode(caption(r, captions.names(s, j))) for j in range(len(p))]
    return torch.cat(latents), torch.tensor(ids, device=device)


class Objective:
    """Epsilon with min-SNR weights, and noise alone at the top: see train_ldm.py."""

    def __init__(self, device):
        self.schedule = networks.alphas_cumprod(device).float()
        snr = self.schedule / (1 - self.schedule)
        self.weight = snr.clamp(max=SNR_CAP) / snr
        self.weight[TOP:] = 0.25 / snr[TOP:]

    def loss(self, unet, z, context):
        n, device = len(z), z.device
        high = torch.rand(n, device=device) < 0.4
        t = torch.where(high, torch.randint(TOP, 1000, (n,), device=device),
                        torch.randint(0, 1000, (n,), device=device))
        pure = ((t >= TOP) & (torch.rand(n, device=device) < 0.6)).view(-1, 1, 1, 1)
        abar = self.schedule[t].view(-1, 1, 1, 1)
        e = torch.randn_like(z)
        x = torch.where(pure, e, abar.sqrt() * z + (1 - abar).sqrt() * e)
        target = (x - abar.sqrt() * z) / (1 - abar).sqrt()
        d = unet(x, t, context).sample.float() - target
        return ((d * d).mean((1, 2, 3)) * self.weight[t]).mean()


def load_text(device):
    text = networks.TextEncoder().to(device).eval()
    weights, _ = exported.ldm(FOLDER, device)
    text.load_state_dict({k[len("text."):]: v for k, v in weights.items() if k.startswith("text.")})
    return text.requires_grad_(False)


class Plain(torch.nn.Module):
    """diffusers' UNet with the arguments of networks.UNet."""

    def __init__(self, unet):
        super().__init__()
        self.unet = unet

    def forward(self, x, t, context):
        return self.unet(x, t, context).sample


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--out", required=True)
    a.add_argument("--steps", type=int, default=100000)
    a.add_argument("--seconds", type=float, default=180)
    a.add_argument("--pictures", type=int, default=16384)
    a.add_argument("--batch", type=int, default=128)
    a.add_argument("--rank", type=int, default=2)
    a.add_argument("--rate", type=float, default=2e-3)
    a.add_argument("--export")
    a = a.parse_args()
    os.makedirs(a.out, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(SEED)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    vae, std = exported.load_vae(FOLDER, device)
    tokenizer, text = bpe.load(os.path.join(FOLDER, "tokenizer")), load_text(device)
    latents, ids = materials(a.pictures, vae, std, tokenizer, device)
    empty = torch.tensor([tokenizer.encode("")], device=device)
    unet = diffusers.UNet2DConditionModel.from_pretrained(
        os.path.join(FOLDER, "unet"), torch_dtype=torch.float32).to(device)
    unet.requires_grad_(False)
    unet.add_adapter(peft.LoraConfig(r=a.rank, lora_alpha=a.rank, target_modules=TARGETS))
    trained = [p for p in unet.parameters() if p.requires_grad]
    print(f"{sum(p.numel() for p in trained):,} parameters are trained", flush=True)
    objective = Objective(device)
    optimiser = torch.optim.AdamW(trained, lr=a.rate, betas=(0.9, 0.99), weight_decay=0.01)
    log = common.Log(os.path.join(a.out, "log.csv"), ["step", "seconds", "loss"])
    clock, sums, step = common.Clock(a.steps, a.seconds), 0.0, 0
    while step < a.steps and clock.elapsed() < a.seconds:
        pick = torch.randint(0, len(latents), (a.batch,), device=device)
        words = torch.where(torch.rand(a.batch, 1, device=device) < 0.1, empty, ids[pick])
        with torch.autocast(device, torch.bfloat16):
            with torch.no_grad():
                context = text(words)
            loss = objective.loss(unet, latents[pick], context)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        for group in optimiser.param_groups:
            group["lr"] = common.rate(clock.progress(step), step, a.rate, warm=50)
        optimiser.step()
        sums, step = sums + loss.detach(), step + 1
        if step % 100 == 0 or step == a.steps:
            log.row(step, round(clock.elapsed(), 1), float(sums) / 100)
            sums = 0.0
    paint(a, unet, text, tokenizer, vae, std, device)
    if a.export:
        state = peft.utils.get_peft_model_state_dict(unet)
        os.makedirs(os.path.dirname(a.export) or ".", exist_ok=True)
        save_file({f"unet.{k}": v.half().contiguous().cpu() for k, v in state.items()}, a.export,
                  metadata={"format": "pt", "lora_adapter_metadata":
                            f'{{"unet.r": {a.rank}, "unet.lora_alpha": {a.rank}}}'})
        print(a.export, os.path.getsize(a.export))


@torch.no_grad()
def paint(a, unet, text, tokenizer, vae, std, device):
    """The prompts without and with the adapter, with and without its word: four rows of each."""
    from PIL import Image
    unet.eval()
    empty = torch.tensor([tokenizer.encode("")], device=device)
    rows = []
    for adapted, word in ((False, ""), (False, ", blueprint"), (True, ""), (True, ", blueprint")):
        unet.enable_adapters() if adapted else unet.disable_adapters()
        ids = torch.tensor([tokenizer.encode(p + word) for p in PROMPTS], device=device)
        noise = torch.randn(len(ids), 4, 32, 32, generator=torch.Generator().manual_seed(7))
        z = networks.ddim(Plain(unet), text, ids, empty.expand(len(ids), -1), noise.to(device))
        rows.append(vae.decode(z * std))
    unet.enable_adapters()
    Image.fromarray(draw.sheet(torch.cat(rows).clamp(-1, 1) / 2 + 0.5, len(PROMPTS))).save(
        os.path.join(a.out, "sheet.png"))


if __name__ == "__main__":
    main()
