"""Trains the first stage on drawings.

    python train_vae.py --out runs/vae [--steps 12000] [--seconds 420] [--resume]

Writes runs/vae/vae.{0,1,..} (EMA weights, latent statistics), last.* (for --resume), log.csv and
sheet.png. A run that is stopped goes on from last.* with --resume.
"""
import argparse
import math
import os
import time

import torch
import torch.nn.functional as F

import common
import draw
import networks
import scene

SEED = 101
BATCH = 32
PEAK_RATE = 8e-4
EMA = 0.999
KL_WEIGHT = 3e-4  # on the KL divergence per latent element
EDGE_WEIGHT = 0.5
SQUARE_WEIGHT = 4.0
HELD_OUT_SEED = 900001


def pool(n, seed, device, batch=512):
    """n drawings as uint8 [n, 3, 256, 256]."""
    out = torch.empty(n, 3, draw.SIZE, draw.SIZE, dtype=torch.uint8, device=device)
    for i in range(0, n, batch):
        m = min(batch, n - i)
        p = draw.draw(scene.sample(m, seed + i), seed + i, device)
        out[i:i + m] = (p * 255 + 0.5).byte()
    return out


def edges(d):
    """Mean absolute gradient of the difference at three scales: blurred edges cost."""
    total = 0
    for _ in range(3):
        total = total + (d[:, :, 1:] - d[:, :, :-1]).abs().mean() \
            + (d[:, :, :, 1:] - d[:, :, :, :-1]).abs().mean()
        d = F.avg_pool2d(d, 2)
    return total


def loss_of(vae, x):
    y, mean, logvar = vae(x)
    d = y.float() - x
    mean, logvar = mean.float(), logvar.float()
    kl = 0.5 * (mean ** 2 + logvar.exp() - 1 - logvar).mean()
    square = (d * d).mean()
    return d.abs().mean() + SQUARE_WEIGHT * square + EDGE_WEIGHT * edges(d) + KL_WEIGHT * kl, \
        square.detach(), kl.detach()


@torch.no_grad()
def psnr(vae, pictures):
    """PSNR of each picture (uint8), decoded from the mean and rounded to 8 bits."""
    out = []
    for x in pictures.split(32):
        y = vae.decode(vae.encode(x.float() / 127.5 - 1)[0])
        y = ((y + 1) * 127.5).clamp(0, 255).round()
        mse = ((y - x.float()) ** 2).mean((1, 2, 3))
        out.append(10 * torch.log10(255 ** 2 / mse.clamp(min=1e-3)))
    return torch.cat(out)


@torch.no_grad()
def statistics(vae, pictures):
    """Standard deviation of the latents, sampled as in training, over all their elements."""
    z = [m + torch.exp(0.5 * v) * torch.randn_like(m)
         for m, v in (vae.encode(x.float() / 127.5 - 1) for x in pictures.split(64))]
    z = torch.cat(z)
    return z.std().item(), z.mean((0, 2, 3)).tolist(), z.std((0, 2, 3)).tolist()


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--out", required=True)
    a.add_argument("--steps", type=int, default=12000)
    a.add_argument("--seconds", type=float, default=1e9)
    a.add_argument("--pictures", type=int, default=60000)
    a.add_argument("--batch", type=int, default=BATCH)
    a.add_argument("--rate", type=float, default=PEAK_RATE)
    a.add_argument("--held-out", type=int, default=512)
    a.add_argument("--resume", action="store_true")
    a.add_argument("--no-compile", action="store_true")
    a = a.parse_args()
    os.makedirs(a.out, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(SEED)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    begin = time.time()
    data = pool(a.pictures, SEED * 1000003, device)
    held_out = pool(a.held_out, HELD_OUT_SEED, device)
    if device == "cuda":
        torch.cuda.synchronize()
    print(f"drawn: {a.pictures} in {time.time() - begin:.1f} s", flush=True)
    vae = networks.Vae().to(device).to(memory_format=torch.channels_last)
    ema = common.Average(vae, EMA)
    optimiser = torch.optim.AdamW(vae.parameters(), lr=a.rate, betas=(0.9, 0.99),
                                  weight_decay=0.01, fused=device == "cuda")
    step = 0
    if a.resume and common.exists(os.path.join(a.out, "last")):
        saved = common.load(os.path.join(a.out, "last"), device)
        vae.load_state_dict(saved["raw"])
        ema.restore(saved["ema"])
        step = saved["step"]
        if "optimiser" in saved:
            optimiser.load_state_dict(saved["optimiser"])
    run = common.compiled(loss_of, device == "cuda" and not a.no_compile)
    log = common.Log(os.path.join(a.out, "log.csv"), ["step", "seconds", "loss", "psnr", "kl"])
    clock = common.Clock(a.steps, a.seconds)

    def one(step):
        x = data[torch.randint(0, len(data), (a.batch,), device=device)].float() / 127.5 - 1
        x = x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, torch.bfloat16):
            loss, square, kl = run(vae, x)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
        for group in optimiser.param_groups:
            group["lr"] = common.rate(clock.progress(step), step, a.rate)
        optimiser.step()
        ema.update(step)
        return loss.detach(), square, kl

    sums, since = torch.zeros(3, device=device), 0
    while step < a.steps and clock.elapsed() < a.seconds:
        sums += torch.stack(one(step))
        since += 1
        step += 1
        if step == 5:
            clock.start()  # the compiler's time is not training
        if step % 200 == 0 or step == a.steps:
            loss, square, kl = (sums / since).tolist()
            log.row(step, round(clock.elapsed(), 1), loss, -10 * math.log10(square / 4), kl)
            sums, since = torch.zeros(3, device=device), 0
    raw = {k: v.detach() for k, v in vae.state_dict().items()}
    common.save(os.path.join(a.out, "last"), {"raw": raw, "ema": ema.state(), "step": step})
    vae.load_state_dict({**vae.state_dict(), **ema.state()})
    vae.eval()
    values = psnr(vae, held_out)
    std, means, stds = statistics(vae, data[:2048])
    print(f"held-out PSNR: mean {values.mean():.2f} dB, worst {values.min():.2f} dB, "
          f"latent std {std:.4f} means {means} stds {stds}", flush=True)
    s = scene.sample(a.held_out, HELD_OUT_SEED)
    for name, values_of in scene.ATTRIBUTES.items():
        if name in ("style", "terrain", "weather"):
            for i, value in enumerate(values_of):
                pick = torch.as_tensor(s[name][:512] == i, device=device)
                if len(pick) == len(values) and bool(pick.any()):
                    print(f"  {name} {value}: {values[pick].mean():.2f} dB")
    common.save(os.path.join(a.out, "vae"),
                {"model": {k: v.float() for k, v in ema.state().items()}, "std": std,
                 "psnr": values.mean().item(), "worst": values.min().item()})
    from PIL import Image
    show = held_out[:24].float() / 127.5 - 1
    with torch.no_grad():
        back = vae.decode(vae.encode(show)[0])
    both = torch.stack([show, back], 1).flatten(0, 1)
    Image.fromarray(draw.sheet(both / 2 + 0.5, 8)).save(os.path.join(a.out, "sheet.png"))


if __name__ == "__main__":
    main()
