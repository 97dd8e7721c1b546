"""Trains text encoder and UNet together on the latents of drawings.

    python train_ldm.py --vae runs/vae/vae --out runs/ldm [--steps 8000] [--seconds 700] [--resume]

Writes runs/ldm/ldm.* (EMA weights), last.* (for --resume), log.csv and sheet.png. --cache keeps the
encoded drawings in a folder, so that a run that goes on need not draw them again; --workers processes
draw and encode while the training step is being compiled.
"""
import argparse
import multiprocessing
import os
import random
import subprocess
import sys
import time

import numpy as np
import torch

import bpe
import captions
import common
import draw
import networks
import scene

SEED = 202
BATCH = 512
PEAK_RATE = 8e-4
EMA = 0.999
EMPTY = 0.10  # captions left empty, for guidance
SNR_CAP = 5.0  # min-SNR weights (Hang et al. 2023)
CAPTIONS = 4  # of each drawing
TOKENIZER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "tokenizer")
DRAW_BATCH = 1024
SHOW = [
    "A fantasy landscape with snowy mountains and a red sun over a lake at dusk",
    "a red boat on the sea at dawn", "a city skyline at night with a yellow moon on the left",
    "three blue houses in the hills by day, pixel art", "a forest in autumn, watercolour",
    "a castle in a snowfield under a starry sky", "desert dunes with two green balloons at noon",
    "a mountain lake in fog, pencil sketch", "a windmill and a rainbow over rolling hills",
    "the sea at night with an orange moon on the right and stars",
    "a white sun on the left over a forest at sunset", "a city in the rain at dusk",
    "two yellow boats on a lake by day", "snowy mountains by day with a red balloon",
    "hills at dawn, watercolour, a white castle", "a green tree in the desert at night",
]


def captions_of(task):
    """Token ids of the captions of one batch of scenes: uint16 [m, CAPTIONS, 77]."""
    m, seed, folder = task
    tokenizer, r = bpe.load(folder), random.Random(seed)
    s = scene.sample(m, seed)
    ids = [[tokenizer.encode(captions.caption(r, captions.names(s, i))) for _ in range(CAPTIONS)]
           for i in range(m)]
    return np.array(ids, dtype=np.uint16)


def tasks_of(pictures):
    return [(min(DRAW_BATCH, pictures - i), SEED * 1000003 + i, TOKENIZER)
            for i in range(0, pictures, DRAW_BATCH)]


@torch.no_grad()
def encode(vae, std, task, device, thumbnails=None):
    """Latents of a task's drawings, sampled and scaled to unit variance: half."""
    m, seed, _ = task
    p = draw.draw(scene.sample(m, seed), seed, device) * 2 - 1
    if thumbnails:
        small = torch.nn.functional.avg_pool2d(p / 2 + 0.5, 2)
        torch.save((small * 255 + 0.5).byte().cpu(), thumbnails)
    out = []
    for x in p.split(256):
        with torch.autocast(device, torch.bfloat16):
            mean, logvar = vae.encode(x.contiguous(memory_format=torch.channels_last))
        z = mean.float() + torch.exp(0.5 * logvar.float()) * torch.randn_like(mean.float())
        out.append((z / std).half())
    return torch.cat(out)


def load_vae(path, device):
    saved = common.load(path, device)
    vae = networks.Vae().to(device).eval()
    vae.load_state_dict(saved["model"])
    return vae.to(memory_format=torch.channels_last), saved["std"]


def work(a, device):
    """One of --workers processes: every so manieth task into the cache, some with thumbnails."""
    torch.manual_seed(SEED + 1 + a.worker)
    vae, std = load_vae(a.vae, device)
    for i, task in list(enumerate(tasks_of(a.pictures)))[a.worker::a.workers]:
        small = os.path.join(a.cache, f"small.{i}.pt") if i < a.thumbnails else None
        z = encode(vae, std, task, device, small)
        torch.save(z.cpu(), os.path.join(a.cache, f"z.{i}.tmp"))
        os.rename(os.path.join(a.cache, f"z.{i}.tmp"), os.path.join(a.cache, f"z.{i}.pt"))


