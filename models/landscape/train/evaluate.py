"""Does a picture show what its prompt asked for?

    python evaluate.py --vae runs/vae/vae --ldm runs/ldm/ldm --out runs/eval [--thumbnails cache]
    python evaluate.py --vae .. --ldm .. --out runs/eval        the exported model

A classifier, trained on drawings alone, reads every attribute; its accuracy on held-out drawings is
printed first. Then it reads 512 pictures generated for held-out prompts, and agreement is counted
over what each prompt says. 'unsaid flat' is the share of pictures drawn flat where no style is
asked for. Also the VAE's PSNR on held-out drawings and 8x8 sheets with captions.
"""
import argparse
import json
import os
import textwrap

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

import bpe
import captions
import common
import draw
import exported
import networks
import scene
import train_ldm
import train_vae

SEED = 303
HELD_OUT_SEED = 900007
PROMPT_SEED = 900011
BATCH = 256


class Classifier(nn.Module):
    """A small residual network on 128x128 pictures, one head for each attribute."""

    def __init__(self, widths=(32, 64, 128, 192)):
        super().__init__()
        self.stem = nn.Conv2d(3, widths[0], 5, stride=2, padding=2)
        stages, current = [], widths[0]
        for width in widths:
            stages += [self.block(current, width, 2 if width != widths[0] else 1),
                       self.block(width, width, 1)]
            current = width
        self.stages = nn.ModuleList(stages)
        self.hidden = nn.Linear(current * 16, 384)
        self.heads = nn.ModuleDict({k: nn.Linear(384, len(v))
                                    for k, v in scene.ATTRIBUTES.items()})

    @staticmethod
    def block(cin, cout, stride):
        m = nn.Module()
        m.conv1 = nn.Conv2d(cin, cout, 3, stride, 1, bias=False)
        m.norm1 = nn.BatchNorm2d(cout)
        m.conv2 = nn.Conv2d(cout, cout, 3, 1, 1, bias=False)
        m.norm2 = nn.BatchNorm2d(cout)
        m.skip = nn.Conv2d(cin, cout, 1, stride, bias=False) if cin != cout else nn.Identity()
        return m

    def forward(self, x):
        x = self.stem(x * 2 - 1)
        for m in self.stages:
            h = F.relu(m.norm1(m.conv1(x)))
            x = F.relu(m.norm2(m.conv2(h)) + m.skip(x))
        x = F.adaptive_avg_pool2d(x, 4).flatten(1)
        x = F.relu(self.hidden(F.dropout(x, 0.2, self.training)))
        return {k: head(x) for k, head in self.heads.items()}


def small(pictures):
    return F.avg_pool2d(pictures, 2)


def labels(tasks, device):
    parts = [scene.sample(m, seed) for m, seed, _ in tasks]
    return {k: torch.as_tensor(np.concatenate([p[k] for p in parts]), device=device)
            for k in scene.ATTRIBUTES}


def applies(truth, key):
    """Where the attribute is there to be seen."""
    if key not in scene.PART_OF:
        return torch.ones_like(truth[key], dtype=torch.bool)
    return truth[scene.PART_OF[key]] != 0


def training_set(a, device):
    tasks = train_ldm.tasks_of(a.pictures, a.seed)
    files = [os.path.join(a.thumbnails or "", f"small.{i}.pt") for i in range(len(tasks))]
    if a.thumbnails and all(os.path.exists(f) for f in files):
        x = torch.cat([torch.load(f, weights_only=True) for f in files]).to(device)
    else:
        x = torch.cat([(small(draw.draw(scene.sample(m, seed), seed, device)) * 255 + 0.5).byte()
                       for m, seed, _ in tasks])
    return x, labels(tasks, device)