def start_workers(a):
    os.makedirs(a.cache, exist_ok=True)
    done = all(os.path.exists(os.path.join(a.cache, f"z.{i}.pt"))
               for i in range(len(tasks_of(a.pictures))))
    return [] if done else [
        subprocess.Popen([sys.executable, os.path.abspath(__file__), "--vae", a.vae, "--out", a.out,
                          "--cache", a.cache, "--pictures", str(a.pictures), "--thumbnails",
                          str(a.thumbnails), "--workers", str(a.workers), "--worker", str(i)])
        for i in range(a.workers)]


def read_cache(a, device):
    parts = [torch.load(os.path.join(a.cache, f"z.{i}.pt"), weights_only=True)
             for i in range(len(tasks_of(a.pictures)))]
    return torch.cat(parts).to(device)


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.text, self.unet = networks.TextEncoder(), networks.UNet()

    def forward(self, x, t, ids):
        return self.unet(x, t, self.text(ids))


@torch.no_grad()
def show(model, vae, std, tokenizer, device, path, steps=20, scale=5.0):
    from PIL import Image
    ids = torch.tensor([tokenizer.encode(t) for t in SHOW], device=device)
    empty = torch.tensor([tokenizer.encode("")], device=device)
    g = torch.Generator(device=device)
    g.manual_seed(7)
    noise = torch.randn(len(SHOW), 4, 32, 32, generator=g, device=device)
    z = networks.ddim(model.unet, model.text, ids, empty, noise, steps, scale)
    p = torch.cat([vae.decode(v * std) for v in z.split(8)])
    Image.fromarray(draw.sheet(p / 2 + 0.5, 4)).save(path)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("--vae", required=True)
    a.add_argument("--out", required=True)
    a.add_argument("--steps", type=int, default=8000)
    a.add_argument("--seconds", type=float, default=1e9)
    a.add_argument("--until", type=int, default=1 << 30, help="stop here, short of --steps")
    a.add_argument("--pause", type=float, default=1e9, help="stop these seconds after the start, to resume")
    a.add_argument("--pictures", type=int, default=300000)
    a.add_argument("--batch", type=int, default=BATCH)
    a.add_argument("--rate", type=float, default=PEAK_RATE)
    a.add_argument("--cache", required=True)
    a.add_argument("--workers", type=int, default=4)
    a.add_argument("--worker", type=int, default=-1, help="be this one of them")
    a.add_argument("--thumbnails", type=int, default=0,
                   help="keep 128x128 pictures of so many batches for evaluate.py")
    a.add_argument("--state", help="where last.* goes, if not to --out")
    a.add_argument("--resume", action="store_true")
    a.add_argument("--no-compile", action="store_true")
    a = a.parse_args()
    os.makedirs(a.out, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if a.worker >= 0:
        return work(a, device)
    begin = time.time()
    workers = start_workers(a)
    pool = multiprocessing.get_context("fork").Pool(max(1, (os.cpu_count() or 2) - 6))
    words = pool.map_async(captions_of, tasks_of(a.pictures))
    torch.manual_seed(SEED)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    tokenizer = bpe.load(TOKENIZER)
    vae, std = load_vae(a.vae, device)
    empty = torch.tensor(tokenizer.encode(""), device=device)
    model = Model().to(device).to(memory_format=torch.channels_last)
    ema = common.Average(model, EMA)
    optimiser = torch.optim.AdamW(model.parameters(), lr=a.rate, betas=(0.9, 0.99),
                                  weight_decay=0.01, fused=device == "cuda")
    step, before = 0, 0.0
    state = os.path.join(a.state or a.out, "last")
    if a.resume and common.exists(state):
        saved = common.load(state, device)
        model.load_state_dict(saved["raw"])
        ema.restore(saved["ema"])
        optimiser.load_state_dict(saved["optimiser"])
        step, before = saved["step"], saved["elapsed"]
    schedule = networks.alphas_cumprod(device)
    snr = schedule / (1 - schedule)
    weight = snr.clamp(max=SNR_CAP) / snr

    def loss_of(z, e, t, ids):
        abar = schedule[t].view(-1, 1, 1, 1)
        x = abar.sqrt() * z + (1 - abar).sqrt() * e
        d = model(x, t, ids).float() - e
        square = (d * d).mean((1, 2, 3))
        return (square * weight[t]).mean(), square.detach().mean()

    run = common.compiled(loss_of, device == "cuda" and not a.no_compile)
    for _ in range(2):  # compile while the workers draw
        with torch.autocast(device, torch.bfloat16):
            x = torch.randn(a.batch, 4, 32, 32, device=device)
            x = x.contiguous(memory_format=torch.channels_last)
            loss, _ = run(x, torch.randn_like(x), torch.full((a.batch,), 500, device=device),
                          empty.expand(a.batch, -1).contiguous())
        loss.backward()
        optimiser.zero_grad(set_to_none=True)
    print(f"compiled after {time.time() - begin:.1f} s", flush=True)
    if any(w.wait() for w in workers):
        raise SystemExit("a worker failed")
    print(f"encoded after {time.time() - begin:.1f} s", flush=True)
    ids = torch.from_numpy(np.concatenate(words.get()).astype(np.int16)).to(device)
    pool.terminate()
    z = read_cache(a, device)
    print(f"{networks.count(model):,} parameters, {len(z)} latents, std {z[:4096].float().std():.3f}, "
          f"ready after {time.time() - begin:.1f} s", flush=True)
    log = common.Log(os.path.join(a.out, "log.csv"), ["step", "seconds", "loss", "mse", "rate"])
    clock = common.Clock(a.steps, a.seconds)

    def one(step):
        pick = torch.randint(0, len(z), (a.batch,), device=device)
        word = ids[pick, torch.randint(0, CAPTIONS, (a.batch,), device=device)].long()
        word = torch.where(torch.rand(a.batch, 1, device=device) < EMPTY, empty, word)
        x = z[pick].float().contiguous(memory_format=torch.channels_last)
        t = torch.randint(0, networks.TRAIN_STEPS, (a.batch,), device=device)
        with torch.autocast(device, torch.bfloat16):
            loss, square = run(x, torch.randn_like(x), t, word)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        rate = common.rate(clock.progress(step), step, a.rate)
        for group in optimiser.param_groups:
            group["lr"] = rate
        optimiser.step()
        ema.update(step)
        return torch.stack([loss.detach(), square]), rate

    sums, since = torch.zeros(2, device=device), 0
    clock.begin = time.time() - before
    stop = clock.elapsed() + a.pause - (time.time() - begin)
    while step < min(a.steps, a.until) and clock.elapsed() < min(a.seconds, stop):
        value, rate = one(step)
        sums += value
        since += 1
        step += 1
        if step % 100 == 0:
            loss, square = (sums / since).tolist()
            log.row(step, round(clock.elapsed(), 1), loss, square, rate)
            sums, since = torch.zeros(2, device=device), 0
    os.makedirs(os.path.dirname(state), exist_ok=True)
    raw = {k: v.detach() for k, v in model.state_dict().items()}
    common.save(state, {"raw": raw, "ema": ema.state(), "step": step, "elapsed": clock.elapsed(),
                        "optimiser": optimiser.state_dict()})
    model.load_state_dict({**model.state_dict(), **ema.state()})
    model.eval()
    common.save(os.path.join(a.out, "ldm"),
                {"model": common.half(ema.state()), "step": step, "std": std})
    show(model, vae, std, tokenizer, device, os.path.join(a.out, "sheet.png"))


if __name__ == "__main__":
    main()