def train_classifier(a, device):
    x, truth = training_set(a, device)
    masks = {k: applies(truth, k) for k in scene.ATTRIBUTES}
    torch.manual_seed(SEED)
    model = Classifier().to(device).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.02)
    steps = a.epochs * len(x) // BATCH
    plan = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        pick = torch.randint(0, len(x), (BATCH,), device=device)
        p = F.pad(x[pick].float() / 255, (4, 4, 4, 4), mode="replicate")
        dy, dx = np.random.default_rng(step).integers(0, 9, 2)
        p = p[:, :, dy:dy + 128, dx:dx + 128] + 0.015 * torch.randn(BATCH, 3, 128, 128,
                                                                  device=device)
        with torch.autocast(device, torch.bfloat16):
            out = model(p.contiguous(memory_format=torch.channels_last))
        loss = 0
        for k, v in out.items():
            each = F.cross_entropy(v.float(), truth[k][pick], reduction="none")
            mask = masks[k][pick].float()
            loss = loss + (each * mask).sum() / mask.sum().clamp(min=1)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        optimiser.step()
        plan.step()
        if step % 500 == 0:
            print(f"classifier {step}/{steps} loss {loss.item():.4f}", flush=True)
    return model.eval()


@torch.no_grad()
def read(model, pictures):
    """Attribute indices of pictures [n, 3, 256, 256] in [0, 1]."""
    outs = [model(small(p)) for p in pictures.split(256)]
    return {k: torch.cat([o[k] for o in outs]).argmax(1) for k in scene.ATTRIBUTES}


def accuracy(model, device, n=4096, through=None):
    """Per attribute, on held-out drawings, or on what `through` makes of them."""
    right, seen = {}, {}
    for i in range(0, n, 512):
        s = scene.sample(min(512, n - i), HELD_OUT_SEED + i)
        p = draw.draw(s, HELD_OUT_SEED + i, device)
        found = read(model, through(p) if through else p)
        truth = {k: torch.as_tensor(v, device=device) for k, v in s.items()}
        for k in scene.ATTRIBUTES:
            mask = applies(truth, k)
            right[k] = right.get(k, 0) + (found[k] == truth[k])[mask].sum().item()
            seen[k] = seen.get(k, 0) + mask.sum().item()
    return {k: right[k] / seen[k] for k in right}


def agreement(found, prompts):
    """Per attribute: how many prompts say it, and the share of pictures that show it."""
    table = {}
    for k, values in scene.ATTRIBUTES.items():
        hits = [values[found[k][i]] == said[k] for i, (_, said) in enumerate(prompts) if k in said]
        table[k] = (len(hits), sum(hits) / max(len(hits), 1))
    return table


def unsaid_flat(found, prompts):
    """How many prompts say no style, and the share of their pictures that is flat."""
    hits = [found["style"][i].item() == 0 for i, (_, said) in enumerate(prompts)
            if "style" not in said]
    return len(hits), sum(hits) / max(len(hits), 1)


def mean(table):
    return sum(v[1] if isinstance(v, tuple) else v for v in table.values()) / len(table)


@torch.no_grad()
def generate(model, vae, std, tokenizer, prompts, scale, device, steps=20, spacing="leading"):
    g = torch.Generator(device=device)
    g.manual_seed(SEED)
    ids = torch.tensor([tokenizer.encode(t) for t, _ in prompts], device=device)
    empty = torch.tensor([tokenizer.encode("")], device=device)
    noise = torch.randn(len(prompts), 4, 32, 32, generator=g, device=device)
    out = []
    for i in range(0, len(prompts), 64):
        z = networks.ddim(model.unet, model.text, ids[i:i + 64], empty, noise[i:i + 64], steps,
                          scale, spacing)
        p = vae.decode(z * std) / 2 + 0.5
        out.append(((p.clamp(0, 1) * 255).round() / 255))
    return torch.cat(out)


def captioned_sheet(pictures, prompts, path, columns=8, size=192):
    from PIL import Image, ImageDraw, ImageFont
    font = ImageFont.load_default(size=11)
    rows = (len(pictures) + columns - 1) // columns
    cell = size + 58
    page = Image.new("RGB", (columns * (size + 6), rows * cell), "white")
    pen = ImageDraw.Draw(page)
    for i, p in enumerate(pictures):
        x, y = i % columns * (size + 6), i // columns * cell
        tile = Image.fromarray((p.permute(1, 2, 0).cpu().numpy() * 255 + 0.5).astype("uint8"))
        page.paste(tile.resize((size, size), Image.Resampling.LANCZOS), (x, y))
        pen.text((x, y + size + 2), "\n".join(textwrap.wrap(prompts[i][0], 36)[:4]), "black", font)
    page.save(path, optimize=True)


def measure(result, classifier, vae, device, n):
    """The classifier on held-out drawings, on what the VAE makes of them, and the VAE's PSNR."""
    result["classifier"] = accuracy(classifier, device, n)
    print("classifier on held-out drawings:", mean(result["classifier"]), result["classifier"])

    def through(p):
        with torch.no_grad():
            return torch.cat([vae.decode(vae.encode(x * 2 - 1)[0]) / 2 + 0.5
                              for x in p.split(64)]).clamp(0, 1)
    result["classifier_through_vae"] = accuracy(classifier, device, n // 2, through)
    held_out = train_vae.pool(n // 8, train_vae.HELD_OUT_SEED, device)
    result["psnr"] = train_vae.psnr(vae, held_out).mean().item()
    print(f"VAE on held-out drawings: {result['psnr']:.2f} dB", flush=True)


def paint(a, result, classifier, vae, std, model, device):
    """Agreement for each spacing and guidance; written as it comes, with the first one's sheet."""
    tokenizer, prompts = bpe.load(train_ldm.TOKENIZER), captions.held_out(a.prompts, PROMPT_SEED)
    result["agreement"] = {}
    for n, scale in enumerate(float(v) for v in a.scales.split(",")):
        for spacing in a.spacings.split(","):
            pictures = generate(model, vae, std, tokenizer, prompts, scale, device, a.steps,
                                spacing)
            found = read(classifier, pictures)
            table = agreement(found, prompts)
            said = sum(v[0] for v in table.values())
            hits = sum(v[0] * v[1] for v in table.values())
            flat = unsaid_flat(found, prompts)
            print(f"{spacing}, guidance {scale}: {mean(table):.4f} averaged over attributes, "
                  f"{hits / said:.4f} over {said} mentions, unsaid flat {flat[1]:.3f}/{flat[0]}",
                  {k: f"{v[1]:.3f}/{v[0]}" for k, v in table.items()}, flush=True)
            result["agreement"][f"{spacing} {scale:g}"] = {
                "mean": mean(table), "mentions": hits / said, **table, "unsaid flat": flat}
            with open(os.path.join(a.out, "evaluation.json"), "w") as f:
                json.dump(result, f, indent=1)
            if n == 0:
                captioned_sheet(pictures[:64], prompts, os.path.join(a.out, spacing + ".png"))


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--vae", help="a checkpoint or an exported folder")
    a.add_argument("--ldm", help="a checkpoint or an exported folder")
    a.add_argument("--classifier-only", action="store_true")
    a.add_argument("--classifier", help="where it is kept, if not in --out")
    a.add_argument("--out", required=True)
    a.add_argument("--thumbnails", help="train_ldm.py's --cache")
    a.add_argument("--seed", type=int, default=train_ldm.SEED, help="of the drawings, as there")
    a.add_argument("--pictures", type=int, default=65536, help="drawings for the classifier")
    a.add_argument("--epochs", type=int, default=14)
    a.add_argument("--held-out", type=int, default=4096, help="drawings; for the VAE an eighth")
    a.add_argument("--prompts", type=int, default=512)
    a.add_argument("--steps", type=int, default=20)
    a.add_argument("--scales", default="5,3,7.5", help="guidance; the first makes the sheets")
    a.add_argument("--spacings", default="leading,trailing")
    a = a.parse_args()
    os.makedirs(a.out, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    path = a.classifier or os.path.join(a.out, "classifier")
    if common.exists(path):
        classifier = Classifier().to(device).eval()
        classifier.load_state_dict(common.floats(common.load(path, device)))
    else:
        classifier = train_classifier(a, device)
        common.save(path, common.half(classifier.state_dict()))
    if a.classifier_only:
        return
    vae, std = exported.load_vae(a.vae, device)
    model = train_ldm.Model().to(device).eval()
    weights, step = exported.ldm(a.ldm, device)
    # The weights as they are shipped: rounded to half.
    vae.load_state_dict(common.floats(common.half(vae.state_dict())))
    model.load_state_dict(common.floats(common.half(weights)))
    result = {"parameters": networks.count(vae) + networks.count(model), "steps": step}
    measure(result, classifier, vae, device, a.held_out)
    paint(a, result, classifier, vae, std, model, device)


if __name__ == "__main__":
    main()
